"""The text side of a task: what it takes, how that becomes rows of model input, and how scores become an answer.

S tokens of a row, C labels, H hidden.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from ..configuration.config import MobileBertConfig
from ..errors import InputError
from ..spelling import did_you_mean
from ..text.batch_rows import listed
from ..text.tokenization_base import TokenizerBase
from .windows import windows_over

WORDS = ("tokens", "words")  # what files of tagged words call the list of them
Outputs = Mapping[str, np.ndarray]
_BYTES = bytes | bytearray | memoryview
CUT, ERROR, WINDOWS = "cut", "error", "windows"  # what may become of a text longer than a row


@dataclass(frozen=True)
class Field:
    """One thing that an input of a task holds: a text, or with `several` a list of texts.

    With `or_words` a text may also come as the list of its words; such a list may stand under one of `WORDS` too.
    With `by_commas` a list may also come as one text with commas between.
    """

    name: str
    help: str
    several: bool = False
    optional: bool = False
    or_words: bool = False
    by_commas: bool = False


@dataclass(frozen=True)
class Row:
    """One row of model input, without padding, and what the task wants to remember of it."""

    input_ids: list[int]
    token_type_ids: list[int]
    about: Any = None
    cut: bool = False  # whether the text is longer
    question_cut: bool = False  # whether the question is


def option(
    default: Any, kind: type, help: str, choices: Sequence[str] = (), least: float | None = None, flag: str = ""
) -> Any:
    """A field of a task that users may set: in Python by its name, on the command line as --its-name or `flag`.

    `kind` is the type of the value, `tuple` for several strings. None as default also allows None.
    """
    metadata = {"kind": kind, "help": help, "choices": tuple(choices), "least": least, "flag": flag}
    return field(default=default, metadata=metadata, kw_only=True)


@dataclass(frozen=True)
class TaskText:
    """Text to rows and scores to answers, for one task with its options. Subclasses are the tasks.

    Attributes:
        in_transformers: what transformers calls an option, and its name here.
        shows_padding: whether answers have a place for each token of a row, padding too if there is any.

    Raises:
        InputError: for an option of the wrong type or out of its range.
    """

    in_transformers: ClassVar[Mapping[str, str]] = {}
    shows_padding: ClassVar[bool] = False

    name: str
    fields: tuple[Field, ...]
    tokenizer: TokenizerBase
    config: MobileBertConfig
    truncation: str = field(default="longest_first", kw_only=True)  # of rows that are cut, as the tokenizer takes it
    max_length: int | None = option(None, int, "tokens in a row, special ones included (default: all the model has)",
                                    least=8)  # fmt: skip

    on_long: str = option("cut", str, "what becomes of longer texts: cut (and counted), or an error",
                          (CUT, ERROR))  # fmt: skip

    def __post_init__(self) -> None:
        for each in options_of(type(self)):
            _check_option(self.name, each, getattr(self, each.name))
        limit = self.config.max_position_embeddings
        if self.max_length is not None and self.max_length > limit:
            raise InputError(
                f"{self.name}: max_length is {self.max_length}, the model has max_position_embeddings {limit}. "
                f"Use at most {limit}."
            )

    def rows(self, values: Mapping[str, Any]) -> list[Row]:
        """The rows that the model must read for one input, by its fields."""
        raise NotImplementedError

    def read(self, row: Row, outputs: Outputs) -> Any:
        """What matters of the model's outputs for one row, whose arrays may be longer than the row."""
        raise NotImplementedError

    def combine(self, values: Mapping[str, Any], rows: list[Row], parts: list[Any]) -> Any:
        """The answer for one input from what was read of its rows."""
        return parts[0]

    def returned(self, answer: Any, framework: str, alone: bool) -> Any:
        """An answer as a call in Python gives it.

        Args:
            framework: "pt", "tf" or "np", whose tensors may be asked for.
            alone: whether the call was for one text.
        """
        return answer

    def with_options(self, options: Mapping[str, Any]) -> TaskText:
        """The same task with other options, also by their names in transformers.

        None says nothing, unless it is a value of the option; one text is a list of one.
        """
        known = {each.name: each for each in options_of(type(self))}
        passed: dict[str, Any] = {}
        if "truncation" in options:
            options = dict(options)
            passed["truncation"] = options.pop("truncation")
        for name, value in options.items():
            own = self.in_transformers.get(name, name)
            if own not in known:
                hint = did_you_mean(name, known) or f" It knows {', '.join(known)}."
                raise InputError(f"{self.name}: wanted options it knows, got {name!r}.{hint}")
            if own != name and own in options:
                raise InputError(f"{self.name}: {name} is {own} here, and both were passed. Leave one out.")
            value = listed(value)
            if isinstance(value, str) and known[own].metadata["kind"] is tuple:
                value = (value,)
            if value is not None or known[own].default is None:
                passed[own] = tuple(value) if isinstance(value, list) else value
        return dataclasses.replace(self, **passed) if passed else self

    # ---------------------------------------------------------------------------------------- rows of text

    @property
    def row_limit(self) -> int:
        """Tokens that a row may have: `max_length`, the model's positions or the tokenizer's limit."""
        return self.max_length or min(self.config.max_position_embeddings, self.tokenizer.model_max_length)

    def rows_of_texts(self, values: Mapping[str, Any]) -> list[Row]:
        """A text or pair as one row, or as windows where `on_long` says so."""
        texts = values["text"], values.get("text_pair")
        return self.windows_of(*texts) if self.on_long == WINDOWS else [self.row_of(*texts)]

    def row_of(self, text: str, text_pair: str | None = None) -> Row:
        """A text or pair as one row; what is beyond the limit is cut, from the longer text first, unless `on_long`.

        Raises:
            InputError: for a longer text where `on_long` is "error".
        """
        row = self._encoded(text, text_pair, self.row_limit + 1)
        if len(row.input_ids) <= self.row_limit:
            return row
        if self.on_long == ERROR:
            raise self.too_long(text)
        return replace(self._encoded(text, text_pair, self.row_limit), cut=True)

    def too_long(self, text: str) -> InputError:
        """What says that a text is longer than a row."""
        return InputError(
            f"{self.name}: wanted a text of at most {self.row_limit} tokens (on_long is {ERROR!r}), got more: "
            f"{text[:40]!r}... Raise max_length, shorten the text, or choose another on_long."
        )

    def _encoded(self, text: str, text_pair: str | None, limit: int) -> Row:
        encoded = self.tokenizer(
            text, text_pair, truncation=self.truncation, max_length=limit, return_token_type_ids=True, verbose=False
        )
        return Row(encoded["input_ids"], encoded["token_type_ids"])

    def row_of_ids(self, first: list[int], second: list[int] | None = None, about: Any = None) -> Row:
        """Word pieces, as their ids, with the special tokens put around."""
        return Row(
            self.tokenizer.build_inputs_with_special_tokens(first, second),
            self.tokenizer.create_token_type_ids_from_sequences(first, second),
            about,
        )

    def pieces_of(self, text: str) -> Any:
        """The `Encoding` of a text without special tokens: of all of it, unless `on_long` needs no more than a row."""
        cut: dict[str, Any] = {} if self.on_long == WINDOWS else {"truncation": True, "max_length": self.row_limit + 1}
        return self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False, **cut)[0]

    def windows_of(self, text: str, text_pair: str | None = None) -> list[Row]:
        """A text, or a pair of which the longer text goes on, as rows that overlap by a quarter; `about` is a `Window`.

        Raises:
            InputError: for a pair whose shorter text leaves less than a quarter of a row.
        """
        row = self._encoded(text, text_pair, self.row_limit + 1)
        if len(row.input_ids) <= self.row_limit:
            return [row]
        first, second = (None if each is None else self._ids(each) for each in (text, text_pair))
        assert first is not None
        room = self.row_limit - self.tokenizer.num_special_tokens_to_add(pair=second is not None)
        kept = min(len(first), len(second)) if second is not None else 0
        if room - kept < max(1, room // 4):
            raise InputError(
                f"{self.name}: wanted a shorter text that leaves room for windows over the longer one, got {kept} of "
                f"{room} tokens. Raise max_length, or choose another on_long."
            )
        longer = first if second is None or len(first) > len(second) else second
        windows = windows_over(len(longer), room - kept, max(1, (room - kept) * 3 // 4))
        rows = []
        for window in windows:
            part = longer[window.start : window.end]
            rows.append(self.row_of_ids(*((part, second) if longer is first else (first, part)), about=window))
        return rows

    def as_on_long(self, windows: list[Row], text: str) -> list[Row]:
        """The windows of a text, or what `on_long` says where there are several; raises InputError."""
        if len(windows) == 1 or self.on_long == WINDOWS:
            return windows
        if self.on_long == ERROR:
            raise self.too_long(text)
        return [replace(windows[0], cut=True)]

    def _ids(self, text: str) -> list[int]:
        encoded = self.tokenizer(
            text, add_special_tokens=False, return_token_type_ids=False, return_attention_mask=False, verbose=False
        )
        ids: list[int] = encoded["input_ids"]
        return ids

    def label(self, index: int) -> str:
        """The name that the configuration has for a class."""
        names = self.config.id2label or {}
        return names.get(index, f"LABEL_{index}")


def options_of(task: type[TaskText]) -> list[dataclasses.Field[Any]]:
    """The fields of a task that users may set, the task's own before those of every task."""
    found = [each for each in dataclasses.fields(task) if "kind" in each.metadata]
    return sorted(found, key=lambda each: each.name in TaskText.__dataclass_fields__)


def _check_option(task: str, each: dataclasses.Field[Any], value: Any) -> None:
    kind, choices, least = (each.metadata[name] for name in ("kind", "choices", "least"))
    if value is None and each.default is None:
        return
    right = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if isinstance(value, bool) and kind is not bool:
        right = False
    if kind is tuple and right:
        right = all(isinstance(item, str) for item in value)
    if not right:
        wanted = "a list of strings" if kind is tuple else f"{kind.__name__}"
        raise InputError(f"{task}: {each.name} must be {wanted}, got {value!r}.")
    if choices and value not in choices:
        raise InputError(f"{task}: {each.name} must be one of {', '.join(choices)}, got {value!r}.")
    if least is not None and value < least:
        raise InputError(f"{task}: {each.name} must be at least {least}, got {value!r}.")


def fields_of(name: str, fields: Sequence[Field], item: Any, shared: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The fields of one input, checked: a string is the first field, a tuple several in order, a mapping by name.

    Raises:
        InputError: saying what was wanted and what it got.
    """
    wanted = " and ".join(f.name for f in fields if not f.optional)
    if isinstance(item, Mapping):
        values = dict(item)
    elif isinstance(item, tuple):
        if len(item) > len(fields):
            several = "The words of a text" if any(f.or_words for f in fields) else "Several inputs"
            raise InputError(
                f"{name}: wanted at most {len(fields)} values ({wanted}), got a tuple of {len(item)}. {several} come "
                "as a list."
            )
        values = dict(zip((f.name for f in fields), item, strict=False))
    else:
        values = {fields[0].name: item}
    values = {**(shared or {}), **values}
    known = {f.name: f for f in fields}
    if any(f.or_words for f in fields):
        values = _words_as_text(values, fields)
    for key, value in list(values.items()):
        if key not in known:
            raise InputError(f"{name}: wanted an input with {', '.join(known)}, got {key!r} too. Leave it out.")
        if known[key].several or known[key].or_words:
            value = values[key] = listed(value)
        if known[key].by_commas and isinstance(value, str):
            value = values[key] = split_at_commas(value)
        if isinstance(value, _BYTES):
            raise InputError(f"{name}: {key} must be text, got {_brief(value)}. Decode it: value.decode('utf-8').")
        if known[key].several or (known[key].or_words and isinstance(value, list | tuple)):
            if isinstance(value, str) or not isinstance(value, Sequence) or not value:
                raise InputError(f"{name}: {key} must be a list of texts, got {_brief(value)}.")
            texts = list(value)
        else:
            texts = [value]
        for text in texts:
            if not isinstance(text, str) and not (text is None and known[key].optional):
                raise InputError(f"{name}: {key} must be text, got {_brief(text)}.{_what_to_do(text)}")
    missing = [f.name for f in fields if not f.optional and f.name not in values]
    if missing:
        got = ", ".join(values) or "nothing"
        raise InputError(f"{name}: wanted {wanted}, got {got}; {' and '.join(missing)} missing.")
    return values


def _words_as_text(values: dict[str, Any], fields: Sequence[Field]) -> dict[str, Any]:
    """The fields with a list of words under the name of the text that they are."""
    name = next(f.name for f in fields if f.or_words)
    other = next((key for key in WORDS if isinstance(listed(values.get(key)), list | tuple)), None)
    if other is None or name in values:
        return values
    return {name if key == other else key: value for key, value in values.items()}


def split_at_commas(text: str) -> list[str]:
    """The texts between commas, without spaces around them."""
    return [each.strip() for each in text.split(",") if each.strip()]


def _what_to_do(value: Any) -> str:
    """How something that is no text becomes one, where that is known."""
    if isinstance(value, _BYTES):
        return " Decode it: value.decode('utf-8')."
    return " Two texts that belong together come as a tuple or a mapping." * isinstance(value, list | tuple)


def _brief(value: Any) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown[:60]}{'...' if len(shown) > 60 else ''}"
