"""Trains the model that ships with the package, from the files of GoEmotions: `make demo-model GOEMOTIONS=DIR`.

DIR holds train.tsv and dev.tsv of https://github.com/google-research/google-research/tree/master/goemotions/data
(Demszky et al. 2020, arXiv 2005.00547; Apache-2.0): text, numbers of labels separated by commas, and a comment's id.

1. Masked words of the training texts, from random weights.
2. A teacher: logistic regression on words and pairs of words, asked about texts that it has not learned from.
3. Emotions, partly from the people who labelled the texts, partly from the teacher, which knows rare emotions by their
   words better than a small network does. Thresholds are tuned on dev and folded into the classifier's bias.
4. float16 on disk, and a card with the scores of what is there, beside those of the teacher's kind of model.

Each step goes on where it was interrupted. On one CPU core it takes about twenty minutes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from conversion import convert
from mobilebert.training import Training
from mobilebert_core.datasets.examples import ReadOptions
from mobilebert_core.demo_model import DEMO_VOCABULARY
from mobilebert_core.files import WEIGHTS_FILE, write_text
from mobilebert_core.tasks.batching import by_length, padded
from mobilebert_core.tasks.task_text import Row
from mobilebert_core.text.auto_tokenizer import AutoTokenizer
from mobilebert_core.training.tasks.metrics import multi_label, tuned_thresholds
from mobilebert_core.training.tasks.table import TRAINING_TASKS
from mobilebert_torch.inference import Runner

from .word_baseline import logits_of, several_labels, word_features

HERE = Path(__file__).parent
# The labels in the order of their numbers, as emotions.txt of the data lists them.
EMOTIONS = (
    "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire",
    "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy",
    "love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral",
)  # fmt: skip
FOLDS = 5  # parts of the training texts; the teacher answers each after learning from the others
TEACHERS_SHARE = 0.6  # of the probabilities that the student learns
MAX_LENGTH = 64  # tokens; 5 of the 43,410 training texts are longer
SEED = 0

PRETRAINING = TRAINING_TASKS["fill-mask"].recipe.replace(learning_rate=5e-4, batch_size=64, epochs=6, seed=SEED)
CLASSIFICATION = TRAINING_TASKS["text-classification"].recipe.replace(
    learning_rate=1e-3, batch_size=64, epochs=5, seed=SEED
)


CARD = """\
---
license: apache-2.0
language: en
library_name: mobilebert
pipeline_tag: text-classification
---

# The demo model

A small MobileBERT (arXiv 2004.02984) that names the emotions of a short English text, several or none of 28:
{emotions}. {parameters:,} parameters, {megabytes:.1f} MB. It ships with the package so that everything can be tried
offline; it is no substitute for a fine-tuned full-size model.

    mobilebert predict text-classification "I love this!"

## Data

GoEmotions (Demszky et al. 2020, arXiv 2005.00547; google-research, Apache-2.0): 43,410 public comments for training,
5,426 for choosing the checkpoint and the thresholds. They are unedited comments of one forum's users, with strong
language and the views of their writers and labellers; the model has learned from them and from nothing else. The test
split was not looked at. The vocabulary of 8,000 word pieces was learned from the training texts (`mobilebert vocab
train`).

## Scores on the 5,426 dev rows

| | macro F1 | micro F1 |
|---|---|---|
{table}

The thresholds of the 28 labels lie in the classifier's bias, so a label is predicted at a probability above 0.5; the
probabilities are therefore not calibrated. They were tuned on the dev rows, so the rows tuned on half of them tell
better what to expect of other texts: means of 20 random halvings.

## How it was made

`make demo-model GOEMOTIONS=DIR`, which runs `scripts/demo_model.py`: masked words, then emotions, learned partly from
the people who labelled the texts and partly from a teacher, logistic regression on words and pairs of words that had
not seen the text. PyTorch on one CPU core, float32, stored in float16.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("goemotions", type=Path, help="directory of train.tsv and dev.tsv")
    parser.add_argument("work", type=Path, help="directory for what is made on the way")
    parser.add_argument("--output", type=Path, help="where the model goes (default: WORK/demo_model)")
    options = parser.parse_args()
    torch.set_num_threads(1)  # sums are then formed in one order, and the same model comes out again
    work, output = options.work, options.output or options.work / "demo_model"
    train, dev = (read(options.goemotions / f"{split}.tsv") for split in ("train", "dev"))

    write_text(work / "texts" / "train.txt", "".join(f"{text}\n" for text in train[0]))
    write_text(work / "texts" / "dev.txt", "".join(f"{text}\n" for text in dev[0]))
    Training(
        task="fill-mask",
        data=work / "texts",
        model=str(HERE / "demo_model.json"),
        tokenizer=str(DEMO_VOCABULARY),
        output=work / "pretrained",
        recipe=PRETRAINING,
        max_length=MAX_LENGTH,
        resume=True,
    ).run()

    if not (work / "emotions" / "train.jsonl").exists():
        write_rows(work / "emotions" / "dev.jsonl", *dev)
        learned = (1 - TEACHERS_SHARE) * train[1] + TEACHERS_SHARE * teacher(*train)
        write_rows(work / "emotions" / "train.jsonl", train[0], learned)
    Training(
        task="text-classification",
        data=work / "emotions",
        model=str(work / "pretrained"),
        output=work / "trained",
        recipe=CLASSIFICATION,
        read=ReadOptions(label_names=EMOTIONS),
        max_length=MAX_LENGTH,
        tune_thresholds=True,
        resume=True,
    ).run()

    convert(work / "trained", output, dtype="float16", overwrite=True)
    for name in ("tokenizer.json", "provenance.json"):  # the vocabulary says it all
        (output / name).unlink(missing_ok=True)
    scores = {
        "demo model": scored(student(output, dev[0]), dev[1]),
        "TF-IDF": scored(baseline(train, dev[0]), dev[1]),
    }
    parameters = sum(array.size for array in load_file(output / WEIGHTS_FILE).values())
    write_text(output / "README.md", card(scores, parameters, (output / WEIGHTS_FILE).stat().st_size))
    print(json.dumps(scores, indent=2))


def read(path: Path) -> tuple[list[str], np.ndarray]:
    """Texts, and labels (N, 28) of 0 and 1."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    labels = np.zeros((len(rows), len(EMOTIONS)))
    for place, row in enumerate(rows):
        labels[place, [int(number) for number in row[1].split(",")]] = 1
    return [row[0] for row in rows], labels


def write_rows(path: Path, texts: list[str], labels: np.ndarray) -> None:
    """JSON lines of texts with the probabilities of their labels."""
    rows = []
    for text, probabilities in zip(texts, labels, strict=True):
        named = {EMOTIONS[i]: round(float(probabilities[i]), 4) for i in np.flatnonzero(probabilities)}
        rows.append(json.dumps({"text": text, "labels": named}) + "\n")
    write_text(path, "".join(rows))


def teacher(texts: list[str], labels: np.ndarray) -> np.ndarray:
    """Probabilities (N, 28), each from a teacher that has not seen the text, calibrated label by label."""
    fold = np.random.default_rng(SEED).integers(0, FOLDS, len(texts))
    logits = np.zeros(labels.shape)
    for number in tqdm(range(FOLDS), desc="teacher"):
        vectorizer, classifier = word_features(), several_labels()
        seen = np.flatnonzero(fold != number)
        classifier.fit(vectorizer.fit_transform([texts[i] for i in seen]), labels[seen])
        asked = np.flatnonzero(fold == number)
        logits[asked] = logits_of(classifier, vectorizer.transform([texts[i] for i in asked]))
    calibrated = np.zeros(labels.shape)
    for label in range(labels.shape[1]):
        scale = LogisticRegression(C=100).fit(logits[:, [label]], labels[:, label])
        calibrated[:, label] = scale.predict_proba(logits[:, [label]])[:, 1]
    return calibrated


def baseline(train: tuple[list[str], np.ndarray], texts: list[str]) -> np.ndarray:
    """Logits (N, 28) of the teacher's kind of model after learning from all training texts."""
    vectorizer, classifier = word_features(), several_labels()
    classifier.fit(vectorizer.fit_transform(train[0]), train[1])
    return logits_of(classifier, vectorizer.transform(texts))


def student(model: Path, texts: list[str]) -> np.ndarray:
    """Logits (N, 28) of the model as it lies on disk."""
    runner, tokenizer = Runner.from_pretrained("SequenceClassification", model), AutoTokenizer.from_pretrained(model)
    encoded = tokenizer(texts, truncation=True, max_length=MAX_LENGTH)
    rows = [Row(*row) for row in zip(encoded["input_ids"], encoded["token_type_ids"], strict=True)]
    logits = np.zeros((len(texts), len(EMOTIONS)))
    for batch in by_length(rows, 64):
        logits[batch] = runner.run(padded([rows[i] for i in batch], tokenizer.pad_token_id))["logits"]
    return logits


def scored(logits: np.ndarray, gold: np.ndarray) -> dict[str, dict[str, float]]:
    """Scores with thresholds tuned on these very rows, and, as an estimate for others, tuned on one half for the other.

    The estimate is the mean over 20 random halvings.
    """
    rng = np.random.default_rng(SEED)
    estimates = []
    for _ in range(20):
        half = rng.random(len(gold)) < 0.5
        shifted = np.zeros_like(logits)
        for part in (half, ~half):
            shifted[~part] = logits[~part] - tuned_thresholds(logits[part], gold[part])
        estimates.append(multi_label(shifted, gold))
    means = {name: float(np.mean([each[name] for each in estimates])) for name in estimates[0]}
    return {
        "at 0.5": multi_label(logits, gold),
        "tuned here": multi_label(logits, gold, tuned_thresholds(logits, gold)),
        "tuned on the other half": means,
    }


def card(scores: dict[str, dict[str, dict[str, float]]], parameters: int, size: int) -> str:
    ours, theirs = scores["demo model"], scores["TF-IDF"]
    rows = [
        ("demo model, float16 as it lies here, probability above 0.5", ours["at 0.5"]),
        ("demo model, thresholds tuned on these dev rows", ours["tuned here"]),
        ("demo model, thresholds tuned on half of them for the other half", ours["tuned on the other half"]),
        ("TF-IDF and logistic regression, thresholds tuned on these dev rows", theirs["tuned here"]),
        ("TF-IDF and logistic regression, tuned on half for the other half", theirs["tuned on the other half"]),
    ]
    table = "\n".join(f"| {name} | {s['f1_macro']:.4f} | {s['f1_micro']:.4f} |" for name, s in rows)
    return CARD.format(table=table, parameters=parameters, megabytes=size / 1e6, emotions=", ".join(EMOTIONS))


if __name__ == "__main__":
    main()
