"""What the small encoders learn from: text, a vocabulary of it, its rows in shards, and where a model starts.

CORPUS is a directory of `*.txt.xz`: a sentence on each line, a blank line between documents.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert.distillation import Distillation
from mobilebert.training import Training
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.files import replacing, write_text
from mobilebert_core.saves import saving
from mobilebert_core.text.auto_tokenizer import AutoTokenizer
from mobilebert_core.text.vocabulary import train_vocabulary
from mobilebert_core.training.knowledge_transfer import TransferSettings
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.shards import SHARDS_FILE
from mobilebert_torch.trainer import Trainer

from .word_vectors import neighbours, vectors

HELD_OUT = 200  # of so many documents one is not learned from
EVALUATED = 120_000  # bytes of those documents; three digits need no more
LENGTH = 128  # tokens of a row
# Of random weights: without a norm in the blocks, larger ones are needed for states that say something.
_SPREADS = {"mobilebert": 0.08, "ib-bert": 0.05}


def written_text(corpus: Path, work: Path) -> tuple[Path, Path]:
    """train.txt and dev.txt of all files of the corpus, made once."""
    train, dev = work / "train.txt", work / "dev.txt"
    if not dev.exists():
        apart = ""
        with replacing(train) as path, path.open("w", encoding="utf-8") as learned:
            for number, document in enumerate(_documents(corpus), 1):
                if number % HELD_OUT:
                    learned.write(f"{document}\n\n")
                else:
                    apart += f"{document}\n\n"
        write_text(dev, apart.encode()[:EVALUATED].decode(errors="ignore"))
    return train, dev


def _documents(corpus: Path) -> Iterator[str]:
    for path in sorted(corpus.glob("*.txt.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as file:
            yield from file.read().strip().split("\n\n")


def tokenizer_of(train: Path, words: int, work: Path) -> Path:
    """The directory of a tokenizer of so many words, learned from the text once."""
    folder = work / "words"
    if not (folder / "vocab.txt").exists():
        train_vocabulary([train], words, work / "words.txt", overwrite=True)
        tokenizer = AutoTokenizer.from_pretrained(work / "words.txt")
        tokenizer.model_max_length = LENGTH
        tokenizer.save_pretrained(folder)
    return folder


def pretraining(train: Path, dev: Path, model: str, output: Path, work: Path, **changes: Any) -> dict[str, Any]:
    """Masked words of the text from `model`, a preset's name or a checkpoint; what was begun goes on."""
    return Training(
        task="fill-mask",
        data=[train],
        dev=dev,
        model=model,
        tokenizer=str(work / "words"),
        output=output,
        changes={"epochs": 1000, **changes},
        fields={"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        | ({"max_position_embeddings": LENGTH} if not Path(model).exists() else {}),
        options={"pack": True},
        max_length=LENGTH,
        shards=work / "shards",
        resume=output.exists(),
        save_every=100,
        progress=False,
    ).run()


def taught(
    train: Path, dev: Path, teacher: Path, student: str, settings: TransferSettings, output: Path, work: Path,
    **changes: Any,
) -> dict[str, Any]:  # fmt: skip
    """What `teacher` knows, from the text, into `student`: a preset's name, or a checkpoint; what was begun goes on."""
    return Distillation(
        teacher=str(teacher),
        student=student,
        data=[train],
        dev=dev,
        output=output,
        shards=work / "shards",
        task="fill-mask",
        settings=settings,
        changes={"epochs": 1000, **changes},
        fields={} if Path(student).exists() else {"initializer_range": _spread(student)},
        options={"pack": True},
        max_length=LENGTH,
        save_every=100,
        resume=output.exists(),
        progress=False,
    ).run()


def started(preset: str, train: Path, dev: Path, work: Path, seed: int = 0, **fields: Any) -> Path:
    """A model that knows which words occur together and how often each does, and nothing else, made once.

    Its other weights are random.
    """
    folder = work / f"start-{preset}-{seed}"
    if (folder / "config.json").exists():
        return folder
    words = len(AutoTokenizer.from_pretrained(work / "words"))
    counted = work / "word_vectors.npz"
    if not counted.exists():
        if not (work / "shards" / SHARDS_FILE).exists():
            pretraining(train, dev, preset, work / "one_step", work, max_steps=1, batch_size=2)
        counts, singles = neighbours(work / "shards", words)
        size = MobileBertConfig.from_preset(preset).embedding_size
        with replacing(counted) as path, path.open("wb") as file:
            np.savez(file, vectors=vectors(counts, size, [0, 1, 2, 3, 4]), counts=singles)
    known = np.load(counted)
    logs = np.log((known["counts"] + 1) / (known["counts"] + 1).sum())
    fields = {"vocab_size": words, "max_position_embeddings": LENGTH, "initializer_range": _spread(preset), **fields}
    config = MobileBertConfig.from_preset(preset, **fields)
    trainer = Trainer.start("MaskedLM", None, Recipe(seed=seed), config=config)
    trainer.assign({
        "mobilebert.embeddings.word_embeddings.weight": known["vectors"],
        "cls.predictions.bias": (logs - logs.mean()).astype(np.float32),
    })  # fmt: skip
    with saving(folder) as save:
        trainer.save(save.stage)
        AutoTokenizer.from_pretrained(work / "words").save_pretrained(save.stage)
    return folder


def _spread(preset: str) -> float:
    return next(value for name, value in _SPREADS.items() if preset.startswith(name))
