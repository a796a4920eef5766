"""Tokenizers on the small vocabulary of the recordings, and where the real one is."""

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
    root = Path(os.environ.get("MOBILEBERT_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = root.joinpath(*parts)
    if not path.is_file():
        pytest.skip(f"needs {path}, which is not in the repository; MOBILEBERT_DATA names its folder")
    return path
