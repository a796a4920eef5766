"""What Python's keywords in a message are called on the command line."""

from __future__ import annotations

import argparse
import re

from mobilebert_core.tasks.table import TextTask
from mobilebert_core.tasks.task_text import options_of

_PREFIXES = ("option_", "recipe_", "transfer_")  # before the keyword, in the names of parsed arguments
_KEYWORD = re.compile(r"(?<![\w'\"/.-])(pass |Pass )?(\w+)=('[^']*'|\[?\.{3}\]?|[\w.]*\w)")


def as_options(message: str, options: argparse.Namespace) -> str:
    """The message with `--text-column` for `text_column`, and `--no-header` for `header=False`.

    Of options that the command has, whose names are several words or have a value after them: others may be plain
    words of a sentence. What is in quotes or part of a path stays as it is. What a message says to pass, and the
    command has no option for, is said to be Python's.
    """
    names = set(vars(options))
    for prefix in _PREFIXES:
        names = {name.removeprefix(prefix) for name in names}
    if isinstance(task := getattr(options, "task", None), TextTask):
        names |= {each.name for each in options_of(task.text)}  # without those that were not passed
    message = _KEYWORD.sub(lambda match: _as_option(match, names), message)
    words = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True) if "_" in name)
    if not words:
        return message
    return re.sub(
        rf"(?<![\w'\"/.-])({words})(?![\w'\"/=-]|\.\w)", lambda match: "--" + match[1].replace("_", "-"), message
    )


def _as_option(match: re.Match[str], names: set[str]) -> str:
    """A keyword with its value, and "pass" before it, as an option of the command or else as Python's."""
    verb, name, value = match[1] or "", match[2], match[3]
    if name not in names:
        return f"{'I' if verb[0] == 'P' else 'i'}n Python {match[0][0].lower()}{match[0][1:]}" if verb else match[0]
    if name == "header" and value == "False":
        return f"{verb}--no-header"
    option = "--" + name.replace("_", "-")
    if value == "True":
        return verb + option
    return match[0] if value == "False" else f"{verb}{option} {value.strip(chr(39))}"
