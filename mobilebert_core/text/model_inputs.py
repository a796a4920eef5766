"""Ids to model inputs: [CLS] A [SEP] B [SEP], cut to length and padded, with their token types and masks."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mobilebert_core.errors import TokenizerError
from mobilebert_core.text.encoding import BatchEncoding
from mobilebert_core.text.padding_truncation import (
    KEEP_ALL,
    Cut,
    EncodingOptions,
    cut_lengths,
    fill,
    padded_length,
    resolve_strategies,
)
from mobilebert_core.text.special_tokens import SpecialTokens
from mobilebert_core.text.tensor_conversion import as_lists, tensor_kind

logger = logging.getLogger(__name__)

# Column of a batch: what padding puts there. Input ids get the pad token, token types `pad_token_type_id`.
_FILLERS = {"attention_mask": 0, "special_tokens_mask": 1, "offset_mapping": (0, 0)}


class ModelInputs(SpecialTokens):
    """The part of a tokenizer that works on ids alone."""

    model_input_names: list[str]
    model_max_length: int
    padding_side: str
    truncation_side: str
    pad_token_type_id: int
    _warned_too_long: bool

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """3 for a pair, 2 for a single sequence."""
        return 3 if pair else 2

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """[CLS] A [SEP], or [CLS] A [SEP] B [SEP] for a pair."""
        return KEEP_ALL.surround(token_ids_0, token_ids_1, self.cls_token_id, self.sep_token_id)

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """0 for [CLS] A [SEP], then 1 for B [SEP]."""
        return [0] * (len(token_ids_0) + 2) + ([] if token_ids_1 is None else [1] * (len(token_ids_1) + 1))

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """1 at special tokens, 0 elsewhere: of the sequence as it will be built, or of the ids as they are."""
        if already_has_special_tokens:
            if token_ids_1 is not None:
                raise TokenizerError(
                    "get_special_tokens_mask: wanted one sequence with already_has_special_tokens=True, got two."
                    " Pass the built pair as token_ids_0."
                )
            special = set(self.all_special_ids)
            return [int(index in special) for index in token_ids_0]
        second = None if token_ids_1 is None else [0] * len(token_ids_1)
        return KEEP_ALL.surround([0] * len(token_ids_0), second, 1, 1)

    def truncate_sequences(
        self,
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

    def prepare_for_model(
        self,
        ids: list[int],
        pair_ids: list[int] | None = None,
        prepend_batch_axis: bool = False,
        return_tensors: Any = None,
        **options: Any,
    ) -> BatchEncoding:
        """Model inputs from ids without special tokens; takes the options of a call of the tokenizer."""
        resolved = self._options(**options)
        row, _ = self._arrange(list(ids), None if pair_ids is None else list(pair_ids), resolved)
        self._pad_row(row, self._target_length(len(row[self.model_input_names[0]]), resolved), resolved)
        if resolved.return_length:
            row["length"] = len(row[self.model_input_names[0]])
        return BatchEncoding(row, tensor_type=return_tensors, prepend_batch_axis=prepend_batch_axis)

    def pad(
        self,
        encoded_inputs: Any,
        padding: Any = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: Any = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Encoded inputs filled up to one length: one mapping, a batch of columns, or a list of mappings (a collator).

        The arguments are not changed. Columns that the tokenizer does not know (labels) are passed on as they are.
        """
        if isinstance(encoded_inputs, list | tuple) and encoded_inputs and isinstance(encoded_inputs[0], Mapping):
            encoded_inputs = {key: [example[key] for example in encoded_inputs] for key in encoded_inputs[0]}
        name = self.model_input_names[0]
        if not isinstance(encoded_inputs, Mapping) or name not in encoded_inputs:
            got = ", ".join(encoded_inputs) if isinstance(encoded_inputs, Mapping) else type(encoded_inputs).__name__
            raise TokenizerError(
                f"pad: wanted encodings with {name!r}, got {got or 'nothing'}. Pass what the tokenizer returned."
            )
        data = {key: as_lists(value) for key, value in encoded_inputs.items()}
        if return_tensors is None:
            first = encoded_inputs[name]
            while isinstance(first, list | tuple) and first:
                first = first[0]
            return_tensors = tensor_kind(first)
        if return_attention_mask is None:
            return_attention_mask = "attention_mask" in self.model_input_names
        padding, _, max_length = resolve_strategies(
            padding, False, max_length, pad_to_multiple_of, self.model_max_length
        )
        self._check_padding(padding)
        options = EncodingOptions(
            padding=padding,
            max_length=max_length,
            pad_to_multiple_of=pad_to_multiple_of,
            return_attention_mask=return_attention_mask,
        )
        ids = data[name]
        if not ids or not isinstance(ids[0], list | tuple):
            self._pad_row(data, self._target_length(len(ids), options), options)
            return BatchEncoding(data, tensor_type=return_tensors)
        for key, value in data.items():
            if len(value) != len(ids):
                raise TokenizerError(
                    f"pad: wanted {len(ids)} rows in every column as in {name!r}, got {len(value)} in {key!r}."
                    " Drop the column or complete it."
                )
        rows = [{key: value[index] for key, value in data.items()} for index in range(len(ids))]
        return BatchEncoding(self._pad_rows(rows, options), tensor_type=return_tensors)

    def _options(self, **passed: Any) -> EncodingOptions:
        raise NotImplementedError

    def _arrange(
        self, ids: list[int], pair_ids: list[int] | None, options: EncodingOptions
    ) -> tuple[dict[str, Any], Cut]:
        """One row, cut and with special tokens but not yet padded; and what was kept of each sequence."""
        pair = pair_ids is not None
        if options.return_overflowing_tokens and pair and options.truncation == "longest_first":
            raise TokenizerError(
                "return_overflowing_tokens: wanted a truncation of one text, got 'longest_first' for a pair."
                " Use truncation='only_first' or 'only_second'."
            )
        special = self.num_special_tokens_to_add(pair) if options.add_special_tokens else 0
        total = len(ids) + (len(pair_ids) if pair_ids is not None else 0) + special
        remove = total - options.max_length if options.max_length is not None else 0
        cut = cut_lengths(
            len(ids),
            None if pair_ids is None else len(pair_ids),
            remove,
            options.truncation,
            self.truncation_side,
            options.stride,
        )
        row: dict[str, Any] = {}
        if options.return_overflowing_tokens:
            row["overflowing_tokens"] = _overflow(ids, pair_ids, cut)
            row["num_truncated_tokens"] = remove
        first, second = ids[cut.first], None if pair_ids is None else pair_ids[cut.second]
        if options.add_special_tokens:
            sequence = self.build_inputs_with_special_tokens(first, second)
            types = self.create_token_type_ids_from_sequences(first, second)
        else:
            sequence = first + (second or [])
            types = [0] * len(sequence)
        row[self.model_input_names[0]] = sequence
        if options.return_token_type_ids:
            row["token_type_ids"] = types
        if options.return_special_tokens_mask:
            mask = self.get_special_tokens_mask(first, second) if options.add_special_tokens else [0] * len(sequence)
            row["special_tokens_mask"] = mask
        if options.return_attention_mask:
            row["attention_mask"] = [1] * len(sequence)
        self._warn_if_too_long(len(sequence), options)
        return row, cut

    def _check_padding(self, padding: str) -> None:
        if padding != "do_not_pad" and self.pad_token is None:
            raise TokenizerError(
                "padding: wanted a pad_token, which this tokenizer lacks. Set one: tokenizer.pad_token = '[PAD]'."
            )

    def _target_length(self, longest: int, options: EncodingOptions) -> int:
        return padded_length(0, options.padding, longest, options.max_length, options.pad_to_multiple_of)

    def _pad_row(self, row: dict[str, Any], target: int, options: EncodingOptions) -> None:
        name = self.model_input_names[0]
        ids = row[name]
        if options.return_attention_mask and "attention_mask" not in row:
            row["attention_mask"] = [1] * len(ids)
        if options.padding == "do_not_pad" or len(ids) >= target:
            return
        row[name] = fill(ids, self.pad_token_id, target, self.padding_side)
        if "token_type_ids" in row:
            row["token_type_ids"] = fill(row["token_type_ids"], self.pad_token_type_id, target, self.padding_side)
        for key, filler in _FILLERS.items():
            if key in row:
                row[key] = fill(row[key], filler, target, self.padding_side)

    def _pad_rows(self, rows: Sequence[dict[str, Any]], options: EncodingOptions) -> dict[str, list[Any]]:
        """Columns of the rows, padded to their common length where the options say so."""
        name = self.model_input_names[0]
        target = self._target_length(max((len(row[name]) for row in rows), default=0), options)
        for row in rows:
            self._pad_row(row, target, options)
        return {key: [row[key] for row in rows] for key in (rows[0] if rows else ())}

    def _warn_if_too_long(self, length: int, options: EncodingOptions) -> None:
        if not options.verbose or options.max_length is not None:
            return
        if length > self.model_max_length and not self._warned_too_long:
            self._warned_too_long = True
            logger.warning(
                "a sequence of %d tokens is longer than model_max_length (%d), which the model will refuse;"
                " pass truncation=True.",
                length,
                self.model_max_length,
            )


def _overflow(ids: list[int], pair_ids: list[int] | None, cut: Cut) -> list[int]:
    if cut.overflow is None:
        return []
    index, taken = cut.overflow
    return ids[taken] if index == 0 else (pair_ids or [])[taken]
