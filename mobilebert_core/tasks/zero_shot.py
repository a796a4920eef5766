"""Labels that the model was never trained on: does the text entail that it is about them?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any, ClassVar

import numpy as np

from ..errors import ConfigError, InputError
from .probabilities import best_first, softmax
from .task_text import Outputs, Row, TaskText, option, split_at_commas

_DENIALS = ("not", "non", "no_", "no-", "no ")


@dataclass(frozen=True)
class ZeroShotClassification(TaskText):
    """{sequence, labels, scores}, best first, from a classifier of entailment (trained on MNLI, say).

    Scores add to 1 over the labels; with `multi_label` each is a probability by itself, entailment against
    contradiction, as it is for one label alone.

    Raises:
        ConfigError: when no label of the model is called entailment.
    """

    in_transformers: ClassVar[Mapping[str, str]] = {"multi_class": "multi_label"}

    candidate_labels: tuple[str, ...] = option((), tuple, "labels to choose from", flag="--labels")
    hypothesis_template: str = option("This example is {}.", str, "sentence about a label, which stands for {}")
    multi_label: bool = option(False, bool, "several labels may hold")

    def __post_init__(self) -> None:
        super().__post_init__()
        entailment_classes(self.config.id2label or {})
        if not self._places:
            raise InputError(
                f"{self.name}: hypothesis_template must have {{}} where the label goes, got "
                f"{self.hypothesis_template!r}. Write for example 'This text is about {{}}.'; other braces are doubled."
            )

    @property
    def _places(self) -> int:
        """How many places the template has for the label; 0 for one that is none."""
        try:
            names = [name for _, name, _, _ in Formatter().parse(self.hypothesis_template) if name is not None]
            self.hypothesis_template.format(*[""] * len(names))
        except (ValueError, LookupError, AttributeError):
            return 0
        return len(names) if set(names) <= {"", "0"} else 0

    def with_options(self, options: Mapping[str, Any]) -> TaskText:
        """The same task with other options; labels may come as one text with commas between."""
        if isinstance(labels := options.get("candidate_labels"), str):
            options = {**options, "candidate_labels": split_at_commas(labels)}
        return super().with_options(options)

    def rows(self, values: Mapping[str, Any]) -> list[Row]:
        labels = self._labels(values)
        if not labels:
            raise InputError(f"{self.name}: wanted candidate_labels, got none. Pass a list of labels.")
        places = self._places
        return [self.row_of(values["text"], self.hypothesis_template.format(*[label] * places)) for label in labels]

    def _labels(self, values: Mapping[str, Any]) -> list[str]:
        return list(dict.fromkeys(values.get("candidate_labels") or self.candidate_labels))

    def read(self, row: Row, outputs: Outputs) -> np.ndarray:
        return np.asarray(outputs["logits"], np.float64)  # (classes of the model,)

    def combine(self, values: Mapping[str, Any], rows: list[Row], parts: list[Any]) -> dict[str, Any]:
        logits = np.stack(parts)  # (labels, classes)
        entailed, denied = entailment_classes(self.config.id2label or {})
        if self.multi_label or len(parts) == 1:
            scores = softmax(logits[:, [denied, entailed]])[:, 1]
        else:
            scores = softmax(logits[:, entailed])
        order = best_first(scores)
        labels = self._labels(values)
        return {
            "sequence": values["text"],
            "labels": [labels[i] for i in order],
            "scores": [float(scores[i]) for i in order],
        }


def entailment_classes(id2label: Mapping[int, str]) -> tuple[int, int]:
    """The classes that say that a hypothesis follows, and that it does not.

    The second is called contradiction or not-entailment; where nothing is, it is the first or else the last class
    other than entailment, as in transformers.
    """
    names = {index: str(name).lower() for index, name in id2label.items()}
    entailed = [i for i, name in names.items() if "entail" in name and not name.startswith(_DENIALS)]
    if len(entailed) != 1 or len(names) < 2:
        raise ConfigError(
            f"zero-shot-classification: wanted a model with one label called entailment, its labels are "
            f"{', '.join(map(repr, id2label.values()))}. Use a model trained on entailment, such as MNLI, or name its "
            "labels: id2label in config.json."
        )
    denied = [i for i, name in names.items() if "contradict" in name or ("entail" in name and i != entailed[0])]
    return entailed[0], denied[0] if denied else (max(names) if entailed[0] == 0 else 0)
