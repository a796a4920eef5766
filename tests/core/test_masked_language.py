"""Masks, packed rows and pairs of sentences: what is chosen, how often, and that a seed gives the same again."""

from __future__ import annotations

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from mobilebert_core import DEMO_MODEL, DataError, InputError, MobileBertTokenizerFast, TokenizerError
from mobilebert_core.datasets.examples import Examples, ReadOptions
from mobilebert_core.heads import IGNORE_INDEX
from mobilebert_core.training.tasks.masked_language import FillMaskTraining, PretrainingTraining
from mobilebert_core.training.tasks.masking import Masking
from tests.tiny import tiny_config

TEXTS = [
    "the honeybees gathered around the lighthouse",
    "it rained",
    "",
    "who keeps the bees?",
    "nobody knows them all",
]


@pytest.fixture(scope="module")
def tokenizer():
    return MobileBertTokenizerFast(str(DEMO_MODEL / "vocab.txt"), model_max_length=128)


def texts(items, tmp_path):
    return Examples(items, [], tmp_path / "texts.txt")


def task(kind, tokenizer, length=37, **options):
    return kind(tokenizer, tiny_config(vocab_size=8000, max_position_embeddings=64), length, **options)


def long_rows(tokenizer, rows=200, length=60, seed=0):
    """Rows of words of one to three pieces, with special tokens at their ends and padding."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(5, 8000, (rows, length)).astype(np.int32)
    ids[:, 0], ids[:, -8], ids[:, -7:] = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    return ids


@pytest.mark.parametrize("whole_words", [True, False])
def test_masks_have_their_shares(tokenizer, whole_words):
    masking = Masking.for_tokenizer(tokenizer, 0.15, whole_words)
    ids = long_rows(tokenizer)
    before = ids.copy()
    inputs, labels = masking(ids, np.random.default_rng(1))
    assert np.array_equal(ids, before)
    chosen = labels != IGNORE_INDEX
    assert np.array_equal(labels[chosen], ids[chosen]) and np.array_equal(inputs[~chosen], ids[~chosen])
    assert masking.maskable[ids[chosen]].all()
    counts = (masking.begins_word[ids] if whole_words else np.ones_like(ids, bool)) & masking.maskable[ids]
    assert (chosen & counts).sum() / counts.sum() == pytest.approx(0.15, abs=0.01)
    hidden = (inputs[chosen] == masking.mask_id).mean()
    kept = (inputs[chosen] == ids[chosen]).mean()
    assert hidden == pytest.approx(0.8, abs=0.03) and kept == pytest.approx(0.1, abs=0.03)
    random = inputs[chosen & (inputs != ids) & (inputs != masking.mask_id)]
    assert masking.maskable[random].all() and len(np.unique(random)) > len(random) / 2


def test_whole_words_are_chosen_whole(tokenizer):
    masking = Masking.for_tokenizer(tokenizer)
    ids = long_rows(tokenizer)
    _, labels = masking(ids, np.random.default_rng(2))
    chosen = labels != IGNORE_INDEX
    for row, picked in zip(ids, chosen, strict=True):
        for place in range(2, len(row)):
            if (
                masking.maskable[row[place]]
                and masking.maskable[row[place - 1]]
                and not masking.begins_word[row[place]]
            ):
                assert picked[place] == picked[place - 1]


def test_a_short_row_still_has_a_word_to_predict(tokenizer):
    masking = Masking.for_tokenizer(tokenizer)
    ids = np.array([[2, 100, 3], [2, 3, 0]], np.int32)
    _, labels = masking(ids, np.random.default_rng(0))
    assert (labels != IGNORE_INDEX).tolist() == [[False, True, False], [False, False, False]]


def test_the_same_draw_gives_the_same_masks_and_another_gives_others(tokenizer):
    masking = Masking.for_tokenizer(tokenizer)
    ids = long_rows(tokenizer)
    first, again, other = (masking(ids, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])


def test_every_word_is_in_some_row(tokenizer, tmp_path):
    for options in ({}, {"pack": True}):
        made = task(FillMaskTraining, tokenizer, 10, **options)
        features = made.features(texts(TEXTS, tmp_path))
        words = [i for row in features.rows for i in row.input_ids if i not in tokenizer.all_special_ids]
        whole = [i for ids in tokenizer([t for t in TEXTS if t], add_special_tokens=False)["input_ids"] for i in ids]
        assert words == whole
        assert all(row.length <= 10 and row.input_ids[0] == 2 and row.input_ids[-1] == 3 for row in features.rows)
    assert features.notes and "go on in further rows" in features.notes[0]


def test_packed_rows_are_fewer_and_end_with_a_document(tokenizer, tmp_path):
    plain = task(FillMaskTraining, tokenizer).features(texts(TEXTS, tmp_path)).rows
    packed = task(FillMaskTraining, tokenizer, pack=True).features(texts(TEXTS, tmp_path)).rows
    assert len(plain) == 4 and len(packed) == 2
    assert [row.input_ids.count(tokenizer.sep_token_id) for row in packed] == [2, 2]


def documents(count=12, sentences=9):
    return [line for d in range(count) for line in [*(f"document {d} line {s} of words" for s in range(sentences)), ""]]


def test_pairs_follow_or_come_from_elsewhere(tokenizer, tmp_path):
    made = task(PretrainingTraining, tokenizer, 24, seed=3)
    rows = made.features(texts(documents(), tmp_path)).rows
    assert 0.3 < np.mean([row.random_next for row in rows]) < 0.7
    for row in rows:
        assert row.length <= 24 and row.input_ids.count(tokenizer.sep_token_id) == 2
        middle = row.input_ids.index(tokenizer.sep_token_id)
        assert row.token_type_ids == [0] * (middle + 1) + [1] * (row.length - middle - 1)
    again = task(PretrainingTraining, tokenizer, 24, seed=3).features(texts(documents(), tmp_path)).rows
    other = task(PretrainingTraining, tokenizer, 24, seed=4).features(texts(documents(), tmp_path)).rows
    assert list(rows) == list(again) and list(rows) != list(other)


def test_a_true_second_is_the_continuation(tokenizer, tmp_path):
    made = task(PretrainingTraining, tokenizer, 40)
    items = documents()
    for row in made.features(texts(items, tmp_path)).rows:
        if not row.random_next:
            first, second = (part.strip() for part in tokenizer.decode(row.input_ids).split("[SEP]")[:2])
            number = first.split("document ")[1].split()[0]
            assert f"document {number} " in second or "document" not in second


def test_batches_have_labels_of_both_kinds(tokenizer, tmp_path):
    made = task(PretrainingTraining, tokenizer, 24)
    rows = made.features(texts(documents(), tmp_path)).rows[:5]
    batch = made.batch(rows, np.random.default_rng(0))
    assert {n: (a.dtype.name, a.shape[0]) for n, a in batch.items()} == dict.fromkeys(batch, ("int32", 5))
    assert set(batch) == {"input_ids", "attention_mask", "token_type_ids", "labels", "next_sentence_label"}


@pytest.mark.parametrize("sparse", [False, True])
def test_scores_are_those_of_the_hidden_words(tokenizer, tmp_path, sparse):
    made = task(FillMaskTraining, tokenizer)
    rows = made.features(texts(TEXTS, tmp_path)).rows
    batch = made.batch(rows, np.random.default_rng(0))
    known = batch["labels"] != IGNORE_INDEX
    logits = np.random.default_rng(1).standard_normal((*known.shape, 8000)).astype(np.float32)
    right = logits[known].astype(np.float64)
    loss = np.log(np.exp(right).sum(-1)) - right[np.arange(len(right)), batch["labels"][known]]
    row_metrics = made.row_metrics(batch, {"logits": logits[known] if sparse else logits})
    scores = made.scores(None, None, row_metrics)
    assert len(row_metrics) == len(rows) and scores["loss"] == pytest.approx(loss.mean(), rel=1e-12)
    assert scores["perplexity"] == pytest.approx(np.exp(loss.mean()))
    with pytest.raises(InputError, match="wanted finite scores of words, got NaN"):
        made.scores(None, None, [*row_metrics, {"loss": float("nan"), "right": 0.0, "words": 1.0}])


def test_text_files(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo \n")
    assert FillMaskTraining.read(tmp_path / "a.txt").items == ["one", "", "two"]
    (tmp_path / "a.tsv").write_text("one\t1\ntwo\t2\n")
    assert FillMaskTraining.read(tmp_path / "a.tsv", ReadOptions(text_column="1", header=False)).items == ["one", "two"]
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": " "}\n{"text": null}\n{"text": "two"}\n')
    assert FillMaskTraining.read(tmp_path / "a.jsonl").items == ["one", "", "", "two"]
    pyarrow.parquet.write_table(pyarrow.table({"text": ["one", "", None, "two"]}), tmp_path / "a.parquet")
    assert FillMaskTraining.read(tmp_path / "a.parquet").items == ["one", "", "", "two"]


BAD = {
    "no words": (FillMaskTraining, ["", " "], "no words in the 2 lines"),
    "one document": (
        PretrainingTraining,
        ["one", "two"],
        "wanted at least 2 documents separated by blank lines, got 1",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_text_of_no_use(name, tokenizer, tmp_path):
    kind, items, message = BAD[name]
    with pytest.raises(DataError, match=message):
        task(kind, tokenizer).features(texts(items, tmp_path))


@pytest.mark.parametrize(
    ("name", "data", "options", "message"),
    [
        ("a.txt", b"good\n\xff\xfe bad\n", {}, "a.txt:2: wanted UTF-8 text"),
        ("a.pdf", b"x", {}, "fill-mask reads .txt"),
        ("a.csv", b"words\nx\n", {}, "no column text"),
        ("a.txt", b"x\n", {"label_column": "y"}, "fill-mask: the option label_column does not apply"),
        ("a.txt", b"", {}, "the file is empty"),
    ],
)
def test_text_files_of_no_use(tmp_path, name, data, options, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        FillMaskTraining.read(tmp_path / name, ReadOptions(**options))


def test_a_tokenizer_without_a_mask_is_told():
    plain = MobileBertTokenizerFast(str(DEMO_MODEL / "vocab.txt"))
    plain.mask_token = None
    with pytest.raises(TokenizerError, match="wanted a tokenizer with a mask token"):
        Masking.for_tokenizer(plain)
