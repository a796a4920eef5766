"""Where Keras 3 keeps each weight in a `.weights.h5` or `.keras` file, read under PyTorch's names and orientation.

Keras saves every layer in a group named after the path of attributes that leads to it:
`base_model/encoder/layer/tf_mobile_bert_layer_3/attention/output_/dense`. The layer's variables are inside as `vars/0`,
`vars/1`, ..., in the order of creation. So the path of attributes in the table of weights says where a weight is; the
constants below hold what it does not say.

Source: keras/src/saving/saving_lib.py of Keras 3.10 and 3.15, which write our models alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ...configuration.config import MobileBertConfig
from ...configuration.fields import DTYPES
from ...errors import CheckpointError
from ...heads import Head
from ...weights import KERAS_RENAMES, Weight, weight_table
from ..tensor_info import MappedCheckpoint, WeightFile

PACKAGE = "mobilebert"  # under which mobilebert_tf registers its classes with Keras

# Keras saves a layer under the alphabetically first attribute that refers to it, so `mobilebert` is stored as
# `base_model`. Every model has the list `layers`, so a dense layer whose name comes after it, such as `qa_outputs`, is
# stored as an item of that list.
_MET_FIRST_AS = {"mobilebert": "base_model"}
_LIST_OF_LAYERS, _DENSE_IN_LIST = "layers", "layers/dense"

# Items of a list are called after their class and counted: tf_mobile_bert_layer, tf_mobile_bert_layer_1, ...
_CLASS_IN_LIST = {"layer": "TFMobileBertLayer", "ffn": "FeedForward"}

# The variables of each kind of module in the order in which its Keras layer makes them.
_VARIABLES = {
    "linear": ("kernel", "bias"),
    "matrix": ("kernel",),
    "classifier": ("kernel", "bias"),
    "extra_output": ("kernel",),
    "no_norm": ("gamma", "beta"),
    "gain": ("gamma",),
    "exponents": ("exponent",),
    "layer_norm": ("gamma", "beta"),
    "word_table": ("embeddings",),
    "table": ("embeddings",),
    "decoder": ("embeddings",),
    "vector": ("bias",),
}

# Modules with a Dropout, which has a group without variables; written without the numbers of list items.
_WITH_DROPOUT = frozenset(
    {
        "mobilebert.embeddings",
        "mobilebert.encoder.layer.attention.self",
        "mobilebert.encoder.layer.attention.output_",
        "mobilebert.encoder.layer.output_",
        "mobilebert.encoder.layer.output_.bottleneck",
        "mobilebert.encoder.layer.bottleneck.input_",
        "mobilebert.encoder.layer.bottleneck.attention",
        "mobilebert.encoder.layer.ffn.output_",
    }
)

# Groups beside the weights. Adapters are merged into the kernels that stand at their places.
_BESIDE = {"optimizer/": "optimizer state", "layers/low_rank_adapters/": "low-rank adapters, merged into the kernels"}


def keras_names(file: WeightFile, weights: Iterable[Weight]) -> MappedCheckpoint:
    """Maps a file of Keras 3 to PyTorch's names; drops optimizer state and low-rank adapters.

    Raises:
        CheckpointError: when Keras quantized the model.
    """
    known = {keras_place(weight): weight for weight in weights if weight.keras is not None}
    layers = {place.rpartition("/")[0] for place in known}
    quantized = [
        name
        for name, found in file.stored.items()
        if (name in known and found.dtype not in DTYPES) or (name not in known and name.rpartition("/")[0] in layers)
    ]
    if quantized:
        first = file.stored[quantized[0]]
        raise CheckpointError(
            f"{file.path}: {len(quantized)} variables are of quantized layers, the first {quantized[0]} "
            f"({first.dtype}, {first.shape}); wanted weights in floating point and nothing beside them. Quantized "
            "models are not supported here: save the model before `quantize`, or load it with Keras."
        )
    dropped = {name: why for name in file.stored for group, why in _BESIDE.items() if name.startswith(group)}
    return MappedCheckpoint(file, "keras", {name: known[name] for name in file.stored if name in known}, dropped)


def keras_place(weight: Weight) -> str:
    """The path of a weight's dataset in the file. (Tied weights have none.)"""
    module, _, variable = (weight.keras or "").rpartition(".")
    return f"{_group(module)}/vars/{_VARIABLES[weight.kind].index(variable)}"


def keras_class(head: Head) -> str:
    """The Keras class of a head: TFMobileBertFor..."""
    return f"TF{head.class_name}"


def keras_layers(config: MobileBertConfig, head: Head, pooler: bool | None = None) -> dict[str, str]:
    """Group in the file -> name of the layer, for every layer of a model that is its process's first.

    Layers without weights are among them. Keras counts dropouts, which have no name, in the order of their making.
    """
    modules = dict.fromkeys(["mobilebert", "mobilebert.embeddings", "mobilebert.encoder"])
    for weight in weight_table(config, head, pooler):
        parts = (weight.keras or "").split(".")[:-1]
        modules.update(dict.fromkeys(".".join(parts[: end + 1]) for end in range(len(parts))))
    if head.pooled if pooler is None else pooler:
        modules["mobilebert.pooler"] = None
    layers = {"": layer_name(head)}
    dropouts = 0
    for module in modules:
        *_, before, last = ["", *module.split(".")]
        if last in _CLASS_IN_LIST:
            continue
        layers[_group(module)] = f"{before}_{last}" if last.isdigit() else _ATTRIBUTE_NAMES.get(last, last)
        if ".".join(part for part in module.split(".") if not part.isdigit()) in _WITH_DROPOUT:
            layers[f"{_group(module)}/dropout"] = _counted("dropout", dropouts)
            dropouts += 1
    if head.dropout:
        layers["dropout"] = _counted("dropout", dropouts)
    return layers


def layer_name(head: Head) -> str:
    """What Keras calls a model of this head that has no name."""
    return _snake_case(keras_class(head))


_ATTRIBUTE_NAMES = {attribute: name for name, attribute in KERAS_RENAMES.items()}


def _group(module: str) -> str:
    """The group of a layer from its path of attributes."""
    parts: list[str] = []
    before = ""
    for part in module.split("."):
        parts.append(_counted(_snake_case(_CLASS_IN_LIST[before]), int(part)) if part.isdigit() else part)
        before = part
    parts[0] = _MET_FIRST_AS.get(parts[0], parts[0])
    if parts[0] > _LIST_OF_LAYERS:
        parts[0] = _DENSE_IN_LIST
    return "/".join(parts)


def _counted(name: str, index: int) -> str:
    return f"{name}_{index}" if index else name


def _snake_case(class_name: str) -> str:
    """TFMobileBertForMaskedLM -> tf_mobile_bert_for_masked_lm."""
    return re.sub("(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", class_name).lower()
