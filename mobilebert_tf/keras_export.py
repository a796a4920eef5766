"""Keras's own `export`: what a model must be for each format, and for each backend of Keras."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import keras
from keras import ops

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import BackendMissingError, ConfigError, ExportError
from mobilebert_core.heads import Head
from mobilebert_core.inputs import TEXT_INPUTS

from . import policies, quantization
from .calling import named_inputs
from .serialization import serializable

if TYPE_CHECKING:
    from keras import Model as _Model
else:
    _Model = object

# Formats whose runtimes compute in float32: of another dtype LiteRT's converter makes operators of TensorFlow, which a
# phone does not have, and Keras's for ONNX wants no other.
_OF_FLOAT32 = ("litert", "onnx", "openvino")

# What Keras writes a format with, by backend.
_WRITERS = {
    ("tensorflow", "onnx"): "tf2onnx",
    ("jax", "onnx"): "jax2onnx",
    ("torch", "onnx"): "onnxscript",
    ("torch", "litert"): "litert_torch",
}


class ExportedByKeras(_Model):
    """Mixed into a `keras.Model`: the same model as a Functional one, and its `export`."""

    config: MobileBertConfig
    head: ClassVar[Head]

    def as_functional(self, **kwargs: Any) -> keras.Model:
        """This model, sharing its weights, as a Functional one of input_ids, attention_mask and token_type_ids.

        Its outputs are a plain dict of the head's scores. `kwargs` go to `keras.Model`.
        """
        shape = (None,) * (2 if self.head.per_choice else 1)
        inputs = {n: keras.Input(shape, dtype="int32", name=n) for n in TEXT_INPUTS}
        return FunctionalMobileBert(inputs, _plain_outputs(self, inputs), **kwargs)

    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",
        verbose: Any = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> Any:
        """As `keras.Model.export`, with int32 input_ids, attention_mask and token_type_ids of any size.

        States and attentions, if the configuration asks for them, are outputs "hidden_states_0", "hidden_states_1" ...
        LiteRT and ONNX files compute in float32 whatever the policy of the model; `mobilebert export --format litert
        --precision fp16` makes one with smaller weights.

        Raises:
            ConfigError: where Keras's backend needs sizes that are numbers, or does not write the format.
            BackendMissingError: when what Keras writes the format with is not installed.
            ExportError: for LiteRT and layers that Keras quantized in a way that it does not compute.
        """
        if input_signature is None:
            shape = (None,) * (3 if self.head.per_choice else 2)
            input_signature = [{n: keras.InputSpec(shape=shape, dtype="int32", name=n) for n in TEXT_INPUTS}]
        elif not isinstance(input_signature, list | tuple):  # of the one argument
            input_signature = [input_signature]
        self._check_export(format, input_signature)
        model = in_float32(self) if format in _OF_FLOAT32 else self
        passed = {"format": format, "verbose": verbose, "input_signature": input_signature, **kwargs}
        states = self.config.output_hidden_states or self.config.output_attentions
        export = model._export_itself
        if states or keras.backend.backend() == "torch":  # a file has no tuples, PyTorch's none of our outputs either
            functional, passed["input_signature"] = _with_flat_outputs(model, input_signature)
            export = functional.export
        try:
            return export(filepath, **passed)
        except Exception as e:
            quantized = quantization.quantized_layers(model)
            if type(e).__name__ != "ConverterError" or not quantized:  # LiteRT's, a class that it does not export
                raise
            mode = next(iter(quantized.values())).quantization_mode
            raise ExportError(
                f"{type(self).__name__}.export: LiteRT does not compute what Keras quantized by {mode!r}, here in "
                f"{len(quantized)} layers. Save the model before `quantize` with save_pretrained; `mobilebert export "
                "--format litert --precision int8` makes a file of integers of that."
            ) from e

    def _export_itself(self, filepath: Any, **kwargs: Any) -> Any:
        return super().export(filepath, **kwargs)

    def _check_export(self, format: str, input_signature: Any) -> None:
        name, backend = type(self).__name__, keras.backend.backend()
        if backend == "torch" and format == "tf_saved_model":
            raise ConfigError(
                f"{name}.export: Keras on torch writes no SavedModel of inputs by name. Pass format='torch' or "
                "'onnx', or set KERAS_BACKEND=tensorflow."
            )
        if (writer := _WRITERS.get((backend, format))) is not None and find_spec(writer) is None:
            raise BackendMissingError(
                f"{name}.export: Keras on {backend} writes {format} with the package {writer}, which is not installed. "
                f"Run pip install {writer}, or use `mobilebert export`, which needs no Keras on {backend}."
            )
        known_from = {"torch": 0, "jax": 1}.get(backend)  # JAX has one symbol for all batches, others for each input
        sizes = [spec.shape for spec in keras.tree.flatten(input_signature)]
        if known_from is not None and any(None in shape[known_from:] for shape in sizes):
            raise ConfigError(
                f"{name}.export: Keras on {backend} records a graph for one size; wanted an input_signature whose "
                f"shapes are numbers{' after the first axis' if known_from else ''}. For any size set "
                "KERAS_BACKEND=tensorflow, or export the model of mobilebert_torch (torch.onnx.export)."
            )


def in_float32(model: Any) -> Any:
    """A copy of a model that computes in float32 with the same weights; one that does is returned itself.

    Quantized layers stay so.

    Raises:
        ConfigError: for a class of the user's whose configuration makes other weights.
    """
    if all(layer.compute_dtype == "float32" for layer in model._flatten_layers()):
        return model
    copy = type(model).from_config({**model.get_config(), "dtype": policies.in_float32(model)})
    if [tuple(v.shape) for v in copy.weights] != [tuple(v.shape) for v in model.weights]:
        raise ConfigError(
            f"{type(model).__name__}.export: get_config and from_config make a model of other weights than this one. "
            "Return every argument of the constructor from get_config."
        )
    for new, old in zip(copy.weights, model.weights, strict=True):
        new.assign(ops.cast(old, new.dtype))
    return copy


def _plain_outputs(model: Any, inputs: dict[str, Any]) -> Any:
    """What a model makes of placeholders: a plain dict, or whatever a class of the user's returns."""
    options = {"return_dict": True} if "return_dict" in model._argument_names() else {}
    outputs = model(inputs, **options)
    return dict(outputs) if isinstance(outputs, Mapping) else outputs


def _with_flat_outputs(model: Any, input_signature: Any) -> tuple[keras.Model, Any]:
    """A Functional model of another one, whose outputs are arrays by name, and its signature."""
    specs = named_inputs(type(model).__name__, model._argument_names(), tuple(input_signature), {})
    sizes = {n: (tuple(spec.shape), keras.backend.standardize_dtype(spec.dtype)) for n, spec in specs.items()}
    inputs = {n: keras.Input(batch_shape=shape, dtype=dtype, name=n) for n, (shape, dtype) in sizes.items()}
    outputs = _plain_outputs(model, inputs)
    if isinstance(outputs, Mapping):
        tuples = {name: value for name, value in outputs.items() if isinstance(value, tuple | list)}
        flat = {f"{name}_{i}": part for name, parts in tuples.items() for i, part in enumerate(parts)}
        outputs = {name: value for name, value in outputs.items() if name not in tuples} | flat
    signature = [{n: keras.InputSpec(shape=shape, dtype=dtype, name=n) for n, (shape, dtype) in sizes.items()}]
    return keras.Model(inputs, outputs), signature


@serializable
class FunctionalMobileBert(keras.Model):
    """What `as_functional` returns: a Functional model of one of ours, exported like it."""

    def export(self, *args: Any, **kwargs: Any) -> Any:
        """As the `export` of the model inside."""
        (model,) = (layer for layer in self.layers if isinstance(layer, ExportedByKeras))
        return model.export(*args, **kwargs)
