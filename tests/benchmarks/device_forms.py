"""The forms of one model that `bench_devices` times: each opens a folder of files and gives what is timed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.configuration.config import MobileBertConfig

FLOOR = "floor: matrix products"
BASE = "transformers, ONNX Runtime fp32"

Inputs = dict[str, np.ndarray]
Run = Callable[[Inputs], object]
Make = Callable[[Path], Run]


@dataclass(frozen=True)
class Form:
    """One thing that is timed: `make` opens it, from a folder in which is what it `reads`.

    Attributes:
        environment: NAME of the .venv-NAME whose Python runs it; without one this Python.
    """

    make: Make
    reads: str = "ours"
    environment: str = ""

    def python(self, environments: Path) -> Path:
        """The Python that runs it."""
        name = f".venv-{self.environment}"
        this = not self.environment or Path(sys.prefix).name == name
        return Path(sys.executable) if this else environments / name / "bin" / "python"


def inputs(batch: int, length: int) -> Inputs:
    ids = np.random.default_rng(0).integers(1, 30522, (batch, length)).astype(np.int32)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def torch_form(folding: str | None = None, compiled: bool = False, half: bool = False) -> Make:
    def make(folder: Path) -> Run:
        import torch

        import mobilebert_torch

        torch.set_num_threads(1)
        model = mobilebert_torch.MobileBertModel.from_pretrained(folder / "ours")
        if half:
            sample = {name: torch.from_numpy(array) for name, array in inputs(8, 32).items()}
            model = mobilebert_torch.fold(model, "half", sample, torch.bfloat16)
        elif folding:
            model = mobilebert_torch.fold(model, folding)
        called = torch.compile(model.eval(), dynamic=False) if compiled else model.eval()

        def run(batch: Inputs) -> object:
            with torch.inference_mode():
                return called(**{name: torch.from_numpy(array) for name, array in batch.items()})

        return run

    return make


def transformers_form(implementation: str) -> Make:
    def make(folder: Path) -> Run:
        import torch
        import transformers

        torch.set_num_threads(1)
        cls = transformers.MobileBertModel
        model = cls.from_pretrained(folder / "ours", attn_implementation=implementation).eval()

        def run(batch: Inputs) -> object:
            with torch.inference_mode():
                return model(**{name: torch.from_numpy(array) for name, array in batch.items()})

        return run

    return make


def exported_form(name: str) -> Form:
    def make(folder: Path) -> Run:
        from conversion.backends import BACKENDS
        from conversion.exports.record import ExportRecord

        row = BACKENDS[ExportRecord.read(folder / name).format]
        return row.runner("bench").from_pretrained("Model", folder / name, threads=1).run

    return Form(make, name)


def executorch_form(name: str) -> Form:
    """One thread is asked of its runtime, because our Runner leaves the number to it; rows run one by one."""

    def make(folder: Path) -> Run:
        from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool

        from conversion.exports.executorch_program.inference import Runner

        _unsafe_reset_threadpool(1)
        return Runner.from_pretrained("Model", folder / name).run

    return Form(make, name, "executorch")


def openvino_form(name: str) -> Form:
    """Our export for ONNX in OpenVINO, compiled for each shape as its users do.

    Where a processor has bfloat16 OpenVINO takes it for what is not of integers, unless asked for another: fp32 is.
    """

    def make(folder: Path) -> Run:
        import openvino

        core = openvino.Core()
        options: dict[str, Any] = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
        if name.endswith("fp32"):
            options["INFERENCE_PRECISION_HINT"] = "f32"
        (path,) = (folder / name / "onnx").glob("*.onnx")
        requests: dict[tuple[int, ...], Any] = {}

        def run(batch: Inputs) -> object:
            shape = batch["input_ids"].shape
            if shape not in requests:
                model = core.read_model(path)
                model.reshape({each.any_name: list(shape) for each in model.inputs})
                requests[shape] = core.compile_model(model, "CPU", options).create_infer_request()
            return requests[shape].infer(batch)

        return run

    return Form(make, name, "interop")


def onnx_form(file: str) -> Form:
    def make(folder: Path) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(folder / file, options, providers=["CPUExecutionProvider"])
        return lambda batch: session.run(None, {name: array.astype(np.int64) for name, array in batch.items()})

    return Form(make, file)


def floor(folder: Path) -> Run:
    """The matrix products of the encoder's dense layers, with PyTorch, as our layers do them."""
    import torch

    from mobilebert_torch import products

    torch.set_num_threads(1)
    config = MobileBertConfig.from_pretrained(folder / "ours")
    h, w, f = config.hidden_size, config.true_hidden_size, config.intermediate_size
    block = [
        (h, w),
        (h, w),
        (w, w),
        (w, w),
        (h, w),
        (w, w),
        (w, h),
    ]  # bottlenecks, q, k, v, output of attention, and out
    block += [(w, f), (f, w)] * config.num_feedforward_networks
    weights = [torch.randn(out, size) for size, out in block * config.num_hidden_layers]

    def run(batch: Inputs) -> object:
        rows = batch["input_ids"].size
        states = {size: torch.ones(rows, size) for size in {h, w, f}}
        with torch.inference_mode():
            return [products.linear(states[weight.shape[1]], weight) for weight in weights]

    return run


FORMS: dict[str, Form] = {
    FLOOR: Form(floor),
    "PyTorch": Form(torch_form()),
    "PyTorch folded": Form(torch_form("all")),
    "PyTorch folded, compiled": Form(torch_form("all", compiled=True)),
    "PyTorch bfloat16": Form(torch_form(half=True)),
    "onnx fp32": exported_form("onnx-fp32"),
    "onnx int8": exported_form("onnx-int8"),
    "litert fp32": exported_form("litert-fp32"),
    "litert int8": exported_form("litert-int8"),
    "executorch fp32": executorch_form("executorch-fp32"),
    "OpenVINO fp32": openvino_form("onnx-fp32"),
    "OpenVINO int8-static": openvino_form("onnx-int8-static"),
    "transformers eager": Form(transformers_form("eager")),
    "transformers sdpa": Form(transformers_form("sdpa")),
    BASE: onnx_form("transformers.onnx"),
    "transformers, ONNX Runtime int8": onnx_form("transformers-int8.onnx"),
    "MiniLM-L6, ONNX Runtime int8": onnx_form("minilm-int8.onnx"),
    "BERT-base, ONNX Runtime int8": onnx_form("bert-int8.onnx"),
}
