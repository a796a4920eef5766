"""The base of the layers: parts that are built from sizes, seen by TensorFlow's tracking, and saved with a config."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Self

import keras

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import ConfigError

from . import policies, quantization
from .calling import named_inputs, output_shapes, unconverted
from .layer_paths import set_trainable, trainable_flags


class Brick(keras.layers.Layer):
    """A layer whose parts have known input sizes: `part` adds one, `build` builds them all.

    `lists` names the attributes that are lists of layers. `get_config` returns the arguments of the constructor. Inputs
    come by position, by keyword, or as one mapping or list in the place of the first, as those of the models.
    The keys of a `keras.dtype_policies.DTypePolicyMap` are the paths of layers inside, with or without this one's name.

    Raises:
        ConfigError: for a map with a key that is no layer's, when the layer is built.
    """

    lists: tuple[str, ...] = ()
    _passed: inspect.BoundArguments

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        layer = super().__new__(cls, *args, **kwargs)
        passed = inspect.signature(cls).bind(*args, **kwargs)
        object.__setattr__(layer, "_passed", passed)  # no dict, into which Keras would look for layers to save
        return layer

    def __init__(self, *, autocast: bool = False, **kwargs: Any) -> None:
        dtype, self._quantize_as = policies.split_quantization(kwargs.pop("dtype", None))
        super().__init__(autocast=autocast, dtype=dtype, **kwargs)
        self._map_to_place = policies.hold_map(self)  # until the path is known, of which its keys become parts
        self._global_policy = dtype is None
        self._part_sizes: dict[str, int | None] = {}

    def part(self, attribute: str, layer: keras.layers.Layer | None, in_size: int | None = None) -> None:
        """Sets a part that reads features of `in_size`; bricks know their own sizes. None is a part left out."""
        if layer is not None:
            self._part_sizes[attribute] = in_size
        setattr(self, attribute, layer)

    def dense_part(self, name: str, in_size: int, out_size: int, initializer: Any, use_bias: bool = True) -> None:
        """Sets a part that is a dense layer."""
        dense = keras.layers.Dense(
            out_size, use_bias=use_bias, kernel_initializer=initializer, dtype=self.dtype_policy, name=name
        )
        self.part(name, dense, in_size)

    def build(self, input_shape: Any = None) -> None:
        if self._map_to_place is not None:
            policies.place_map(self, self._map_to_place)
        for attribute, in_size in self._part_sizes.items():
            layer = getattr(self, attribute)
            if not layer.built:
                layer.build(None if in_size is None else (None, None, in_size))
        for layer in self._listed().values():
            if not layer.built:
                layer.build()
        if self._map_to_place is not None:
            if not self._global_policy:
                policies.check_used(self)
            policies.take_quantized(self)
            self._map_to_place = None
        if self._quantize_as is not None:
            quantization.quantize_parts(self, self._quantize_as)
            self._quantize_as = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = self._unpacked(args, kwargs)
        return super().__call__(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs as `keras.KerasTensor`, of inputs in any form of a call."""
        if not self.built:
            self.build()
        args, kwargs = self._unpacked(args, kwargs)
        return keras.Operation.compute_output_spec(self, *args, **kwargs)

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs' shapes, of the shapes of the inputs in any form of a call."""
        return output_shapes(self, args, kwargs, self.compute_dtype)

    @unconverted
    def _unpacked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args and isinstance(args[0], Mapping | list | tuple):
            return (), named_inputs(type(self).__name__, self._argument_names(), args, kwargs)
        return args, kwargs

    def _argument_names(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.call).parameters)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, and what was changed since: quantized and frozen layers inside.

        Raises:
            ConfigError: for a layer that reads another one's weights, which a configuration cannot say.
        """
        arguments = {name: value for name, value in self._passed.arguments.items() if name != "kwargs"}
        for name, value in arguments.items():
            if isinstance(value, keras.layers.Layer):
                raise ConfigError(
                    f"{type(self).__name__}.get_config: {name} is the layer {value.name!r} of another part. Save the "
                    "model that holds both."
                )
            if isinstance(value, MobileBertConfig):
                arguments[name] = value.to_dict()
            elif isinstance(value, keras.initializers.Initializer):
                arguments[name] = keras.initializers.serialize(value)
        return {**super().get_config(), **policies.serialized_map(self), **arguments, **changed_layers(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        config, changed = split_changed_layers(config)
        if isinstance(config.get("config"), dict):
            config["config"] = MobileBertConfig.from_dict(config["config"])
        if config.get("initializer") is not None:  # one for all parts, which share its random numbers
            config["initializer"] = keras.initializers.get(config["initializer"])
        layer = cls(**config)
        layer.build()
        quantization.restore(layer, changed.get("quantized_layers", {}))
        restore_trainable(layer, changed)
        return layer

    def _listed(self) -> dict[str, Any]:
        return {layer.name: layer for attribute in self.lists for layer in getattr(self, attribute, ())}

    # TensorFlow's checkpoints and SavedModels follow attributes, but not into Keras's lists.
    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        return {**super()._trackable_children(save_type, **kwargs), **self._listed()}

    def _lookup_dependency(self, name: str, *arguments: Any, **kwargs: Any) -> Any:
        return self._listed().get(name) or super()._lookup_dependency(name, *arguments, **kwargs)


def changed_layers(layer: keras.layers.Layer) -> dict[str, Any]:
    """What was done to the layers inside after they were made, for `get_config`; nothing where nothing was."""
    changed = {"quantized_layers": quantization.described(layer), "trainable_flags": trainable_flags(layer)}
    return {name: value for name, value in changed.items() if value}


def split_changed_layers(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A configuration without what `changed_layers` and Keras say of a layer's state, and that."""
    names = ("trainable", "quantized_layers", "trainable_flags")
    return {n: v for n, v in config.items() if n not in names}, {n: v for n, v in config.items() if n in names}


def restore_trainable(layer: keras.layers.Layer, changed: dict[str, Any]) -> None:
    """Freezes what was frozen, in a layer that is built."""
    layer.trainable = changed.get("trainable", True)
    if flags := changed.get("trainable_flags"):
        set_trainable(layer, flags)
