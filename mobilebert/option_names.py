"""What Python's keywords in a message are called on the command line."""

from __future__ import annotations

import argparse
import re

from mobilebert_core.tasks.table import TextTask
from mobilebert_core.tasks.task_text import options_of

_PREFIXES = ("option_", "recipe_")  # before the keyword, in the names of parsed arguments


def as_options(message: str, options: argparse.Namespace) -> str:
    """The message with `--text-column` for `text_column`, and `--no-header` for `header=False`.

    Of options that the command has, whose names are several words or have a value behind them: others may be plain
    words of a sentence. What is in quotes or part of a path stays as it is.
    """
    names = set(vars(options))
    for prefix in _PREFIXES:
        names = {name.removeprefix(prefix) for name in names}
    if isinstance(task := getattr(options, "task", None), TextTask):
        names |= {each.name for each in options_of(task.text)}  # without those that were not passed
    words = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True) if "_" in name)
    if "header" in names:
        message = message.replace("header=False", "--no-header")
    if not words:
        return message
    return re.sub(
        rf"(?<![\w'\"/.-])({words})(?:=True)?(?![\w'\"/=-]|\.\w)",
        lambda match: "--" + match[1].replace("_", "-"),
        message,
    )
