"""CRC-32C (Castagnoli), the checksum in TensorFlow's files, on numpy alone and near the speed of memory.

A message and its remainder modulo any multiple of the CRC polynomial have the same CRC. We reduce by a sparse
four-term multiple with XORs of array slices until at most 6 kB are left for the table. A table for the whole message,
byte by byte in Python, is more than 100 times slower.

The multiple is x^5685 + x^1362 + x^426 + 1. Its square has four terms as well, with twice the exponents. Squared three
times it has only exponents that are multiples of 8, so that each term is a shift by whole bytes; squared six times it
reduces longer slices.

The multiple was found by `scripts/sparse_crc_multiple.py`: no multiple with four terms has a degree below 5275, and of
all up to degree 6000 this one has the longest slices.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

EXPONENTS = (5685, 1362, 426, 0)  # of the multiple
_WIDE, _NARROW = 8, 1  # bytes that a power of x shifts by, after six squarings and after three
_REACH = EXPONENTS[0] * _WIDE  # bytes over which the wide multiple stretches
_BLOCK = 1 << 18  # bytes folded at a time: they fit in the processor's cache
_ROW = 256  # bytes that one look-up of the table takes
_POLYNOMIAL = 0x82F63B78  # without its x^32, lowest bit the highest power
_ONES = 0xFFFFFFFF
_WORD = 4  # bytes of a checksum


def crc32c(data: bytes | memoryview | NDArray[np.uint8], crc: int = 0) -> int:
    """The CRC-32C of `data`, or of what had the checksum `crc` with `data` after it. Takes less than 1 MB of memory."""
    state = crc ^ _ONES
    size = len(data)
    if size < _WORD:
        table = _byte_table().tolist()
        for byte in bytes(data):
            state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
        return state ^ _ONES
    source = np.frombuffer(data, np.uint8)
    work = np.empty(min(size, _REACH + _BLOCK), np.uint8)
    taken = kept = 0
    while taken < size:
        added = source[taken : taken + len(work) - kept]
        work[kept : kept + len(added)] = added
        if taken == 0:
            work[:_WORD] ^= np.frombuffer(state.to_bytes(_WORD, "little"), np.uint8)
        taken += len(added)
        kept = _fold(work[: kept + len(added)], _WIDE)
    return _remainder(work[: _fold(work[:kept], _NARROW)]) ^ _ONES


def masked(crc: int) -> int:
    """A checksum as LevelDB's and TensorFlow's formats store it, so that checksums of checksums stay good."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & _ONES


def _fold(work: NDArray[np.uint8], power: int) -> int:
    """Shortens `work` in place without changing its remainder; returns the length of what is left at its front."""
    places = [(EXPONENTS[0] - exponent) * power for exponent in EXPONENTS[1:]]  # where a byte that is removed is added
    begin, end = 0, len(work)
    while end - begin > places[-1]:
        stop = min(begin + places[0], end - places[-1])
        for place in places:
            target = work[begin + place : stop + place]
            np.bitwise_xor(target, work[begin:stop], out=target)
        begin = stop
    work[: end - begin] = work[begin:end]
    return end - begin


def _remainder(data: NDArray[np.uint8]) -> int:
    table, first_bytes = _row_table()
    rows = np.zeros(-(-len(data) // _ROW) * _ROW, np.uint8)
    rows[len(rows) - len(data) :] = data  # zeros in front change no remainder
    places = np.arange(0, _ROW * 256, 256) + rows.reshape(-1, _ROW)
    by_first, by_second, by_third, by_fourth = first_bytes
    state = 0
    for row in np.bitwise_xor.reduce(table[places], axis=1).tolist():
        # The state so far is added to the first four bytes of the next row.
        state = (
            row ^ by_first[state & 0xFF] ^ by_second[state >> 8 & 0xFF] ^ by_third[state >> 16 & 0xFF]
            ^ by_fourth[state >> 24]
        )  # fmt: skip
    return state


@cache
def _byte_table() -> NDArray[np.uint32]:
    """The remainder of each byte."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ _POLYNOMIAL, table >> 1)
    return table


@cache
def _row_table() -> tuple[NDArray[np.uint32], list[list[int]]]:
    """The remainder of each byte at each place of a row, flat; and that of the first four places as lists."""
    table = np.empty((_ROW, 256), np.uint32)
    table[-1] = _byte_table()
    for place in range(_ROW - 2, -1, -1):
        table[place] = table[-1][table[place + 1] & 0xFF] ^ (table[place + 1] >> 8)
    return table.ravel(), table[:_WORD].tolist()
