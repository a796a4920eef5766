"""The one table of export formats: which backend writes each, what runs it, and in which precisions.

Nothing here imports a framework. The runtimes are rows of `BACKENDS` in conversion/backends.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import ExportError
from mobilebert_core.exports import INPUT_DTYPES, PRECISIONS, ExportSpec

from ..backends import BACKENDS, FRAMEWORKS, Backend

# Writes the file of a model in evaluation mode: `writer(model, spec, path)`.
Writer = Callable[[Any, ExportSpec, Path], None]


@dataclass(frozen=True)
class Precision:
    """One precision of a format: the file's name in the directory, and the basis in which `fold="auto"` folds.

    `rewriter` is a module of this package whose `rewrite(path, spec, matrices)` replaces the written file, if one does.
    """

    file: str
    folding: str | None = None
    rewriter: str | None = None


@dataclass(frozen=True)
class ExportFormat:
    """One format.

    Attributes:
        name: as users call it; also the name of the runtime in `BACKENDS` that runs its files.
        backend: name of the framework whose `export` module writes it.
        writer: name of the function there.
        about: in words, for the help of the command.
        precisions: those it is written in.
        tools: modules that writing needs, besides the runtime's.
        input_dtypes: those that its inputs can have.
        batch: rows at once where nobody asks for a number; None for any, which not every runtime can.
    """

    name: str
    backend: str
    writer: str
    about: str
    precisions: dict[str, Precision]
    tools: tuple[str, ...] = field(default=())
    input_dtypes: tuple[str, ...] = ("int32",)
    batch: int | None = None

    @property
    def runtime(self) -> Backend:
        return BACKENDS[self.name]

    @property
    def framework(self) -> Backend:
        return FRAMEWORKS[self.backend]

    def load_writer(self) -> Writer:
        """The function that writes it.

        Raises:
            BackendMissingError: when the framework, the runtime or a tool is not installed.
        """
        for module in self.tools:
            self.runtime.require(module, f"export --format {self.name}")
        self.runtime.runner(f"export --format {self.name}")
        writer: Writer = getattr(self.framework.load("export", f"export --format {self.name}"), self.writer)
        return writer

    def open_source(self, caller: str, head: str, path: Path, config: MobileBertConfig, dtype: str = "float32") -> Any:
        """The runner of a checkpoint in the framework that writes the format, on the CPU like its runtime."""
        device = {"device": "cpu"} if self.backend == "torch" else {}
        return self.framework.runner(caller).from_pretrained(head, path, config=config, dtype=dtype, **device)

    def precision(self, name: str) -> Precision:
        """Raises ExportError for a precision that the format is not written in."""
        if name not in PRECISIONS:
            raise ExportError(f"export: precision must be one of {', '.join(PRECISIONS)}, got {name!r}.")
        if name not in self.precisions:
            others = [each.name for each in EXPORT_FORMATS.values() if name in each.precisions]
            hint = f" {name} is written by: {', '.join(others)}." if others else ""
            raise ExportError(
                f"export: {self.name} is written in {', '.join(self.precisions)}, got precision {name!r}.{hint}"
            )
        return self.precisions[name]

    def check_input_dtype(self, name: str) -> None:
        """Raises ExportError for a type of inputs that the format is not written with."""
        if name not in self.input_dtypes:
            raise ExportError(
                f"export: the inputs of {self.name} are {' or '.join(self.input_dtypes)}, got input_dtype {name!r}."
            )


_ONNX_INTEGERS = "conversion.onnx_integers.files"

EXPORT_FORMATS: dict[str, ExportFormat] = {
    row.name: row
    for row in (
        ExportFormat(
            "onnx",
            "torch",
            "write_onnx",
            "ONNX, in the layout of transformers.js; runs in ONNX Runtime and OpenVINO",
            {
                "fp32": Precision("onnx/model.onnx", "all"),
                "fp16": Precision("onnx/model_fp16.onnx", "half"),
                "int8": Precision("onnx/model_quantized.onnx", "block", _ONNX_INTEGERS),
                "int8-static": Precision("onnx/model_int8.onnx", "block", _ONNX_INTEGERS),
                "int8x16": Precision("onnx/model_int8x16.onnx", "block", _ONNX_INTEGERS),
            },
            tools=("onnx", "onnxscript"),
            input_dtypes=INPUT_DTYPES,
        ),
        ExportFormat(
            "torch-export",
            "torch",
            "write_torch_export",
            "a program of torch.export (.pt2); runs in PyTorch without this package",
            {"fp32": Precision("model.pt2", "all"), "fp16": Precision("model_fp16.pt2", "half")},
        ),
        ExportFormat(
            "litert",
            "keras",
            "write_litert",
            "LiteRT (TensorFlow Lite), for phones, browsers and CPUs",
            {
                "fp32": Precision("model.tflite"),
                "fp16": Precision("model_fp16.tflite", "half"),
                "int8": Precision("model_int8.tflite", "block"),
                "int8-static": Precision("model_int8_static.tflite", "block"),
                "int8x16": Precision("model_int8x16.tflite", "block"),
            },
            tools=("ai_edge_quantizer",),
        ),
        ExportFormat(
            "saved-model",
            "keras",
            "write_saved_model",
            "a SavedModel; runs in TensorFlow and TensorFlow Serving without this package",
            {"fp32": Precision("saved_model", "all")},
        ),
        ExportFormat(
            "executorch",
            "torch",
            "write_executorch",
            "an ExecuTorch program (.pte) for XNNPACK, batch 1 unless another is asked for",
            {"fp32": Precision("model.pte", "all")},
            batch=1,
        ),
    )
}


def export_format_named(name: str) -> ExportFormat:
    """The format of a name.

    Raises:
        ExportError: listing the names there are.
    """
    if name not in EXPORT_FORMATS:
        raise ExportError(f"export: format must be one of {', '.join(EXPORT_FORMATS)}, got {name!r}.")
    return EXPORT_FORMATS[name]
