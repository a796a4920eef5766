"""Names that users chose, as text of a model card that shows them and nothing else."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from .hub.resolve import has_path_form

_PLAIN = re.compile(r"[\w./ -]*\w[\w./ -]*", re.ASCII)
_MARKDOWN = re.compile(r"[\\`*_\[\]|~$#@]|:(?=//)|(?<=www)\.|(?<=\])\(", re.IGNORECASE)


def escaped(text: str) -> str:
    """A text on one line, in which nothing means anything to Markdown or HTML."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return _MARKDOWN.sub(r"\\\g<0>", escape(line, quote=False))


def code(name: str) -> str:
    """A name as code; one with other characters than those of usual names as escaped text."""
    return f"`{name}`" if _PLAIN.fullmatch(name) else escaped(name)


def name_of(place: str | os.PathLike[str]) -> str:
    """A name on the hub or a preset's as it is; of a path on this machine the last part."""
    return Path(place).resolve().name if Path(place).exists() or has_path_form(place) else str(place)


def data_name(data: Path | Sequence[str | Path]) -> str:
    """What data are called: the name of a file or directory, or of several."""
    return data.resolve().name if isinstance(data, Path) else " ".join(Path(each).resolve().name for each in data)
