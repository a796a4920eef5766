"""Tests with the real tools, in an environment of their own (`make interop`): the rest of the tests needs none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mobilebert_core.heads import HEADS
from tests.tiny import tiny_batch, tiny_config

HERE = Path(__file__).parent
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def pytest_collection_modifyitems(items):
    """Warnings of the tools are theirs; those of our code are errors here as well."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("interop")
            item.add_marker(pytest.mark.filterwarnings("default"))
            item.add_marker(pytest.mark.filterwarnings(r"error::Warning:mobilebert(_core|_torch)?(\.|$)"))


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Models of this size wait for threads longer than they compute."""
    import torch

    torch.set_num_threads(1)


def rows_for(head: str, count: int = 8, **overrides) -> list[dict[str, np.ndarray]]:
    """Rows of random model inputs with their labels."""
    batch = tiny_batch(tiny_config(**overrides), HEADS[head], batch=count)
    columns = {n: v.astype(np.int64) if v.dtype == np.int32 else v for n, v in batch.items()}
    return [{name: column[i] for name, column in columns.items()} for i in range(count)]
