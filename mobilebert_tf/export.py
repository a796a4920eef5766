"""A Keras model as a file for other runtimes: a SavedModel of TensorFlow, a LiteRT file.

Each writer takes a model, folded and with its mask value set, and the facts of the file. What it wrote is not yet
proved; conversion/exports does that. Both kinds have one signature.

B batch, S sequence, T tokens, E embedding. mobilebert_torch/export.py writes the formats of PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
from keras import ops

from mobilebert_core.errors import ExportError
from mobilebert_core.exports import CALIBRATED, SIGNATURE, STATE, ExportSpec
from mobilebert_core.inputs import TEXT_INPUTS

from .litert_files import finished_file
from .litert_quantization import quantized_file
from .pretrained import TFMobileBertPreTrainedModel


def write_saved_model(model: TFMobileBertPreTrainedModel, spec: ExportSpec, directory: Path) -> None:
    """Writes a SavedModel, which TensorFlow and TensorFlow Serving run without this package.

    Raises:
        ExportError: on another backend of Keras than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            f"export: wanted Keras on TensorFlow, got the backend {keras.backend.backend()!r}. Set "
            "KERAS_BACKEND=tensorflow, or export to ONNX, which PyTorch does."
        )
    import tensorflow as tf

    signatures = {SIGNATURE: recorded(model, spec)}
    holder = tf.Module()
    holder.model_variables = [variable.value for variable in model.variables]
    tf.saved_model.save(holder, str(directory), signatures=signatures)


def write_litert(model: TFMobileBertPreTrainedModel, spec: ExportSpec, path: Path) -> None:
    """Writes a LiteRT file in the precision of the spec.

    It goes through a SavedModel: of a recorded function and its Keras model the converter makes, without an error, a
    file without weights that returns NaN.

    Raises:
        ExportError: on another backend of Keras than TensorFlow; for integer scores without a mask value.
    """
    if spec.precision in CALIBRATED and model.config.mask_value is None:
        raise ExportError(
            f"export: {spec.precision}: wanted a model whose config.mask_value is set, got None: the lowest float has "
            "no place among integers. Calibrate it first; see mobilebert_tf.calibration."
        )
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        write_saved_model(model, spec, Path(folder))
        converted = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE]).convert()
    plain = finished_file(converted, tuple(spec.inputs.values()), spec.outputs)
    path.write_bytes(quantized_file(plain, spec))


def recorded(model: TFMobileBertPreTrainedModel, spec: ExportSpec) -> Any:
    """The graph of a file: from its int32 inputs to its outputs, both by their names in it."""
    import tensorflow as tf

    specs = {name: tf.TensorSpec(spec.shape, tf.int32, name=name) for name in spec.inputs.values()}
    function = tf.function(lambda **inputs: _outputs(model, spec, inputs), autograph=False)
    return function.get_concrete_function(**specs)


def _outputs(model: TFMobileBertPreTrainedModel, spec: ExportSpec, named: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of the file by name, in float32, of its inputs by their names in it.

    Words are looked up in one axis: LiteRT has such an operation for tables of int8.
    """
    inputs = {ours: named[theirs] for ours, theirs in spec.inputs.items()}
    ids = inputs.pop(TEXT_INPUTS[0])
    words = model.get_input_embeddings()(ops.reshape(ids, (-1,)))  # (T, E)
    inputs["inputs_embeds"] = ops.reshape(words, (*ops.shape(ids), words.shape[-1]))
    outputs = model(inputs, training=False, return_dict=True, output_hidden_states=spec.with_states)
    states = {f"{STATE}.{index}": state for index, state in enumerate(outputs.get(STATE) or ())}
    return {name: ops.cast({**outputs, **states}[name], "float32") for name in spec.outputs}
