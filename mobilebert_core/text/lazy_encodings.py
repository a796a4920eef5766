"""The encodings behind a batch of the pure Python tokenizer, computed only when someone asks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .encoding import Encoding
from .encoding_options import EncodingOptions
from .long_texts import NO_GAPS, RowGaps
from .padding_truncation import Cut, fill
from .text_pieces import Pieces, TextSplitter


@dataclass(frozen=True)
class LazyEncodings:
    """Computes the encodings of a batch when they are first asked for, with the settings that encoded the batch."""

    splitter: TextSplitter
    rows: Sequence[tuple[Any, Any]]
    gaps: Sequence[RowGaps]  # of rows that were cut, else none
    cuts: Sequence[Cut]
    lengths: Sequence[int]
    options: EncodingOptions
    padding_side: str
    cls_token: tuple[str, int]
    sep_token: tuple[str, int]
    pad_token: tuple[str, int]
    pad_type: int

    def __call__(self) -> list[Encoding]:
        gaps = self.gaps or [NO_GAPS] * len(self.rows)
        rows = zip(self.rows, gaps, self.cuts, self.lengths, strict=True)
        return [self._encoding(row, each, cut, length) for row, each, cut, length in rows]

    def _encoding(self, row: tuple[Any, Any], gaps: RowGaps, cut: Cut, length: int) -> Encoding:
        first, second = row
        split_special, special = self.options.split_special_tokens, self.options.add_special_tokens
        a = self.splitter.text_or_words(first, split_special, gaps[0])
        b = None if second is None else self.splitter.text_or_words(second, split_special, gaps[1])

        def column(of: Callable[[Pieces], list[Any]], start: Any, end: Any, pad: Any) -> list[Any]:
            values = cut.surround(of(a), None if b is None else of(b), start, end, special)
            return fill(values, pad, length, self.padding_side)

        ids = column(lambda pieces: pieces.ids, self.cls_token[1], self.sep_token[1], self.pad_token[1])
        sequences = column(lambda pieces: [int(pieces is b)] * len(pieces.ids), None, None, None)
        inside = column(lambda pieces: [1] * len(pieces.ids), 1, 1, 0)
        type_ids = column(lambda pieces: [int(pieces is b and special)] * len(pieces.ids), 0, 0, self.pad_type)
        if b is not None and special:
            last = max(index for index, mask in enumerate(inside) if mask)
            type_ids[last] = 1
        return Encoding(
            ids=ids,
            type_ids=type_ids,
            tokens=column(lambda pieces: pieces.tokens, self.cls_token[0], self.sep_token[0], self.pad_token[0]),
            offsets=column(lambda pieces: pieces.offsets, (0, 0), (0, 0), (0, 0)),
            attention_mask=inside,
            special_tokens_mask=[int(sequence is None) for sequence in sequences],
            word_ids=column(lambda pieces: pieces.words, None, None, None),
            sequence_ids=sequences,
            n_sequences=1 if b is None else 2,
        )
