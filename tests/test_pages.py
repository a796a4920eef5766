"""Every command and every block of the documentation's pages is run, page by page, in a directory of its own."""

from __future__ import annotations

import re

import pytest

from tests.pages import ROOT, run_page

PAGES = sorted((ROOT / "docs").rglob("*.md"))
ELSEWHERE = ROOT / "docs" / "guides" / "browser.md"  # needs npm and Chromium: tests/browser runs its commands


@pytest.mark.pages
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != ELSEWHERE], ids=lambda page: str(page.relative_to(ROOT / "docs"))
)
def test_every_block_runs_and_prints_what_is_shown(page, tmp_path):
    run_page(page.read_text(), tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_it_is_in_the_menu_once_and_its_files_exist(page):
    menu = (ROOT / "mkdocs.yml").read_text()
    assert len(re.findall(rf"\b{page.relative_to(ROOT / 'docs')}$", menu, flags=re.M)) == 1
    for path in re.findall(r"https://github\.com/mobilebert/mobilebert/blob/main/([\w/.-]+)", page.read_text()):
        assert (ROOT / path).is_file(), path
