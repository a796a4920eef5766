"""The measurement of a conversion in the process of the tests, whose frameworks are imported already.

What the process of its own does besides is tested in `test_converting_refused.py`.
"""

from __future__ import annotations

import json
from typing import Any, Self

from conversion.parity.deviation import ParityError, Report
from conversion.verification import Verifier, frameworks_for, measure
from mobilebert_core.errors import MobileBertError


class VerifierHere(Verifier):
    def __init__(self, mode: str) -> None:
        self._frameworks, self._tolerance = frameworks_for(mode), 0.0
        self._said: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: Any) -> None:
        pass

    def report(self) -> Report:
        said = map(json.loads, self._said)
        try:
            return Report.from_dict(json.loads(measure(next(said), lambda: next(said)).to_json()))
        except MobileBertError as e:
            raise ParityError(str(e)) from None

    def _say(self, message: dict[str, Any]) -> None:
        self._said.append(json.dumps(message))
