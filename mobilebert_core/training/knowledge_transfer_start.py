"""How a student starts: whether it fits its teacher, and which of its weights are the teacher's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ..configuration.config import MobileBertConfig
from ..errors import ConfigError
from ..weights import BASE_PREFIX, Weight
from .knowledge_transfer import MAPPED_TERMS, RELATION_TERMS, Comparison, Schedule, Stage, TransferSettings, block_map
from .knowledge_transfer import relation_heads as common_heads

_BLOCKS = f"{BASE_PREFIX}encoder.layer."


@dataclass(frozen=True)
class CopyReport:
    """What a student took from its teacher. Blocks are not copied: they learn.

    Attributes:
        copied: names of weights that are now the teacher's.
        skipped: (name, shape wanted, shape of the teacher's) of weights that do not fit; both shapes of a weight.
        random: names outside of the blocks that were not copied. Their embeddings are trained from the first stage.
    """

    copied: tuple[str, ...]
    skipped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    random: tuple[str, ...]

    def said(self) -> list[str]:
        """Notes for people."""
        notes = [f"{len(self.copied)} weights of embeddings and heads are the teacher's"]
        notes += [f"not copied: {name} is {wanted}, the teacher's {got}" for name, wanted, got in self.skipped]
        if self.random:
            few = ", ".join(self.random[:4]) + (f" and {len(self.random) - 4} more" if len(self.random) > 4 else "")
            notes.append(
                f"WARNING: not the teacher's but random, and so trained from the first stage that reads them: {few}"
            )
        return notes


def copied_from(
    teacher: Iterable[Weight], student: Iterable[Weight], array: Callable[[str], np.ndarray]
) -> tuple[dict[str, np.ndarray], CopyReport]:
    """The teacher's weights outside of the blocks that the student has too, by the student's names, and the report.

    They are matched by their names in the table, never by their order, and only where shapes are equal.

    Args:
        array: the teacher's weight of a name.
    """
    known = {weight.full_name: weight for weight in teacher if weight.tied_to is None}
    arrays: dict[str, np.ndarray] = {}
    skipped, random = [], []
    for weight in student:
        if weight.tied_to is not None or weight.full_name.startswith(_BLOCKS):
            continue
        same = known.get(weight.full_name)
        if same is not None and same.shape == weight.shape:
            arrays[weight.name] = array(same.name)
            continue
        random.append(weight.name)
        if same is not None:
            skipped.append((weight.name, weight.shape, same.shape))
    return arrays, CopyReport(tuple(arrays), tuple(skipped), tuple(random))


@dataclass(frozen=True)
class Pair:
    """A teacher and a student that fit the stages between them.

    Attributes:
        follows: the teacher's block of each block of the student.
        heads: of relations.
    """

    schedule: Schedule
    teacher: MobileBertConfig
    student: MobileBertConfig
    follows: tuple[int, ...]
    heads: int
    temperature: float

    @classmethod
    def of(
        cls, settings: TransferSettings, schedule: Schedule, teacher: MobileBertConfig, student: MobileBertConfig
    ) -> Pair:
        """Checks that every term can compare the two.

        Raises:
            ConfigError: saying what does not fit, and what to do instead.
        """
        terms = {name for stage in schedule.stages for name in stage.weights}
        follows = block_map(teacher.num_hidden_layers, student.num_hidden_layers, settings.blocks)
        _check_alike(terms, follows, teacher, student)
        heads = 1
        if terms & set(RELATION_TERMS):
            last = student.num_hidden_layers - 1
            widths = [c.heads_of_layer(i) * c.head_size for c, i in ((teacher, follows[last]), (student, last))]
            heads = common_heads(widths[0], widths[1], settings.relation_heads)
        return cls(schedule, teacher, student, follows, heads, settings.word_temperature)

    def comparison(self, stage: Stage) -> Comparison:
        """What the objective of a stage compares."""
        return Comparison(stage, self.follows, self.temperature, self.heads)

    def first_weights(self, stage: Stage, seed: int, dtype: str = "float32") -> dict[str, np.ndarray]:
        """First values of the weights that the objective of a stage has itself: the map of states (H, teacher's H)."""
        name, _ = MAPPED_TERMS
        if name not in stage.weights:
            return {}
        rng = np.random.default_rng([seed, self.student.hidden_size, self.teacher.hidden_size])
        array = rng.standard_normal((self.student.hidden_size, self.teacher.hidden_size))
        return {name: (array / np.sqrt(self.student.hidden_size)).astype(dtype)}


def _check_alike(
    terms: set[str], follows: tuple[int, ...], teacher: MobileBertConfig, student: MobileBertConfig
) -> None:
    for name, config in (("teacher", teacher), ("student", student)):
        if config.folding == "all":
            raise ConfigError(f"transfer: the {name} is folded, where nothing is left to compare. Take the one before.")
    if terms & {"feature", "mean", "variance", "cosine"} and teacher.hidden_size != student.hidden_size:
        raise ConfigError(
            f"transfer: the states of the blocks are compared, so both models need the same hidden_size; the teacher "
            f"has {teacher.hidden_size}, the student {student.hidden_size}. Take the strategy minilm or tinybert."
        )
    if terms & {"attention", "scores"}:
        for own, other in enumerate(follows):
            ours, theirs = student.heads_of_layer(own), teacher.heads_of_layer(other)
            if ours != theirs:
                raise ConfigError(
                    f"transfer: attention is compared head by head; block {own} of the student has {ours} heads, block "
                    f"{other} of the teacher {theirs}. Take the strategy minilm, or the weight 0 for attention."
                )
    if "soft" in terms and teacher.vocab_size != student.vocab_size:
        raise ConfigError(
            f"transfer: scores of words are compared, so both models need the same vocabulary; the teacher has "
            f"{teacher.vocab_size} words, the student {student.vocab_size}. Give the student the teacher's."
        )
