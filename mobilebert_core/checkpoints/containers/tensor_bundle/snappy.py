"""Snappy's raw format, read only: the index of Google's released checkpoints is compressed with it.

A varint with the length, then elements: bytes as they are, or a copy of bytes already written.
"""

from __future__ import annotations

from ....errors import CheckpointError
from .protobuf_wire import varint


def decompress(data: bytes) -> bytes:
    """The bytes that were compressed. An element makes 64 bytes of three at most, so that memory stays in bounds.

    Raises:
        CheckpointError: the bare fact, when an element points out of the data or the length is not the one declared.
    """
    size, at = varint(data, 0)
    out = bytearray()
    while at < len(data) and len(out) <= size:
        tag, at = data[at], at + 1
        length = (tag >> 2) + 1
        if tag & 3 == 0:
            if length > 60:
                width = length - 60
                length, at = int.from_bytes(data[at : at + width], "little") + 1, at + width
            out += data[at : at + length]
            at += length
            continue
        width = (1, 2, 4)[(tag & 3) - 1]
        back, at = int.from_bytes(data[at : at + width], "little"), at + width
        if width == 1:
            length, back = (tag >> 2 & 7) + 4, tag >> 5 << 8 | back
        if not 0 < back <= len(out):
            raise CheckpointError(f"snappy: a copy from {back} bytes back after {len(out)} bytes")
        begin = len(out) - back
        piece = out[begin : begin + length]
        out += (piece * (length // back + 1))[:length]  # a copy may reach into what it writes itself
    if at != len(data) or len(out) != size:
        raise CheckpointError(f"snappy: {len(out)} bytes were written, {size} were declared")
    return bytes(out)
