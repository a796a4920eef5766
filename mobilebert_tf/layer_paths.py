"""Where a layer stands inside a model, and which layers and variables are frozen.

Keras writes the state of a whole model's `trainable` into its files, not that of the layers inside a model of one's
own. It is kept as the places where the flag differs from that of the layer around.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

import keras

from mobilebert_core.folding import no_part_inside

Module = TypeVar("Module", bound=keras.layers.Layer)


def layers_by_path(model: keras.layers.Layer) -> dict[str, keras.layers.Layer]:
    """Every layer inside a model by its path of names, "mobilebert/encoder/layer_0/attention/self/query".

    A shared layer has the first of its paths; the model itself has "". A dropout is called so whatever its number.
    """
    return {path: layer for path, _, layer in _places(model)}


def _places(model: keras.layers.Layer) -> Iterator[tuple[str, str, keras.layers.Layer]]:
    """Each layer once, after the one around it: its path, that one's path, the layer."""
    stack = [("", "", model)]
    seen: set[int] = set()
    names: set[str] = set()
    while stack:
        path, around, layer = stack.pop()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        while path in names:  # layers that users added may share a name
            path += "'"
        names.add(path)
        yield path, around, layer
        parts = list(layer._flatten_layers(include_self=False, recursive=False))
        for part in reversed(parts):
            name = "dropout" if type(part) is keras.layers.Dropout else part.name
            stack.append((f"{path}/{name}" if path else name, path, part))


def inside(module: keras.layers.Layer, kind: type[Module]) -> Module:
    """A layer of a class, or the one inside of what is around it. Raises ConfigError where there is none."""
    for each in module._flatten_layers():
        if isinstance(each, kind):
            return each
    raise no_part_inside(kind.__name__, "layer", type(module).__name__)


def trainable_flags(model: keras.layers.Layer) -> dict[str, bool]:
    """The flags that differ from the layer's around, by path; of a variable it is the layer's path and its name."""
    flags: dict[str, bool] = {}
    by_path = layers_by_path(model)
    for path, around, layer in _places(model):
        if layer.trainable != by_path[around].trainable:
            flags[path] = layer.trainable
        for variable in layer._trainable_variables:
            if variable.trainable != layer.trainable:
                flags[f"{path}/{variable.name}"] = variable.trainable
    return flags


def set_trainable(model: keras.layers.Layer, flags: Mapping[str, bool]) -> None:
    """Sets the flags of every layer and variable inside, as `trainable_flags` returned them.

    Keras's own setter sets all layers inside too, which would undo those of shared layers.
    """
    of_layer: dict[str, bool] = {"": model.trainable}
    for path, around, layer in _places(model):
        flag = of_layer[path] = flags.get(path, of_layer[around])
        layer._trainable = flag
        for variable in layer._trainable_variables:
            variable.trainable = flags.get(f"{path}/{variable.name}", flag)
