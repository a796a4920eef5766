"""What the tests of Model Garden's checkpoints share: the recorded ones, and object graphs without any arrays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from mobilebert_core.checkpoints.containers.tensor_bundle.bundle_file import TensorBundle
from mobilebert_core.checkpoints.containers.tensor_bundle.object_graph import OBJECT_GRAPH, ObjectGraph
from mobilebert_core.checkpoints.containers.tensor_bundle.protobuf_wire import encode_field
from mobilebert_core.checkpoints.names.model_garden import model_garden_names
from mobilebert_core.checkpoints.tensor_info import MappedCheckpoint, TensorInfo
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.heads import HEADS
from mobilebert_core.weights import Weight, weight_table
from tests.golden.model_garden_cases import CASES, MINI, RELEASED

GOLDEN = Path(__file__).parents[1] / "golden" / "model_garden"
VARIABLES = json.loads((GOLDEN / "variables.json").read_text(encoding="utf-8"))  # {branch: {full name: shape}}


def weights_of_all_heads(config: MobileBertConfig) -> list[Weight]:
    with_pooler = config.copy(classifier_activation=True)
    return [weight for head in HEADS.values() for weight in weight_table(with_pooler, head)]


def opened(name: str, model: str | None = None, **overrides) -> tuple[MappedCheckpoint, MobileBertConfig]:
    """A recorded checkpoint under PyTorch's names, with fields of its configuration changed."""
    config = MobileBertConfig(**{**CASES[name].fields, **overrides})
    bundle = TensorBundle(GOLDEN / name / ("ckpt-1" if (GOLDEN / name / "ckpt-1.index").exists() else "ckpt"))
    return model_garden_names(bundle, weights_of_all_heads(config), config, model), config


class GraphOnly:
    """A bundle of which only the object graph and the shapes are known."""

    def __init__(self, graph: bytes, shapes: dict[str, tuple[int, ...]] | None = None) -> None:
        self.path = Path("ckpt.index")
        self.graph = graph
        keys = {item.key: item.full_name for item in ObjectGraph(graph).objects if item.key is not None}
        self.stored = {key: TensorInfo((shapes or {}).get(name, ()), "float32") for key, name in keys.items()}
        self.strings = {OBJECT_GRAPH: TensorInfo((), "string")}

    def read_bytes(self, name: str) -> bytes:
        assert name == OBJECT_GRAPH
        return self.graph


def recorded_graph(branch: str) -> bytes:
    with np.load(GOLDEN / "graphs.npz") as graphs:
        return graphs[branch].tobytes()


def names_of(bundle: GraphOnly, model: str | None = None, **fields) -> MappedCheckpoint:
    config = MobileBertConfig(**{**MINI, **RELEASED, **fields})
    return model_garden_names(bundle, weights_of_all_heads(config), config, model)


def graph_bytes(*objects: tuple[dict[str, int], str | None]) -> bytes:
    """A TrackableObjectGraph of (children, key of the variable)."""
    message = b""
    for children, key in objects:
        item = b"".join(
            encode_field(1, encode_field(1, number) + encode_field(2, name.encode()))
            for name, number in children.items()
        )
        if key is not None:
            item += encode_field(2, encode_field(1, b"VARIABLE_VALUE") + encode_field(3, key.encode()))
        message += encode_field(1, item)
    return message
