"""pytorch_model.bin without PyTorch: what PyTorch writes is read exactly, what is written PyTorch reads."""

from __future__ import annotations

import collections
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch

from mobilebert_core.checkpoints.containers.pickle.pickle_file import PickleFile
from mobilebert_core.checkpoints.containers.pickle.pickle_writer import write_pickle
from mobilebert_core.errors import CheckpointError, CheckpointNotFoundError
from tests.core.pickles import program, tensor, zip_file

ROOT = Path(__file__).parents[2]
FORMATS = {"zip": True, "legacy": False}
DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.complex64, torch.complex128,
]  # fmt: skip
YOUNG_DTYPES = [torch.uint16, torch.uint32, torch.uint64]  # which have no storage class


@pytest.fixture(params=FORMATS)
def save(request, tmp_path):
    def save(value, name="pytorch_model.bin"):
        torch.save(value, tmp_path / name, _use_new_zipfile_serialization=FORMATS[request.param])
        return tmp_path / name

    return save


def expected(value):
    value = value.detach()
    return value.float().numpy() if value.dtype == torch.bfloat16 else value.numpy()


def assert_holds(file, tensors):
    assert list(file.stored) == list(tensors)
    for name, value in tensors.items():
        array = file.read(name)
        assert type(array) is np.ndarray and array.flags.c_contiguous and array.flags.writeable, name
        assert array.dtype == expected(value).dtype and np.array_equal(array, expected(value)), name
        assert file.stored[name].shape == array.shape == tuple(value.shape), name
        assert file.stored[name].dtype == str(value.dtype).removeprefix("torch."), name


# ---------------------------------------------------------------------------------------------------------- reading


def test_every_dtype(save):
    numbers = torch.tensor([[0.0, 1.0, 0.0], [3.3, 127.0, 2.5]])
    tensors = {str(dtype): numbers.to(dtype) for dtype in DTYPES}
    assert_holds(PickleFile(save(tensors)), tensors)


@pytest.mark.parametrize("dtype", YOUNG_DTYPES)
def test_dtypes_without_a_storage_class(save, dtype):
    tensors = {"all": torch.arange(6).to(dtype), "part": torch.arange(6).to(dtype)[2:4]}
    assert_holds(PickleFile(save(tensors)), tensors)


def test_every_view(save):
    numbers = torch.arange(24.0)
    tensors = {
        "whole": numbers.view(4, 6),
        "transposed": numbers.view(4, 6).t(),
        "rows": numbers.view(4, 6)[1:3],
        "columns": numbers.view(2, 3, 4)[:, ::2, 1],
        "expanded": numbers[3:4].expand(5, 1),
        "overlapping": numbers.as_strided((4, 3), (2, 1), 7),
        "last": numbers[23],
        "no dimension": torch.tensor(2.5),
        "empty": torch.empty(0),
        "no rows": torch.empty(0, 3),
        "nothing of something": numbers.view(4, 6)[4:],
        "any stride": numbers.as_strided((1, 2), (2**62, 1), 3),
        "no elements, any stride": numbers.as_strided((0, 2), (2**62, 2**61), 3),
    }
    assert_holds(PickleFile(save(tensors)), tensors)


def test_an_array_belongs_to_its_reader(save):
    path = save({"a": torch.arange(3.0)})
    before = path.read_bytes()
    file = PickleFile(path)
    file.read("a")[:] = 7
    assert file.read("a").tolist() == [0, 1, 2] and path.read_bytes() == before


def test_a_state_dict_of_a_module(save):
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    module[1].weight = module[0].weight
    state = module.state_dict()
    assert "_metadata" in vars(state)
    file = PickleFile(save(state))
    assert_holds(file, state)
    assert file.dropped == {}


def test_parameters_are_read_as_tensors(save):
    tagged = torch.nn.Parameter(torch.arange(3.0))
    tagged.note = "kept in the pickle as state"
    tensors = {"plain": torch.nn.Parameter(torch.arange(4.0).view(2, 2).t(), requires_grad=False), "tagged": tagged}
    assert_holds(PickleFile(save(tensors)), tensors)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_weights_within_a_training_checkpoint(save, key):
    module = torch.nn.Linear(3, 4)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 2, 5])  # keeps a Counter
    module(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    notes = {
        "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(), "epoch": 3, "loss": 0.25,
        "random": torch.get_rng_state(), "done": False, "best": None, "history": [1.0, 2.0], "betas": (0.9, 0.999),
        "size": torch.Size([2, 3]), "device": torch.device("cpu"), "dtype": torch.bfloat16, "big": 2**100,
        "module.weight": torch.ones(2),
    }  # fmt: skip
    file = PickleFile(save({**notes, key: collections.OrderedDict(module.state_dict())}))
    assert_holds(file, module.state_dict())
    assert file.dropped.keys() == notes.keys()
    assert file.dropped["epoch"] == f"a value of type int beside the weights, which are under {key!r}"


def test_a_weight_may_be_called_model(save):
    tensors = {"model": torch.ones(2), "state_dict": torch.zeros(3)}
    assert_holds(PickleFile(save(tensors)), tensors)


def test_big_endian_archives(tmp_path):
    numbers = np.arange(6, dtype=">f4")
    path = zip_file(tmp_path / "big.bin", program({"a": tensor()}), b"big", **{"0": numbers.tobytes()})
    assert np.array_equal(torch.load(path)["a"].numpy(), numbers.reshape(2, 3))
    array = PickleFile(path).read("a")
    assert array.dtype.isnative and np.array_equal(array, numbers.reshape(2, 3))


def test_archives_without_checksums(tmp_path):
    tensors = {"a": torch.arange(6.0)}
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(tensors, tmp_path / "a.bin")
    finally:
        torch.serialization.set_crc32_options(True)
    assert all(entry.CRC == 0 for entry in zipfile.ZipFile(tmp_path / "a.bin").infolist())
    assert_holds(PickleFile(tmp_path / "a.bin"), tensors)


def test_archives_beyond_32_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 5)
    path = zip_file(tmp_path / "a.bin", program({"a": tensor()}))
    whole = path.read_bytes()
    assert b"PK\6\6" in whole and whole.count(b"\xff\xff\xff\xff") >= 4
    path.write_bytes(whole[:-12] + b"\xff" * 10 + b"\0\0")  # count, size and begin of the directory are in 64 bits only
    assert PickleFile(path).read("a").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_opening_reads_no_numbers(tmp_path):
    size = 1 << 22
    torch.save({"a": torch.zeros(size), "b": torch.ones(3)}, tmp_path / "a.bin")
    tracemalloc.start()
    file = PickleFile(tmp_path / "a.bin")
    opened = tracemalloc.get_traced_memory()[1]
    file.read("b")
    small = tracemalloc.get_traced_memory()[1]
    file.read("a")
    large = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert opened <= small < 200_000 and 4 * size <= large < 4 * size + 200_000


def test_no_file(tmp_path):
    with pytest.raises(CheckpointNotFoundError, match="a.bin: weights not found"):
        PickleFile(tmp_path / "a.bin")
    with pytest.raises(CheckpointNotFoundError, match="cannot be read .Is a directory"):
        PickleFile(tmp_path)


# ---------------------------------------------------------------------------------------------------------- writing


def arrays():
    numbers = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    return {
        "numbers": numbers, "tied": numbers, "equal": numbers.copy(), "transposed": numbers.T, "part": numbers[1::2, 3],
        "f64": numbers.astype(np.float64), "f16": numbers.astype(np.float16), "swapped": numbers.astype(">f4"),
        "scalar": np.array(2.5, np.float32), "empty": np.zeros((0, 4), np.float32), "ids": np.arange(5),
        "flags": np.array([True, False]), "ä名": np.ones(1, np.float32),
    }  # fmt: skip


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("dtype", [None, "float64", "float32", "float16", "bfloat16"])
def test_pytorch_reads_what_is_written(tmp_path, dtype, mapped):
    path = tmp_path / "new" / "a.bin"
    write_pickle(path, arrays(), dtype)
    loaded = torch.load(path, weights_only=True, mmap=mapped)
    assert list(loaded) == list(arrays())
    for name, array in arrays().items():
        wanted = torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
        if dtype is not None and wanted.is_floating_point():
            wanted = wanted.to(getattr(torch, dtype))
        assert loaded[name].dtype == wanted.dtype and torch.equal(loaded[name], wanted), name
        assert loaded[name].is_contiguous() and loaded[name].shape == array.shape, name
    assert_holds(PickleFile(path), loaded)
    assert loaded["numbers"].data_ptr() == loaded["tied"].data_ptr() != loaded["equal"].data_ptr()


def test_bfloat16_is_rounded_as_pytorch_rounds(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2**32, 100_000, np.uint32)
    bits[:4] = 0x7F7FFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001  # the largest number and three that are none
    bits[4:8] = 0x3F808000, 0x3F818000, 0x3F808001, 0x00008000  # halfway, twice; just above; tiny
    floats = bits.view(np.float32)
    write_pickle(tmp_path / "a.bin", {"a": floats}, "bfloat16")
    found, wanted = torch.load(tmp_path / "a.bin")["a"], torch.from_numpy(floats).bfloat16()
    assert torch.equal(found.isnan(), wanted.isnan())
    kept = ~wanted.isnan()
    assert torch.equal(found[kept].view(torch.int16), wanted[kept].view(torch.int16))


def test_the_bfloat16_of_other_libraries(tmp_path):
    numbers = np.random.default_rng(0).standard_normal((3, 4)).astype(ml_dtypes.bfloat16)
    write_pickle(tmp_path / "a.bin", {"a": numbers.T})
    file = PickleFile(tmp_path / "a.bin")
    assert file.stored["a"].dtype == "bfloat16"
    assert np.array_equal(file.read("a"), numbers.T.astype(np.float32))


def test_numbers_are_aligned_and_stored_once(tmp_path):
    write_pickle(tmp_path / "a.bin", arrays())
    whole = (tmp_path / "a.bin").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.bin") as archive:
        entries = archive.infolist()
        assert archive.testzip() is None
    assert len([e for e in entries if "/data/" in e.filename]) == len(arrays()) - 1
    for entry in entries:
        content = zipfile.ZipFile(tmp_path / "a.bin").read(entry)
        begin = entry.header_offset + 30 + sum(whole[entry.header_offset + 26 + i] for i in (0, 2))
        assert begin % 64 == 0 and whole[begin : begin + len(content)] == content


def test_equal_arrays_give_equal_bytes(tmp_path):
    for name in ("a.bin", "b.bin"):
        write_pickle(tmp_path / name, arrays())
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()


def test_writing_makes_no_second_copy(tmp_path):
    large = {str(i): np.ones((1024, 512), np.float32) for i in range(8)}
    large |= {f"{i}t": np.ones((1024, 512), np.float32).T for i in range(8)}
    tracemalloc.start()
    write_pickle(tmp_path / "a.bin", large)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * large["0"].nbytes  # one transposed array at a time is laid out anew


@pytest.mark.parametrize(
    ("array", "dtype", "message"),
    [
        (np.array(["text"]), None, r"a.bin: bad \(1,\) of str\d+ can be stored as one of .*, not as str"),
        (np.zeros(2, object), None, "not as object"),
        (np.zeros(2, np.uint16), None, "not as uint16"),
        (np.zeros(2, np.float32), "int8", "of float32 can be stored as one of float64, float32, float16, bfloat16, "),
    ],
)
def test_what_cannot_be_written_leaves_the_old_file(tmp_path, array, dtype, message):
    (tmp_path / "a.bin").write_bytes(b"old")
    with pytest.raises(CheckpointError, match=message):
        write_pickle(tmp_path / "a.bin", {"good": np.ones(2, np.float32), "bad": array}, dtype)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "a.bin").write_bytes(b"old")

    def full_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_pickle(tmp_path / "a.bin", arrays())
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


# ----------------------------------------------------------------------------------------------- without PyTorch

WITHOUT_TORCH = """
import sys
class Blocked:  # None among the modules would be one without a Tensor to SciPy, which Keras may load
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import numpy as np
from mobilebert_tf import TFMobileBertForMaskedLM

for path in sys.argv[1:]:
    logits = TFMobileBertForMaskedLM.from_pretrained(path)(np.arange(12).reshape(2, 6)).logits
    np.save(path + "/logits.npy", np.asarray(logits))
assert "torch" not in sys.modules
"""


@pytest.mark.slow
def test_keras_loads_it_where_pytorch_is_missing(checkpoint):
    from mobilebert_tf import TFMobileBertForMaskedLM
    from mobilebert_torch import MobileBertForMaskedLM

    paths = [checkpoint("MaskedLM", name=format) for format in FORMATS]
    reference = TFMobileBertForMaskedLM.from_pretrained(paths[0])(np.arange(12).reshape(2, 6)).logits
    state = MobileBertForMaskedLM.from_pretrained(paths[0]).state_dict()
    for path, zipped in zip(paths, FORMATS.values(), strict=True):
        (path / "model.safetensors").unlink()
        torch.save(state, path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *map(str, paths)], check=True, cwd=ROOT)
    for path in paths:
        assert np.array_equal(np.load(path / "logits.npy"), np.asarray(reference))
