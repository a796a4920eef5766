"""The commands of the guide: one prints what is shown, the other serves the page to the tests beside this one."""

from __future__ import annotations

import subprocess

from tests.pages import assert_shown, commands

from .serving import ROOT


def test_make_prints_what_is_shown(guide_commands):
    guide = (ROOT / "docs/guides/browser.md").read_text()
    block = guide.split("```console\n")[1].split("```")[0]
    (make, output), (serve, _) = commands(block)
    assert [make, serve] == guide_commands == ["make browser", "python -m http.server --directory examples/browser"]
    done = subprocess.run([*make.split(), "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert_shown(output, done.stdout)
