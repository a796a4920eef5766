"""One tokenizer in many threads and processes: each call gets what its own options ask for."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import random
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mobilebert_core.errors import TokenizerError
from mobilebert_core.text.encoding_options import EncodingOptions
from mobilebert_core.text.library_tokenizer import LibrarySettings
from mobilebert_core.text.turns import Turns
from tests.core.tokenizers import CLASSES, write_vocabulary

THREADS = 8
OPTIONS = [
    {},
    {"truncation": True, "max_length": 5},
    {"truncation": True, "max_length": 9, "padding": "max_length"},
    {"padding": True},
    {"padding": "max_length", "max_length": 12, "truncation": False},
    {"padding": True, "pad_to_multiple_of": 7},
    {"truncation": "only_first", "max_length": 6, "return_offsets_mapping": True},
    {"split_special_tokens": True, "max_length": 7},
]
TEXTS = ["the quick brown fox", "[MASK] jumps over the lazy dog, and then some more", "a", "hello world " * 7, ""]


@pytest.fixture
def switching():
    """Threads change places all the time, as they do under load."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("cls", CLASSES)
def test_threads_with_other_options_get_their_own_rows(cls, tmp_path, switching):
    tokenizer = cls(write_vocabulary(tmp_path))
    expected = [dict(tokenizer(TEXTS, **options)) for options in OPTIONS]
    start = threading.Barrier(THREADS)

    def work(thread: int) -> int:
        wrong = 0
        order = random.Random(thread)
        start.wait()
        for _ in range(250):  # 10,000 rows together
            number = order.randrange(len(OPTIONS))
            got = tokenizer(TEXTS, **OPTIONS[number])
            wrong += dict(got) != expected[number]
            if number % 4 == 3:  # places are computed when they are asked for
                rows = got.encodings
                wrong += [row.ids for row in rows] != expected[number]["input_ids"]
        return wrong

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(work, range(THREADS))) == 0


def test_settings_that_the_library_refuses_do_not_stay_in_force(tmp_path):
    tokenizer = CLASSES[1](write_vocabulary(tmp_path))
    before = tokenizer(TEXTS, padding=True)["input_ids"]
    with pytest.raises(OverflowError):
        tokenizer._tokenizer.encode(TEXTS, EncodingOptions(), LibrarySettings((4, 2**70, "longest_first", "right")))
    assert tokenizer(TEXTS, padding=True)["input_ids"] == before


@pytest.mark.parametrize("cls", CLASSES)
def test_lengths_beyond_what_the_library_counts(cls, tmp_path):
    tokenizer = cls(write_vocabulary(tmp_path))
    with pytest.raises(TokenizerError, match="pad_to_multiple_of: wanted at most 2147483647, got 118"):
        tokenizer(TEXTS, padding=True, pad_to_multiple_of=2**70)
    with pytest.raises(TokenizerError, match="max_length: wanted at most 2147483647 to pad to"):
        tokenizer(TEXTS, padding="max_length", max_length=2**70)
    assert tokenizer(TEXTS, max_length=2**70)["input_ids"] == tokenizer(TEXTS)["input_ids"]


@pytest.mark.parametrize("cls", CLASSES)
def test_copies_are_equal_whatever_was_asked_before(cls, tmp_path):
    """A pickle is the same before and after a call: caches of a data set are named by it."""
    tokenizer = cls(write_vocabulary(tmp_path))
    fresh = pickle.dumps(tokenizer._tokenizer) if tokenizer.is_fast else b""
    expected = dict(tokenizer(TEXTS, max_length=6))
    for other in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
        assert dict(other(TEXTS, max_length=6)) == expected
        assert other(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]
    tokenizer(TEXTS, max_length=6)
    assert not tokenizer.is_fast or pickle.dumps(tokenizer._tokenizer) == fresh


def _ids_in_process(tokenizer, options):
    return dict(tokenizer(TEXTS, **options))


@pytest.mark.parametrize("cls", CLASSES)
def test_spawned_processes_answer_alike(cls, tmp_path):
    tokenizer = cls(write_vocabulary(tmp_path))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        got = pool.starmap(_ids_in_process, [(tokenizer, options) for options in OPTIONS])
    assert got == [dict(tokenizer(TEXTS, **options)) for options in OPTIONS]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_waits_for_no_thread_of_its_parent():
    turns = Turns("own", lambda settings: None)
    turns.begin("own")
    thread = threading.Thread(target=turns.begin, args=("other",), daemon=True)
    thread.start()
    while not turns._waiting:
        time.sleep(0.001)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        turns.begin("other")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    turns.end()
    thread.join(5)
    assert not thread.is_alive()


def test_equal_settings_run_side_by_side_and_others_get_their_turn():
    applied: list[str] = []
    turns = Turns("a", applied.append)
    turns.begin("a")
    turns.begin("a")  # would wait for ever if it were a plain lock

    def use(settings: str) -> None:
        turns.begin(settings)
        turns.end()

    threads = [threading.Thread(target=use, args=(settings,), daemon=True) for settings in ("b", "a")]
    for number, thread in enumerate(threads, 1):  # the second must not overtake the first, which waits
        thread.start()
        while turns._waiting < number:
            time.sleep(0.001)
    assert applied == []
    turns.end()
    turns.end()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert applied[0] == "b"
