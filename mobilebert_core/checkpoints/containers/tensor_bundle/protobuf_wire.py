"""The wire format of protocol buffers: a message is a run of numbered fields, read here without its schema.

    for number, wire, value in fields(message):
        match number, value:
            case 1, bytes(name): ...
            case 2, int(size): ...

Fields that a reader does not know are passed over, as the format asks. Messages inside a message are its `bytes`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ....errors import CheckpointError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MOST = 10  # bytes of a varint: 64 bits, seven a byte


def fields(message: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """(field number, wire type, value) of each field: bytes for BYTES, otherwise an unsigned int (see `signed`).

    Raises:
        CheckpointError: the bare fact, without a file's name, when the bytes are no message.
    """
    at, end = 0, len(message)
    value: int | bytes
    while at < end:
        key, at = varint(message, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise CheckpointError(f"protobuf: field number 0 at byte {at - 1} of a message of {end}")
        if wire == VARINT:
            value, at = varint(message, at)
        elif wire in (BYTES, FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
            if wire == BYTES:
                size, at = varint(message, at)
            if size > end - at:
                raise CheckpointError(f"protobuf: field {number} wants {size} bytes, the message has {end - at} left")
            value = message[at : at + size]
            if wire != BYTES:
                value = int.from_bytes(value, "little")
            at += size
        else:
            raise CheckpointError(f"protobuf: field {number} has the wire type {wire}, which no message here uses")
        yield number, wire, value


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned number at `at`, seven bits a byte and lowest first, and where the next begins.

    Raises:
        CheckpointError: when it does not end within the data or within 64 bits.
    """
    if at < len(data) and data[at] < 0x80:  # most are one byte
        return data[at], at + 1
    value = 0
    for i, byte in enumerate(data[at : at + _MOST]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80 and value < 1 << 64:
            return value, at + i + 1
    raise CheckpointError(f"a number at byte {at} of {len(data)} does not end, or is beyond 64 bits")


def signed(value: int) -> int:
    """The value of an int32, int64 or enum field."""
    return value - (1 << 64) if value >> 63 else value


def encode_varint(value: int) -> bytes:
    """The bytes of an unsigned number."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_field(number: int, value: int | bytes) -> bytes:
    """The bytes of a VARINT field, or of a BYTES field."""
    if isinstance(value, bytes):
        return encode_varint(number << 3 | BYTES) + encode_varint(len(value)) + value
    return encode_varint(number << 3 | VARINT) + encode_varint(value)


def encode_fixed32(number: int, value: int) -> bytes:
    """The bytes of a FIXED32 field."""
    return encode_varint(number << 3 | FIXED32) + value.to_bytes(4, "little")
