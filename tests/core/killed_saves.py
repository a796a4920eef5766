"""Saves that are killed at one system call after another, in processes of their own: what is left each time.

`python -m tests.core.killed_saves CASE DIRECTORY` saves an old model and a new one over it as CASE says, ends the
process of the new save before each call that changes a directory or syncs, and prints what a reader then finds.
`... CASE DIRECTORY in-turn` saves the two in turn until it is ended. `... CASE DIRECTORY full` saves where no file may
be longer than some bytes, as on a full disk.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mobilebert_core.checkpoints.formats import OUTPUT_FORMATS
from mobilebert_core.checkpoints.opening import open_checkpoint
from mobilebert_core.checkpoints.targets import ModelToWrite
from mobilebert_core.errors import CheckpointNotFoundError, SaveError
from mobilebert_core.files import write_text
from mobilebert_core.heads import HEADS
from mobilebert_core.saves import SAVED, STAGE
from tests.tiny import tiny_config

CALLS = ("replace", "rename", "unlink", "remove", "link", "mkdir", "rmdir", "fsync")
SHARD = 40_000  # bytes: a few shards, since every file more is calls more
# What is saved over what: format and size of shards of the old one and of the new.
CASES = {
    **{name: (name, None, name, None) for name in OUTPUT_FORMATS},
    "shards": ("pytorch", SHARD, "pytorch", SHARD),
    "h5-shards": ("tensorflow", SHARD, "tensorflow", SHARD),
    "shards-over-file": ("pytorch", None, "pytorch", SHARD),
    "file-over-shards": ("pytorch", SHARD, "pytorch", None),
    "bin-over-safetensors": ("pytorch", None, "pytorch-bin", None),
    "safetensors-over-h5": ("tensorflow", None, "pytorch", None),
    "new": (None, None, "pytorch", None),
    "new-google": (None, None, "google", None),
}
OLD, NEW, NOTHING = "old", "new", "nothing"


def save(directory: Path, which: str, name: str, size: int | None, **fields: object) -> None:
    """A model of one head and one layer that differs from the other one in every array, and in its configuration."""
    config = tiny_config(num_hidden_layers=1, num_feedforward_networks=1, hidden_dropout_prob=SIGNS[which], **fields)
    shapes = {}
    model = ModelToWrite(config, HEADS["NextSentencePrediction"], "float32", lambda n: np.full(shapes[n], SIGNS[which]))
    shapes |= {weight.full_name: weight.shape for weight in model.weights}
    output = OUTPUT_FORMATS[name].written
    output.write(directory / f"m{output.ending}" if output.ending else directory, model, size)


SIGNS = {OLD: 0.25, NEW: 0.75}


def found(path: Path) -> str:
    """Which of the two models a path is, whole, or else what is wrong."""
    try:
        checkpoint = open_checkpoint(path)
        config = checkpoint.config()
    except CheckpointNotFoundError:
        return NOTHING
    seen = checkpoint.weights(config)
    values = {config.hidden_dropout_prob, *(float(v) for n in seen.stored for v in np.unique(seen.read(n)))}
    return {frozenset([sign]): which for which, sign in SIGNS.items()}.get(frozenset(values), f"a mixture: {values}")


def calls_of(act: Callable[[], None], die_at: int | None) -> int | None:
    """Runs `act` in a process that ends before its call number `die_at`; returns how many there were without one."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        count = 0

        def watched(original: Callable) -> Callable:
            def call(*args: object, **named: object) -> object:
                nonlocal count
                if count == die_at:
                    os._exit(0)
                count += 1
                return original(*args, **named)

            return call

        for name in CALLS:
            setattr(os, name, watched(getattr(os, name)))
        try:
            act()
            os.write(write, str(count).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        text = told.read()
    os.waitpid(child, 0)
    return int(text) if text else None


def outcomes(case: str, work: Path) -> dict[str, int]:
    """What is found after a kill at each call, and after the save that follows."""
    before, before_size, after, size = CASES[case]
    place, old = work / "model", work.with_name("old")
    ending = OUTPUT_FORMATS[after].written.ending
    if before:
        save(old, OLD, before, before_size)

    def begin() -> None:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        if before:
            shutil.copytree(old, place)

    def act() -> None:
        save(place, NEW, after, size)

    begin()
    total = calls_of(act, None)
    assert total is not None and total > 4, total
    seen: Counter[str] = Counter()
    for number in range(total):
        begin()
        assert calls_of(act, number) is None
        for path in {place, place / f"m{ending}" if ending else place}:
            seen[found(path)] += 1
        act()
        left = [p.name for p in (*work.iterdir(), *place.iterdir()) if p.name.startswith((STAGE, SAVED))]
        seen["left"] += len(left)
        assert found(place) == NEW
    write_text(work / "calls", str(total))
    return dict(seen)


def save_in_turn(case: str, place: Path) -> None:
    before, before_size, after, size = CASES[case]
    while True:
        save(place, OLD, before or after, before_size)
        save(place, NEW, after, size)


def errors_of_a_full_disk(case: str, place: Path) -> dict[str, str]:
    """The error by the largest size of a file."""
    _, _, after, size = CASES[case]
    save(place, OLD, after, size)
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    told = {}
    for limit in (10, 3000, 9000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            save(place, NEW, after, size)
        except SaveError as e:
            told[str(limit)] = str(e)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    return told


if __name__ == "__main__":
    if sys.argv[3:] == ["in-turn"]:
        save_in_turn(sys.argv[1], Path(sys.argv[2]))
    if sys.argv[3:] == ["full"]:
        print(json.dumps(errors_of_a_full_disk(sys.argv[1], Path(sys.argv[2]))))
        sys.exit()
    print(json.dumps(outcomes(sys.argv[1], Path(sys.argv[2]))))
