"""Reads pickled tensors as data: an interpreter of the few opcodes that `torch.save` writes. It runs no code.

An allow-list prevents code execution, but not exhaustion of memory or time. Declared sizes are checked against the
bytes available, and only strings and small integers are accepted as dictionary keys. The number of opcodes is bounded,
and no step recurses, copies a container or looks inside one.

The standard `pickle.Unpickler` with an allow-list is not enough. It hashes a tuple that is nested by references in
exponential time: a file of 307 bytes that uses one as a dictionary key keeps it busy for years. It also allocates what
a file declares: nine bytes (LONG_BINPUT) reserve gigabytes for the memo, thirteen (BINBYTES8) as many for a string.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Name of torch's storage class -> numpy's spelling of its dtype. bfloat16, which numpy lacks, included.
STORAGE_CLASSES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128", "ComplexFloatStorage": "complex64",
}  # fmt: skip
_STORAGES = {f"torch.{name}": dtype for name, dtype in STORAGE_CLASSES.items()}
_STORAGES["torch.storage.UntypedStorage"] = "uint8"  # of the dtypes younger than storage classes
_DTYPES = {f"torch.{name}": name for name in (*STORAGE_CLASSES.values(), "uint16", "uint32", "uint64")}

# A model of 1,123 weights takes 34,000 opcodes in 0.2 MB, with Adam's state 145,000 in 0.5 MB. The worst that this
# many opcodes can make takes 100 MB.
_MAX_OPCODES = 1_000_000
MAX_BYTES = 1 << 24


class Refused(Exception):
    """What a file holds instead of a state dict, as the object of "got ..."; the reader adds where it is."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of numbers elsewhere in the file: `size` elements of `dtype`."""

    key: str
    dtype: str
    size: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage, as claimed by the file: offset and strides count elements of `dtype`."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Global:
    name: str


@dataclass(frozen=True)
class Pickled:
    """A value made of dict, list, tuple, str, int, float, bool, None, `Tensor` and `Storage`; where it ended."""

    value: Any
    storages: dict[str, Storage]
    end: int


def unpickle(data: memoryview, start: int = 0) -> Pickled:
    """The value pickled at `start`, with inert stand-ins for everything that is torch's.

    Raises:
        Refused: when the pickle is damaged, or names a global, an opcode or a persistent id that no state dict has.
    """
    return _Machine(data, start).run()


class _Machine:
    """Pickle's stack machine, protocol 2."""

    def __init__(self, data: memoryview, start: int) -> None:
        self._data, self._at = data, start
        self._end = min(len(data), start + MAX_BYTES)
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._storages: dict[str, Storage] = {}

    def run(self) -> Pickled:
        for _ in range(_MAX_OPCODES):
            opcode = self._take(1)
            if opcode == pickle.STOP:
                return Pickled(self._pop(), self._storages, self._at)
            if (operate := _OPERATIONS.get(opcode)) is None:
                raise Refused(f"a pickle with opcode {opcode!r}, which torch.save does not write")
            operate(self)
        raise Refused(f"a pickle of more than {_MAX_OPCODES:,} steps")

    # ------------------------------------------------------------------------------------- bytes and stack

    def _take(self, count: int) -> bytes:
        begin, self._at = self._at, self._at + count
        if self._at > self._end:
            raise Refused(f"a pickle that claims {count:,} bytes where {self._end - begin:,} are left")
        return self._data[begin : self._at].tobytes()

    def _number(self, layout: str) -> Any:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _line(self) -> str:
        piece = self._data[self._at : min(self._at + 256, self._end)].tobytes()
        length = piece.find(b"\n")
        if length < 0:
            raise Refused("a global whose name does not end")
        self._at += length + 1
        return _text(piece[:length])

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise Refused("a pickle that takes more than it has pushed")
        return self._stack.pop()

    def _top(self, wanted: type) -> Any:
        top = self._pop()
        self._stack.append(top)
        if type(top) is not wanted:
            raise Refused(f"a pickle that fills a value of type {kind(top)} like a {wanted.__name__}")
        return top

    def _pop_marked(self) -> list[Any]:
        if not self._marks:
            raise Refused("a pickle that closes what was not opened")
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    # ------------------------------------------------------------------------------------------- operations

    def _protocol(self) -> None:
        if (protocol := self._take(1)[0]) != 2:
            raise Refused(f"a pickle of protocol {protocol}, where torch.save writes 2")

    def _mark(self) -> None:
        self._marks.append(len(self._stack))

    def _string(self) -> None:
        self._push(_text(self._take(self._number("<I"))))

    def _long(self) -> None:
        self._push(int.from_bytes(self._take(self._take(1)[0]), "little", signed=True))

    def _short_tuple(self, length: int) -> None:
        self._push(tuple([self._pop() for _ in range(length)][::-1]))

    def _put(self, layout: str) -> None:
        value = self._pop()
        self._push(value)
        self._memo[self._number(layout)] = value

    def _get(self, layout: str) -> None:
        if (index := self._number(layout)) not in self._memo:
            raise Refused("a pickle that recalls what it did not put by")
        self._push(self._memo[index])

    def _append(self) -> None:
        item = self._pop()
        self._top(list).append(item)

    def _append_all(self) -> None:
        items = self._pop_marked()
        self._top(list).extend(items)

    def _set(self) -> None:
        value, key = self._pop(), self._pop()
        _set_item(self._top(dict), key, value)

    def _set_all(self) -> None:
        items = self._pop_marked()
        target = self._top(dict)
        if len(items) % 2:
            raise Refused("a dict with a key that has no value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            _set_item(target, key, value)

    def _build(self) -> None:
        """Attributes of an OrderedDict, such as `_metadata`, say nothing of the weights."""
        self._pop()
        self._top(dict)

    def _global(self) -> None:
        name = f"{self._line()}.{self._line()}"
        if name not in _CALLS and name not in _STORAGES and name not in _DTYPES:
            raise Refused(f"the global {name!r}")
        self._push(_Global(name))

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if type(function) is not _Global or function.name not in _CALLS:
            called = repr(function.name) if type(function) is _Global else f"a value of type {kind(function)}"
            raise Refused(f"a call of {called}")
        if type(arguments) is not tuple:
            raise Refused(f"a call of {function.name!r} with arguments of type {kind(arguments)}")
        self._push(_CALLS[function.name](arguments))

    def _persistent(self) -> None:
        match self._pop():
            case ("storage", _Global(name), str(key), str(), int(size), *rest) if (
                name in _STORAGES and 0 <= size < 2**63 and type(size) is int and rest in ([], [None])
            ):
                storage = Storage(key, _STORAGES[name], size)
            case (str(tag), *_):
                raise Refused(f"a persistent id {tag[:40]!r}, which is no whole storage")
            case other:
                raise Refused(f"a persistent id of type {kind(other)}")
        if self._storages.setdefault(key, storage) != storage:
            raise Refused(f"two descriptions of storage {key[:40]!r}")
        self._push(storage)


def kind(value: Any) -> str:
    """What messages call a value: its type, never its content, which may be anything."""
    return type(value).__name__.lstrip("_").lower()


def _kinds(values: tuple[Any, ...]) -> str:
    return ", ".join(map(kind, values[:8])) or "nothing"


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Refused("text that is not UTF-8") from None


def _set_item(target: dict[Any, Any], key: Any, value: Any) -> None:
    # Optimizers number their states. No other keys, and no large ones: their hashes can be made to collide.
    if type(key) is not str and not (type(key) is int and 0 <= key < 2**31):
        raise Refused(f"a dict with a key of type {kind(key)}")
    if key in target:
        raise Refused(f"the key {str(key)[:200]!r} twice")
    target[key] = value


# ---------------------------------------------------------------------------------------------- stand-ins for calls


def _empty(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if arguments:
        raise Refused("an OrderedDict that does not start empty")
    return {}


def _tensor(arguments: tuple[Any, ...]) -> Tensor:
    match arguments:  # then requires_grad and hooks, which say nothing of the values, and metadata, which does
        case (Storage() as storage, int(offset), tuple(shape), tuple(strides), *rest) if not any(rest[2:]):
            return _view(storage, storage.dtype, offset, shape, strides)
    raise Refused(f"a tensor made of {_kinds(arguments)}")


def _tensor_of_dtype(arguments: tuple[Any, ...]) -> Tensor:
    match arguments:
        case (Storage() as storage, int(offset), tuple(shape), tuple(strides), _, _, _Global(name), *rest) if (
            name in _DTYPES and not any(rest)
        ):
            return _view(storage, _DTYPES[name], offset, shape, strides)
    raise Refused(f"a tensor made of {_kinds(arguments)}")


def _view(storage: Storage, dtype: str, offset: int, shape: tuple[Any, ...], strides: tuple[Any, ...]) -> Tensor:
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or len(shape) > 32:
        raise Refused(f"a tensor of {len(shape)} sizes and {len(strides)} strides")
    if not all(type(n) is int and 0 <= n < 2**63 for n in numbers):
        raise Refused("a tensor whose offset, sizes or strides are not numbers from 0 to 2^63")
    return Tensor(storage, dtype, offset, shape, strides)


def _parameter(arguments: tuple[Any, ...]) -> Tensor:
    match arguments:
        case (Tensor() as tensor, *_):
            return tensor
    raise Refused(f"a parameter made of {_kinds(arguments)}")


def _as_arguments(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return arguments


_CALLS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "collections.OrderedDict": _empty,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_dtype,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    # What training loops keep beside the weights; nobody reads it.
    "collections.Counter": _as_arguments,
    "torch.Size": _as_arguments,
    "torch.device": _as_arguments,
}

_OPERATIONS: dict[bytes, Callable[[_Machine], None]] = {
    pickle.PROTO: _Machine._protocol,
    pickle.MARK: _Machine._mark,
    pickle.NONE: lambda machine: machine._push(None),
    pickle.NEWTRUE: lambda machine: machine._push(True),
    pickle.NEWFALSE: lambda machine: machine._push(False),
    pickle.BININT: lambda machine: machine._push(machine._number("<i")),
    pickle.BININT1: lambda machine: machine._push(machine._number("<B")),
    pickle.BININT2: lambda machine: machine._push(machine._number("<H")),
    pickle.LONG1: _Machine._long,
    pickle.BINFLOAT: lambda machine: machine._push(machine._number(">d")),
    pickle.BINUNICODE: _Machine._string,
    pickle.EMPTY_TUPLE: lambda machine: machine._push(()),
    pickle.EMPTY_LIST: lambda machine: machine._push([]),
    pickle.EMPTY_DICT: lambda machine: machine._push({}),
    pickle.TUPLE: lambda machine: machine._push(tuple(machine._pop_marked())),
    pickle.TUPLE1: lambda machine: machine._short_tuple(1),
    pickle.TUPLE2: lambda machine: machine._short_tuple(2),
    pickle.TUPLE3: lambda machine: machine._short_tuple(3),
    pickle.BINPUT: lambda machine: machine._put("<B"),
    pickle.LONG_BINPUT: lambda machine: machine._put("<I"),
    pickle.BINGET: lambda machine: machine._get("<B"),
    pickle.LONG_BINGET: lambda machine: machine._get("<I"),
    pickle.APPEND: _Machine._append,
    pickle.APPENDS: _Machine._append_all,
    pickle.SETITEM: _Machine._set,
    pickle.SETITEMS: _Machine._set_all,
    pickle.BUILD: _Machine._build,
    pickle.GLOBAL: _Machine._global,
    pickle.REDUCE: _Machine._reduce,
    pickle.BINPERSID: _Machine._persistent,
}
