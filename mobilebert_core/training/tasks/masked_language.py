"""Pretraining on plain text: masked words, and for `pretraining` whether a sentence follows another.

Sources: arXiv 1810.04805, section 3.1 and appendix A.2, and the data script of BERT's released code.
B rows, S tokens of a row.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...configuration.config import MobileBertConfig
from ...datasets.examples import Examples, ReadOptions
from ...datasets.plain_texts import PLAIN_TEXTS
from ...errors import DataError, InputError
from ...heads import IGNORE_INDEX
from ...tasks.batching import padded
from ...tasks.task_text import Row, option
from ...text.token_stream import token_stream
from ...text.tokenization_base import TokenizerBase
from ..ranks import BatchPart
from ..recipe import Recipe
from ..row_arrays import ArrayRows, RowArrays, flat, id_dtype, joined
from .masking import MASK_SHARE, Masking
from .packing import Packing
from .training_task import Features, TrainingTask

SHORTER = 0.1  # share of the pairs that are cut to a random length, so that short texts are seen too
GATHERED = 1 << 22  # tokens of documents that are in memory together, about 150 MB
SPARE = 256  # documents of the ones before them that are

Document = list[list[int]]  # the ids of each sentence


@dataclass(frozen=True, slots=True)
class TextRow:
    """Token ids of one row, and for pairs whether the second text is a random one (1) or follows (0)."""

    input_ids: list[int]
    token_type_ids: list[int]
    random_next: int | None = None

    @property
    def length(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True)
class MaskingOptions:
    """What a user may say about masked words."""

    mask_share: float = option(MASK_SHARE, float, "share of the words to predict")
    whole_words: bool = option(True, bool, "hide all pieces of a word together")
    pack: bool = option(False, bool, "several texts in a row, up to its length")


class FillMaskTraining(TrainingTask):
    """Masked words of texts, each a row of its own or, packed, as many to a row as it holds.

    Raises:
        InputError: for a `max_length` that holds no word or more than the model has, a `mask_share` that is none.
    """

    name = "fill-mask"
    aliases: ClassVar[tuple[str, ...]] = ("masked-lm",)
    about = "masked words, from plain text, a text on each line"
    head = "MaskedLM"
    reader = PLAIN_TEXTS
    options: ClassVar[tuple[str, ...]] = ("mask_share", "whole_words", "pack")
    options_type = MaskingOptions
    recipe = Recipe(learning_rate=5e-4, epochs=3)
    config_defaults: ClassVar[Mapping[str, Any]] = {"sparse_prediction": True}  # scores of words cost most, few count
    shortest: ClassVar[int] = 3  # tokens of a row that holds a word
    best_metric = "loss"
    lower_is_better = True

    def __init__(
        self,
        tokenizer: TokenizerBase,
        config: MobileBertConfig,
        max_length: int | None = None,
        *,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self.check_options(options)
        chosen = MaskingOptions(**options)
        limit = config.max_position_embeddings
        self.max_length = limit if max_length is None else max_length
        if not self.shortest <= self.max_length <= limit:
            raise InputError(
                f"training {self.name}: max_length must be from {self.shortest} to {limit}, the model's positions, "
                f"got {self.max_length}."
            )
        share = chosen.mask_share
        if not 0 < share <= 1:
            raise InputError(f"training {self.name}: mask_share must be above 0 and at most 1, got {share!r}.")
        self.tokenizer = tokenizer
        self.masking = Masking.for_tokenizer(tokenizer, share, chosen.whole_words)
        self.pack = chosen.pack
        self.seed = seed

    @property
    def row_limit(self) -> int:
        return self.max_length

    @classmethod
    def config_fields(cls, examples: Examples, options: ReadOptions) -> dict[str, Any]:
        """Nothing: text says nothing about the configuration."""
        return {}

    def features(self, examples: Examples) -> Features:
        """Rows [CLS] text [SEP]. Longer texts go on in further rows, so that nothing is left out.

        A blank text separates documents: packed rows do not cross it.
        """
        notes: list[str] = []
        parts = [part for part in self.stream(examples.items, examples, notes) if len(part)]
        return Features(ArrayRows(joined(parts), self.row), notes, examples.skipped)

    def stream(self, items: Iterable[Any], about: Examples, notes: list[str]) -> Iterator[RowArrays]:
        room = self.max_length - 2
        packing = Packing(room, self.pack, int(self.tokenizer.cls_token_id), int(self.tokenizer.sep_token_id))
        count, maskable = 0, False
        for tokens, lengths in token_stream(self.tokenizer, items, id_dtype(len(self.tokenizer))):
            count += len(lengths)
            maskable = maskable or bool(self.masking.maskable[tokens].any())  # [UNK] is no word to predict
            yield packing.add(tokens, lengths)
        yield packing.end()
        if not maskable:
            raise DataError(f"{self.name}: no words in the {count} lines of {about.path}; wanted a text on each.")
        if packing.longer:
            notes.append(f"{packing.longer} texts longer than {self.max_length} tokens go on in further rows")

    def row(self, input_ids: list[Any], token_type_ids: list[Any], labels: Any, number: int) -> TextRow:
        return TextRow(input_ids, token_type_ids, labels)

    def batch(
        self, rows: Sequence[TextRow], rng: np.random.Generator, *, part: BatchPart | None = None
    ) -> dict[str, np.ndarray]:
        """int32 input_ids, attention_mask, token_type_ids and labels (B, S), masked anew by `rng`."""
        made = [Row(row.input_ids, row.token_type_ids) for row in rows]
        batch = padded(made, self.tokenizer.pad_token_id or 0, length=None if part is None else part.length)
        batch["input_ids"], batch["labels"] = self.masking(batch["input_ids"], rng, part)
        return batch

    evaluation_batch = batch

    def row_metrics(self, batch: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> list[dict[str, float]]:
        """What `scores` needs of each row's outputs: sums, not the scores of every word of the vocabulary."""
        labels = batch["labels"]
        logits = outputs["prediction_logits" if "prediction_logits" in outputs else "logits"]
        known = labels != IGNORE_INDEX  # (B, S)
        scores = np.asarray(logits[known] if logits.ndim == 3 else logits, np.float64)  # (N, V)
        right = labels[known]
        top = scores.max(axis=-1, keepdims=True, initial=0.0)
        norm = top[:, 0] + np.log(np.exp(scores - top).sum(axis=-1))
        sums = {"loss": norm - scores[np.arange(len(right)), right], "right": scores.argmax(axis=-1) == right}
        rows = np.nonzero(known)[0]
        by_row = {name: np.bincount(rows, values, minlength=len(labels)) for name, values in sums.items()}
        by_row["words"] = known.sum(axis=1)
        return [{name: float(values[i]) for name, values in by_row.items()} for i in range(len(labels))]

    def scores(
        self, examples: Examples, features: Features, row_metrics: Sequence[Mapping[str, float]]
    ) -> dict[str, float]:
        """Cross-entropy of the hidden words in nats, its exponential, and the share of words found.

        Raises:
            InputError: for NaN or infinity in them.
        """
        words = sum(each["words"] for each in row_metrics)
        loss = sum(each["loss"] for each in row_metrics) / max(words, 1.0)
        if not math.isfinite(loss):
            raise InputError(
                "scores: wanted finite scores of words, got NaN or infinity: the training has diverged, or a number "
                "overflowed in half precision. Lower the learning rate, or compute in float32."
            )
        right = sum(each["right"] for each in row_metrics) / max(words, 1.0)
        return {"loss": loss, "perplexity": float(np.exp(min(loss, 700.0))), "masked_accuracy": right}


class PretrainingTraining(FillMaskTraining):
    """Masked words in pairs of texts, of which the second follows the first or comes from another document."""

    name = "pretraining"
    aliases = ()
    about = (
        "masked words and whether sentences follow each other, from plain text: a sentence on each line, a blank line "
        "between documents"
    )
    head = "PreTraining"
    options = ("mask_share", "whole_words")
    random_rows = True
    shortest = 5  # a word of each text

    def stream(self, items: Iterable[Any], about: Examples, notes: list[str]) -> Iterator[RowArrays]:
        """Rows [CLS] first [SEP] second [SEP] from documents of sentences; a blank text separates documents.

        As in the released code: consecutive sentences are gathered up to the length of a row, divided at random, and
        for every second row the rest is taken from another document, its own unused sentences going back. The other
        document is one of those near by, of which as many as `GATHERED` tokens have are in memory.

        Raises:
            DataError: for fewer than two documents, of which no other text could be taken.
        """
        gathered = total = 0
        documents: list[Document] = []
        before: list[Document] = []  # the last ones that were gathered, of which others may take a text
        for document in self._documents(items):
            if gathered > GATHERED and len(documents) > 1:
                yield self._paired(documents, before)
                before, documents, gathered = documents[-SPARE:], [], 0
            documents.append(document)
            gathered += sum(map(len, document))
            total += 1
        if total < 2:
            raise DataError(
                f"{about.path}: wanted at least 2 documents separated by blank lines, got {total}. Separate them, or "
                "train fill-mask, which needs no pairs of sentences."
            )
        yield self._paired(documents, before)

    def _documents(self, items: Iterable[Any]) -> Iterator[Document]:
        document: Document = []
        for tokens, lengths in token_stream(self.tokenizer, items):
            ids, start = tokens.tolist(), 0
            for length in lengths.tolist():
                if length:
                    document.append(ids[start : start + length])
                elif document:
                    yield document
                    document = []
                start += length
        if document:
            yield document

    def _paired(self, documents: list[Document], before: list[Document]) -> RowArrays:
        rng = np.random.default_rng([self.seed, len(documents)])
        among = [*documents, *before]
        rows = [row for place in range(len(documents)) for row in self._pairs(among, place, rng)]
        ids, lengths = flat([row.input_ids for row in rows], id_dtype(len(self.tokenizer)))
        firsts = np.array([row.token_type_ids.index(1) for row in rows], np.int32)
        labels = np.array([row.random_next for row in rows], np.int64)
        return RowArrays({"input_ids": ids, "ends": np.cumsum(lengths), "firsts": firsts, "labels": labels})

    def _pairs(self, documents: list[Document], place: int, rng: np.random.Generator) -> Iterable[TextRow]:
        sentences, room = documents[place], self.max_length - 3
        start = 0
        while start < len(sentences):
            target = int(rng.integers(2, room + 1)) if rng.random() < SHORTER else room
            end, length = start, 0
            while end < len(sentences) and (end == start or length < target):
                length += len(sentences[end])
                end += 1
            division = int(rng.integers(start + 1, end)) if end - start > 1 else end
            first = list(itertools.chain(*sentences[start:division]))
            random_next = end - start == 1 or rng.random() < 0.5
            if random_next:
                other = documents[(place + int(rng.integers(1, len(documents)))) % len(documents)]
                begin = int(rng.integers(len(other)))
                second = list(itertools.islice(itertools.chain(*other[begin:]), max(1, target - len(first))))
                start = division
            else:
                second = list(itertools.chain(*sentences[division:end]))
                start = end
            yield self._pair(first, second, room, int(random_next), rng)

    def _pair(
        self, first: list[int], second: list[int], room: int, random_next: int, rng: np.random.Generator
    ) -> TextRow:
        while len(first) + len(second) > room:  # cut the longer, at either end, as the released code does
            longer = first if len(first) > len(second) else second
            longer.pop(0 if rng.random() < 0.5 else -1)
        cls, sep = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        types = [0] * (len(first) + 2) + [1] * (len(second) + 1)
        return TextRow([cls, *first, sep, *second, sep], types, random_next)

    def batch(
        self, rows: Sequence[TextRow], rng: np.random.Generator, *, part: BatchPart | None = None
    ) -> dict[str, np.ndarray]:
        """As `FillMaskTraining.batch`, with next_sentence_label (B,): 0: the second follows, 1: it is random."""
        labels = np.array([row.random_next for row in rows], np.int32)
        return {**super().batch(rows, rng, part=part), "next_sentence_label": labels}

    evaluation_batch = batch

    def row_metrics(self, batch: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> list[dict[str, float]]:
        found = outputs["seq_relationship_logits"].argmax(axis=-1) == batch["next_sentence_label"]
        return [
            {**each, "pair": float(right)}
            for each, right in zip(super().row_metrics(batch, outputs), found, strict=True)
        ]

    def scores(
        self, examples: Examples, features: Features, row_metrics: Sequence[Mapping[str, float]]
    ) -> dict[str, float]:
        """As `FillMaskTraining.scores`, with the share of pairs classified rightly."""
        right = sum(each["pair"] for each in row_metrics) / len(row_metrics)
        return {**super().scores(examples, features, row_metrics), "next_sentence_accuracy": right}
