"""What the values in a tokenizer's files and keywords must be: read one by one, and refused by file and key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import TokenizerError
from .added_tokens import ADDITIONAL, EXTRA, SPECIAL_TOKEN_NAMES, AddedToken
from .padding_truncation import NO_LIMIT

MOST = (1 << 31) - 1  # ids and types are 32-bit integers in TensorFlow


def read_values(place: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a file or of keywords, as they are used; keys without a rule are passed on.

    Raises `TokenizerError` naming `place` and key for a value of another type.
    """
    return {
        name: _KINDS[name](f"{place}: {name}", value) if name in _KINDS else value for name, value in values.items()
    }


def read_added(place: str, tokens: Any) -> dict[int, AddedToken]:
    """Added tokens by id, from an object of tokens by id. Raises `TokenizerError` naming `place`."""
    return numbered(place, _mapping(place, {} if tokens is None else tokens).items())


def numbered(place: str, tokens: Iterable[tuple[Any, Any]]) -> dict[int, AddedToken]:
    """Added tokens by id, of which each stands once, from (id, token). Raises `TokenizerError` naming `place`."""
    found: dict[int, AddedToken] = {}
    for index, value in tokens:
        token = AddedToken.of(_token(place, value))
        number = read_id(f"{place}: {token.content!r}", index)
        if found.setdefault(number, token) != token:
            raise TokenizerError(f"{place}: wanted one token with the id {number}, got {found[number]} and {token}.")
    return found


def read_id(place: str, index: Any) -> int:
    """An id, which is text where it is the key of a JSON object. Raises `TokenizerError` naming `place`."""
    number = int(index) if isinstance(index, str) and index.isdecimal() and len(index) < 20 else index
    return whole_number(place, number)


def read_vocabulary_ids(place: str, vocabulary: Any) -> dict[str, int]:
    """A vocabulary, text to id, in which no id stands twice. Raises `TokenizerError` naming `place`."""
    vocabulary = _mapping(place, vocabulary)
    for token, index in vocabulary.items():
        if type(index) is not int or not 0 <= index <= MOST:
            raise _unfit(f"{place}: {token!r}", f"an id from 0 to {MOST}", index)
    if len(set(vocabulary.values())) < len(vocabulary):
        seen: dict[int, str] = {}
        first, second, index = next((seen[i], t, i) for t, i in vocabulary.items() if seen.setdefault(i, t) != t)
        raise TokenizerError(f"{place}: wanted ids of their own, got {first!r} and {second!r} with the id {index}.")
    return vocabulary


def flag(place: str, value: Any) -> bool:
    """True or False, for which 1 and 0 may stand."""
    if isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise _unfit(place, "true or false", value)


def whole_number(place: str, value: Any) -> int:
    """An integer that is no less than 0 and fits into 32 bits."""
    if (
        isinstance(value, int | float | np.integer)
        and not isinstance(value, bool)
        and 0 <= value <= MOST
        and int(value) == value
    ):
        return int(value)
    raise _unfit(place, f"a whole number from 0 to {MOST}", value)


def text(place: str, value: Any) -> str:
    """Text."""
    if not isinstance(value, str):
        raise _unfit(place, "text", value)
    return value


def mapping_or_nothing(place: str, value: Any) -> Mapping[str, Any]:
    """An object; null is an empty one."""
    return _mapping(place, {} if value is None else value)


def list_or_nothing(place: str, value: Any) -> list[Any]:
    """A list; null is an empty one."""
    if value is not None and not isinstance(value, list):
        raise _unfit(place, "a list", value)
    return value or []


def _mapping(place: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise _unfit(place, "an object", value)
    return value


def _or_none(kind: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda place, value: None if value is None else kind(place, value)


def _length(place: str, value: Any) -> int:
    large = isinstance(value, int | float) and value > MOST  # 1e30 among them, which stands for no limit
    return int(min(value, NO_LIMIT)) if large else whole_number(place, value)


def _side(place: str, value: Any) -> str:
    if value not in ("right", "left"):
        raise TokenizerError(f"{place}: wanted 'right' or 'left', got {value!r}.")
    return value


def _texts(place: str, value: Any) -> list[str]:
    if isinstance(value, Iterable) and not isinstance(value, str | Mapping):
        values = list(value)
        if all(isinstance(item, str) for item in values):
            return values
    raise _unfit(place, "a list of texts", value)


def _some_texts(place: str, value: Any) -> list[str]:
    values = _texts(place, value)
    if not values:
        raise _unfit(place, "one text at least", value)
    return values


def _token(place: str, value: Any) -> Any:
    try:
        AddedToken.of(value)
    except TokenizerError as error:
        raise TokenizerError(f"{place}: {error}") from None
    return value


def _tokens(place: str, value: Any) -> list[Any]:
    if isinstance(value, Mapping) and "content" not in value:  # transformers 5: by name
        value = value.values()
    if not isinstance(value, Iterable) or isinstance(value, str | Mapping):
        raise _unfit(place, "a list of tokens", value)
    return [_token(place, token) for token in value]


def _unfit(place: str, wanted: str, value: Any) -> TokenizerError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."  # a whole vocabulary may stand there
    return TokenizerError(f"{place}: wanted {wanted}, got {type(value).__name__} ({shown}). Correct it.")


_KINDS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(SPECIAL_TOKEN_NAMES, _or_none(_token)),
    **dict.fromkeys((ADDITIONAL, EXTRA), _or_none(_tokens)),
    "added_tokens_decoder": read_added,
    "do_lower_case": flag,
    "do_basic_tokenize": flag,
    "tokenize_chinese_chars": flag,
    "clean_text": flag,
    "strip_accents": _or_none(flag),
    "never_split": _or_none(_texts),
    "wordpieces_prefix": text,
    "max_input_chars_per_word": whole_number,
    "model_max_length": _or_none(_length),
    "max_len": _or_none(_length),
    "padding_side": _side,
    "truncation_side": _side,
    "model_input_names": _some_texts,
    "clean_up_tokenization_spaces": _or_none(flag),
    "split_special_tokens": flag,
    "pad_token_type_id": whole_number,
}
