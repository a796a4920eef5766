"""Texts as training data: tokenized in batches, in the background, while the model computes.

`text_dataset` makes a `tf.data.Dataset` of a list of texts; `TextPreprocessor` is mapped over a dataset of the user's
own, or called on texts. Both return int32 input_ids, attention_mask and token_type_ids.

B batch, S sequence. TensorFlow is imported when it is needed: its pipelines feed Keras on every backend.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from mobilebert_core.errors import InputError
from mobilebert_core.inputs import TEXT_INPUTS
from mobilebert_core.text.auto_tokenizer import AutoTokenizer

from ..serialization import serializable

_PREFETCHED = 2  # batches that lie ready: one in use, one to come


@serializable
class TextPreprocessor:
    """Texts to model inputs: on strings, lists, object arrays and string tensors, and in `dataset.map`.

    Called with texts it returns a dict of int32 arrays, (*shape of the texts, S); tensors give tensors. Called with
    more, as `map` does for elements of (texts, labels) or (texts, labels, sample_weight), it returns a tuple with the
    rest unchanged. Pairs come as one tuple of two: ((first, second), labels). Texts of (B, choices) become inputs of
    (B, choices, S). A graph that holds it runs in this process only and cannot be exported.

    Args:
        tokenizer: a tokenizer of this package, or one that is called alike.
        max_length: the longest sequence, beyond which texts are cut; default the tokenizer's model_max_length.
        pad: "longest" pads to the longest of the texts of one call, a whole number to the next multiple of it,
            "max_length" to max_length.

    Raises:
        InputError: for anything but texts, and for no limit of length at all.
    """

    def __init__(self, tokenizer: Any, *, max_length: int | None = None, pad: str | int = "longest") -> None:
        if not callable(tokenizer) or isinstance(tokenizer, str):
            raise InputError(
                f"TextPreprocessor: tokenizer must be a tokenizer, got {tokenizer!r}. Load one by "
                "AutoTokenizer.from_pretrained."
            )
        multiple = isinstance(pad, int) and not isinstance(pad, bool) and pad > 0
        if pad not in ("longest", "max_length") and not multiple:
            raise InputError(f"TextPreprocessor: pad must be 'longest', 'max_length' or a multiple, got {pad!r}.")
        limit = getattr(tokenizer, "model_max_length", None)
        if max_length is None:
            if limit is None or limit > 1e9:
                raise InputError("TextPreprocessor: the tokenizer has no model_max_length. Pass max_length.")
            max_length = int(limit)
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.pad = pad
        if multiple and self.max_length % int(pad):
            raise InputError(
                f"TextPreprocessor: max_length {self.max_length} is no multiple of pad {pad}, so that a long text "
                "could not be cut and padded."
            )

    def __call__(self, texts: Any, *rest: Any) -> Any:
        pair = None
        if isinstance(texts, tuple):
            if len(texts) != 2:
                raise InputError(f"TextPreprocessor: wanted (first, second) texts, got a tuple of {len(texts)}.")
            texts, pair = texts
        if rest and _is_text(rest[0]):
            raise InputError(
                "TextPreprocessor: labels are texts. Pairs of texts come as one tuple: ((first, second), labels)."
            )
        tensors = _is_tensor(texts) or _is_tensor(pair)
        inputs = self._of_tensors(texts, pair) if tensors else self._of_arrays(texts, pair)
        return (inputs, *rest) if rest else inputs

    def _of_arrays(self, texts: Any, pair: Any) -> dict[str, np.ndarray]:
        texts = _text_array(texts, "texts")
        flat = [_string(text) for text in texts.reshape(-1)]
        second = None
        if pair is not None:
            pair = _text_array(pair, "the second texts")
            if pair.shape != texts.shape:
                raise InputError(
                    f"TextPreprocessor: wanted a second text for each first one, got {texts.shape} first texts and "
                    f"{pair.shape} second ones."
                )
            second = [_string(text) for text in pair.reshape(-1)]
        if not flat:
            raise InputError("TextPreprocessor: wanted at least one text, got none.")
        encoded = self.tokenizer(
            flat,
            second,
            padding="max_length" if self.pad == "max_length" else "longest",
            truncation=True,
            max_length=self.max_length,
            pad_to_multiple_of=None if isinstance(self.pad, str) else self.pad,
        )
        return {name: np.asarray(encoded[name], np.int32).reshape(*texts.shape, -1) for name in TEXT_INPUTS}

    def _of_tensors(self, texts: Any, pair: Any) -> dict[str, Any]:
        import tensorflow as tf

        passed = [tf.convert_to_tensor(part) for part in (texts, pair) if part is not None]
        if any(part.dtype != tf.string for part in passed):
            raise InputError(f"TextPreprocessor: wanted texts, got {passed[0].dtype.name} {passed[0].shape}.")

        def run(*parts: np.ndarray) -> list[np.ndarray]:
            columns = self._of_arrays(parts[0], parts[1] if len(parts) > 1 else None)
            return [columns[name] for name in TEXT_INPUTS]

        columns = tf.numpy_function(run, passed, [tf.int32] * len(TEXT_INPUTS), stateful=False)
        length = self.max_length if self.pad == "max_length" else None
        for column in columns:
            if passed[0].shape.rank is not None:
                column.set_shape((*passed[0].shape, length))
        return dict(zip(TEXT_INPUTS, columns, strict=True))

    def get_config(self) -> dict[str, Any]:
        """The tokenizer as the text of its files, and the options."""
        with tempfile.TemporaryDirectory() as folder:
            self.tokenizer.save_pretrained(folder)
            files = {path.name: path.read_text(encoding="utf-8") for path in sorted(Path(folder).iterdir())}
        fast = bool(getattr(self.tokenizer, "is_fast", True))
        return {"tokenizer": files, "use_fast": fast, "max_length": self.max_length, "pad": self.pad}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        config = dict(config)
        files = config.pop("tokenizer")
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                (Path(folder) / Path(name).name).write_text(text, encoding="utf-8")
            tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=config.pop("use_fast"))
        tokenizer.name_or_path = ""  # the folder is gone
        return cls(tokenizer, **config)


def text_dataset(
    texts: Sequence[Any],
    labels: Any = None,
    *,
    tokenizer: Any,
    batch_size: int = 32,
    pairs: Sequence[Any] | None = None,
    sample_weight: Any = None,
    max_length: int | None = None,
    pad: str | int = "longest",
    shuffle: bool = False,
    seed: int | None = None,
    first_pass: int = 0,
    drop_remainder: bool = False,
) -> Any:
    """A `tf.data.Dataset` of batches (inputs, labels) for `fit`, tokenized in the background; without labels, inputs.

    With `shuffle` every pass has an order of its own that follows from `seed` and the number of the pass alone, so
    that a run that goes on at epoch n sees the order of epoch n when `first_pass` is n.

    Args:
        texts: N strings; lists of as many choices each for multiple choice.
        labels: an array of N rows, or a dict or tuple of such.
        pairs: the second text of each, in the form of `texts`.
        sample_weight: N weights.
        max_length: as for `TextPreprocessor`.
        pad: as for `TextPreprocessor`.
        drop_remainder: leaves out a last batch that is not full.

    Raises:
        InputError: for what is no text, and for labels of another number.
    """
    import tensorflow as tf

    preprocessor = TextPreprocessor(tokenizer, max_length=max_length, pad=pad)
    first, second = _checked_texts(texts, pairs)
    rows = len(first)
    for name, number, least in (("batch_size", batch_size, 1), ("first_pass", first_pass, 0)):
        if not isinstance(number, int) or number < least:
            raise InputError(f"text_dataset: {name} must be a whole number from {least}, got {number!r}.")
    answers = _checked_answers(labels, sample_weight, rows)
    seed = int(np.random.default_rng(seed).integers(2**32)) if shuffle else 0
    passes = itertools.count(first_pass)
    batches = rows // batch_size if drop_remainder else -(-rows // batch_size)

    def batch(places: np.ndarray) -> Any:
        inputs = preprocessor(first[places] if second is None else (first[places], second[places]))
        rest = keras.tree.map_structure(lambda array: array[places], answers)
        return (inputs, *rest) if rest else inputs

    def one_pass() -> Iterator[Any]:
        order = np.random.default_rng((seed, next(passes))).permutation(rows) if shuffle else np.arange(rows)
        for start in range(0, batches * batch_size, batch_size):
            yield batch(order[start : start + batch_size])

    size = batch_size if drop_remainder else None
    length = preprocessor.max_length if pad == "max_length" else None
    inputs = {name: tf.TensorSpec((size, *first.shape[1:], length), tf.int32) for name in TEXT_INPUTS}
    rest = keras.tree.map_structure(lambda array: tf.TensorSpec((size, *array.shape[1:]), array.dtype), answers)
    dataset = tf.data.Dataset.from_generator(one_pass, output_signature=(inputs, *rest) if rest else inputs)
    return dataset.apply(tf.data.experimental.assert_cardinality(batches)).prefetch(_PREFETCHED)


def _checked_texts(texts: Any, pairs: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """The texts and their pairs as arrays of strings of one shape."""
    first = _text_array(texts, "texts")
    if first.ndim == 0 or len(first) == 0:
        raise InputError(f"text_dataset: wanted a list of texts, got {'none' if first.ndim else repr(texts)}.")
    second = None if pairs is None else _text_array(pairs, "pairs")
    if second is not None and second.shape != first.shape:
        raise InputError(
            f"text_dataset: wanted a pair for each text, got texts of shape {first.shape} and pairs of {second.shape}."
        )
    for text in itertools.chain(first.flat, () if second is None else second.flat):
        _string(text)
    return first, second


def _checked_answers(labels: Any, sample_weight: Any, rows: int) -> tuple[Any, ...]:
    """Labels and, with them, sample weights as arrays of numbers, one row for each text."""
    if sample_weight is not None and labels is None:
        raise InputError("text_dataset: sample_weight was passed without labels; Keras would ignore it.")
    answers = tuple(
        keras.tree.map_structure_up_to(_arrays_in(part), np.asarray, part)
        for part in (labels, sample_weight)
        if part is not None
    )
    for array in keras.tree.flatten(answers):
        if array.dtype == object or array.dtype.kind in "US":
            raise InputError(
                "text_dataset: labels must be arrays of numbers, got text or lists of different lengths. Numbers of "
                "named classes: [model.config.label2id[name] for name in labels]."
            )
        if array.ndim == 0 or len(array) != rows:
            raise InputError(f"text_dataset: there are {rows} texts, and labels or weights of shape {array.shape}.")
    return answers


def _arrays_in(labels: Any) -> Any:
    """The structure of labels, down to what becomes an array: a list of numbers is one."""
    if isinstance(labels, dict):
        return dict.fromkeys(labels, 0)
    return (0,) * len(labels) if isinstance(labels, tuple) else 0


def _is_tensor(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "tensorflow"


def _is_text(value: Any) -> bool:
    if isinstance(value, str | bytes):
        return True
    if hasattr(value, "dtype"):
        return "string" in str(value.dtype) or getattr(value.dtype, "kind", "") in ("U", "S")
    return isinstance(value, list | tuple) and bool(value) and _is_text(value[0])


def _text_array(texts: Any, name: str) -> np.ndarray:
    """Texts as an array of objects, of whatever form and shape."""
    if isinstance(texts, dict | set) or texts is None:
        raise InputError(f"TextPreprocessor: {name} must be strings, got {type(texts).__name__}.")
    try:
        return np.asarray(texts, dtype=object)
    except ValueError as e:
        raise InputError(f"TextPreprocessor: {name} are lists of different lengths ({e}).") from e


def _string(text: Any) -> str:
    if isinstance(text, bytes):
        try:
            return text.decode("utf-8")
        except UnicodeDecodeError as e:
            raise InputError(f"TextPreprocessor: a text is not UTF-8: {text[:40]!r}.") from e
    if not isinstance(text, str):
        raise InputError(f"TextPreprocessor: wanted strings, got {type(text).__name__} {text!r:.60}.")
    return str(text)
