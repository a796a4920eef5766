"""Types of arguments that several commands take."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from conversion.backends import unknown_backend
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import DTYPES
from mobilebert_core.configuration.presets import PRESETS
from mobilebert_core.errors import ConfigError
from mobilebert_core.files import CONFIG_FILE, nearest

SOURCE_HELP = "directory, file, prefix of a TensorFlow checkpoint, or hub name"
HEAD_HELP = "model class (default: the one the source was saved from)"
MODEL_HELP = "a checkpoint, a directory of `mobilebert export`, or a name on the Hugging Face hub"
DEVICE_HELP = "where PyTorch computes, such as cpu or cuda:1 (default: the GPU, if any)"


def output_path(text: str) -> Path:
    """A place to write to. An empty text, as of an unset variable of a shell, is none: it would mean this directory."""
    if not text:
        raise argparse.ArgumentTypeError("wanted a place to write to, got an empty name; this directory is '.'")
    return Path(text)


def input_name(text: str) -> str:
    """What is to be read. An empty text is none: it would mean this directory, or whatever stands on standard input."""
    if not text:
        raise argparse.ArgumentTypeError("wanted a file to read, got an empty name")
    return text


def input_path(text: str) -> Path:
    """A place to read from, as `input_name`."""
    return Path(input_name(text))


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"wanted a whole number, got {text!r}") from None


def at_least_one(text: str) -> int:
    """A number of things of which there must be some."""
    number = _whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def one_of_so_many(text: str) -> int:
    """Of how many rows one is held out; 0 for none."""
    number = _whole(text)
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
    except (ValueError, RecursionError):
        return name, value


def add_backend(parser: Any, among: Collection[str], **settings: Any) -> None:
    """Adds --backend, one of these; another name is refused with the one that was meant."""

    def named(text: str) -> str:
        if text not in among:
            raise argparse.ArgumentTypeError(unknown_backend(text, among))
        return text

    parser.add_argument("--backend", type=named, choices=list(among), **settings)


def add_computation(parser: Any) -> None:
    """Adds how a model or an export computes."""
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="default float32")
    parser.add_argument("--threads", type=int, metavar="N", help="of an export's runtime (default: all)")
    parser.add_argument("--device", help=DEVICE_HELP)


def add_padding_invariant(parser: Any) -> None:
    """Adds --padding-invariant, which without it is as the configuration says."""
    parser.add_argument(
        "--padding-invariant", action="store_true", default=None, help="keep answers free of what shares their batch"
    )


def is_preset(name: str) -> bool:
    """Whether a name means a preset: a file, or a directory with a configuration, of the same name has precedence."""
    place = Path(name)
    return name in PRESETS and not place.is_file() and not (place / CONFIG_FILE).is_file()


def config_of(passed: str | None) -> MobileBertConfig | Path | None:
    """The configuration that --config names: a preset's, or the place of a file.

    Raises:
        ConfigError: for what is neither.
    """
    if passed is None or is_preset(passed):
        return None if passed is None else MobileBertConfig.from_preset(passed)
    if not Path(passed).exists():
        raise ConfigError(f"--config {passed}: no such file, and no preset. {nearest(passed, PRESETS)}")
    return Path(passed)
