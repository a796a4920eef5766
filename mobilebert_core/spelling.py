"""What is said of a misspelt name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(got: object, known: Iterable[str]) -> str:
    """The sentence " Did you mean 'x'?" of the known name that is most like it, whatever its case; "" for none."""
    names = {str(name).lower(): name for name in known}
    near = difflib.get_close_matches(str(got).lower(), names, 1)
    return f" Did you mean {names[near[0]]!r}?" if near else ""
