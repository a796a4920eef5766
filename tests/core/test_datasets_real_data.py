"""Real data sets, read whole: known counts, and full marks for the outputs that their labels ask for."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest

from mobilebert_core import MobileBertConfig, MobileBertTokenizerFast
from mobilebert_core.datasets.examples import ReadOptions
from mobilebert_core.datasets.reading import splits
from mobilebert_core.training.tasks import metrics
from mobilebert_core.training.tasks.table import TRAINING_TASKS
from tests.core.data_files import ENDINGS, QUESTIONS, TEXTS, WORDS
from tests.core.test_datasets_outputs import perfect
from tests.core.test_datasets_scores import reference
from tests.core.tokenizers import real_data


def trained_on(examples, name, **options):
    task = TRAINING_TASKS[name]
    tokenizer = MobileBertTokenizerFast(real_data("vocab", "vocab.txt"), model_max_length=512)
    return task(tokenizer, MobileBertConfig(**task.config_fields(examples, examples.options)), **options)


@pytest.fixture(scope="module")
def emotions():
    """GoEmotions: training and development examples."""
    names = tuple(real_data("goemotions", "labels.txt").read_text().split())
    options = ReadOptions(text_column="1", label_column="2", header=False, label_separator=",", label_names=names)
    files = splits(real_data("goemotions", "train.tsv").parent, ENDINGS)
    assert set(files) == {"train", "dev"}
    begin = time.perf_counter()
    train = TRAINING_TASKS[TEXTS].read(files["train"], options)
    assert time.perf_counter() - begin < 5  # 0.3 s; ten times that would be another algorithm
    return train, TRAINING_TASKS[TEXTS].read(files["dev"], options)


def test_emotions_are_read(emotions):
    train, dev = emotions
    assert (len(train.items), len(dev.items)) == (43_410, 5_426)
    assert train.items[1].text.startswith("Now if he does off himself, everyone will think") and train.skipped == []
    quoted = [item for item in train.items if item.text.startswith('"Three words, no subtlety. ""Dude.')]
    assert len(quoted) == 1  # TSV takes quotes as they are
    fields = TRAINING_TASKS[TEXTS].config_fields(train, train.options)
    assert fields["num_labels"] == 28 and fields["problem_type"] == "multi_label_classification"
    assert fields["id2label"][0] == "admiration" and fields["label2id"]["neutral"] == 27
    numbered = ReadOptions(text_column="1", label_column="2", header=False, label_separator=",")
    plain = TRAINING_TASKS[TEXTS].read(train.path, numbered)
    names = list(TRAINING_TASKS[TEXTS].config_fields(plain, numbered)["id2label"].values())
    assert names == [str(number) for number in range(28)]


def test_emotions_become_features_and_scores(emotions):
    train, dev = emotions
    task = trained_on(train, TEXTS, max_length=24)
    features = task.features(dev)
    assert len(features.rows) == 5_426 and features.skipped == []
    labels = task.batch(features.rows)["labels"]
    assert labels.shape == (5_426, 28) and labels.sum() == sum(len(item.label) for item in dev.items)
    long = sum(len(ids) > 24 for ids in task.tokenizer([item.text for item in dev.items])["input_ids"])
    assert features.notes == [f"{long:,} of 5,426 texts longer than 24 tokens were cut"] and long > 100
    right = np.where(labels > 0, 1.0, -1.0)
    scores = task.scores(dev, features, [{"logits": row} for row in right])
    assert scores == {"f1_micro": 1, "f1_macro": 1, "subset_accuracy": 1}


def test_thresholds_of_28_emotions_take_less_than_a_second(emotions):
    train, dev = emotions
    task = trained_on(train, TEXTS)
    labels = task.batch(task.features(dev).rows)["labels"]
    logits = np.random.default_rng(0).normal(size=labels.shape) + 2 * labels - 3
    begin = time.perf_counter()
    thresholds = metrics.tuned_thresholds(logits, labels)
    assert time.perf_counter() - begin < 1
    plain, tuned = metrics.multi_label(logits, labels), metrics.multi_label(logits, labels, thresholds)
    assert tuned["f1_macro"] > plain["f1_macro"] + 0.05


def test_entities_of_tweets():
    files = {"train": real_data("wnut17", "wnut17train.conll"), "dev": real_data("wnut17", "emerging.dev.conll")}
    found = {name: TRAINING_TASKS[WORDS].read(path) for name, path in files.items()}
    counts = {
        name: (len(examples.items), sum(len(item.words) for item in examples.items))
        for name, examples in found.items()
    }  # fmt: skip
    assert counts == {"train": (3_394, 62_730), "dev": (1_009, 15_733)}
    tags = Counter(tag for examples in found.values() for item in examples.items for tag in item.tags)
    entities = {tag[2:]: count for tag, count in tags.items() if tag.startswith("B-")}
    assert entities == {
        "person": 1_130, "location": 622, "group": 303, "product": 256, "corporation": 255, "creative-work": 245,
    }  # fmt: skip
    assert sum(item.words.count("#") for item in found["dev"].items) > 10  # a word, not a comment
    task = trained_on(found["train"], WORDS, max_length=16)
    assert task.config.num_labels == 13
    features = task.features(found["dev"])
    assert (
        len(features.rows) > 1_009
        and "sentences longer than 14 word pieces, split between words: " in features.notes[0]
    )
    words = [sum(label >= 0 for label in row.labels) for row in features.rows]
    assert sum(words) == 15_733
    scores = task.scores(found["dev"], features, perfect(task, features.rows))
    assert scores == {"accuracy": 1, "precision": 1, "recall": 1, "f1": 1}


def test_the_words_of_tweets_come_back_from_their_pieces():
    examples = TRAINING_TASKS[WORDS].read(real_data("wnut17", "emerging.dev.conll"))
    task = trained_on(examples, WORDS)
    compared = 0
    for row in task.features(examples).rows:
        begins = [i for i, label in enumerate(row.labels) if label >= 0]
        for word, start, end in zip(examples.items[row.example].words, begins, [*begins[1:], -1], strict=True):
            if word.isascii() and word.isalpha():
                assert task.tokenizer.decode(row.input_ids[start:end]) == word.lower()
                compared += 1
    assert compared > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"max_length": 128, "doc_stride": 32}], ids=["whole", "windows"])
def test_the_answers_of_xquad_come_back_from_the_features(options):
    examples = TRAINING_TASKS[QUESTIONS].read(real_data("xquad", "xquad.en.json"))
    assert len(examples.items) == 1_190 and len({item.context for item in examples.items}) == 240
    task = trained_on(examples, QUESTIONS, max_answer_length=60, **options)
    features = task.features(examples)
    assert {row.example for row in features.rows} == set(range(1_190))
    answers = task.answers(examples, features.rows, perfect(task, features.rows))
    wrong = {
        answers[i]: item.answers[0][1] for i, item in enumerate(examples.items) if answers[i] != item.answers[0][1]
    }
    # one answer of the file ends within a number, and a span of word pieces cannot
    assert wrong == {"7,000,000 square kilometres (2,700": "7,000,000 square kilometres (2,70"}
    scores = task.scores(examples, features, perfect(task, features.rows))
    assert scores["exact_match"] == pytest.approx(100 * 1_189 / 1_190) and scores["f1"] > 99.97
    examples.items[:] = [item for item in examples.items if item.answers[0][1] not in wrong.values()]
    features = task.features(examples)
    scores = task.scores(examples, features, perfect(task, features.rows))
    assert scores == {"exact_match": 100, "f1": 100}


def test_squad_is_that_of_torchmetrics_on_real_answers():
    examples = TRAINING_TASKS[QUESTIONS].read(real_data("xquad", "xquad.en.json"))
    gold = [[text for _, text in item.answers] for item in examples.items]
    rng = np.random.default_rng(0)
    predicted = []
    for item in examples.items:  # the answer with its surroundings, cut at random
        start, text = item.answers[0]
        predicted.append(item.context[max(0, start - rng.integers(8)) : start + len(text) + rng.integers(-3, 12)])
    ours = metrics.squad(predicted, gold)
    assert ours == pytest.approx(reference(predicted, gold), rel=1e-5)  # theirs is summed in float32
    assert 1 < ours["exact_match"] < ours["f1"] < 95
