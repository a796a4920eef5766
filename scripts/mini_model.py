"""Trains `mobilebert-mini`, the encoder that ships with the package: `make mini-model DATA=DIR`.

DIR holds `corpus/*.txt.xz`, text with a sentence on each line and a blank line between documents, and the five tasks
of `small_tasks.py`.

1. A vocabulary of 8,000 word pieces, learned from the text.
2. Vectors of the words from which words stand near which, as the first embeddings (`word_vectors.py`): what masked
   words would need most of a short training for.
3. A teacher, an IB-BERT of the same width between its blocks, which learns masked words.
4. The model, taught by it block by block and then masked words: `mobilebert distill`.
5. The same model goes on with masked words of the text alone, of which it soon knows more than its teacher; where
   `--tokens-alone` has several numbers, the learning rate rises and falls anew for each.
6. float16 on disk, and a card with the scores of what is there after each of five tasks, beside those of the same
   architecture from random weights and of logistic regression on TF-IDF.

Each step goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.numpy import load_file

from conversion import convert
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.files import CONFIG_FILE, WEIGHTS_FILE, read_json, write_text
from mobilebert_core.training.knowledge_transfer import TransferSettings

from .machine import processor
from .pretraining_text import LENGTH, pretraining, started, taught, tokenizer_of, written_text
from .small_tasks import SMALL_TASKS, fine_tuned, words_alone
from .transfer_report import average, deviation

ARCHITECTURE, TEACHER = "mobilebert-4x256", "ib-bert-4x256"
STRATEGY = "progressive"
WORDS = 8000
TEACHER_TOKENS, TAUGHT_TOKENS, TOKENS_ALONE = 3_997_696, 5_298_176, (24_576_000,)
BATCH = 16  # rows: of the same tokens, more steps of fewer rows teach more
RECIPE = {"learning_rate": 1e-3, "batch_size": BATCH, "warmup": 0.05, "seed": 0}
STEPS = {"nli": 1500, "banking77": 1500, "snips": 400, "atis_pos": 400, "goemotions": 1500}  # of fine-tuning
SEEDS = 3

CARD = """\
---
license: apache-2.0
language: en
library_name: mobilebert
pipeline_tag: fill-mask
---

# mobilebert-mini

A small general English encoder: a MobileBERT (arXiv 2004.02984) of {blocks} blocks, {hidden} wide between and {inner}
inside them, {words:,} lower-case word pieces, texts of up to {length} tokens. {parameters:,} parameters
(with the head for hidden words, which fine-tuning leaves; {without:.1f} million without),
{megabytes:.1f} MB in float16. It ships with the package, as a start for fine-tuning that needs no network:

    mobilebert train text-classification --data DIR --model mobilebert-mini --output my_model

It has read little, {tokens:,} tokens, its teacher {teacher_tokens:,}, and is no substitute for a published
model of full size.

## Data

English text, and nothing else:

| source | licence of the text |
|---|---|
| Standard Ebooks: short fiction, novels, essays | public domain in the US, their own work CC0 1.0 |
| ELTeC: 100 English novels, 1840-1920 | public domain |
| Wikipedia contributors: 8,485 articles of 2013/14 | CC BY-SA 3.0 |
| US government works | public domain, CC0 1.0 |
| Python PEPs | public domain, CC0 1.0 |
| Schema-Guided Dialogue (Google) | CC BY-SA 4.0 |
| Groningen Meaning Bank: news | public-domain texts |
| GUM, the Georgetown University Multilayer corpus | CC BY 2.5, CC BY-SA 3.0, CC BY 4.0, by its parts |

Half of it is old books, with the views of their time. The vocabulary was learned from the same text. The texts of the
tasks below were not part of it.

## Scores

On {held_out:,} rows of held-out documents {masked:.1%} of the hidden words are found (perplexity {perplexity:.0f}).

After fine-tuning with one recipe for all of them (learning rate 5e-4, batches of 32), on the dev rows of each task,
{seeds}:

| task | steps | mobilebert-mini | the same from random weights | TF-IDF and logistic regression |
|---|---|---|---|---|
{table}

The trainings are the same for both starts; TF-IDF learned from all rows. The best epoch was chosen on these dev rows:
the scores compare, they do not say what to expect of other texts. Trained longer, the two starts come close to each
other: the start saves steps.

- nli: development rows of MNLI and SNLI, split anew by premise; not comparable with published figures.
- banking77: Banking77 (CC BY 4.0). snips: SNIPS 2017-06 (CC0).
- atis_pos: UD English-Atis (CC BY-SA 4.0); one dev row has a tag that no training row has, and is left out of the
  models' scores. In place of TF-IDF each word, its ending and the words beside it.
- goemotions: GoEmotions (Apache-2.0), thresholds tuned on the dev rows for all three.

## How it was made

`make mini-model DATA=DIR`, which runs `scripts/mini_model.py`. Its teacher, `{teacher}`, starts with vectors from
counts of words that stand near each other, and learns masked words. The model starts with its embeddings and learns
block by block, then masked words, half from the text and half from it (`mobilebert distill --strategy
{strategy}`): {taught:,} tokens. It then reads {alone} without a teacher (`mobilebert pretrain`). All in
rows of {length} tokens, {batch} rows a batch, each time by AdamW from {rate:g} down. PyTorch, one
thread of this machine: {cpu}, float32; stored in float16.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="directory with corpus, tasks and goemotions")
    parser.add_argument("work", type=Path, help="directory for what is made on the way")
    parser.add_argument(
        "--tokens", type=int, default=TAUGHT_TOKENS, help=f"by which the model is taught (default {TAUGHT_TOKENS})"
    )
    parser.add_argument(
        "--tokens-alone",
        type=int,
        nargs="+",
        default=TOKENS_ALONE,
        metavar="N",
        help=f"that it reads after that without its teacher, in one training or several (default {TOKENS_ALONE[0]})",
    )
    parser.add_argument(
        "--teacher-tokens",
        type=int,
        default=TEACHER_TOKENS,
        metavar="N",
        help=f"that its teacher reads (default {TEACHER_TOKENS})",
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"of fine-tuning (default {SEEDS})")
    parser.add_argument("--tasks", nargs="*", default=list(SMALL_TASKS), choices=list(SMALL_TASKS), metavar="TASK")
    parser.add_argument("--output", type=Path, help="where the model goes (default: WORK/mobilebert-mini)")
    options = parser.parse_args()
    torch.set_num_threads(1)  # sums are then formed in one order, and of the same vocabulary comes the same model
    work, output = options.work, options.output or options.work / "mobilebert-mini"
    budgets = (options.teacher_tokens, options.tokens, options.tokens_alone)
    results = made(options.data / "corpus", work, output, *budgets)
    scores = compared(options.data, work, output, options.tasks, options.seeds)
    write_text(work / "scores.json", json.dumps(scores, indent=2) + "\n")
    write_text(output / "README.md", card(output, results, scores, options))
    print(json.dumps(scores, indent=2))


def made(
    corpus: Path, work: Path, output: Path, teacher_tokens: int, tokens: int, tokens_alone: Sequence[int]
) -> dict[str, object]:
    """Trains teacher and encoder, and writes the encoder in float16; returns what its training says of itself."""
    train, dev = written_text(corpus, work)
    tokenizer_of(train, WORDS, work)
    start = started(TEACHER, train, dev, work)
    teacher_steps, steps, *steps_alone = (
        read(count) // (BATCH * LENGTH) for count in (teacher_tokens, tokens, *tokens_alone)
    )
    pretraining(train, dev, str(start), work / "teacher", work, max_steps=teacher_steps, **RECIPE)
    way = TransferSettings(strategy=STRATEGY)
    taught(train, dev, work / "teacher", ARCHITECTURE, way, work / "encoder", work, max_steps=steps, **RECIPE)
    model, results = work / "encoder", {}
    for seed, more in enumerate(steps_alone):  # each of which sees the text in another order
        longer = work / f"longer-{seed}"
        results = pretraining(train, dev, str(model), longer, work, max_steps=more, **{**RECIPE, "seed": seed})
        model = longer
    ship(model, output)
    return results


def read(tokens: int) -> int:
    """How many tokens whole steps read."""
    return max(1, tokens // (BATCH * LENGTH)) * BATCH * LENGTH


def ship(encoder: Path, output: Path) -> None:
    """The encoder in float16, with the dropout of its architecture, which its short training was too short for."""
    convert(encoder, output, dtype="float16", overwrite=True)
    usual = MobileBertConfig.from_preset(ARCHITECTURE)
    dropout = {name: getattr(usual, name) for name in ("hidden_dropout_prob", "attention_probs_dropout_prob")}
    MobileBertConfig.from_pretrained(output, **dropout).save_pretrained(output)
    for name in ("tokenizer.json", "provenance.json"):  # the vocabulary says it all
        (output / name).unlink(missing_ok=True)


def compared(data: Path, work: Path, model: Path, tasks: list[str], seeds: int) -> dict[str, dict]:
    """By task: the steps, and the scores of the encoder, of its architecture from random weights, and of TF-IDF."""
    found = {}
    for name in tasks:
        task = SMALL_TASKS[name]
        starts = {"mini": str(model), "random": str(model / CONFIG_FILE)}
        scores = {
            kind: [
                fine_tuned(task, data, work, start, work / f"{name}-{kind}-{seed}", steps=STEPS[name], seed=seed)
                for seed in range(seeds)
            ]
            for kind, start in starts.items()
        }
        found[name] = {"steps": STEPS[name], **scores, "words": words_alone(task, data, work)}
        print(name, found[name], flush=True)
    return found


def card(output: Path, results: dict, scores: dict[str, dict], options: argparse.Namespace) -> str:
    config, alone = read_json(output / CONFIG_FILE), [read(count) for count in options.tokens_alone]
    sizes = {name: array.size for name, array in load_file(output / WEIGHTS_FILE).items()}
    rows = [
        f"| {name}: {SMALL_TASKS[name].about} | {s['steps']:,} | {mean(s['mini'])} | {mean(s['random'])} "
        f"| {s['words']:.3f} |"
        for name, s in scores.items()
    ]
    return CARD.format(
        blocks=config["num_hidden_layers"], hidden=config["hidden_size"], inner=config["intra_bottleneck_size"],
        words=config["vocab_size"], length=LENGTH, taught=read(options.tokens),
        alone=" and ".join(f"{count:,}" for count in alone), tokens=read(options.tokens) + sum(alone),
        teacher_tokens=read(options.teacher_tokens), teacher=TEACHER, strategy=STRATEGY,
        batch=BATCH, rate=RECIPE["learning_rate"],
        parameters=sum(sizes.values()),
        without=sum(size for name, size in sizes.items() if not name.startswith("cls.")) / 1e6,
        megabytes=(output / WEIGHTS_FILE).stat().st_size / 1e6, held_out=results["rows"]["dev"],
        masked=results["dev"]["masked_accuracy"], perplexity=results["dev"]["perplexity"],
        seeds="one seed" if options.seeds == 1 else f"mean and standard deviation of {options.seeds} seeds",
        table="\n".join(rows),
        cpu=processor(),
    )  # fmt: skip


def mean(values: list[float]) -> str:
    return f"{average(values):.3f}" + (f" ± {deviation(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
