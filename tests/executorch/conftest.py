"""Tests with ExecuTorch, in an environment of its own (`make executorch`), which no other test needs."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Warnings of ExecuTorch are its own; those of our code are errors here as well."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("executorch")
            item.add_marker(pytest.mark.filterwarnings("default"))
            item.add_marker(pytest.mark.filterwarnings(r"error::Warning:(conversion|mobilebert(_core|_torch)?)(\.|$)"))
