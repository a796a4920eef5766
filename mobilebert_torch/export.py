"""A PyTorch model as a file for other runtimes: ONNX, a torch.export program, an ExecuTorch program.

Each writer takes a model in evaluation mode, folded and with its mask value set, and the facts of the file. What it
wrote is not yet proved; conversion/exports does that. B batch, S sequence.
"""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mobilebert_core.exports import STATE, ExportSpec
from mobilebert_core.inputs import TEXT_INPUTS

from .pretrained import MobileBertPreTrainedModel

OPSET = 21  # the first with all that the quantized graphs need; ONNX Runtime reads it since 1.18


class Exported(nn.Module):
    """A model as its file sees it: three arrays of integers in, the outputs of the head as a tuple of float32 out."""

    def __init__(self, model: MobileBertPreTrainedModel, spec: ExportSpec) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).half() if spec.precision == "fp16" else model
        self.spec = spec

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids,
            output_hidden_states=self.spec.with_states, output_attentions=False, return_dict=True,
        )  # fmt: skip
        states = outputs.get("hidden_states") or ()
        named = {**outputs, **{f"{STATE}.{index}": state for index, state in enumerate(states)}}
        return tuple(named[name].float() for name in self.spec.outputs)


def write_onnx(model: MobileBertPreTrainedModel, spec: ExportSpec, path: Path) -> None:
    """Writes an ONNX graph, weights inside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _quiet(), torch.inference_mode():
        program: Any = torch.onnx.export(
            Exported(model, spec).eval(),
            _example(spec),
            input_names=list(spec.inputs.values()),
            output_names=list(spec.outputs),
            dynamic_shapes=_dynamic(spec),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        program.save(path, external_data=False)


def write_torch_export(model: MobileBertPreTrainedModel, spec: ExportSpec, path: Path) -> None:
    """Writes a program of `torch.export`, which PyTorch runs without this package."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _quiet(), torch.no_grad():
        program = torch.export.export(Exported(model, spec).eval(), _example(spec), dynamic_shapes=_dynamic(spec))
    written = io.BytesIO()  # a full disk ends the process where PyTorch writes the file itself
    torch.export.save(program, written)
    path.write_bytes(written.getbuffer())


def write_executorch(model: MobileBertPreTrainedModel, spec: ExportSpec, path: Path) -> None:
    """Writes an ExecuTorch program whose layers XNNPACK computes. Its memory is planned for the longest row."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    path.parent.mkdir(parents=True, exist_ok=True)
    with _quiet(), torch.no_grad():
        longest = spec.config.max_position_embeddings
        program = torch.export.export(
            Exported(model, spec).eval(), _example(spec), dynamic_shapes=_dynamic(spec, longest)
        )
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
        path.write_bytes(lowered.buffer)


def _example(spec: ExportSpec) -> tuple[Tensor, ...]:
    """Inputs to record a graph with. No size is 1 or that of another axis, which would be taken for fixed."""
    example = spec.example()
    return tuple(torch.from_numpy(example[name]) for name in TEXT_INPUTS)


def _dynamic(spec: ExportSpec, largest: int | None = None) -> Any:
    """Which axes each call decides, for each input; up to `largest`, where the runtime wants to know."""
    kind: Any = torch.export.Dim.DYNAMIC
    kind = kind if largest is None else kind(min=1, max=largest)
    axes = {axis: kind for axis, size in enumerate(spec.shape) if size is None}
    return tuple(dict(axes) for _ in TEXT_INPUTS)


@contextmanager
def _quiet() -> Iterator[None]:
    """What the exporters tell of their own insides stays there: their warnings and notes are not about the model."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
