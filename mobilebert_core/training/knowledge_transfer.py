"""Knowledge transfer as data: which strategy computes which terms on which blocks, for how many steps, at which rates.

A student learns from a teacher in stages (arXiv 2004.02984, sections 3.3 to 3.5, and the released TF1 code): its
blocks imitate those of the teacher, then the whole model learns masked words from the text and from the teacher.
What a term is stands in knowledge_transfer_losses.py; each backend's `knowledge_transfer.py` computes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..errors import ConfigError
from ..weight_rows import BASE_PREFIX
from ..weights import Weight
from .recipe import Recipe, is_number

BLOCK_TERMS = ("feature", "mean", "variance", "attention")  # of the outputs and attention scores of blocks
WORD_TERMS = ("soft", "hard")  # of the masked words, from the teacher and from the text
RELATION_TERMS = ("queries", "keys", "values")  # of MiniLM version 2
MAPPED_TERMS = ("hidden", "scores")  # of TinyBERT
TERMS = (*BLOCK_TERMS, *MAPPED_TERMS, *RELATION_TERMS, "cosine", *WORD_TERMS, "next_sentence")

PROGRESSIVE, JOINT, AUXILIARY, NONE = "progressive", "joint", "auxiliary", "none"
DISTILBERT, TINYBERT, MINILM = "distilbert", "tinybert", "minilm"
STRATEGIES: Mapping[str, str] = {
    PROGRESSIVE: "block by block, then masked words (the paper's best)",
    JOINT: "all blocks together, then masked words",
    AUXILIARY: "all blocks and masked words together",
    NONE: "masked words alone; with a hard share of 1 the teacher is not used",
    DISTILBERT: "masked words and the direction of the last state (arXiv 1910.01108)",
    TINYBERT: "states through a learned map and attention scores, then masked words (arXiv 1909.10351)",
    MINILM: "relations of queries, keys and values of one block, then masked words (arXiv 2012.15828)",
}
_DISTILBERT = {"soft": 5.0, "hard": 2.0, "cosine": 1.0}
_WITH_BLOCK_STAGES = (PROGRESSIVE, JOINT, TINYBERT, MINILM)
# Which strategies read a setting, where not all do.
_READ_BY: Mapping[str, tuple[str, ...]] = {
    "block_share": _WITH_BLOCK_STAGES,
    "block_rate": _WITH_BLOCK_STAGES,
    "earlier": (PROGRESSIVE,),
    **dict.fromkeys(BLOCK_TERMS, (PROGRESSIVE, JOINT, AUXILIARY)),
    "hard_share": tuple(name for name in STRATEGIES if name != DISTILBERT),
    "blocks": (*_WITH_BLOCK_STAGES, AUXILIARY),
    "relation_heads": (MINILM,),
}
_SMALLEST_RELATION = 8  # features of a relation head, as in the published students of MiniLM


@dataclass(frozen=True, kw_only=True)
class TransferSettings:
    """What a user may say about a knowledge transfer.

    Raises:
        ConfigError: for a value that cannot be, or for one that the strategy does not read.

    Attributes:
        strategy: a key of `STRATEGIES`.
        block_share: of the steps, for the stages before the last; Google's 240,000 of 740,000 are a third.
        stage_steps: the steps of each stage, in place of `block_share`.
        earlier: learning rate of the blocks below the current one, as a share of its; 0 leaves them as they are.
        block_rate: learning rate of the stages of blocks, as a share of the recipe's; 3 in the released code, by LAMB
            (distill_util.py).
        feature, mean, variance, attention: weights of the terms of a block.
        hard_share: of the text in the loss of masked words; the rest is the teacher's.
        temperature: both sides' scores of words are divided by it; None is 1, for distilbert 2.
        blocks: the teacher's block that each block of the student follows, from 0.
        relation_heads: of minilm; it must divide the widths of both models' attention.
    """

    strategy: str = PROGRESSIVE
    block_share: float = 1 / 3
    stage_steps: tuple[int, ...] | None = None
    earlier: float = 0.1
    block_rate: float = 1.0
    feature: float = 100.0
    mean: float = 5000.0
    variance: float = 5.0
    attention: float = 1.0
    hard_share: float = 0.5
    temperature: float | None = None
    blocks: tuple[int, ...] | None = None
    relation_heads: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.strategy, str) or self.strategy not in STRATEGIES:
            raise ConfigError(f"transfer: strategy must be one of {', '.join(STRATEGIES)}, got {self.strategy!r}.")
        for name in ("block_share", "hard_share", "earlier"):
            if not (is_number(getattr(self, name)) and 0 <= getattr(self, name) <= 1):
                raise ConfigError(f"transfer: {name} must be from 0 to 1, got {getattr(self, name)!r}.")
        for name in (*BLOCK_TERMS, "block_rate"):
            value = getattr(self, name)
            if not (is_number(value) and math.isfinite(value) and value >= 0):
                raise ConfigError(f"transfer: {name} must be a number of at least 0, got {getattr(self, name)!r}.")
        value = self.temperature
        if value is not None and not (is_number(value) and math.isfinite(value) and value > 0):
            raise ConfigError(f"transfer: temperature must be a number above 0, got {value!r}.")
        for name in ("stage_steps", "blocks"):
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, tuple | list) or not all(is_number(each, whole=True) for each in value):
                raise ConfigError(f"transfer: {name} must be whole numbers in a tuple, got {value!r}.")
            object.__setattr__(self, name, tuple(value))
        if self.relation_heads is not None and not is_number(self.relation_heads, whole=True):
            raise ConfigError(f"transfer: relation_heads must be a whole number, got {self.relation_heads!r}.")
        for name, strategies in _READ_BY.items():
            if self.strategy not in strategies and getattr(self, name) != getattr(type(self), name):
                raise ConfigError(
                    f"transfer: strategy {self.strategy} does not read {name}, got {getattr(self, name)!r}. Leave it "
                    f"out, or take {' or '.join(strategies)}."
                )
        if self.block_share == 0 and self.stage_steps is None:
            raise ConfigError(
                f"transfer: block_share must be above 0 for the stages of blocks, got {self.block_share!r}. Without "
                f"them take {AUXILIARY} or {NONE}."
            )
        if self.stage_steps is not None and self.block_share != type(self).block_share:
            raise ConfigError("transfer: wanted block_share or the steps of the stages, got both. Leave one out.")
        if self.temperature is not None and "soft" not in self.of_words:
            raise ConfigError(
                f"transfer: with a hard_share of 1 nothing reads temperature, got {self.temperature!r}. Leave one out."
            )

    @property
    def of_words(self) -> dict[str, float]:
        """The terms of masked words with their weights."""
        if self.strategy == DISTILBERT:
            return dict(_DISTILBERT)
        return _without_zeros({"soft": 1 - self.hard_share, "hard": self.hard_share})

    @property
    def of_blocks(self) -> dict[str, float]:
        """The terms of blocks with their weights."""
        if self.strategy == MINILM:
            return dict.fromkeys(RELATION_TERMS, 1.0)
        if self.strategy == TINYBERT:
            return dict.fromkeys(MAPPED_TERMS, 1.0)
        return _without_zeros({name: getattr(self, name) for name in BLOCK_TERMS})

    def terms(self, sentences: bool) -> tuple[str, ...]:
        """The names of all terms that some stage computes, in the order of `TERMS`: the columns of the curves.

        Args:
            sentences: whether the student learns which sentence follows.
        """
        blocks = {} if self.strategy in (NONE, DISTILBERT) else self.of_blocks
        last = {"next_sentence"} if sentences and self.strategy != DISTILBERT else set()
        return tuple(name for name in TERMS if name in {*blocks, *self.of_words, *last})

    @property
    def word_temperature(self) -> float:
        """What both sides' scores of words are divided by."""
        return self.temperature or (2.0 if self.strategy == DISTILBERT else 1.0)


@dataclass(frozen=True)
class Stage:
    """One stage: what is minimized, and what is trained.

    Attributes:
        name: for people.
        start, steps: its steps, counted over the whole training from 0.
        weights: the terms computed, with their weights.
        blocks: the student's blocks whose terms are computed; of several blocks a term is the mean. The paper adds them
            up; the released code does too, and divides each by the number of all blocks, in a stage of one block as
            well (run_pretraining.py).
        factors: of the learning rate, one for each block of the student; 0 leaves a block as it is.
        embeddings: the factor of the embeddings; those that were not copied are trained in every stage.
        falls: whether the learning rate falls to 0, as in the last stage.
    """

    name: str
    start: int
    steps: int
    weights: Mapping[str, float]
    blocks: tuple[int, ...]
    factors: tuple[float, ...]
    embeddings: float
    falls: bool

    @property
    def reads_words(self) -> bool:
        """Whether masked words are scored."""
        return any(name in self.weights for name in WORD_TERMS)

    @property
    def depth(self) -> int:
        """How many of the student's blocks are computed: no more than the terms read."""
        whole = self.reads_words or "next_sentence" in self.weights or "cosine" in self.weights
        return len(self.factors) if whole else max(self.blocks) + 1

    @property
    def needs_teacher(self) -> bool:
        """Whether a term compares with the teacher."""
        return any(name not in ("hard", "next_sentence") for name in self.weights)

    def factor_of(self, weight: Weight, random: Iterable[str] = ()) -> float:
        """The factor of the learning rate of a weight, which stays as it is at 0.

        A weight of a block has that of its block, of a head 1 in the stages that read the head and else 0, of the
        embeddings `embeddings`, or 1 if `random` names it: before the last stage nothing else would train what was
        not copied.
        """
        place = weight.full_name.removeprefix(f"{BASE_PREFIX}encoder.layer.")
        if place != weight.full_name:
            return self.factors[int(place.partition(".")[0])]
        if weight.group in ("pooler", "seq_relationship"):
            return float("next_sentence" in self.weights)
        if weight.group is not None:
            return float(self.reads_words)
        return self.embeddings or float(weight.name in set(random))


@dataclass(frozen=True)
class Schedule:
    """The stages of one training, in order, and the learning rate of every step.

    Attributes:
        recipe: its learning rate is the highest of the last stage, its warm-up that of every stage.
        block_rate: see `TransferSettings`.
    """

    stages: tuple[Stage, ...]
    recipe: Recipe
    block_rate: float = 1.0
    steps: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", sum(stage.steps for stage in self.stages))

    def number_at(self, step: int) -> int:
        """The number of the stage of a step, both counted from 0; past the end it is the last."""
        return next((i for i, s in enumerate(self.stages) if step < s.start + s.steps), len(self.stages) - 1)

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, before the factors of the weights.

        In a stage of blocks, as in the released code, it rises in a straight line and then sinks to 0.9 along a root;
        in the last stage it falls to 0 as in every other training.
        """
        stage = self.stages[self.number_at(step)]
        done = step - stage.start
        if stage.falls:
            return self.recipe.learning_rate_at(done, stage.steps)
        warm = self.recipe.warmup * stage.steps
        rising = (done + 1) / warm if done + 1 < warm else 1.0
        sinking = 0.9 + 0.1 * math.sqrt(1 - done / stage.steps)
        return float(np.float32(self.recipe.learning_rate * self.block_rate * min(rising, sinking)))


def schedule(settings: TransferSettings, blocks: int, steps: int, recipe: Recipe, sentences: bool) -> Schedule:
    """The stages of a student with so many blocks in so many steps.

    Args:
        sentences: whether the student learns which sentence follows, from the text alone.

    Raises:
        ConfigError: for fewer steps than stages.
    """
    if not blocks:
        raise ConfigError("transfer: wanted a student with blocks, got one without. Raise num_hidden_layers.")
    words = settings.of_words | ({"next_sentence": 1.0} if sentences and settings.strategy != DISTILBERT else {})
    every, ones = tuple(range(blocks)), (1.0,) * blocks
    # Of each stage: name, weights, blocks, factors, and that of the embeddings.
    parts: list[tuple[str, dict[str, float], tuple[int, ...], tuple[float, ...], float]] = []
    last: tuple[str, dict[str, float], tuple[int, ...], tuple[float, ...], float]
    last = ("masked words", words, (), ones, 1.0)
    if settings.strategy == PROGRESSIVE:
        parts = [
            (f"block {i + 1} of {blocks}", settings.of_blocks, (i,),
             (settings.earlier,) * i + (1.0,) + (0.0,) * (blocks - i - 1), 0.0)
            for i in every
        ]  # fmt: skip
    elif settings.strategy in (JOINT, TINYBERT, MINILM):
        watched = every[-1:] if settings.strategy == MINILM else every
        parts = [("all blocks", settings.of_blocks, watched, ones, float(settings.strategy != JOINT))]
    elif settings.strategy == AUXILIARY:
        last = ("all blocks and masked words", {**settings.of_blocks, **words}, every, ones, 1.0)
    lengths = _lengths(settings, len(parts), steps)
    stages: list[Stage] = []
    start = 0
    for (name, weights, watched, factors, embeddings), length in zip([*parts, last], lengths, strict=False):
        falls = len(stages) == len(parts)
        if not weights:
            raise ConfigError(f"transfer: stage {name!r} has no loss: all its terms have the weight 0. Raise one.")
        stages.append(Stage(name, start, length, weights, watched, factors, embeddings, falls))
        start += length
    return Schedule(tuple(stages), recipe, settings.block_rate)


def _lengths(settings: TransferSettings, block_stages: int, steps: int) -> list[int]:
    """The steps of each stage: all of them together, to the last one."""
    stages = block_stages + 1
    if settings.stage_steps is not None:
        whole = settings.stage_steps
        if len(whole) not in {stages, max(1, block_stages)} or min(whole) < 1:
            alone = f", or of the {block_stages} of blocks alone" if block_stages else ""
            raise ConfigError(
                f"transfer: wanted the steps of {stages} stage{'s' * (stages > 1)}{alone}, each of at least 1, got "
                f"{' '.join(map(str, whole)) or 'none'}."
            )
        return list(whole)
    if not block_stages:
        return [steps]
    first = steps if settings.block_share == 1 else min(max(round(steps * settings.block_share), 0), steps - 1)
    if first < block_stages:
        raise ConfigError(
            f"transfer: wanted at least a step for each of {block_stages} stages of blocks, got {first} of {steps} "
            "steps. Raise max_steps or epochs, or take more text, smaller batches, or a larger block_share."
        )
    each, more = divmod(first, block_stages)
    lengths = [each + (i < more) for i in range(block_stages)]
    return lengths if first == steps else [*lengths, steps - first]


def block_map(teacher_blocks: int, student_blocks: int, chosen: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """The teacher's block that each block of the student follows; the last follows the last.

    With as many blocks that is the same one, with every second one 1, 3, 5, ... counted from 0.

    Raises:
        ConfigError: for a choice of another length, or of blocks that are not there or not in order.
    """
    if chosen is None:
        return tuple(-(-(i + 1) * teacher_blocks // student_blocks) - 1 for i in range(student_blocks))
    fits = len(chosen) == student_blocks and all(0 <= block < teacher_blocks for block in chosen)
    if not fits or list(chosen) != sorted(chosen):
        raise ConfigError(
            f"transfer: wanted for each of {student_blocks} blocks one of the teacher's {teacher_blocks}, rising, got "
            f"{' '.join(str(block + 1) for block in chosen) or 'none'}, counted from 1."
        )
    return chosen


def relation_heads(teacher_width: int, student_width: int, chosen: int | None = None) -> int:
    """How many heads relations have: a common divisor of the widths of both models' attention.

    Raises:
        ConfigError: for a choice that does not divide both.
    """
    common = math.gcd(teacher_width, student_width)
    if chosen is None:
        return max(
            n for n in range(1, common + 1) if common % n == 0 and (n == 1 or student_width // n >= _SMALLEST_RELATION)
        )
    if chosen < 1 or common % chosen:
        raise ConfigError(
            f"transfer: relation_heads must divide the widths of both models' attention, {teacher_width} and "
            f"{student_width}, got {chosen}."
        )
    return chosen


def _without_zeros(weights: Mapping[str, float]) -> dict[str, float]:
    return {name: weight for name, weight in weights.items() if weight}


@dataclass(frozen=True)
class Comparison:
    """What the objective of a stage compares, in numbers; each backend's `KnowledgeTransfer` computes it.

    Attributes:
        stage: the terms with their weights, and the student's blocks.
        follows: the teacher's block of each block of the student.
        temperature: of the words' scores.
        heads: of relations.
    """

    stage: Stage
    follows: tuple[int, ...]
    temperature: float = 1.0
    heads: int = 1

    @property
    def followed(self) -> frozenset[int]:
        """The teacher's blocks whose outputs are compared."""
        return frozenset(self.follows[block] for block in self.stage.blocks)

    def teacher_depth(self, blocks: int) -> int:
        """How many of the teacher's blocks are computed: no more than the terms read."""
        whole = "soft" in self.stage.weights or "cosine" in self.stage.weights
        return blocks if whole else max(self.followed, default=-1) + 1
