"""Labels of tokens, joined to words and entities that point into the original text.

T tokens of the text, C labels.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .probabilities import softmax
from .task_text import CUT, ERROR, WINDOWS, Outputs, Row, TaskText, option
from .windows import windows_over

STRATEGIES = ("none", "simple", "first", "average", "max")


@dataclass(frozen=True)
class TokenClassification(TaskText):
    """Without aggregation a list of {entity, score, index, word, start, end}, one a token.

    With it a list of {entity_group, score, word, start, end}, one an entity: "simple" joins neighbouring tokens of
    one label; "first", "average" and "max" first give each word one label, so that no word is divided. `start` and
    `end` count characters of the original text; `word` is the token, or for a group the original text. Labels that
    begin with B- and I- mean beginning and inside. A text longer than the model is read in overlapping windows.
    """

    aggregation: str = option("none", str, "how tokens become entities", STRATEGIES)
    ignore_labels: tuple[str, ...] = option(("O",), tuple, "labels not to report")
    on_long: str = option("windows", str, "what becomes of longer texts: read in windows, cut (and counted), or an "
                          "error", (WINDOWS, CUT, ERROR))  # fmt: skip
    stride: int = option(64, int, "tokens that neighbouring windows of a long text share", least=0)

    def rows(self, values: Mapping[str, Any]) -> list[Row]:
        pieces = self.pieces_of(values["text"])
        room = self.row_limit - self.tokenizer.num_special_tokens_to_add()
        windows = windows_over(len(pieces.ids), room, max(room - self.stride, (room + 1) // 2))
        rows = [self.row_of_ids(pieces.ids[w.start : w.end], about=(w, pieces)) for w in windows]
        return self.as_on_long(rows, values["text"])

    def read(self, row: Row, outputs: Outputs) -> np.ndarray:
        """Probabilities (tokens of the window, C)."""
        window, _ = row.about
        return softmax(outputs["logits"][1 : 1 + window.end - window.start])  # without [CLS]

    def combine(self, values: Mapping[str, Any], rows: list[Row], parts: list[Any]) -> list[dict[str, Any]]:
        pieces = rows[0].about[1]
        known = rows[-1].about[0].end  # all of the text, unless it was cut
        scores = np.zeros((known, self.config.num_labels))
        for row, part in zip(rows, parts, strict=True):
            window = row.about[0]
            mine = window.is_max_context if len(rows) > 1 else slice(None)
            scores[window.start : window.end][mine] = part[mine]
        tokens = [
            {"index": place + 1, "word": word, "start": start, "end": end, "scores": scores[place], "word_id": word_id}
            for place, (word, (start, end), word_id) in enumerate(
                itertools.islice(zip(pieces.tokens, pieces.offsets, pieces.word_ids, strict=True), known)
            )
        ]
        if self.aggregation == "none":
            return [found for found in map(self._labelled, tokens) if found["entity"] not in self.ignore_labels]
        if self.aggregation == "simple":
            labelled = [self._labelled(token) for token in tokens]
        else:
            labelled = [
                self._word(list(word)) for _, word in itertools.groupby(tokens, key=lambda token: token["word_id"])
            ]
        groups = [self._group(values["text"], group) for group in joined(labelled)]
        return [group for group in groups if group["entity_group"] not in self.ignore_labels]

    def _labelled(self, token: dict[str, Any]) -> dict[str, Any]:
        best = int(token["scores"].argmax())
        label = {"entity": self.label(best), "score": float(token["scores"][best])}
        return label | {name: token[name] for name in ("index", "word", "start", "end")}

    def _word(self, tokens: list[dict[str, Any]]) -> dict[str, Any]:
        """One labelled span from the tokens of a word."""
        scores = np.stack([token["scores"] for token in tokens])  # (pieces, C)
        if self.aggregation == "first":
            row = scores[0]
        elif self.aggregation == "max":
            row = scores[scores.max(axis=1).argmax()]
        else:
            row = scores.mean(axis=0)
        return self._labelled({**tokens[0], "end": tokens[-1]["end"], "scores": row})

    def _group(self, text: str, group: list[dict[str, Any]]) -> dict[str, Any]:
        start, end = group[0]["start"], group[-1]["end"]
        return {
            "entity_group": split_tag(group[0]["entity"])[1],
            "score": float(np.mean([token["score"] for token in group])),
            "word": text[start:end],
            "start": start,
            "end": end,
        }


def split_tag(label: str) -> tuple[str, str]:
    """("B" or "I", name of the entity); a label without a prefix is inside."""
    return (label[0], label[2:]) if label.startswith(("B-", "I-")) else ("I", label)


def joined(tokens: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Neighbours of one entity together; one that begins an entity (B-) starts a new group."""
    groups: list[list[dict[str, Any]]] = []
    for token in tokens:
        begins, name = split_tag(token["entity"])
        if groups and begins != "B" and split_tag(groups[-1][-1]["entity"])[1] == name:
            groups[-1].append(token)
        else:
            groups.append([token])
    return groups
