"""What the tests of the page share: one server, one Chromium, and the answers of Python to the same exported model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

import mobilebert

from .serving import PAGE, ROOT, Elsewhere, browsing, command_serving

HERE = Path(__file__).parent
WAIT = 120_000  # milliseconds, on a machine that is busy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def guide_commands() -> list[str]:
    """The commands of the guide, in its order."""
    return re.findall(r"^\$ (.+)$", (ROOT / "docs/guides/browser.md").read_text(), flags=re.M)


@pytest.fixture(scope="session")
def site(guide_commands: list[str]) -> Iterator[str]:
    """The address of the page, served by the command that the guide shows."""
    (command,) = (each for each in guide_commands if "http.server" in each)
    with command_serving(command.split()) as address:
        yield address


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[Elsewhere]:
    one = Elsewhere()
    yield one
    one.close()


@pytest.fixture(scope="session")
def browser(elsewhere: Elsewhere) -> Iterator[Browser]:
    with browsing(elsewhere.port) as one:
        yield one


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[[str], Page]]:
    """Opens an address in a window of its own."""
    contexts = []

    def open_page(address: str, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def python_answers() -> Callable[[str | Path, list[str]], list[dict[str, float]]]:
    """The scores by label that Python computes with the model of a folder, by its name if it lies beside the page."""

    def answers(folder: str | Path, texts: list[str]) -> list[dict[str, float]]:
        classify = mobilebert.pipeline("text-classification", PAGE / "model" / folder, threads=1)
        # One by one, like the page: int8 takes the range of a whole batch.
        found = (classify(text, top_k=len(classify.runner.config.id2label)) for text in texts)
        return [{each["label"]: each["score"] for each in answer} for answer in found]

    return answers
