"""Archives of torch.save that lie about their entries, and files of random damage."""

from __future__ import annotations

import functools
import io
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mobilebert_core.checkpoints.containers.pickle.pickle_file import PickleFile
from mobilebert_core.errors import CheckpointError
from tests.core.pickles import MEGABYTE, NUMBERS, encode, legacy_file, program, refused, storage, tensor, zip_file


def patched(path: Path, name: str, offset: int, value: bytes) -> Path:
    """Changes bytes of an entry's description in the directory at the end of an archive."""
    whole = bytearray(path.read_bytes())
    at = whole.rindex(name.encode()) - 46 + offset
    assert whole[at - offset : at - offset + 4] == b"PK\1\2"
    whole[at : at + len(value)] = value
    path.write_bytes(whole)
    return path


CHECKSUM, SIZES, NAME_LENGTH, EXTRA_LENGTH, BEGIN = 16, 20, 28, 30, 42  # in an entry's description


def test_deflated_archives_are_not_inflated(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(100 * MEGABYTE))
    assert (tmp_path / "a.bin").stat().st_size < MEGABYTE
    refused(tmp_path / "a.bin", "entry 'a/data.pkl' is compressed or encrypted")


def test_an_absurd_data_pkl(tmp_path):
    content = program({"a": tensor()}) + bytes(17 * MEGABYTE)
    refused(zip_file(tmp_path / "a.bin", content), "an archive whose data.pkl has 17,.* bytes")


def test_an_absurd_byte_order(tmp_path):
    refused(zip_file(tmp_path / "a.bin", program({"a": tensor()}), b"middle"), "an archive of byte order b'middle'")


@pytest.mark.parametrize(
    ("name", "offset", "value", "message"),
    [
        ("any_name/data/0", SIZES, struct.pack("<II", 2**31, 2**31), "overlaps the next or reaches beyond it"),
        ("any_name/data.pkl", SIZES, struct.pack("<II", 2**31, 2**31), "overlaps the next or reaches beyond it"),
        ("any_name/data/0", SIZES, struct.pack("<II", 25, 25), "overlaps the next or reaches beyond it"),
        ("any_name/data/0", SIZES, struct.pack("<I", 23), "compressed or encrypted"),
        ("any_name/data/0", SIZES, b"\xff" * 8, "overlaps the next or reaches beyond it"),
        ("any_name/data/0", BEGIN, struct.pack("<I", 0), "overlaps the next or reaches beyond it"),
        ("any_name/data/0", BEGIN, struct.pack("<I", 2**31), "overlaps the next or reaches beyond it"),
        ("any_name/data/0", BEGIN, b"\xff" * 4, "overlaps the next or reaches beyond it"),
        ("any_name/data.pkl", BEGIN, struct.pack("<I", 1), "overlaps the next or reaches beyond it"),
        ("any_name/data/0", NAME_LENGTH, b"\xff\xff", "points beyond its end"),
        ("any_name/data/0", 0, b"PK\1\3", "a damaged directory"),
        ("any_name/version", EXTRA_LENGTH, b"\xff\xff", "longer than its entries"),
        ("any_name/data/0", 8, b"\1", "compressed or encrypted"),
    ],
)  # fmt: skip
def test_directories_that_lie(tmp_path, name, offset, value, message):
    refused(patched(zip_file(tmp_path / "a.bin", program({"a": tensor()})), name, offset, value), message)


def test_entries_that_share_bytes(tmp_path):
    """An entry inside another: what a bomb of many names for few bytes is made of."""
    inner = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 24, 24, 15, 0) + b"any_name/data/1" + NUMBERS
    content = program({"a": tensor(), "b": tensor(of=storage(key="1"))})
    path = zip_file(tmp_path / "a.bin", content, **{"1": NUMBERS, "2": inner})
    PickleFile(path).read("b")
    begin = path.read_bytes().index(inner)
    refused(patched(path, "any_name/data/1", BEGIN, struct.pack("<I", begin)), "overlaps the next or reaches beyond it")


def test_entries_of_one_name(tmp_path):
    path = zip_file(tmp_path / "a.bin", program({"a": tensor()}))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("any_name/data/0", NUMBERS[::-1])
    refused(tmp_path / "a.bin", "entry 'any_name/data/0' is there twice")


def test_archives_that_torch_did_not_write(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.bin", "w") as archive:
        archive.writestr("readme.txt", "text")
    refused(tmp_path / "a.bin", "did not write: it has no data.pkl, or more than one")
    with zipfile.ZipFile(zip_file(tmp_path / "a.bin", program({})), "a") as archive:
        archive.writestr("other/data.pkl", program({}))
    refused(tmp_path / "a.bin", "did not write")
    with zipfile.ZipFile(zip_file(tmp_path / "a.bin", program({})), "a") as archive:
        archive.comment = b"of any length"
    refused(tmp_path / "a.bin", "breaks off before its directory")


def test_archives_of_many_entries(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.bin", "w") as archive:
        for number in range(2**16 + 1):
            archive.writestr(str(number), b"")
    refused(tmp_path / "a.bin", "a zip archive of 65,537 entries")


def test_damaged_numbers_are_not_given_out(tmp_path):
    tensors = {"a": torch.arange(6.0), "b": torch.arange(3.0)}
    torch.save(tensors, tmp_path / "a.bin")
    whole = (tmp_path / "a.bin").read_bytes()
    numbers = tensors["a"].numpy().tobytes()
    (tmp_path / "a.bin").write_bytes(whole.replace(numbers, numbers[:-1] + b"\1"))
    file = PickleFile(tmp_path / "a.bin")
    assert file.read("b").tolist() == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(CheckpointError, match="a.bin: wanted the numbers of a, got a zip archive whose entry"):
            file.read("a")


@pytest.mark.parametrize(("offset", "value"), [(0, b"PK\1\2"), (26, b"\1"), (28, b"\xff\xff"), (30, b"another")])
def test_damaged_headers_are_seen_in_reading(tmp_path, offset, value):
    path = zip_file(tmp_path / "a.bin", program({"a": tensor()}))
    whole = bytearray(path.read_bytes())
    header = whole.index(b"any_name/data/0") - 30
    whole[header + offset : header + offset + len(value)] = value
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match="wanted the numbers of a, got a zip archive whose entry .* is damaged"):
        PickleFile(path).read("a")


def test_no_entry_reads_the_next(tmp_path):
    """An archive without checksums must not let a longer header move the numbers."""
    path = patched(zip_file(tmp_path / "a.bin", program({"a": tensor()})), "any_name/data/0", CHECKSUM, bytes(4))
    whole = bytearray(path.read_bytes())
    assert PickleFile(path).read("a").shape == (2, 3)
    whole[whole.index(b"any_name/data/0") - 2] = 1  # the length of its extra field
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match="wanted the numbers of a, got a zip archive whose entry .* is damaged"):
        PickleFile(path).read("a")


def test_damaged_sizes_of_the_old_format_are_seen_in_reading(tmp_path):
    path = legacy_file(tmp_path / "a.bin", program({"a": tensor()}), numbers=struct.pack("<q", 7) + NUMBERS)
    with pytest.raises(CheckpointError, match="a.bin: wanted the numbers of a, got a damaged storage '0'"):
        PickleFile(path).read("a")


def test_a_damaged_pickle_is_not_believed(tmp_path):
    path = zip_file(tmp_path / "a.bin", program({"a": tensor()}))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(encode("a"), encode("b")))
    refused(path, "a zip archive whose entry 'any_name/data.pkl' is damaged")


# --------------------------------------------------------------------------------------------------------- random bytes


@functools.cache
def saved(zipped: bool) -> bytes:
    numbers = torch.arange(6.0)
    state = torch.nn.LayerNorm(3).state_dict()
    state |= {"t": numbers.view(2, 3).t(), "bf": numbers.bfloat16(), "p": torch.nn.Parameter(numbers[1:3])}
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def content(path: Path, whole: bytes) -> dict[str, tuple]:
    path.write_bytes(whole)
    file = PickleFile(path)
    return {n: (stored, file.read(n).tobytes()) for n, stored in file.stored.items()}


CHANGES = st.lists(st.tuples(st.integers(0), st.integers(1, 255)), min_size=1, max_size=3)
FUZZ = settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def changed(whole: bytes, changes: list[tuple[int, int]]) -> bytes:
    found = bytearray(whole)
    for at, difference in changes:
        found[at % len(whole)] ^= difference
    return bytes(found)


@FUZZ
@given(CHANGES)
def test_changed_archives_read_unchanged_or_not_at_all(tmp_path, changes):
    expected = content(tmp_path / "whole.bin", saved(True))
    try:
        found = content(tmp_path / "a.bin", changed(saved(True), changes))
    except CheckpointError:
        return
    assert found == expected


@FUZZ
@given(CHANGES)
def test_changed_files_of_the_old_format_fail_in_one_way(tmp_path, changes):
    """They have no checksum: what changed in the numbers, or in a name, nobody can know."""
    whole = saved(False)
    expected = content(tmp_path / "whole.bin", whole)
    try:
        found = content(tmp_path / "a.bin", changed(whole, changes))
    except CheckpointError:
        return
    numbers = len(whole) - (4 * 8 + 12 + 12 + 24 + 12)  # four storages after their sizes
    if all(at % len(whole) >= numbers for at, _ in changes):
        assert [stored for stored, _ in found.values()] == [stored for stored, _ in expected.values()]
    assert all(len(array) <= 2 * len(whole) for _, array in found.values())


@pytest.mark.parametrize("zipped", [True, False])
def test_no_part_of_a_file_is_taken_for_the_whole(tmp_path, zipped):
    whole = saved(zipped)
    for length in range(len(whole)):
        (tmp_path / "a.bin").write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            PickleFile(tmp_path / "a.bin")
