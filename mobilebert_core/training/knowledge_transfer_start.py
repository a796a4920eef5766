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
_SCALED = {  # by folding: why states of blocks cannot be compared
    "all": "states are scaled by the gains of all blocks before",
    "half": "states are scaled by powers of two",
}


@dataclass(frozen=True)
class CopyReport:
    """What a student took from its teacher. Blocks are not copied: they learn.

    Attributes:
        copied: names of weights that are now the teacher's.
        skipped: (name, what the student has, what the teacher has) of weights that do not fit: their shapes, or where
            these are equal their kinds.
        random: names outside of the blocks that were not copied. Embeddings among them are trained in every stage.
    """

    copied: tuple[str, ...]
    skipped: tuple[tuple[str, tuple[int, ...] | str, tuple[int, ...] | str], ...]
    random: tuple[str, ...]

    def said(self) -> list[str]:
        """Notes for people."""
        if not self.copied:
            return ["nothing is the teacher's: embeddings too are trained from the first stage"]
        notes = [f"{len(self.copied)} weights of embeddings and heads are the teacher's"]
        notes += [f"not copied: {name} is {wanted}, the teacher's {got}" for name, wanted, got in self.skipped]
        if self.random:
            few = ", ".join(self.random[:4]) + (f" and {len(self.random) - 4} more" if len(self.random) > 4 else "")
            notes.append(
                f"WARNING: not the teacher's but newly initialized, and so trained from the first stage that reads "
                f"them: {few}"
            )
        return notes


def copied_from(
    teacher: Iterable[Weight], student: Iterable[Weight], array: Callable[[str], np.ndarray]
) -> tuple[dict[str, np.ndarray], CopyReport]:
    """The teacher's weights outside of the blocks that the student has too, by the student's names, and the report.

    They are matched by their names in the table, never by their order, and only where shapes and kinds are equal: the
    scale and shift of a layer norm are not those of a NoNorm, as in the released code, where they have other names.

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
        if same is not None and (same.shape, same.kind) == (weight.shape, weight.kind):
            arrays[weight.name] = array(same.name)
            continue
        random.append(weight.name)
        if same is not None:
            other = same.shape != weight.shape
            skipped.append((weight.name, *((weight.shape, same.shape) if other else (weight.kind, same.kind))))
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
        cls,
        settings: TransferSettings,
        schedule: Schedule,
        teacher: MobileBertConfig,
        student: MobileBertConfig,
        longest: int | None = None,
    ) -> Pair:
        """Checks that every term can compare the two, and that the teacher can read what the student reads.

        Args:
            longest: tokens of the longest row; default what the student can read.

        Raises:
            ConfigError: saying what does not fit, and what to do instead.
        """
        terms = {name for stage in schedule.stages for name in stage.weights}
        follows = block_map(teacher.num_hidden_layers, student.num_hidden_layers, settings.blocks)
        _check_alike(terms, follows, teacher, student)
        if any(stage.needs_teacher for stage in schedule.stages):
            _check_readable(teacher, student, longest or student.max_position_embeddings)
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


def _check_readable(teacher: MobileBertConfig, student: MobileBertConfig, longest: int) -> None:
    for what, has, wanted in (
        ("words", teacher.vocab_size, student.vocab_size),
        ("kinds of segments", teacher.type_vocab_size, student.type_vocab_size),
        ("positions", teacher.max_position_embeddings, longest),
    ):
        if has < wanted:
            raise ConfigError(
                f"transfer: the teacher reads the student's rows, so wanted one with at least {wanted} {what}, got "
                f"{has}. Take another teacher, or give the student no more"
                f"{', or shorter rows' if what == 'positions' else ''}."
            )


def _check_alike(
    terms: set[str], follows: tuple[int, ...], teacher: MobileBertConfig, student: MobileBertConfig
) -> None:
    for name, config in (("teacher", teacher), ("student", student)):
        if config.folding in ("all", "half"):  # "block" keeps states in true units between blocks
            raise ConfigError(
                f"transfer: wanted a {name} whose states are in true units, got one folded by {config.folding!r}, "
                f"where {_SCALED[config.folding]}. Take the model before it was folded."
            )
    if student.gradient_checkpointing:
        raise ConfigError(
            "transfer: wanted a student without gradient_checkpointing, which the stages do not use, got True. Set it "
            "to false in the student's config.json."
        )
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
