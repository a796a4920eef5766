"""Tags of words and the entities they stand for, in the schemes IOB1, IOB2, BIOES and BILOU, by seqeval's rules."""

from __future__ import annotations

from collections.abc import Iterable

OUTSIDE = "O"
# Each prefix as one of IOBES: beginning, inside, end, single; L is last, U unit, M middle.
_PREFIXES = {"B": "B", "I": "I", "E": "E", "S": "S", "L": "E", "U": "S", "M": "I"}


class TagScheme:
    """How the labels of a model are read.

    B- and I- are prefixes wherever they stand. The others are where every label but O has a prefix, and one of them
    says that an entity begins or goes on: a label "E-mail" among labels without prefixes is a name.
    """

    def __init__(self, labels: Iterable[str]) -> None:
        found = {label: label.partition("-") for label in labels if label != OUTSIDE}
        prefixes = {prefix for prefix, dash, name in found.values() if dash and name}
        all_have_one = all(dash and name and prefix in _PREFIXES for prefix, dash, name in found.values())
        known = _PREFIXES if all_have_one and prefixes & set("BISU") else {"B": "B", "I": "I"}
        self._parts = {
            label: (known[prefix], name) if dash and name and prefix in known else ("I", label)
            for label, (prefix, dash, name) in found.items()
        }

    def split(self, label: str) -> tuple[str, str]:
        """The prefix (B, I, E or S) and the name of an entity; a label without a prefix is inside, and so is O."""
        return self._parts.get(label, ("I", label))

    def iobes(self, label: str) -> str:
        """The tag in seqeval's words."""
        return label if label == OUTSIDE else "-".join(self.split(label))

    def continues(self, label: str, before: str) -> bool:
        """Whether a tag goes on with the entity of the tag before it (seqeval's `start_of_chunk`, `end_of_chunk`)."""
        (prefix, name), (earlier, earlier_name) = self.split(label), self.split(before)
        return name == earlier_name and prefix in ("I", "E") and earlier in ("B", "I")
