"""Graphs of `fit` as they are recorded: TensorFlow spends a third of a short run on rewriting them.

What users run, rewritten, is run in the other files here, in the examples, and in the runs that are killed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import tensorflow as tf


@pytest.fixture(autouse=True, scope="module")
def graphs_as_recorded(request: pytest.FixtureRequest) -> Iterator[None]:
    name = request.module.__name__.rpartition(".")[2]
    off = name.startswith("test_fit_") or name in ("test_citizenship", "test_graphs", "test_saved_state")
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": off})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
