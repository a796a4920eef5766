"""Where servers of models expect the file of an export, and the settings that they read beside it.

An export in such a layout is still a directory for `mobilebert predict`. Its labels, one a line, are in labels.txt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilebert_core.errors import ExportError
from mobilebert_core.exports import ExportSpec
from mobilebert_core.files import write_text
from mobilebert_core.heads import HEADS

LARGEST_BATCH = 32  # that a server collects
WAIT = 2000  # microseconds for others to come
LABELS_FILE = "labels.txt"


@dataclass(frozen=True)
class Layout:
    """One layout.

    Attributes:
        format: name of the export format that the server runs.
        file: where the model goes, in a directory named by its version.
        write: writes the settings; gets the directory, its name when it is done, and the facts of the export.
    """

    format: str
    file: str
    write: Callable[[Path, str, ExportSpec], None]


def write_triton(directory: Path, name: str, spec: ExportSpec) -> None:
    """config.pbtxt of Triton's ONNX Runtime backend, with the shapes that the file itself declares.

    Triton joins only requests of one length; the model's name is that of its directory, which may be renamed.
    """
    import onnx

    graph = onnx.load(str(directory / LAYOUTS["triton"].file), load_external_data=False).graph
    joined = spec.batch is None
    lines = ['backend: "onnxruntime"', f"max_batch_size: {LARGEST_BATCH if joined else 0}"]
    for kind, values in (("input", graph.input), ("output", graph.output)):
        for value in values:
            dims = [each.dim_value or -1 for each in value.type.tensor_type.shape.dim][1 if joined else 0 :]
            lines += [
                f"{kind} {{",
                f'  name: "{value.name}"',
                f"  data_type: {_TRITON_TYPES[value.type.tensor_type.elem_type]}",
                f"  dims: [ {', '.join(map(str, dims))} ]",
                *([f'  label_filename: "{LABELS_FILE}"'] if kind == "output" and _one_label_a_row(spec) else []),
                "}",
            ]
    if joined:
        lines += [f"dynamic_batching {{ max_queue_delay_microseconds: {WAIT} }}"]
    write_text(directory / "config.pbtxt", "\n".join(lines) + "\n")


def write_tf_serving(directory: Path, name: str, spec: ExportSpec) -> None:
    """models.config, and batching_parameters.txt where the batch is dynamic.

    Rows are not padded by the server: it would repeat the first number of each row, a 1 in the attention mask.
    """
    models = f'model_config_list {{\n  config {{\n    name: "{name}"\n    base_path: "/models/{name}"\n'
    write_text(directory / "models.config", models + '    model_platform: "tensorflow"\n  }\n}\n')
    if spec.batch is None:
        batching = (
            f"max_batch_size {{ value: {LARGEST_BATCH} }}",
            f"batch_timeout_micros {{ value: {WAIT} }}",
            "pad_variable_length_inputs: false",
        )
        write_text(directory / "batching_parameters.txt", "\n".join(batching) + "\n")


def _one_label_a_row(spec: ExportSpec) -> bool:
    return spec.head is HEADS["SequenceClassification"]


def _has_labels(spec: ExportSpec) -> bool:
    return spec.head in (HEADS["SequenceClassification"], HEADS["TokenClassification"])


_TRITON_TYPES = {1: "TYPE_FP32", 6: "TYPE_INT32", 7: "TYPE_INT64"}  # by onnx.TensorProto.DataType

LAYOUTS = {
    "triton": Layout("onnx", "1/model.onnx", write_triton),
    "tf-serving": Layout("saved-model", "1", write_tf_serving),
}


def layout_named(name: str | None, format: str) -> Layout | None:
    """The layout of a name; None for none.

    Raises:
        ExportError: for a name that there is not, or a format that the server does not run.
    """
    if name is None:
        return None
    if name not in LAYOUTS:
        raise ExportError(f"export: layout must be one of {', '.join(LAYOUTS)}, got {name!r}.")
    layout = LAYOUTS[name]
    if layout.format != format:
        raise ExportError(
            f"export: the layout {name} is of the format {layout.format}, got {format}. Pass --format {layout.format}."
        )
    return layout


def write_settings(layout: Layout, directory: Path, name: str, spec: ExportSpec) -> None:
    """What the server reads beside the model, into a directory that will have this name."""
    if _has_labels(spec):
        labels: Any = spec.config.id2label
        lines = (" ".join(str(labels[index]).split()) for index in sorted(labels))
        write_text(directory / LABELS_FILE, "".join(f"{line}\n" for line in lines))
    layout.write(directory, name, spec)
