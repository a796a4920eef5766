"""The parser of the command and of all its subcommands: what is misspelt is named with what was meant."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

from mobilebert_core.spelling import did_you_mean

from .streams import let_the_first_say


def command_parser(**settings: Any) -> argparse.ArgumentParser:
    """A parser whose subparsers are of the same kind, with the settings of argparse's."""
    return _CommandParser(**settings)


class _CommandParser(argparse.ArgumentParser):
    """Refuses an unknown option with the usage of its own subcommand, before it asks for options that are missing."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, but nothing may be left over."""
        passed = sys.argv[1:] if args is None else list(args)
        self._check_options(passed)
        found, extras = super().parse_known_args(passed, namespace)
        if extras:
            self.error(f"wanted nothing more, got {' '.join(extras)}")
        return found, extras

    def error(self, message: str) -> NoReturn:
        """As argparse, but of several processes the first one says it first."""
        let_the_first_say()
        super().error(message)

    def _check_options(self, passed: Iterable[str]) -> None:
        """Refuses an option that is not known; those after the name of a subcommand are its own."""
        if self._subparsers is not None:
            passed = itertools.takewhile(lambda arg: arg.startswith("-"), passed)
        known = [name for name in self._option_string_actions if name.startswith("--")]
        for arg in itertools.takewhile(lambda arg: arg != "--", passed):
            name = arg.partition("=")[0]
            is_text = " " in arg or not arg.startswith("--")
            if not is_text and not any(each.startswith(name) for each in known):  # argparse completes a beginning
                self.error(f"no option {name!r}.{did_you_mean(name, known)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            among = [str(each) for each in action.choices]
            raise argparse.ArgumentError(
                action, f"must be one of {', '.join(among)}, got {value!r}.{did_you_mean(value, among)}"
            )
