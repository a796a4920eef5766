"""What every test shares. MOBILEBERT_TEST_BACKENDS names the backends to cover, default both; one that is named
and cannot be imported fails its tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from conversion.sample import random_checkpoint
from mobilebert_core.heads import HEADS
from tests.backends.backend import BACKENDS, Backend
from tests.tiny import tiny_config

NAMED_BACKENDS = os.environ.get("MOBILEBERT_TEST_BACKENDS", "torch,keras").split(",")


@pytest.fixture(params=NAMED_BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]()


@pytest.fixture
def checkpoint(tmp_path: Path):
    """Writes a random TINY checkpoint of a head, with fields of the configuration changed."""

    def write(head: str, hidden_scale: float = 1.0, seed: int = 0, name: str = "checkpoint", **overrides) -> Path:
        return random_checkpoint(tiny_config(**overrides), HEADS[head], tmp_path / name, seed, hidden_scale)

    return write
