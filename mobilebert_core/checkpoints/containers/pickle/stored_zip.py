"""The entries of an uncompressed zip archive, found without touching them.

The standard library's `zipfile` would inflate, follows overlapping entries, and makes an object of half a kilobyte
of every 46 bytes that pretend to be an entry. Archives of `torch.save` need none of that: nothing is compressed, the
directory ends the file, and each entry has bytes of its own.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from .unpickling import Refused

_END = struct.Struct("<4s4H2LH")  # signature, disk, disk of directory, entries here, entries, size, begin, comment
_END_64 = struct.Struct("<4sQ2H2L4Q")  # signature, length, versions, disks, entries here, entries, size, begin
_LOCATOR_64 = struct.Struct("<4sLQL")  # signature, disk, begin of _END_64, disks
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MAX_ENTRIES = 1 << 16


@dataclass(frozen=True, slots=True)
class Entry:
    """`size` bytes in an archive, between their own header and whatever follows them there.

    `checksum` is their CRC-32, 0 where torch left it out.
    """

    name: bytes
    header: int
    limit: int
    size: int
    checksum: int

    def content(self, data: memoryview) -> memoryview:
        """The bytes, not copied.

        Raises:
            Refused: when they are not those that were stored.
        """
        signature, *_, name_length, extra_length = _unpack(_LOCAL, data, self.header)
        named = self.header + _LOCAL.size
        begin = named + name_length + extra_length
        found = data[begin : begin + self.size]
        if (
            signature != b"PK\3\4"
            or data[named : named + name_length] != self.name
            or begin + self.size > self.limit
            or (self.checksum and self.checksum != zlib.crc32(found))
        ):
            raise Refused(f"a zip archive whose entry {_text(self.name)[:80]!r} is damaged")
        return found


def stored_entries(data: memoryview) -> dict[str, Entry]:
    """The entries of an archive by name.

    Raises:
        Refused: when it is damaged, or compressed, or its entries overlap or reach beyond it.
    """
    count, directory, end = _directory(data)
    begin = directory
    found: list[tuple[int, bytes, int, int]] = []
    for _ in range(count):
        fields = _unpack(_ENTRY, data, begin)
        signature, _, _, flags, method, _, _, crc, packed, size, *lengths, _, _, _, header = fields
        if signature != b"PK\1\2":
            raise Refused("a zip archive with a damaged directory")
        named = begin + _ENTRY.size
        name = bytes(data[named : named + lengths[0]])
        size, packed, header = _wide(data, named + lengths[0], lengths[1], size, packed, header)
        begin = named + sum(lengths)
        if method or flags & 1 or packed != size:
            raise Refused(f"a zip archive whose entry {_text(name)[:80]!r} is compressed or encrypted")
        found.append((header, name, size, crc))
    if begin != end:
        raise Refused("a zip archive whose directory is longer than its entries")
    entries: dict[str, Entry] = {}
    limit = directory
    for header, name, size, crc in sorted(found, reverse=True):
        if header + _LOCAL.size + len(name) + size > limit:
            raise Refused(f"a zip archive whose entry {_text(name)[:80]!r} overlaps the next or reaches beyond it")
        if _text(name) in entries:
            raise Refused(f"a zip archive whose entry {_text(name)[:80]!r} is there twice")
        entries[_text(name)] = Entry(name, header, limit, size, crc)
        limit = header
    return entries


def _directory(data: memoryview) -> tuple[int, int, int]:
    """Number of entries, and where their descriptions begin and end."""
    at = len(data) - _END.size
    signature, *_, count, size, begin, _ = _unpack(_END, data, at)
    if signature != b"PK\5\6":
        raise Refused("a zip archive that breaks off before its directory")
    if count == 0xFFFF or 0xFFFFFFFF in (size, begin):
        signature, _, at, _ = _unpack(_LOCATOR_64, data, at - _LOCATOR_64.size)
        signature_64, *_, count, size, begin = _unpack(_END_64, data, at)
        if (signature, signature_64) != (b"PK\6\7", b"PK\6\6"):
            raise Refused("a zip archive that breaks off before its directory")
    if count > _MAX_ENTRIES:
        raise Refused(f"a zip archive of {count:,} entries")
    return count, begin, begin + size


def _wide(data: memoryview, at: int, length: int, *numbers: int) -> list[int]:
    """The numbers of an entry, those that did not fit into 32 bits from its extra field."""
    found = list(numbers)
    wanted = [i for i, number in enumerate(numbers) if number == 0xFFFFFFFF]
    end = at + length
    while wanted and at + 4 <= end:
        tag, size = _unpack(struct.Struct("<HH"), data, at)
        if tag == 1 and size >= 8 * len(wanted):
            for place, i in enumerate(wanted):
                (found[i],) = _unpack(struct.Struct("<Q"), data, at + 4 + 8 * place)
            return found
        at += 4 + size
    return found


def _text(name: bytes) -> str:
    return name.decode(errors="replace")


def _unpack(layout: struct.Struct, data: memoryview, at: int) -> tuple:
    if not 0 <= at <= len(data) - layout.size:
        raise Refused("a zip archive that breaks off or points beyond its end")
    return layout.unpack_from(data, at)
