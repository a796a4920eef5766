"""Training on words with tags.

S tokens of a row, C labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...configuration.config import MobileBertConfig
from ...datasets.examples import Examples, ReadOptions, WordsExample
from ...datasets.labels import LabelIds, label_fields
from ...datasets.word_files import TAGGED_WORDS
from ...heads import IGNORE_INDEX
from ...tasks.entity_tags import OUTSIDE, TagScheme
from ...tasks.token_classification import trained_on_words
from ...text.tokenization_base import TokenizerBase
from . import metrics
from .labelled_task import TEXTS_AT_ONCE, FeatureRow, LabelledTask, bad_rows, features_of, items_of
from .training_task import Features


class TokenClassificationTraining(LabelledTask):
    """The first piece of a word carries its tag, the others -100. A long sentence becomes several rows, between words.

    Scores: `accuracy` over words; where the labels have an O, `precision`, `recall` and `f1` of entities.
    """

    name = "token-classification"
    about = "labels of words: CoNLL columns, or JSON lines with tokens and tags"
    reader = TAGGED_WORDS
    classifies = names_labels = True

    def __init__(
        self, tokenizer: TokenizerBase, config: MobileBertConfig, max_length: int | None = None, **options: Any
    ) -> None:
        super().__init__(tokenizer, config, max_length, **options)
        self.room: int = self.text.row_limit - tokenizer.num_special_tokens_to_add()  # word pieces of a row
        self.tags = [self.text.label(i) for i in range(config.num_labels)]
        self.has_entities = OUTSIDE in self.tags
        self.best_metric = "f1" if self.has_entities else "accuracy"

    @classmethod
    def config_fields(cls, examples: Examples, options: ReadOptions) -> dict[str, Any]:
        tags = {tag for item in items_of(examples, WordsExample) for tag in item.tags}
        return {**label_fields(tags, examples, options), "problem_type": None, **trained_on_words()}

    def features(self, examples: Examples) -> Features:
        bad, label_ids, counts = bad_rows(examples), LabelIds(self.config, examples), Counter[str]()
        kept: list[tuple[int, WordsExample, list[int]]] = []
        for place, item in enumerate(items_of(examples, WordsExample)):
            with bad.row(item.line):
                kept.append((place, item, [label_ids(tag) for tag in item.tags]))
        rows: list[FeatureRow] = []
        for start in range(0, len(kept), TEXTS_AT_ONCE):
            some = kept[start : start + TEXTS_AT_ONCE]
            for (place, _, tags), words in zip(some, self._pieces([item.words for _, item, _ in some]), strict=True):
                rows += self._rows(place, words, tags, counts)
        notes = {
            "split": f"sentences longer than {self.room} word pieces, split between words",
            "cut": f"words longer than {self.room} word pieces, cut",
            "unknown": "words without a character that the tokenizer keeps, read as unknown words",
        }
        messages = [f"{note}: {counts[name]:,}" for name, note in notes.items() if counts[name]]
        return features_of(examples, rows, messages, bad)

    def _rows(self, place: int, words: list[list[int]], tags: list[int], counts: Counter[str]) -> list[FeatureRow]:
        """The rows of a sentence, passed by the ids of each word's pieces."""
        for word in words:
            if not word:  # it is scored all the same
                word.append(self.tokenizer.unk_token_id or 0)
                counts["unknown"] += 1
            elif len(word) > self.room:
                del word[self.room :]
                counts["cut"] += 1
        rows = []
        for ids, labels in _parts(words, tags, self.room):
            row = self.text.row_of_ids(ids)  # with one token before and one after
            labels = [IGNORE_INDEX, *labels, IGNORE_INDEX]
            rows.append(FeatureRow(row.input_ids, row.token_type_ids, labels, place))
        counts["split"] += len(rows) > 1
        return rows

    def _pieces(self, sentences: list[tuple[str, ...]]) -> Iterator[list[list[int]]]:
        """The ids of each word's pieces, sentence by sentence."""
        encoded = self.tokenizer(
            [list(words) for words in sentences], is_split_into_words=True, add_special_tokens=False, verbose=False
        )
        for words, encoding in zip(sentences, encoded.encodings or (), strict=True):
            pieces: list[list[int]] = [[] for _ in words]
            for word, piece in zip(encoding.word_ids, encoding.ids, strict=True):
                pieces[word].append(piece)
            yield pieces

    def labels(self, rows: Sequence[FeatureRow], length: int) -> dict[str, np.ndarray]:
        found = np.full((len(rows), length), IGNORE_INDEX, np.int32)
        for place, row in enumerate(rows):
            found[place, : len(row.labels)] = row.labels
        return {"labels": found}

    def check_libraries(self) -> None:
        if self.has_entities:
            metrics.SEQEVAL.load()

    def score(
        self, examples: Examples, rows: Sequence[FeatureRow], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> dict[str, float]:
        gold: dict[int, list[int]] = {}  # by example: its rows have all its words, in order
        predicted: dict[int, list[int]] = {}
        for place, (row, output) in enumerate(zip(rows, outputs, strict=True)):
            labels = np.array(row.labels)
            best = self.logits(output, (len(labels), len(self.tags)), place).argmax(axis=1)
            words = labels != IGNORE_INDEX
            gold.setdefault(row.example, []).extend(labels[words].tolist())
            predicted.setdefault(row.example, []).extend(best[words].tolist())
        pairs = [(ours, theirs) for name in gold for ours, theirs in zip(predicted[name], gold[name], strict=True)]
        scores = {"accuracy": float(np.mean([ours == theirs for ours, theirs in pairs]))}
        if self.has_entities:
            tags = [*map(TagScheme(self.tags).iobes, self.tags)]
            found, right = ([[tags[i] for i in each] for each in part.values()] for part in (predicted, gold))
            scores |= metrics.entities(found, right)
        return scores

    def blind_score(self, examples: Examples, rows: Sequence[FeatureRow]) -> float:
        """No entity is found by tags that are all the same; without entities, the share of the most frequent tag."""
        tags = (tag for row in rows for tag in row.labels if tag != IGNORE_INDEX)
        return 0.0 if self.has_entities else metrics.most_frequent_share(tags)


def _parts(words: list[list[int]], tags: list[int], room: int) -> Iterator[tuple[list[int], list[int]]]:
    """The pieces of a sentence and their labels, in parts that fit."""
    ids: list[int] = []
    labels: list[int] = []
    for word, tag in zip(words, tags, strict=True):
        if len(ids) + len(word) > room:
            yield ids, labels
            ids, labels = [], []
        ids += word
        labels += [tag, *[IGNORE_INDEX] * (len(word) - 1)]
    yield ids, labels
