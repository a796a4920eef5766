"""examples/serve_litserve.py answers requests that arrive at once as the pipeline answers them one by one."""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mobilebert
from mobilebert_torch import MobileBertForSequenceClassification
from tests.tiny import tiny_config

pytestmark = pytest.mark.interop
ROOT = Path(__file__).parents[2]
TEXTS = ["I love this!", "Why did they leave?", "Thank you so much.", "I am so angry.", "So sad."] * 4


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("server") / "log").open("w+")
    command = [sys.executable, "examples/serve_litserve.py", str(mobilebert.DEMO_MODEL), str(number)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(240):
            if is_ready(number):
                break
            assert server.poll() is None, Path(log.name).read_text()
            time.sleep(0.5)
        else:
            pytest.fail(Path(log.name).read_text())
        yield number
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # its workers too, which outlive it
        server.wait(30)
        log.close()


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def asked(port: int, text: object, name: str = "text") -> list[dict[str, object]]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/predict", json.dumps({name: text}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["labels"]


def test_requests_at_once_are_answered_as_one_by_one(port):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: asked(port, text), TEXTS))
    classify = mobilebert.pipeline("text-classification", padding_invariant=True)
    for text, answer in zip(TEXTS, found, strict=True):
        expected = {each["label"]: each["score"] for each in classify(text)}
        assert {each["label"]: each["score"] for each in answer} == pytest.approx(expected, abs=1e-5), text


def test_a_model_with_one_label_a_text_answers_with_all_of_them_too(tmp_path):
    config = tiny_config(vocab_size=8000, num_labels=3, problem_type="single_label_classification")
    MobileBertForSequenceClassification(config).save_pretrained(tmp_path)
    mobilebert.AutoTokenizer.from_pretrained(mobilebert.DEMO_MODEL).save_pretrained(tmp_path)
    example = runpy.run_path(str(ROOT / "examples" / "serve_litserve.py"))
    server = example["Classifier"](str(tmp_path), max_batch_size=16)
    server.setup("cpu")
    (answer,) = server.predict(["I love this!"])
    labels = server.encode_response(answer)["labels"]
    assert {each["label"] for each in labels} == set(config.id2label.values())
    assert sum(each["score"] for each in labels) == pytest.approx(1)


@pytest.mark.parametrize(("name", "text"), [("txt", "I love this!"), ("text", 5), ("text", ["a", "b"])])
def test_what_is_no_text_is_the_fault_of_the_request(port, name, text):
    with pytest.raises(urllib.error.HTTPError) as error:
        asked(port, text, name)
    error.value.close()
    assert error.value.code == 422
    assert asked(port, "")  # an empty text is one
