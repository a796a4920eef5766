"""Types of arguments that several commands take."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def output_path(text: str) -> Path:
    """A place to write to. An empty text, as of an unset variable of a shell, is none: it would mean this directory."""
    if not text:
        raise argparse.ArgumentTypeError("wanted a place to write to, got an empty name; this directory is '.'")
    return Path(text)


def at_least_one(text: str) -> int:
    """A number of things of which there must be some."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def one_of_so_many(text: str) -> int:
    """Of how many rows one is held out; 0 for none."""
    number = int(text)
    if number < 0 or number == 1:
        raise argparse.ArgumentTypeError(f"must be 0 or at least 2, got {number}")
    return number


def config_field(text: str) -> tuple[str, Any]:
    """A field of a configuration and its value, as JSON or as Python spells it."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"wanted FIELD=VALUE, got {text!r}")
    try:
        return name, json.loads(value.lower() if value in ("True", "False", "None") else value)
    except ValueError:
        return name, value
