"""One model and one pipeline in many threads, from their first call on: each call gets its own rows."""

from __future__ import annotations

import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from conversion.backends import BACKENDS
from mobilebert import MobileBertPipeline
from mobilebert_core import TASKS, MobileBertTokenizerFast
from tests.core.test_tasks import VOCABULARY

THREADS = 8
HEAD = TASKS["text-classification"].head
TEXTS = ["cats", "Émile Zola lives in the city", "New Yorkers sing in Paris. " * 4, "a b c", "the dogs, the cats. " * 9]


@pytest.fixture(autouse=True)
def switching():
    """Threads change places all the time, as they do under load."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def wrong_answers(calls, expected, rounds):
    """How many of the calls, made in another order by each thread, gave another answer than is expected."""
    start = threading.Barrier(THREADS)

    def work(thread: int) -> int:
        order = random.Random(thread)
        start.wait()
        wrong = 0
        for _ in range(rounds):
            number = order.randrange(len(calls))
            wrong += not same(calls[number](), expected[number])
        return wrong

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(work, range(THREADS)))


def same(first: Any, second: Any) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[name], second[name]) for name in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, float | np.ndarray):
        return np.shape(first) == np.shape(second) and bool(np.allclose(first, second, rtol=1e-4, atol=1e-5))
    return first == second


def batches():
    """Of other sizes, names and dtypes, so that there are several graphs."""
    rng = np.random.default_rng(0)
    for number in range(12):
        shape = (1 + number % 3, 3 + number)
        batch = {"input_ids": rng.integers(1, 97, shape).astype("int64" if number % 4 else "int32")}
        if number % 2:
            batch["attention_mask"] = np.ones(shape, "int64")
        if number % 3 == 0:
            batch["token_type_ids"] = rng.integers(0, 3, shape)
        yield batch


def test_threads_share_a_runner(backend, checkpoint):
    path = checkpoint(HEAD)
    made = BACKENDS[backend.name].runner("test").from_pretrained(HEAD, path)
    other = BACKENDS[backend.name].runner("test").from_pretrained(HEAD, path)
    given = list(batches())
    expected = [other.run(batch) for batch in given]
    assert wrong_answers([lambda b=batch: made.run(b) for batch in given], expected, 6) == 0


def test_threads_share_a_model(backend, checkpoint):
    path = checkpoint(HEAD)
    model, other = (backend.load(HEAD, path) for _ in range(2))
    given = list(batches())[:4]
    calls = [lambda b=batch: backend.numpy(backend.call(model, b)["logits"]) for batch in given]
    expected = [backend.numpy(backend.call(other, b)["logits"]) for b in given]
    assert wrong_answers(calls, expected, 2) == 0


@pytest.mark.parametrize("task", ["text-classification", "fill-mask"])
def test_one_pipeline_with_options_of_each_call(backend, checkpoint, tmp_path, task):
    path = checkpoint(TASKS[task].head, padding_invariant=True)
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in VOCABULARY), encoding="utf-8")
    MobileBertTokenizerFast(tmp_path / "vocab.txt").save_pretrained(path)
    texts = [f"[MASK] {text}" for text in TEXTS] if task == "fill-mask" else TEXTS
    options = [{}, {"max_length": 8}, {"max_length": 20, "top_k": 2}, {"top_k": 1}, {"max_length": 11, "top_k": 3}]
    made, other = (MobileBertPipeline.from_pretrained(task, path, backend=backend.name) for _ in range(2))
    calls = [lambda t=some, o=each: made(t, **o) for some in (texts, texts[1], texts[::-2]) for each in options]
    expected = [other(some, **each) for some in (texts, texts[1], texts[::-2]) for each in options]
    assert wrong_answers(calls, expected, 3) == 0
