"""Texts that an exported file is proved on, and texts of a user's file from which ranges are calibrated.

B batch, C choices, S sequence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.datasets.examples import BadRows, ReadOptions
from mobilebert_core.datasets.sources import Source, ending
from mobilebert_core.errors import DataError, ExportError, InputError
from mobilebert_core.heads import Head
from mobilebert_core.inputs import TEXT_INPUTS
from mobilebert_core.tasks.batching import by_length, padded
from mobilebert_core.tasks.fill_mask import FillMask
from mobilebert_core.tasks.table import TASKS, TextTask
from mobilebert_core.tasks.task_text import Row
from mobilebert_core.text.tokenization_base import TokenizerBase

from ..parity.sample import SENTENCES
from .own_texts import OWN_TEXTS

# Sentences written for this package, of everyday matters and of many lengths.
TEXTS = (
    *SENTENCES,
    "Yes.",
    "I can't believe they cancelled the concert again!",
    "The museum opens at nine on weekdays and at ten on Sundays, but the garden behind it never closes.",
    "Thank you so much, that was exactly what I needed.",
    "Why would anyone pay forty euros for a broken chair?",
    "Our train left Lyon four minutes early, which nobody on the platform was prepared for.",
    "The soup is too salty, the bread is old, and the waiter laughed when we said so.",
    "Mix the flour with cold water first; only then add the eggs, one after another.",
    "A committee of seven met in March 1987 to decide where the bridge should stand.",
    "He was afraid of dogs until he was thirty and now he has three of them.",
    "Not bad at all.",
    "The battery lasts two days if you turn the screen down, and six hours if you do not.",
    "Who wrote the letter, and why was it never sent?",
    "Copper expands when it is heated, and the old wires hung lower every summer.",
    "My sister plays the cello; I only carry it.",
    "They promised to call back within the hour. That was last Tuesday.",
    "Snow fell on the orange trees, to the delight of the children and the despair of everyone else.",
    "The second half of the film is better than the first, although nothing happens in it.",
    "Please leave the keys with the neighbours when you go.",
    "In 2019 the lake froze for the first time in twenty-six years, and people walked across it to work.",
)  # fmt: skip
_LONGEST = 384  # tokens of the longest row: more shows nothing new and takes its time
_ROWS = 8  # of a batch, short ones beside long ones
LEAST_CALIBRATION = 16  # texts: fewer give ranges that the next text leaves
_MOST_CALIBRATION = 512

# What readers say of options that an export has not, and what can be done without them.
_OPTIONS_SAID = {
    r" Name it by \w+, or pass header=False if the first row is data\.": " Put one of these names into its first row.",
    r" Name (them|the column of the words) by \w+( and \w+| \(\w+\))?\.": " Leave out all columns but words and tags.",
    r", or leave such rows out with skip_bad_rows=True": "",
    r", with skip_bad_rows=True to leave rows with names out,": "",
    r" Pass all but one as options \([^)]*\), or JSON lines or CSV\.": " Pass JSON lines or CSV with these columns.",
}


def sample_batches(
    tokenizer: TokenizerBase, config: MobileBertConfig, head: Head, length: int | None = None
) -> list[dict[str, np.ndarray]]:
    """Batches of model inputs (B, S), or (B, 2, S) for choices: one short text alone, several with padding, long ones.

    Args:
        length: the longest row, where the file has a fixed one.
    """
    limit = min(length or _LONGEST, config.max_position_embeddings)
    rows = [_row(tokenizer, config, text, limit) for text in TEXTS]
    pairs = [_row(tokenizer, config, text, limit, TEXTS[i - 1]) for i, text in enumerate(TEXTS)][: len(TEXTS) // 2]
    long = [_row(tokenizer, config, " ".join(TEXTS[start:] * 8), limit) for start in (0, 3)]
    found = [[rows[3]], rows[4:7], *(_batches(rows)), *(_batches(pairs)), [long[0], rows[2]], [long[1]]]
    # Padding is seen: the last word has it for a neighbour. So the source reads rows as long as the file does.
    return [_padded(batch, tokenizer, head, length) for batch in found]


def _batches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    return (list(rows[start : start + _ROWS]) for start in range(0, len(rows), _ROWS))


def _row(tokenizer: TokenizerBase, config: MobileBertConfig, text: str, limit: int, pair: str | None = None) -> Row:
    encoded = tokenizer(text, pair, truncation=True, max_length=limit, return_token_type_ids=True, verbose=False)
    # A tokenizer that is not the model's own may know more words, and a model may know one kind of segment.
    ids = [number % config.vocab_size for number in encoded["input_ids"]]
    return Row(ids, [min(number, config.type_vocab_size - 1) for number in encoded["token_type_ids"]])


def _padded(rows: Sequence[Row], tokenizer: TokenizerBase, head: Head, length: int | None) -> dict[str, np.ndarray]:
    batch = padded(rows, tokenizer.pad_token_id or 0, length=length)
    if not head.per_choice:
        return batch
    return {name: np.stack([array, np.roll(array, 1, axis=0)], axis=1) for name, array in batch.items()}


@contextmanager
def read_without_options() -> Iterator[None]:
    """Says what a file must be where a reader names the options that others have to read it as it is."""
    try:
        yield
    except (DataError, InputError) as e:
        message = str(e)
        for said, instead in _OPTIONS_SAID.items():
            message = re.sub(said, instead, message)
        raise type(e)(message) from None


def calibration_batches(
    path: str | Path | None,
    tokenizer: TokenizerBase,
    config: MobileBertConfig,
    head: Head,
    length: int | None = None,
    own: bool = False,
) -> tuple[dict[str, np.ndarray], ...]:
    """The texts of a file as batches of model inputs, (B, S) or (B, C, S) int32, rows of like length together.

    Takes every file that `mobilebert predict` takes for the head's task, for masked words one of plain texts too;
    labels are not read.

    Args:
        path: None for no texts.
        own: whether sentences that ship with the package, and are not in the proof, are there in place of none.

    Raises:
        DataError: for a file that cannot be read.
        ExportError: for too few texts.
    """
    if path is None:
        limit = min(length or _LONGEST, config.max_position_embeddings)
        rows = [_row(tokenizer, config, text, limit) for text in OWN_TEXTS if own]
        batches = [[rows[i] for i in batch] for batch in by_length(rows, _ROWS)]
        return tuple(_padded(batch, tokenizer, head, length) for batch in batches)
    path = Path(path)
    task = task_of(head)
    limit = min(length or config.max_position_embeddings, config.max_position_embeddings)
    text = task.text(task.name, task.takes, tokenizer, config).with_options({"max_length": limit})
    bad = BadRows(path, skip=True)
    files = task.files
    if not path.is_file():
        raise ExportError(f"{path}: wanted a file of texts to calibrate with, there is none.")
    if ending(path) not in files.endings:
        raise ExportError(f"{path}: wanted a file ending in {', '.join(files.endings)}.")
    rows = []
    count = 0
    with read_without_options():
        for item in files.rows(Source.of(path), ReadOptions(skip_bad_rows=True), [], bad):
            # A range needs no masked word: whoever calibrates a head for masked words has plain texts.
            rows += [text.row_of(item.values["text"])] if isinstance(text, FillMask) else text.rows(item.values)
            count += 1
            if count == _MOST_CALIBRATION:
                break
    if count < LEAST_CALIBRATION:
        raise ExportError(
            f"{path}: wanted at least {LEAST_CALIBRATION} texts to calibrate with, got {count}: ranges from so few do "
            "not hold for others. A hundred texts like those of use are enough."
        )
    pad = tokenizer.pad_token_id or 0
    return tuple(padded([rows[i] for i in batch], pad, head.per_choice, length) for batch in by_length(rows, _ROWS))


def task_of(head: Head) -> TextTask:
    """The task whose texts a head reads; for one without a task, that of plain texts."""
    return next((task for task in TASKS.values() if task.head == head.name), TASKS["fill-mask"])


def count_rows(batches: Sequence[Any]) -> int:
    """The rows of all batches of inputs together."""
    return sum(len(batch[TEXT_INPUTS[0]]) for batch in batches)
