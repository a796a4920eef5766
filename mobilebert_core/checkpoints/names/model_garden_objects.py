"""Where a MobileBERT of Model Garden is in the object graph of a checkpoint: its encoder and its heads.

There may be several: a distillation keeps the teacher beside the student, and sub-encoders of either.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...weight_rows import EMBEDDING_ROWS
from ..containers.tensor_bundle.object_graph import ROOT, ObjectGraph

# From the encoder to its word embeddings, which no other object has in that place.
_WORDS = f"{EMBEDDING_ROWS[0].tf2}/embeddings".removeprefix("encoder/")

# The names that Model Garden's configurations and tasks give to heads, as parts of the table of weights.
_ROLES = {"next_sentence": "next_sentence.logits", "sentence_prediction": "classifier.logits"}
_ITEM = ".pooler_dense"


@dataclass(frozen=True)
class ClassificationHead:
    """A dense layer with tanh on the first token, then one that gives the scores; either may be missing.

    `role` is the part of the table of weights that the scores are, "" for none; `name` is the user's for the head.
    """

    role: str
    name: str
    dense: int | None
    logits: int | None

    @property
    def layers(self) -> list[int]:
        return [layer for layer in (self.dense, self.logits) if layer is not None]


@dataclass(frozen=True)
class SavedMobileBert:
    """The objects of one model. `path` leads to the encoder; `masked_lm` and `span_labeling` are None if not there."""

    path: str
    encoder: int
    masked_lm: int | None
    span_labeling: int | None
    heads: tuple[ClassificationHead, ...]

    @property
    def parts(self) -> list[int]:
        named = (self.encoder, self.masked_lm, self.span_labeling)
        return [part for part in named if part is not None] + [n for head in self.heads for n in head.layers]


def saved_models(graph: ObjectGraph) -> list[SavedMobileBert]:
    """Every MobileBERT in a checkpoint. A sub-encoder, which shares its layers with a whole one, is none itself."""
    whole: dict[int, int] = {}
    for number, item in enumerate(graph.objects):
        words = graph.find(number, _WORDS)
        if words is None or graph.objects[words].key is None:
            continue
        if words not in whole or len(item.children) > len(graph.objects[whole[words]].children):
            whole[words] = number
    paths = graph.reachable([ROOT])
    return [_saved_model(graph, encoder, words, paths[encoder]) for words, encoder in whole.items() if encoder in paths]


def _saved_model(graph: ObjectGraph, encoder: int, words: int, path: str) -> SavedMobileBert:
    owners = [graph.objects[owner].children for owner in graph.parents(encoder)]
    span_labeling = [children["span_labeling"] for children in owners if "span_labeling" in children]
    masked_lm = [n for n, item in enumerate(graph.objects) if item.children.get("embedding_table") == words]
    return SavedMobileBert(
        path=path,
        encoder=encoder,
        masked_lm=masked_lm[0] if masked_lm else None,
        span_labeling=span_labeling[0] if span_labeling else None,
        heads=_heads(graph, owners),
    )


def _heads(graph: ObjectGraph, owners: list[dict[str, int]]) -> tuple[ClassificationHead, ...]:
    """The heads beside an encoder: those of a pretrainer, that of a classifier, and the `checkpoint_items` of either.

    Items are the first half of a head alone: Model Garden's `checkpoint_items` leave the scores' layer out.
    """
    found: dict[int, ClassificationHead] = {}
    items: dict[int, str] = {}
    for children in owners:
        several = children.get("classification_heads")
        for head in () if several is None else graph.objects[several].children.values():
            found[head] = _head(graph, head, None)
        if "classifier" in children:
            found[children["classifier"]] = _head(graph, children["classifier"], "classifier.logits")
        items |= {n: name.removesuffix(_ITEM) for name, n in children.items() if name.endswith(_ITEM)}
    whole = {head.dense for head in found.values()}
    halves = [ClassificationHead(_ROLES.get(n, ""), n, dense, None) for dense, n in items.items() if dense not in whole]
    return (*found.values(), *halves)


def _head(graph: ObjectGraph, head: int, role: str | None) -> ClassificationHead:
    """A ClassificationHead layer, or the plain dense layer that classifies tokens."""
    layers = graph.objects[head].children
    logits = layers.get("out_proj") if role is None else layers.get("out_proj", head)
    kernel = None if logits is None else graph.find(logits, "kernel")
    scopes = "" if kernel is None else graph.objects[kernel].full_name
    name = (["", "", *scopes.split("/")])[-3] or "unnamed"  # .../<head>/logits/kernel
    return ClassificationHead(_ROLES.get(name, "") if role is None else role, name, layers.get("dense"), logits)
