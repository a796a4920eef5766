"""Labels of tokens, joined to words and entities that point into the original text.

T tokens of the text, C labels.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..configuration.config import MobileBertConfig
from ..errors import InputError
from .entity_tags import TagScheme
from .probabilities import softmax
from .task_text import CUT, ERROR, WINDOWS, Outputs, Row, TaskText, option
from .windows import windows_over

STRATEGIES = ("none", "simple", "first", "average", "max")
BY_WHITESPACE, BY_TOKENIZER = "whitespace", "tokenizer"
# Where a configuration says which words its labels belong to: in this field, which transformers keeps for such things.
_FIELD, _TASK, _WORDS = "task_specific_params", "token-classification", "words"


@dataclass
class WordPieces:
    """A text, or words with a space between, in pieces: ids, tokens, places in the text, and each one's word."""

    text: str
    ids: list[int] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    offsets: list[tuple[int, int]] = field(default_factory=list)
    word_ids: list[int] = field(default_factory=list)
    words: list[tuple[int, int]] | None = None  # places of words that are units; None where the pieces are


@dataclass(frozen=True)
class TokenClassification(TaskText):
    """Without aggregation a list of {entity, score, index, word, start, end}, one a token.

    With it a list of {entity_group, score, word, start, end}, one an entity: "simple" joins neighbouring tokens of
    one label; "first", "average" and "max" first give each word one label, so that no word is divided. `start` and
    `end` count characters of the original text; `word` is the token, or for a group the original text. Labels that
    begin with B- and I- mean beginning and inside, with E- and L- the end of an entity, with S- and U- a whole one. A
    text longer than the model is read in overlapping windows.

    Where words are split at white space, and where a list of words is passed in place of a text, words take the place
    of tokens: without aggregation there is one answer a word, with the label of its first piece, which alone has one
    in training; `index` is that piece. Characters of a list are counted as with one space between its words.
    """

    aggregation_strategy: str = option("none", str, "how tokens become entities", STRATEGIES, flag="--aggregation")
    ignore_labels: tuple[str, ...] = option(("O",), tuple, "labels not to report")
    on_long: str = option("windows", str, "what becomes of longer texts: read in windows, cut (and counted), or an "
                          "error", (WINDOWS, CUT, ERROR))  # fmt: skip
    stride: int = option(64, int, "tokens that neighbouring windows of a long text share", least=0)
    words: str | None = option(
        None, str, "where words end: at white space, as in files of tagged words, or where the tokenizer says "
        "(default: as in training, if the model says so, else the tokenizer)", (BY_WHITESPACE, BY_TOKENIZER),
    )  # fmt: skip

    def with_options(self, options: Mapping[str, Any]) -> TaskText:
        """The same task with other options; of `grouped_entities` and `ignore_subwords` a strategy follows, as in
        transformers, whatever else is passed. Strategies may have capitals.

        Raises:
            InputError: for an `offset_mapping`, too: places are those of the text itself.
        """
        if options.get("offset_mapping") is not None:
            raise InputError(
                f"{self.name}: offset_mapping is not taken: start and end are places in the text that was passed. Pass "
                "the original text, or the list of its words, and leave offset_mapping out."
            )
        old = {name: options[name] for name in ("grouped_entities", "ignore_subwords") if name in options}
        options = {name: value for name, value in options.items() if name not in (*old, "offset_mapping")}
        if isinstance(strategy := options.get("aggregation_strategy"), str):
            options["aggregation_strategy"] = strategy.lower()
        if any(value is not None for value in old.values()):
            grouped = "first" if old.get("ignore_subwords") else "simple"
            options["aggregation_strategy"] = grouped if old.get("grouped_entities") else "none"
        return super().with_options(options)

    def rows(self, values: Mapping[str, Any]) -> list[Row]:
        pieces = self._pieces(values["text"])
        room = self.row_limit - self.tokenizer.num_special_tokens_to_add()
        windows = windows_over(len(pieces.ids), room, max(room - self.stride, (room + 1) // 2))
        rows = [self.row_of_ids(pieces.ids[w.start : w.end], about=(w, pieces)) for w in windows]
        return self.as_on_long(rows, values["text"])

    def _pieces(self, text: str | list[str]) -> WordPieces:
        if not isinstance(text, str):
            ends = np.cumsum([len(word) + 1 for word in text]).tolist()
            return self._pieces_of_words(
                " ".join(text), [(end - len(word) - 1, end - 1) for word, end in zip(text, ends, strict=True)]
            )
        if (self.words or words_of(self.config)) == BY_WHITESPACE:
            return self._pieces_of_words(text, [match.span() for match in re.finditer(r"\S+", text)])
        found = self.pieces_of(text)
        return WordPieces(text, found.ids, found.tokens, found.offsets, found.word_ids)

    def _pieces_of_words(self, text: str, places: list[tuple[int, int]]) -> WordPieces:
        """Each word by itself, as in training; one without a character that the tokenizer keeps is unknown."""
        found = WordPieces(text, words=places)
        encoding: Any = self.tokenizer(
            [text[start:end] for start, end in places], is_split_into_words=True, add_special_tokens=False,
            return_offsets_mapping=True, verbose=False,
        )[0]  # fmt: skip
        by_word: dict[int, list[int]] = {}
        for place, word in enumerate(encoding.word_ids):
            by_word.setdefault(word, []).append(place)
        for word, (start, end) in enumerate(places):
            for place in by_word.get(word, ()):
                first, last = encoding.offsets[place]
                found.ids.append(encoding.ids[place])
                found.tokens.append(encoding.tokens[place])
                found.offsets.append((start + first, start + last))
                found.word_ids.append(word)
            if word not in by_word:
                found.ids.append(self.tokenizer.unk_token_id or 0)
                found.tokens.append(str(self.tokenizer.unk_token))
                found.offsets.append((start, end))
                found.word_ids.append(word)
        return found

    def read(self, row: Row, outputs: Outputs) -> np.ndarray:
        """Probabilities (tokens of the window, C)."""
        window, _ = row.about
        return softmax(outputs["logits"][1 : 1 + window.end - window.start])  # without [CLS]

    def combine(self, values: Mapping[str, Any], rows: list[Row], parts: list[Any]) -> list[dict[str, Any]]:
        pieces: WordPieces = rows[0].about[1]
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
        if pieces.words is None and self.aggregation_strategy in ("none", "simple"):
            labelled = [self._labelled(token) for token in tokens]
        else:
            words = itertools.groupby(tokens, key=lambda token: token["word_id"])
            labelled = [self._word(list(word), pieces) for _, word in words]
        if self.aggregation_strategy == "none":
            return [found for found in labelled if found["entity"] not in self.ignore_labels]
        scheme = TagScheme(self.label(i) for i in range(self.config.num_labels))
        groups = [_group(scheme, pieces.text, group) for group in joined(labelled, scheme)]
        return [group for group in groups if group["entity_group"] not in self.ignore_labels]

    def _labelled(self, token: dict[str, Any]) -> dict[str, Any]:
        best = int(token["scores"].argmax())
        label = {"entity": self.label(best), "score": float(token["scores"][best])}
        return label | {name: token[name] for name in ("index", "word", "start", "end")}

    def _word(self, tokens: list[dict[str, Any]], pieces: WordPieces) -> dict[str, Any]:
        """One labelled span from the tokens of a word."""
        scores = np.stack([token["scores"] for token in tokens])  # (pieces, C)
        if self.aggregation_strategy == "max":
            row = scores[scores.max(axis=1).argmax()]
        elif self.aggregation_strategy == "average":
            row = scores.mean(axis=0)
        else:
            row = scores[0]
        word = {**tokens[0], "end": tokens[-1]["end"], "scores": row}
        if pieces.words is not None:
            start, end = pieces.words[tokens[0]["word_id"]]
            word |= {"word": pieces.text[start:end], "start": start, "end": end}
        return self._labelled(word)


def trained_on_words() -> dict[str, Any]:
    """The field of a configuration by which a model says that its labels belong to words between white space."""
    return {_FIELD: {_TASK: {_WORDS: BY_WHITESPACE}}}


def words_of(config: MobileBertConfig) -> str:
    """Where the words of a model's labels end; where the tokenizer says, unless the configuration knows better."""
    found: Any = getattr(config, _FIELD, None)
    for name in (_TASK, _WORDS):
        found = found.get(name) if isinstance(found, Mapping) else None
    return BY_WHITESPACE if found == BY_WHITESPACE else BY_TOKENIZER


def joined(tokens: list[dict[str, Any]], scheme: TagScheme) -> list[list[dict[str, Any]]]:
    """Neighbours of one entity together; what has no entity is one group as well."""
    groups: list[list[dict[str, Any]]] = []
    for token in tokens:
        if groups and scheme.continues(token["entity"], groups[-1][-1]["entity"]):
            groups[-1].append(token)
        else:
            groups.append([token])
    return groups


def _group(scheme: TagScheme, text: str, group: list[dict[str, Any]]) -> dict[str, Any]:
    start, end = group[0]["start"], group[-1]["end"]
    return {
        "entity_group": scheme.split(group[0]["entity"])[1],
        "score": float(np.mean([token["score"] for token in group])),
        "word": text[start:end],
        "start": start,
        "end": end,
    }
