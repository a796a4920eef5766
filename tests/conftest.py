"""What every test shares. MOBILEBERT_TEST_BACKENDS names the backends to cover, default both; one that is named
and cannot be imported fails its tests."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# Models of a few numbers: threads would wait for each other longer than they compute, and most beside another worker.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the real hub
os.environ["HF_HOME"] = os.path.join(tempfile.gettempdir(), "mobilebert-tests")  # nor finds a user's token

from conversion.parity.sample import random_checkpoint
from mobilebert_core.heads import HEADS
from tests.backends.backend import BACKENDS, Backend
from tests.hub_stand_in import HubStandIn
from tests.tiny import tiny_config

NAMED_BACKENDS = os.environ.get("MOBILEBERT_TEST_BACKENDS", "torch,keras").split(",")


def pytest_configure() -> None:
    """Ctrl-C is heard although a shell or a batch system that starts the tests in the background ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What was imported stays: the garbage collector need not look through the frameworks again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(params=NAMED_BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]()


@pytest.fixture
def checkpoint(tmp_path: Path):
    """Writes a random TINY checkpoint of a head, with fields of the configuration changed."""

    def write(head: str, hidden_scale: float = 1.0, seed: int = 0, name: str = "checkpoint", **overrides) -> Path:
        return random_checkpoint(tiny_config(**overrides), HEADS[head], tmp_path / name, seed, hidden_scale)

    return write


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStandIn]:
    """A stand-in for the hub, with an empty cache and no token: as if HF_ENDPOINT and HF_HOME said so.

    huggingface_hub reads these variables when it is imported, which another test may have done.
    """
    from huggingface_hub import constants

    stand_in = HubStandIn()
    monkeypatch.setattr(constants, "ENDPOINT", stand_in.endpoint)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", stand_in.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the attempts of huggingface_hub
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield stand_in
    stand_in.close()
