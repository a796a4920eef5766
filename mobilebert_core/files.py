"""Names of the files in a checkpoint directory, and reading and writing them whole or not at all."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import CheckpointError, CheckpointNotFoundError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
TENSORFLOW_FILE = "tf_model.h5"  # of transformers' TensorFlow models
PICKLE_FILE = "pytorch_model.bin"  # of older checkpoints; read and written by PyTorch only


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointNotFoundError: when the file is not there.
        CheckpointError: when it is not UTF-8 JSON, or not an object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        beside = sorted(p.name for p in path.parent.iterdir())[:8] if path.parent.is_dir() else None
        seen = f"the directory holds {', '.join(beside) or 'nothing'}" if beside is not None else "no such directory"
        raise CheckpointNotFoundError(f"{path}: file not found; {seen}.") from None
    except UnicodeDecodeError as e:
        raise CheckpointError(f"{path}: wanted JSON text, got bytes that are not UTF-8 ({e.reason}).") from None
    except OSError as e:
        raise CheckpointNotFoundError(f"{path}: cannot be read ({e.strerror}).") from None
    try:
        value = json.loads(text)
    except ValueError as e:
        raise CheckpointError(f"{path}: wanted JSON, got text that ends or breaks off: {e}.") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: wanted a JSON object, got a {type(value).__name__}.")
    return value


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all; parent directories are made."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block succeeds.

    Whatever interrupts the block, the old file stays whole and the temporary one goes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
