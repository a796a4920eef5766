"""Checkpoints of TensorFlow Model Garden's MobileBERT, read under PyTorch's names and orientation.

However its `MobileBERTEncoder` was saved (as a model, as `checkpoint_items` of a pretrainer, with optimizer and
teacher in a training run, as a SavedModel), the encoder is one object in the graph of the checkpoint, and the table
of weights says where each weight is from there. Neither the keys in the file nor the full names of variables would
do: a key is only one of the ways to a variable (the word embeddings often stand under `masked_lm/embedding_table`),
and a full name depends on what else was built before (`mobile_bert_embedding_1`) and is the same in teacher and
student.

What differs from PyTorch: matrices are (in, out), attention heads have an axis of their own, the last feed-forward
network is numbered like the others, and a classification head has a dense layer of its own, see `model_garden_names`.

Source: https://github.com/tensorflow/models, official/nlp/modeling (networks/mobile_bert_encoder.py,
layers/mobile_bert_layers.py, layers/cls_head.py, models/) and official/projects/edgetpu/nlp.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...configuration.config import MobileBertConfig
from ...errors import CheckpointError
from ...weight_rows import POOLER_ROWS
from ...weights import Weight
from ..containers.tensor_bundle.object_graph import OBJECT_GRAPH, ROOT, ObjectGraph
from ..tensor_info import MappedCheckpoint
from .model_garden_objects import ClassificationHead, SavedMobileBert, saved_models

if TYPE_CHECKING:
    from ..containers.tensor_bundle.bundle_file import TensorBundle

# What training and exporting leave in a checkpoint, by the first part of its key.
_NO_WEIGHTS = {
    "save_counter": "number of saves",
    "global_step": "training step",
    "current_step": "training step",
    "stage_id": "stage of the distillation",
    "do_lower_case": "setting of the tokenizer",
}
_SLOT = "/.OPTIMIZER_SLOT/"  # TensorFlow's own mark
# The masked-language head of `mlm_output_weights_use_proj` multiplies the word embeddings by a matrix (E, H).
_PROJECTION = "output_weights_proj"


def model_garden_names(
    bundle: TensorBundle, weights: Iterable[Weight], config: MobileBertConfig, model: str | None = None
) -> MappedCheckpoint:
    """Maps a checkpoint of Model Garden to PyTorch's names.

    A classification head there is a dense layer with tanh on the first token, and one that gives the scores: our
    pooler, and our classifier. It is read as these where the configuration has `classifier_activation`, the encoder
    has no pooler itself, and the width is hidden_size; otherwise it has no place here and is dropped. (Our
    `pooler_output` is then what the scores are made of, while Model Garden's `pooled_output` stays the raw first
    token. A checkpoint does not say that the activation is tanh; it is in every published configuration.)

    Args:
        bundle: the arrays of the checkpoint.
        weights: every weight that may be in it, of any head.
        config: says how many layers and feed-forward networks to look for.
        model: path of an object in the checkpoint, such as "student_model"; needed only when there are several
            MobileBERTs in it and none of them is its "encoder".

    Raises:
        CheckpointError: when there is no MobileBERT in the file, or several to choose from, or an object graph that
            does not fit the file; and for a configuration that Model Garden does not have.
    """
    if config.use_bottleneck_attention and config.key_query_shared_bottleneck:
        raise CheckpointError(
            f"{bundle.path}: Model Garden ignores key_query_shared_bottleneck where use_bottleneck_attention is set, "
            "and its checkpoints lack these weights. Pass key_query_shared_bottleneck=False."
        )
    seen = _SavedObjects(bundle, config, model)
    for path, weight in {w.tf2: w for w in weights if w.tf2 is not None and w.tied_to is None}.items():
        seen.claim(path, weight)
    return MappedCheckpoint(bundle, "tf2", seen.claimed, seen.dropped(), seen.empty)


class _SavedObjects:
    """The objects of a checkpoint: which of them is our model, and what each of its arrays is."""

    def __init__(self, bundle: TensorBundle, config: MobileBertConfig, model: str | None) -> None:
        self.path = bundle.path
        self.claimed: dict[str, Weight] = {}  # by key in the file
        self.empty: list[Weight] = []
        self._bundle = bundle
        self._config = config
        self._reasons: dict[str, str] = {}
        self._graph = self._read_graph()
        models = saved_models(self._graph)
        chosen = self._choose(models, model)
        for other in models:
            if other is not chosen:
                self._reasons |= dict.fromkeys(self._graph.keys(other.parts), f"of another MobileBERT, {other.path}")
        self._parts = self._parts_of(chosen)

    def _read_graph(self) -> ObjectGraph:
        if OBJECT_GRAPH not in self._bundle.strings:
            raise CheckpointError(
                f"{self.path}: wanted a checkpoint of tf.train.Checkpoint, which holds {OBJECT_GRAPH}; this one does "
                "not. Google's TF1 checkpoints are files of this kind, with names of their own."
            )
        message = self._bundle.read_bytes(OBJECT_GRAPH)
        try:
            return ObjectGraph(message)
        except CheckpointError as e:
            raise CheckpointError(f"{self.path}: {e}. Fetch or save it again.") from None

    def _choose(self, models: list[SavedMobileBert], model: str | None) -> SavedMobileBert:
        found = models
        if model is not None:
            place = self._graph.find(ROOT, model)
            inside = {} if place is None else self._graph.reachable([place])
            found = [saved for saved in models if saved.encoder in inside]
        elif named := [saved for saved in models if saved.encoder == self._graph.find(ROOT, "encoder")]:
            found = named
        if len(found) == 1:
            return found[0]
        where = "it" if model is None else repr(model)
        if found:
            raise CheckpointError(
                f"{self.path}: wanted one MobileBERT, {where} holds {len(found)}: "
                f"{', '.join(saved.path for saved in found)}. "
                "`model_garden_names` takes one of these paths, or its beginning, as model=."
            )
        roots = ", ".join(self._graph.objects[ROOT].children) or "nothing"
        raise CheckpointError(
            f"{self.path}: wanted a MobileBERT of Model Garden, {where} holds none. The checkpoint was saved with the "
            f"objects {roots}."
        )

    def _parts_of(self, chosen: SavedMobileBert) -> dict[str, int]:
        """The objects at which paths of the table begin. What has no place in this model gets a reason instead."""
        parts = {"encoder": chosen.encoder}
        if chosen.span_labeling is not None:
            parts["span_labeling"] = chosen.span_labeling
        if chosen.masked_lm is not None:
            if _PROJECTION in self._graph.objects[chosen.masked_lm].children:
                reason = f"masked-language head of another architecture: {_PROJECTION}"
                self._reasons |= dict.fromkeys(self._graph.keys([chosen.masked_lm]), reason)
            else:
                parts["masked_lm"] = chosen.masked_lm
        pooler = (POOLER_ROWS[0].tf2 or "").format(block=self._config.num_hidden_layers + 1)
        for head in chosen.heads:
            if misfit := self._misfit(head, pooler, parts):
                self._reasons |= dict.fromkeys(self._graph.keys(head.layers), f"{head.name} head {misfit}")
                continue
            if head.logits is not None:
                parts[head.role] = head.logits
            if head.dense is not None:
                parts[pooler] = head.dense
        return parts

    def _misfit(self, head: ClassificationHead, pooler: str, parts: dict[str, int]) -> str | None:
        """Why this model has no place for a head; None if it has."""
        hidden = self._config.hidden_size
        if head.role == "":
            return "of a pretrainer, for a task that this model does not have"
        if head.dense is None:
            return None
        kernel = self._graph.find(head.dense, "kernel")
        key = None if kernel is None else self._graph.objects[kernel].key
        shape = () if key is None or key not in self._bundle.stored else self._bundle.stored[key].shape
        if shape != (hidden, hidden):
            return f"of another architecture: tanh of a dense layer {shape}, wanted {(hidden, hidden)}"
        if self._find(f"{pooler}/kernel", parts) is not None:
            return "of another architecture: tanh of a dense layer beside another pooler"
        if not self._config.classifier_activation:
            return "with tanh of a dense layer, for which there is room with classifier_activation=True"
        return None

    def _find(self, path: str, parts: dict[str, int]) -> int | None:
        """The object at a path of the table."""
        beginnings = [part for part in parts if f"{path}/".startswith(f"{part}/")]
        if not beginnings:
            return None
        part = max(beginnings, key=len)
        return self._graph.find(parts[part], path[len(part) + 1 :])

    def claim(self, path: str, weight: Weight) -> None:
        """Finds the array of a weight by its path in the table."""
        place = self._find(path, self._parts)
        key = None if place is None else self._graph.objects[place].key
        if key is None:
            if weight.size == 0 and path.partition("/")[0] in self._parts:  # Model Garden leaves out what is empty
                self.empty.append(weight)
        elif key in self._bundle.stored:
            self.claimed[key] = weight
        else:
            raise CheckpointError(
                f"{self.path}: the object graph has {weight.full_name} under {key!r}, the file has no such array. "
                "Fetch or save it again."
            )

    def dropped(self) -> dict[str, str]:
        """Key in the file -> why it is no weight of this model, where that is known."""
        found = {name: "object graph" if name == OBJECT_GRAPH else "text" for name in self._bundle.strings}
        for key in self._bundle.stored:
            if key not in self.claimed and (reason := _reason(key) or self._reasons.get(key)):
                found[key] = reason
        return found


def _reason(key: str) -> str | None:
    """Why a key is no weight of any model; None if it may be one."""
    if _SLOT in key:
        return "optimizer slot"
    parts = key.split("/")
    if any(part == "optimizer" or part.endswith("_optimizer") for part in parts):
        return "optimizer state"
    if parts[0] == "keras_api" and parts[1:2] == ["metrics"]:
        return "metric"
    return _NO_WEIGHTS.get(parts[0])
