"""How long sequences are cut and short ones filled, as arithmetic on lengths and lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import TokenizerError

NO_LIMIT = int(1e30)  # what transformers writes for "no model_max_length"


@dataclass(frozen=True)
class Cut:
    """What truncation keeps of two sequences, and what it reports as overflowing: slices of each."""

    first: slice
    second: slice
    overflow: tuple[int, slice] | None = None  # (0 or 1 for the sequence, slice of it)

    def surround(
        self, first: list[Any], second: list[Any] | None, start: Any, end: Any, add_special_tokens: bool = True
    ) -> list[Any]:
        """What is kept of both, with `start` at the place of [CLS] and `end` at those of [SEP]."""
        first = first[self.first]
        if second is None:
            return [start, *first, end] if add_special_tokens else first
        second = second[self.second]
        return [start, *first, end, *second, end] if add_special_tokens else first + second


KEEP_ALL = Cut(slice(None), slice(None))


def cut_lengths(first: int, second: int | None, remove: int, strategy: str, side: str, stride: int = 0) -> Cut:
    """Which tokens of sequences of these lengths stay when `remove` of them must go.

    "longest_first" takes tokens from the longer one until both are equal, then from both in turn. Raises
    `TokenizerError` when the strategy cannot remove that many.
    """
    if remove <= 0 or strategy == "do_not_truncate":
        return KEEP_ALL
    if strategy == "longest_first" and second is not None:
        from_longer = min(abs(first - second), remove)
        rest = remove - from_longer
        if first > second:
            from_first, from_second = from_longer + rest // 2, rest - rest // 2
        else:
            from_first, from_second = rest // 2, from_longer + rest - rest // 2
        if from_first > first or from_second > second:
            raise _too_short(strategy, remove, f"the texts have {first} and {second}")
        return Cut(_kept(first, from_first, side), _kept(second, from_second, side))
    if strategy == "only_second" and second is None:
        raise TokenizerError(
            "truncation='only_second': wanted a second text to shorten, got only one."
            " Use truncation='only_first' or True."
        )
    index, length = (1, second or 0) if strategy == "only_second" else (0, first)
    if remove > length or (remove == length and strategy != "longest_first"):
        raise _too_short(strategy, remove, f"the {('first', 'second')[index]} text has {length}")
    kept = _kept(length, remove, side)
    window = min(length, stride + remove)
    overflow = slice(0, window) if side == "left" else slice(length - window, length)
    return Cut(slice(None), kept, (1, overflow)) if index else Cut(kept, slice(None), (0, overflow))


def _kept(length: int, remove: int, side: str) -> slice:
    if side == "left":  # counted from the end, where a text that was cut and the whole one are the same
        return slice(remove - length, None) if remove < length else slice(0, 0)
    return slice(0, length - remove)


def _too_short(strategy: str, remove: int, lengths: str) -> TokenizerError:
    return TokenizerError(
        f"truncation={strategy!r}: {remove} tokens must go to fit max_length, but {lengths}."
        " Raise max_length, or use a strategy that may shorten the other text ('longest_first')."
    )


def padded_length(
    length: int, padding: str, longest: int, max_length: int | None, pad_to_multiple_of: int | None
) -> int:
    """Length that a sequence of `length` gets; it is never shortened."""
    if padding == "do_not_pad":
        return length
    target = longest if padding == "longest" or max_length is None else max_length
    if pad_to_multiple_of:
        target = -(-target // pad_to_multiple_of) * pad_to_multiple_of
    return max(length, target)


def fill(values: list[Any], filler: Any, length: int, side: str) -> list[Any]:
    """`values` with `filler` added on `side` up to `length`."""
    missing = length - len(values)
    if missing <= 0:
        return values
    return [filler] * missing + values if side == "left" else values + [filler] * missing
