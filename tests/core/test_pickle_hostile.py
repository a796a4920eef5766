"""Damaged and crafted files of torch.save: one error each, nothing run, little memory, whatever the bytes say."""

from __future__ import annotations

import pickle
import struct
import time
import tracemalloc

import numpy as np
import pytest
import torch

from mobilebert_core.checkpoints.containers.pickle import unpickling as inert_pickle
from mobilebert_core.checkpoints.containers.pickle.pickle_file import PickleFile
from tests.core.pickles import (
    FORMATS,
    MEGABYTE,
    NUMBERS,
    called,
    encode,
    legacy_file,
    named,
    program,
    refused,
    storage,
    tensor,
    zip_file,
)  # fmt: skip


@pytest.fixture(params=FORMATS)
def write(request, tmp_path):
    """Writes a file of either format around a pickle."""
    return lambda content: FORMATS[request.param](tmp_path / "pytorch_model.bin", content)


@pytest.mark.parametrize("format", FORMATS)
def test_files_made_by_hand_are_sound(tmp_path, format):
    """Else each of them could be refused for another reason than the one it is tested for."""
    for of in [storage(), storage(None)] if format == "legacy" else [storage()]:
        path = FORMATS[format](tmp_path / "a.bin", program({"a": tensor(of=of)}))
        assert PickleFile(path).read("a").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert np.array_equal(torch.load(path)["a"].numpy(), PickleFile(path).read("a"))


# --------------------------------------------------------------------------------------------------- nothing is run

SYSTEM = named("os", "system")
TOUCH = "touch {}"

# Every way by which a pickle can reach a function, and what the message names. {} is the command.
ATTACKS = {
    "reduce": (lambda c: called(SYSTEM, c), "the global 'os.system'"),
    "posix": (lambda c: called(named("posix", "system"), c), "the global 'posix.system'"),
    "eval": (lambda c: called(named("builtins", "eval"), f"__import__('os').system({c!r})"), "'builtins.eval'"),
    "python 2": (lambda c: called(named("__builtin__", "exec"), f"__import__('os').system({c!r})"), "__builtin__.exec"),
    "stack global": (lambda c: called(encode("os") + encode("system") + pickle.STACK_GLOBAL, c), r"opcode b'\\x93'"),
    "instance": (lambda c: pickle.MARK + encode(c) + b"ios\nsystem\n", "opcode b'i'"),
    "object": (lambda c: pickle.MARK + SYSTEM + encode(c) + pickle.OBJ, "the global 'os.system'"),
    "new object": (lambda c: named("subprocess", "Popen") + encode((c,)) + pickle.NEWOBJ, "'subprocess.Popen'"),
    "extension": (lambda c: pickle.EXT1 + b"\1", r"opcode b'\\x82'"),
    "alias": (lambda c: called(named("torch._utils", "os.system"), c), "'torch._utils.os.system'"),
    "attribute": (lambda c: named("torch._utils", "_rebuild_tensor_v2.__globals__"), "_rebuild_tensor_v2.__globals__"),
    "builtin attribute": (lambda c: called(named("builtins", "getattr"), {}, "clear"), "'builtins.getattr'"),
    "loader": (lambda c: called(named("torch.storage", "_load_from_bytes"), c), "'torch.storage._load_from_bytes'"),
    "hub": (lambda c: called(named("torch.hub", "load"), c), "'torch.hub.load'"),
    "import": (lambda c: named("this", "s"), "the global 'this.s'"),
    "class": (lambda c: called(named("torch", "FloatStorage"), 10**12), "a call of 'torch.FloatStorage'"),
    "string": (lambda c: called(encode("os.system"), c), "a call of a value of type str"),
    "module": (lambda c: encode(("module", SYSTEM, c, c)) + pickle.BINPERSID, "the global 'os.system'"),
    "state": (lambda c: tensor() + encode({"__setstate__": c}) + pickle.BUILD, "fills a value of type tensor"),
    "call of a result": (lambda c: called(tensor(), c), "a call of a value of type tensor"),
}


def test_the_payload_would_run(tmp_path):
    pickle.loads(program(called(SYSTEM, TOUCH.format(tmp_path / "ran"))))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("place", ["value", "weight", "metadata", "optimizer"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_is_run(write, tmp_path, attack, place):
    make, message = ATTACKS[attack]
    payload = make(TOUCH.format(tmp_path / "ran"))
    content = {
        "value": lambda: program(payload),
        "weight": lambda: program({"a": tensor(), "b": payload}),
        "metadata": lambda: program(called(named("collections", "OrderedDict")) + payload + pickle.BUILD),
        "optimizer": lambda: program({"model": {"a": tensor()}, "optimizer": {"state": payload}}),
    }[place]()
    refused(write(content), message)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("part", range(5))
def test_nothing_is_run_in_any_part_of_the_old_format(tmp_path, part):
    parts = [pickle.dumps(item, 2) for item in (0x1950A86A20F9469CFC6C, 1001, {})]
    parts += [program({"a": tensor()}), pickle.dumps(["0"], 2)]
    parts[part] = program(called(SYSTEM, TOUCH.format(tmp_path / "ran")))
    path = tmp_path / "a.bin"
    path.write_bytes(b"".join(parts) + struct.pack("<q", 6) + NUMBERS)
    refused(path, "the global 'os.system'")
    assert not (tmp_path / "ran").exists()


def test_a_whole_model_is_refused_by_its_name(tmp_path):
    torch.save(torch.nn.Linear(2, 3), tmp_path / "a.bin")
    refused(tmp_path / "a.bin", r"the global 'torch.nn.modules.linear.Linear'.*save model.state_dict\(\) alone")


# ----------------------------------------------------------------------------------------------------- what is wanted


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((tensor(),), "got a value of type tuple"),
        (tensor(), "got a value of type tensor"),
        (storage(), "got a value of type storage"),
        ({"a": tensor(), "step": 3}, "'step' of type int"),
        ({"a": tensor(), "b": {"c": tensor()}}, "'b' of type dict"),
        ({"a": storage()}, "'a' of type storage"),
        ({3: tensor()}, "a name of type int"),
        ({"model": {"a": tensor()}, 3: 4}, "a name of type int beside 'model'"),
        ({"model": {3: tensor()}, "epoch": 3}, "under 'model' a name of type int"),
        ({"model": {"a": tensor(), "n": 3}, "epoch": 3}, "under 'model' 'n' of type int"),
        ({"model": "a name", "epoch": 3}, "under 'model' a value of type str"),
        ({"model": {"a": tensor()}, "state_dict": {"a": tensor()}}, r"under each of \['state_dict', 'model'\]"),
        ({("a",): tensor()}, "a dict with a key of type tuple"),
        ({pickle.NONE: tensor()}, "a dict with a key of type nonetype"),
        ({True: tensor()}, "a dict with a key of type bool"),
        ({2**61 - 1: tensor()}, "a dict with a key of type int"),
        ({"a": tensor(), encode("a"): tensor()}, "the key 'a' twice"),
        ({"model": {"a": tensor()}, "notes": {"x": 1, encode("x"): 2}}, "the key 'x' twice"),
        (called(named("collections", "OrderedDict"), ()), "an OrderedDict that does not start empty"),
    ],
)
def test_other_values_than_tensors_by_name(write, value, message):
    refused(write(program(value)), message)


REBUILD = named("torch._utils", "_rebuild_tensor_v2")
REBUILD_3 = named("torch._utils", "_rebuild_tensor_v3")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (tensor(-1, (2,), (1,)), "not numbers from 0 to 2.63"),
        (tensor(0, (-2,), (1,)), "not numbers from 0 to 2.63"),
        (tensor(5, (2,), (-1,)), "not numbers from 0 to 2.63"),
        (tensor(0, (2**63,), (0,)), "not numbers from 0 to 2.63"),
        (tensor(False, (2,), (1,)), "not numbers from 0 to 2.63"),
        (tensor(0, ("2",), (1,)), "not numbers from 0 to 2.63"),
        (tensor(0, (2, 3), (1,)), "a tensor of 2 sizes and 1 strides"),
        (tensor(0, (1,) * 33, (1,) * 33), "a tensor of 33 sizes"),
        (tensor(0, 6, 1), "a tensor made of storage, int, int, int"),
        (tensor(0, (6,), (1,), of=encode("0")), "a tensor made of str, int, tuple, tuple"),
        (tensor(0, (7,), (1,)), r"'a' of shape \(7,\), which reaches beyond its storage of 24 bytes"),
        (tensor(1, (2, 3), (3, 1)), "beyond its storage"),
        (tensor(0, (2, 3), (4, 1)), "beyond its storage"),
        (tensor(6, (), ()), "beyond its storage"),
        (tensor(0, (2,), (2**62,)), "beyond its storage"),
        (tensor(0, (2**40,), (0,)), "which is larger than the file"),
        (tensor(0, (2**40, 0), (0, 0)), "which is larger than the file"),
        (tensor(0, (2**21, 2**21, 2**21), (0, 0, 0)), "which is larger than the file"),
        (tensor(of=storage(size=-1)), "a persistent id 'storage', which is no whole storage"),
        (tensor(of=storage(size="6")), "a persistent id 'storage', which is no whole storage"),
        (tensor(of=storage(key=0)), "a persistent id 'storage', which is no whole storage"),
        (tensor(of=storage(kind=encode("FloatStorage"))), "a persistent id 'storage', which is no whole storage"),
        (tensor(of=storage(kind=named("torch", "Size"))), "a persistent id 'storage', which is no whole storage"),
        (tensor(of=storage(tag="module")), "a persistent id 'module', which is no whole storage"),
        (tensor(of=encode(3) + pickle.BINPERSID), "a persistent id of type int"),
        (tensor(of=encode("0") + pickle.BINPERSID), "a persistent id of type str"),
        (called(named("torch._utils", "_rebuild_parameter"), 3, True), "a parameter made of int, bool"),
        (called(REBUILD), "a tensor made of nothing"),
        (called(REBUILD, storage(), 0, (), (), False, {}, {"conj": True}), "tuple, tuple, bool, dict, dict"),
        (called(REBUILD_3, storage(), 0, (), (), False, {}, "float32"), "tuple, tuple, bool, dict, str"),
        (called(REBUILD_3, storage(), 0, (), (), False, {}, named("torch", "float32"), {"neg": True}), "global, dict"),
        (tensor(of=storage(None, None)), "a persistent id 'storage', which is no whole storage"),
    ],
)  # fmt: skip
def test_views_that_are_none(write, bad, message):
    refused(write(program({"a": bad})), message)


def test_a_storage_described_twice(write):
    doubles = storage(kind=named("torch", "DoubleStorage"))
    refused(write(program({"a": tensor(), "b": tensor(of=doubles)})), "two descriptions of storage '0'")


def test_storages_that_are_not_there(tmp_path):
    other = program({"a": tensor(), "b": tensor(of=storage(key="1"))})
    refused(zip_file(tmp_path / "a.bin", other), "a storage '1' of 24 bytes that is not in the file as such")
    refused(zip_file(tmp_path / "a.bin", program({"a": tensor()}), **{"0": NUMBERS[:-4]}), "not in the file as such")
    refused(zip_file(tmp_path / "a.bin", program({"a": tensor(of=storage(size=2**60))})), "not in the file as such")
    refused(legacy_file(tmp_path / "a.bin", other), r"\d+ bytes where 2 storages need \d+")


@pytest.mark.parametrize(
    ("keys", "numbers", "message"),
    [
        (["0"], struct.pack("<q", 6) + NUMBERS[:-1], r"\d+ bytes where 1 storages need \d+"),
        (["0"], struct.pack("<q", 6) + NUMBERS + b"more", r"\d+ bytes where 1 storages need \d+"),
        (["0"], b"", r"\d+ bytes where 1 storages need \d+"),
        (["0", "0"], (struct.pack("<q", 6) + NUMBERS) * 2, "a storage '0' that no tensor has, or that comes twice"),
        (["1"], struct.pack("<q", 6) + NUMBERS, "a storage '1' that no tensor has"),
        ([0], struct.pack("<q", 6) + NUMBERS, "without a list of their keys"),
        ({"0": 0}, struct.pack("<q", 6) + NUMBERS, "without a list of their keys"),
    ],
)
def test_storages_of_the_old_format(tmp_path, keys, numbers, message):
    refused(legacy_file(tmp_path / "a.bin", program({"a": tensor()}), keys, numbers), message)


def test_the_old_format_of_another_program(tmp_path):
    (tmp_path / "a.bin").write_bytes(pickle.dumps({"a": 1}, 2))
    refused(tmp_path / "a.bin", "a pickle that claims 1 bytes where 0 are left")
    (tmp_path / "a.bin").write_bytes(pickle.dumps(1, 2) * 5)
    refused(tmp_path / "a.bin", "its magic number is another")
    for whole in (b"", b"version https://git-lfs.github.com/spec/v1\n", pickle.dumps({}, 5)):
        (tmp_path / "a.bin").write_bytes(whole)
        refused(tmp_path / "a.bin", "neither a zip archive nor a pickle: it begins with b'")


# ------------------------------------------------------------------------------------------------------------- memory

HUGE = {
    "bytes": pickle.BINBYTES8 + struct.pack("<Q", 2**62),
    "short bytes": pickle.BINBYTES + struct.pack("<I", 2**32 - 1),
    "byte array": pickle.BYTEARRAY8 + struct.pack("<Q", 2**62),
    "text": pickle.BINUNICODE8 + struct.pack("<Q", 2**62),
    "old text": pickle.BINSTRING + struct.pack("<i", 2**31 - 1),
    "number": pickle.LONG4 + struct.pack("<i", 2**31 - 1),
    "digits": pickle.LONG + b"9" * 5000 + b"L\n",
    "frame": pickle.FRAME + struct.pack("<Q", 2**62),
    "out of band": pickle.NEXT_BUFFER,
    "copies": pickle.EMPTY_LIST + pickle.DUP,
}


@pytest.mark.parametrize("claim", HUGE)
def test_opcodes_that_claim_much_are_unknown(write, claim):
    refused(write(program(HUGE[claim])), "a pickle with opcode b'.*', which torch.save does not write")


def test_claims_beyond_the_file(write):
    refused(write(program(pickle.BINUNICODE + struct.pack("<I", 2**32 - 1) + b"text")), "claims 4,294,967,295 bytes")


@pytest.mark.parametrize("protocol", [0, 1, 3, 4, 5, 255])
def test_other_protocols(write, protocol):
    refused(write(pickle.PROTO + bytes([protocol]) + encode({}) + pickle.STOP), f"a pickle of protocol {protocol}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.STOP, "takes more than it has pushed"),
        (pickle.MARK + pickle.STOP, "takes more than it has pushed"),
        (encode(1) + pickle.MARK + pickle.TUPLE1, "takes more than it has pushed"),
        (pickle.TUPLE, "closes what was not opened"),
        (pickle.EMPTY_DICT + pickle.MARK + encode("a") + pickle.SETITEMS, "a key that has no value"),
        (encode("a") + encode(1) + pickle.APPEND, "fills a value of type str like a list"),
        (encode(()) + pickle.MARK + encode(1) + pickle.APPENDS, "fills a value of type tuple like a list"),
        (pickle.EMPTY_LIST + encode(1) + encode(2) + pickle.SETITEM, "fills a value of type list like a dict"),
        (pickle.BINGET + b"\7", "recalls what it did not put by"),
        (pickle.BINUNICODE + struct.pack("<I", 1) + b"\xff", "text that is not UTF-8"),
        (pickle.GLOBAL + b"x" * 300, "a global whose name does not end"),
        (named("torch", "Size") + encode({}) + pickle.REDUCE, "'torch.Size' with arguments of type dict"),
    ],
)
def test_pickles_that_make_no_sense(write, content, message):
    refused(write(pickle.PROTO + b"\2" + content + encode("filler of some bytes") * 20 + pickle.STOP), message)


def test_memos_may_have_any_number(write):
    """C's unpickler would make a table of four billion places."""
    put = pickle.LONG_BINPUT + struct.pack("<I", 2**32 - 1)
    get = pickle.LONG_BINGET + struct.pack("<I", 2**32 - 1)
    path = write(program({"a": tensor() + put, "b": get}))
    tracemalloc.start()
    assert PickleFile(path).read("b").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tracemalloc.get_traced_memory()[1] < MEGABYTE
    tracemalloc.stop()


def test_a_key_of_doubled_tuples_is_not_hashed(write):
    """Each tuple holds the one before twice; the standard unpickler would compute 2^60 hashes."""
    doubled = pickle.EMPTY_TUPLE + (pickle.BINPUT + b"\1" + pickle.BINGET + b"\1" + pickle.TUPLE2) * 60
    refused(write(program({doubled: tensor()})), "a dict with a key of type tuple")


DEPTH = 50_000
NESTED = {
    "lists": pickle.EMPTY_LIST * DEPTH + pickle.APPEND * (DEPTH - 1),
    "tuples": pickle.EMPTY_TUPLE + pickle.TUPLE1 * DEPTH,
    "dicts": pickle.EMPTY_DICT + (encode("a") + pickle.EMPTY_DICT) * DEPTH + pickle.SETITEM * DEPTH,
    "itself": pickle.EMPTY_LIST + pickle.BINPUT + b"\1" + pickle.BINGET + b"\1" + pickle.APPEND,
    # Each tuple holds the one before twice: 2^60 of them for whoever walks through.
    "doubled": pickle.EMPTY_TUPLE + (pickle.BINPUT + b"\1" + pickle.BINGET + b"\1" + pickle.TUPLE2) * 60,
    # Each step would copy a dict for a Counter that were one.
    "counters": encode(dict.fromkeys(range(1000), 1)) + pickle.BINPUT + b"\1"
    + (called(named("collections", "Counter"), pickle.BINGET + b"\1")) * 1000,
}  # fmt: skip


@pytest.mark.parametrize("shape", NESTED)
def test_deep_and_doubled_values_do_no_harm(write, shape):
    began = time.perf_counter()
    refused(write(program(NESTED[shape])), "of type (list|tuple|dict)", 32 * MEGABYTE)
    beside = PickleFile(write(program({"model": {"a": tensor()}, "optimizer": pickle.MARK + NESTED[shape] + b"t"})))
    assert beside.dropped.keys() == {"optimizer"} and beside.read("a").shape == (2, 3)
    assert time.perf_counter() - began < 60


@pytest.mark.parametrize("opcode", [pickle.EMPTY_DICT, pickle.MARK, pickle.BINFLOAT + bytes(8), pickle.EMPTY_LIST])
def test_endless_pickles_end(write, monkeypatch, opcode):
    monkeypatch.setattr(inert_pickle, "_MAX_OPCODES", 20_000)
    refused(write(program(opcode * 30_000)), "a pickle of more than 20,000 steps", 4 * MEGABYTE)


def test_the_bound_leaves_room_for_real_checkpoints(tmp_path):
    """A fifth of it holds 1,200 weights with the state of an optimizer."""
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(1200)]
    optimizer = torch.optim.AdamW(weights)
    for weight in weights:
        weight.grad = torch.ones(1)
    optimizer.step()
    names = {f"mobilebert.encoder.layer.{i}.weight": weight for i, weight in enumerate(weights)}
    torch.save({"model": names, "optimizer": optimizer.state_dict()}, tmp_path / "a.bin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inert_pickle, "_MAX_OPCODES", inert_pickle._MAX_OPCODES // 5)
        assert len(PickleFile(tmp_path / "a.bin").stored) == 1200
