"""Files of torch.save put together by hand, so that they can say what torch.save never would."""

from __future__ import annotations

import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mobilebert_core.checkpoints.containers.pickle.pickle_file import PickleFile
from mobilebert_core.errors import CheckpointError

NUMBERS = struct.pack("<6f", *range(6))  # of storage "0" in every file made here
MEGABYTE = 1 << 20


def encode(value: Any) -> bytes:
    """Opcodes that make a value; bytes are opcodes already."""
    match value:
        case bytes():
            return value
        case bool():
            return pickle.NEWTRUE if value else pickle.NEWFALSE
        case int():
            return pickle.LONG1 + struct.pack("<B9s", 9, value.to_bytes(9, "little", signed=True))
        case str():
            return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return pickle.MARK + b"".join(map(encode, value)) + pickle.TUPLE
        case dict():
            items = b"".join(encode(part) for item in value.items() for part in item)
            return pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS
    raise TypeError(value)


def named(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def called(function: bytes, *arguments: Any) -> bytes:
    return function + encode(arguments) + pickle.REDUCE


def storage(
    *view: None, key: Any = "0", size: Any = 6, kind: bytes = named("torch", "FloatStorage"), tag: Any = "storage"
) -> bytes:
    """A persistent id; the old format says with a None that it is no view."""
    return encode((tag, kind, key, "cpu", size, *(pickle.NONE for _ in view))) + pickle.BINPERSID


def tensor(*view: Any, of: bytes | None = None) -> bytes:
    """A tensor of `view`: offset, shape and strides, by default all six numbers in two rows."""
    offset, shape, strides = view or (0, (2, 3), (3, 1))
    hooks = called(named("collections", "OrderedDict"))
    rebuild = named("torch._utils", "_rebuild_tensor_v2")
    return called(rebuild, storage() if of is None else of, offset, shape, strides, False, hooks)


def program(value: Any) -> bytes:
    return pickle.PROTO + b"\2" + encode(value) + pickle.STOP


def zip_file(path: Path, content: bytes, byteorder: bytes | None = b"little", **storages: bytes) -> Path:
    """An archive with `content` for its data.pkl; further storages by key."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("any_name/data.pkl", content)
        if byteorder is not None:
            archive.writestr("any_name/byteorder", byteorder)
        for key, numbers in {"0": NUMBERS, **storages}.items():
            archive.writestr(f"any_name/data/{key}", numbers)
        archive.writestr("any_name/version", b"3\n")
    return path


def legacy_file(path: Path, content: bytes, keys: Any = None, numbers: bytes | None = None) -> Path:
    """The format before torch 1.6; with the storage "0" if a tensor of the content has it."""
    used = named("torch", "FloatStorage") in content
    keys = (["0"] if used else []) if keys is None else keys
    numbers = (struct.pack("<q", 6) + NUMBERS if used else b"") if numbers is None else numbers
    head = b"".join(pickle.dumps(item, 2) for item in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    path.write_bytes(head + content + pickle.dumps(keys, 2) + numbers)
    return path


FORMATS = {"zip": zip_file, "legacy": legacy_file}


def refused(path: Path, message: str, memory: int = MEGABYTE) -> None:
    """Asserts that a file is refused with one error that names it, in little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=message) as caught:
            PickleFile(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: wanted a state dict of tensors, got ")
    assert "nothing in it was run" in str(caught.value) and len(str(caught.value)) < 1000
    assert peak < memory, f"{peak:,} bytes"
