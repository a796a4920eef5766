"""Tokenizers on the small vocabulary of the recordings, and where the real one is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mobilebert_core import MobileBertTokenizer, MobileBertTokenizerFast
from tests.golden.record_tokenization import TARGET, VOCABULARY

CLASSES = (MobileBertTokenizer, MobileBertTokenizerFast)


def write_vocabulary(folder: Path, vocabulary: list[str] = VOCABULARY) -> Path:
    """A vocab.txt in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "vocab.txt"
    path.write_text("".join(f"{token}\n" for token in vocabulary), encoding="utf-8")
    return path


def ids_of(*tokens: str) -> list[int]:
    """The ids of tokens of the small vocabulary."""
    return [VOCABULARY.index(token) for token in tokens]


def recordings() -> dict[str, Any]:
    """What transformers 4.37.2 did."""
    return json.loads(TARGET.read_text(encoding="utf-8"))


def as_json(value: Any) -> Any:
    """`value` as it would come back from a JSON file: no tuples, no arrays."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [as_json(item) for item in value] if isinstance(value, list | tuple) else value


def real_data(*parts: str) -> Path:
    """A file of the real data, which is not in the repository; skips the test when it is not there."""
    folder = os.environ.get("MOBILEBERT_DATA")
    if folder is None:
        pytest.skip(f"needs {'/'.join(parts)} in the folder that MOBILEBERT_DATA names")
    path = Path(folder, *parts)
    assert path.is_file(), f"MOBILEBERT_DATA is set, but there is no {path}"
    return path
