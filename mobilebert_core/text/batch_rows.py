"""What callers pass as text, as rows of (text, second text or None)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import TokenizerError
from .encoding_options import EncodingOptions

Row = tuple[Any, Any]
_AS_THEY_ARE = (str, bytes, list, tuple)


def listed(values: Any) -> Any:
    """A list for what other libraries hold texts in: a column of datasets, a Series, an array; else the value itself.

    Anything that is a `Sequence` or turns itself into a list does, so that none of these libraries is imported.
    """
    if values is None or isinstance(values, _AS_THEY_ARE) or is_table(values):
        return values
    for name in ("tolist", "to_pylist", "to_list"):  # numpy, pandas and PyTorch; Arrow; Polars
        if callable(method := getattr(values, name, None)):
            return method()
    return list(values) if isinstance(values, Sequence) else values


def is_table(values: Any) -> bool:
    """Whether something has columns with names, so that it is no list of texts: a DataFrame, a data set, a table."""
    return hasattr(values, "columns") or hasattr(values, "column_names")


def listed_words(values: Any) -> Any:
    """As `listed`, for words or a batch of them: its rows are listed too."""
    values = listed(values)
    if isinstance(values, list | tuple) and values and not isinstance(values[0], str | list | tuple):
        return [listed(row) for row in values]
    return values


def is_batch(text: Any, is_split_into_words: bool) -> bool:
    """True for a list of texts; False for one text, or one list of words."""
    if not isinstance(text, list | tuple):
        return False
    return not is_split_into_words or bool(text and isinstance(text[0], list | tuple))


def paired_rows(texts: Sequence[Any], second_texts: Any) -> list[Row]:
    """The rows of a list of texts and, unless it is None, an equally long list of second texts."""
    if second_texts is None:
        return [(text, None) for text in texts]
    is_list = isinstance(second_texts, list | tuple)
    if not is_list or len(second_texts) != len(texts):
        got = len(second_texts) if is_list else f"one {type(second_texts).__name__}"
        raise TokenizerError(
            f"text_pair: wanted a list of {len(texts)} texts as in `text`, got {got}."
            " Pass one second text for every first one."
        )
    return list(zip(texts, second_texts, strict=True))


def split_rows(items: Any, is_split_into_words: bool) -> list[Row]:
    """The rows of a list whose items are texts or (text, second text).

    Raises `TokenizerError` for no list, and for a list of other than two texts where texts are not split into words.
    """
    if isinstance(items, str) or not isinstance(items, list | tuple):
        raise TokenizerError(
            f"batch_encode_plus: wanted a list, got {type(items).__name__}. Use encode_plus for one text."
        )
    return [_split_pair(number, item, is_split_into_words) for number, item in enumerate(items)]


def _split_pair(number: int, item: Any, words: bool) -> Row:
    if not isinstance(item, list | tuple):
        return item, None
    if words or not any(isinstance(each, str) for each in item):  # words, ids, or a pair of either
        pair = len(item) == 2 and isinstance(item[0], list | tuple)
        return (item[0], item[1]) if pair else (item, None)
    if len(item) != 2:
        raise TokenizerError(
            f"tokenizer, row {number}: wanted a text, or a text and a second one, got a list of {len(item)}."
            " Pass is_split_into_words=True for words, or convert_tokens_to_ids(tokens) for tokens."
        )
    return item[0], item[1]


def is_prepared(text: Any) -> bool:
    """True for tokens or ids in place of text."""
    return isinstance(text, list | tuple)


def check_rows(rows: Sequence[Row], options: EncodingOptions) -> None:
    """Raises `TokenizerError` naming the first row that is not text (words, tokens, ids)."""
    for number, row in enumerate(rows):
        for text in row:
            if isinstance(text, str) and not options.is_split_into_words:
                continue
            kinds = (str,) if options.is_split_into_words else (str, int)
            if isinstance(text, list | tuple) and all(isinstance(item, kinds) for item in text):
                continue
            if text is None and text is not row[0]:
                continue
            wanted = "a list of words" if options.is_split_into_words else "a string"
            hint = "Drop is_split_into_words" if options.is_split_into_words else "Convert it to text"
            raise TokenizerError(
                f"tokenizer, row {number}: wanted {wanted}, got {type(text).__name__} ({str(text)[:60]!r}). {hint}."
            )


def check_room(rows: Sequence[Row], options: EncodingOptions, special_of_one: int, special_of_pair: int) -> None:
    """Raises `TokenizerError` when `max_length` is below the number of special tokens of a row."""
    if options.truncation == "do_not_truncate" or options.max_length is None or not options.add_special_tokens:
        return
    if options.max_length >= special_of_pair:
        return
    special = special_of_pair if any(second is not None for _, second in rows) else special_of_one
    if options.max_length < special:
        raise TokenizerError(
            f"max_length: wanted room for the {special} special tokens, got {options.max_length}."
            " Raise it or pass add_special_tokens=False."
        )
