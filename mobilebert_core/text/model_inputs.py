"""Ids to model inputs: [CLS] A [SEP] B [SEP], cut to length and padded, with their token types and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import TokenizerError
from .encoding import BatchEncoding
from .encoding_options import EncodingOptions
from .padding_truncation import KEEP_ALL, Cut, cut_lengths, fill, padded_length
from .special_tokens import SpecialTokens
from .tensor_conversion import as_lists, tensor_kind

# Column of a batch: what padding puts there. Input ids get the pad token, token types `pad_token_type_id`.
_FILLERS = {"attention_mask": 0, "special_tokens_mask": 1, "offset_mapping": (0, 0)}


class RowFormat(Protocol):
    """What the functions below read of a tokenizer. Users may override them there, as methods."""

    model_input_names: list[str]
    truncation_side: str

    @property
    def cls_token_id(self) -> Any: ...
    @property
    def sep_token_id(self) -> Any: ...
    @property
    def all_special_ids(self) -> list[int]: ...

    def num_special_tokens_to_add(self, pair: bool = False) -> int: ...

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]: ...

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]: ...

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]: ...


def num_special_tokens_to_add(self: RowFormat, pair: bool = False) -> int:
    """3 for a pair, 2 for a single sequence."""
    return 3 if pair else 2


def build_inputs_with_special_tokens(
    self: RowFormat, token_ids_0: list[int], token_ids_1: list[int] | None = None
) -> list[int]:
    """[CLS] A [SEP], or [CLS] A [SEP] B [SEP] for a pair."""
    return KEEP_ALL.surround(token_ids_0, token_ids_1, self.cls_token_id, self.sep_token_id)


def create_token_type_ids_from_sequences(
    self: RowFormat, token_ids_0: list[int], token_ids_1: list[int] | None = None
) -> list[int]:
    """0 for [CLS] A [SEP], then 1 for B [SEP]."""
    return [0] * (len(token_ids_0) + 2) + ([] if token_ids_1 is None else [1] * (len(token_ids_1) + 1))


def get_special_tokens_mask(
    self: RowFormat,
    token_ids_0: list[int],
    token_ids_1: list[int] | None = None,
    already_has_special_tokens: bool = False,
) -> list[int]:
    """1 at special tokens, 0 elsewhere: of the sequence as it will be built, or of the ids as they are."""
    if not already_has_special_tokens:
        second = None if token_ids_1 is None else [0] * len(token_ids_1)
        return KEEP_ALL.surround([0] * len(token_ids_0), second, 1, 1)
    if token_ids_1 is not None:
        raise TokenizerError(
            "get_special_tokens_mask: wanted one sequence with already_has_special_tokens=True, got two."
            " Pass the built pair as token_ids_0."
        )
    special = set(self.all_special_ids)
    return [int(index in special) for index in token_ids_0]


def truncate_sequences(
    self: RowFormat,
    ids: list[int],
    pair_ids: list[int] | None = None,
    num_tokens_to_remove: int = 0,
    truncation_strategy: Any = "longest_first",
    stride: int = 0,
) -> tuple[list[int], list[int] | None, list[int]]:
    """The shortened sequences, and the tokens taken away preceded by `stride` kept ones.

    Pairs cut by "longest_first" report no overflowing tokens. Raises `TokenizerError` when the strategy cannot
    remove that many tokens.
    """
    strategy = getattr(truncation_strategy, "value", truncation_strategy)
    second = None if pair_ids is None else len(pair_ids)
    cut = cut_lengths(len(ids), second, num_tokens_to_remove, strategy, self.truncation_side, stride)
    kept_pair = None if pair_ids is None else pair_ids[cut.second]
    return ids[cut.first], kept_pair, _overflow(ids, pair_ids, cut)


def _overflow(ids: list[int], pair_ids: list[int] | None, cut: Cut) -> list[int]:
    if cut.overflow is None:
        return []
    index, taken = cut.overflow
    return ids[taken] if index == 0 else (pair_ids or [])[taken]


def arrange(
    tokenizer: RowFormat, ids: list[int], pair_ids: list[int] | None, options: EncodingOptions
) -> tuple[dict[str, Any], Cut]:
    """One row, cut and with special tokens but not yet padded; and what was kept of each sequence."""
    pair = pair_ids is not None
    if options.return_overflowing_tokens and pair and options.truncation == "longest_first":
        raise TokenizerError(
            "return_overflowing_tokens: wanted a truncation of one text, got 'longest_first' for a pair."
            " Use truncation='only_first' or 'only_second'."
        )
    length, pair_length = len(ids), None if pair_ids is None else len(pair_ids)
    special = tokenizer.num_special_tokens_to_add(pair) if options.add_special_tokens else 0
    remove = 0 if options.max_length is None else length + (pair_length or 0) + special - options.max_length
    cut = cut_lengths(length, pair_length, remove, options.truncation, tokenizer.truncation_side, options.stride)
    row: dict[str, Any] = {}
    if options.return_overflowing_tokens:
        row["overflowing_tokens"] = _overflow(ids, pair_ids, cut)
        row["num_truncated_tokens"] = remove
    first, second = ids[cut.first], None if pair_ids is None else pair_ids[cut.second]
    if options.add_special_tokens:
        sequence = tokenizer.build_inputs_with_special_tokens(first, second)
        types = tokenizer.create_token_type_ids_from_sequences(first, second)
    else:
        sequence = first + (second or [])
        types = [0] * len(sequence)
    row[tokenizer.model_input_names[0]] = sequence
    if options.return_token_type_ids:
        row["token_type_ids"] = types
    if options.return_special_tokens_mask:
        mask = tokenizer.get_special_tokens_mask(first, second) if options.add_special_tokens else [0] * len(sequence)
        row["special_tokens_mask"] = mask
    if options.return_attention_mask:
        row["attention_mask"] = [1] * len(sequence)
    return row, cut


@dataclass(frozen=True)
class Padding:
    """What padding puts where; `name` is the column of input ids. The pad token's id is looked up when it is needed."""

    special: SpecialTokens
    name: str
    token_type_id: int
    side: str

    def row(self, row: dict[str, Any], options: EncodingOptions, longest: int | None = None) -> None:
        """Pads a row in place, to the length that the options say beside a row of length `longest`."""
        ids = row[self.name]
        longest = len(ids) if longest is None else longest
        target = padded_length(0, options.padding, longest, options.max_length, options.pad_to_multiple_of)
        if options.return_attention_mask and "attention_mask" not in row:
            row["attention_mask"] = [1] * len(ids)
        if options.padding == "do_not_pad" or len(ids) >= target:
            return
        row[self.name] = fill(ids, self.special.id("pad_token"), target, self.side)
        if "token_type_ids" in row:
            row["token_type_ids"] = fill(row["token_type_ids"], self.token_type_id, target, self.side)
        for key, filler in _FILLERS.items():
            if key in row:
                row[key] = fill(row[key], filler, target, self.side)

    def columns(self, rows: Sequence[dict[str, Any]], options: EncodingOptions) -> dict[str, list[Any]]:
        """Columns of the rows, which are padded in place to their common length where the options say so."""
        longest = max((len(row[self.name]) for row in rows), default=0)
        for row in rows:
            self.row(row, options, longest)
        return {key: [row[key] for row in rows] for key in (rows[0] if rows else ())}

    def encodings(self, columns: Mapping[str, Any], options: EncodingOptions, return_tensors: Any) -> BatchEncoding:
        """Columns, or one row, of encoded inputs, padded; tensors in give tensors out. The argument is not changed."""
        data = {key: as_lists(value) for key, value in columns.items()}
        if return_tensors is None:
            first = columns[self.name]
            while isinstance(first, list | tuple) and first:
                first = first[0]
            return_tensors = tensor_kind(first)
        ids = data[self.name]
        if not ids or not isinstance(ids[0], list | tuple):
            self.row(data, options)
            return BatchEncoding(data, tensor_type=return_tensors)
        for key, value in data.items():
            if len(value) != len(ids):
                raise TokenizerError(
                    f"pad: wanted {len(ids)} rows in every column as in {self.name!r}, got {len(value)} in {key!r}."
                    " Drop the column or complete it."
                )
        rows = [{key: value[index] for key, value in data.items()} for index in range(len(ids))]
        return BatchEncoding(self.columns(rows, options), tensor_type=return_tensors)


def as_columns(encoded_inputs: Any, name: str) -> Mapping[str, Any]:
    """Encoded inputs, a mapping or a list of them, as one mapping. Raises `TokenizerError` when `name` is missing."""
    if isinstance(encoded_inputs, list | tuple) and encoded_inputs and isinstance(encoded_inputs[0], Mapping):
        encoded_inputs = {key: [example[key] for example in encoded_inputs] for key in encoded_inputs[0]}
    if not isinstance(encoded_inputs, Mapping) or name not in encoded_inputs:
        got = ", ".join(encoded_inputs) if isinstance(encoded_inputs, Mapping) else type(encoded_inputs).__name__
        raise TokenizerError(
            f"pad: wanted encodings with {name!r}, got {got or 'nothing'}. Pass what the tokenizer returned."
        )
    return encoded_inputs
