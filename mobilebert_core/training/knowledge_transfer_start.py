"""How a student starts: whether it fits its teacher, and which of its weights are the teacher's.

T tokens, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..configuration.config import MobileBertConfig
from ..errors import ConfigError
from ..ranges import summed_embeddings
from ..weight_rows import BASE_PREFIX
from ..weights import Weight
from .knowledge_transfer import MAPPED_TERMS, RELATION_TERMS, Comparison, Schedule, Stage, TransferSettings, block_map
from .knowledge_transfer import relation_heads as common_heads

_BLOCKS = f"{BASE_PREFIX}encoder.layer."
_EMBEDDINGS = f"{BASE_PREFIX}embeddings."
_NORM = tuple(f"{_EMBEDDINGS}LayerNorm.{leaf}" for leaf in ("weight", "bias"))
_FITTED_ON = 8192  # tokens: of each channel a scale and a shift are fitted
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
        random: names outside of the blocks that were not copied.
        fitted: names of scale and shift of the embeddings, where `with_fitted_norm` has found them.
        explained: the share of the variance of the teacher's embeddings that is the student's too, after the fit.
    """

    copied: tuple[str, ...]
    skipped: tuple[tuple[str, tuple[int, ...] | str, tuple[int, ...] | str], ...]
    random: tuple[str, ...]
    fitted: tuple[str, ...] = ()
    explained: float = 0.0

    @property
    def not_taught(self) -> tuple[str, ...]:
        """What is not exactly the teacher's: embeddings among them are trained in every stage."""
        return (*self.random, *self.fitted)

    def said(self) -> list[str]:
        """Notes for people."""
        if not self.copied:
            return ["nothing is the teacher's: embeddings too are trained from the first stage"]
        notes = [f"{len(self.copied)} weights of embeddings and heads are the teacher's"]
        notes += [f"not copied: {name} is {wanted}, the teacher's {got}" for name, wanted, got in self.skipped]
        if self.fitted:
            notes.append(
                f"the NoNorm of the embeddings is fitted to the teacher's layer norm: {self.explained:.1%} of its "
                "variance"
            )
        if self.random:
            notes.append(random_note(self.random, "not the teacher's but newly initialized"))
        return notes


def random_note(names: Sequence[str], why: str) -> str:
    """A warning of weights that began with random numbers."""
    few = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"WARNING: {why}, and so trained from the first stage that reads them: {few}"


def outside_of_blocks(names: Iterable[str]) -> tuple[str, ...]:
    """Those names of weights, as models with heads have them, that are of no block."""
    return tuple(name for name in names if not name.startswith(_BLOCKS))


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


def with_fitted_norm(
    arrays: Mapping[str, np.ndarray],
    report: CopyReport,
    array: Callable[[str], np.ndarray],
    teacher: MobileBertConfig,
    rows: Sequence[Any],
) -> tuple[dict[str, np.ndarray], CopyReport]:
    """What `copied_from` returns, and the scale and shift by which a NoNorm comes closest to the teacher's layer norm.

    A student that has the teacher's words, but not its norm, would give its blocks states of another size: with the
    first values of a NoNorm a seventh, in models of 256 channels. Per channel the fit is that of least squares, on
    rows of text from all of the data. Where norms are alike, or other embeddings were not copied, nothing is fitted.

    Args:
        array: the teacher's weight of a full name.
        rows: with `input_ids` and `token_type_ids`.
    """
    known = dict(arrays)
    alone = {name for name in report.random if name.startswith(_EMBEDDINGS)} == set(_NORM)
    if not alone or (_NORM[0], "no_norm", "layer_norm") not in report.skipped:
        return known, report
    wide = {name: each.astype(np.float64) for name, each in known.items() if name.startswith(_EMBEDDINGS)}
    texts = [(np.array([row.input_ids]), np.array([row.token_type_ids])) for row in _spread(rows)]
    parts = [summed_embeddings(teacher, lambda name: wide[BASE_PREFIX + name], *text)[0] for text in texts]
    sums = np.concatenate(parts)  # (T, H)
    centred = sums - sums.mean(axis=1, keepdims=True)
    wanted = centred / np.sqrt(centred.var(axis=1, keepdims=True) + teacher.layer_norm_eps)
    wanted = wanted * array(_NORM[0]).astype(np.float64) + array(_NORM[1])
    x, y = sums - sums.mean(axis=0), wanted - wanted.mean(axis=0)
    moves = (x * x).sum(axis=0)
    scale = np.where(moves > 0, (x * y).sum(axis=0) / np.where(moves > 0, moves, 1.0), 1.0)
    known |= zip(_NORM, (scale, wanted.mean(axis=0) - scale * sums.mean(axis=0)), strict=True)
    whole = float((y * y).sum())
    return known, replace(
        report,
        skipped=tuple(each for each in report.skipped if each[0] not in _NORM),
        random=tuple(name for name in report.random if name not in _NORM),
        fitted=_NORM,
        explained=1 - float(((scale * x - y) ** 2).sum()) / whole if whole else 1.0,
    )


def _spread(rows: Sequence[Any]) -> list[Any]:
    """Rows from all of the data, of about so many tokens as are fitted on."""
    first = rows[0].length
    return [rows[int(i)] for i in np.unique(np.linspace(0, len(rows) - 1, max(2, _FITTED_ON // first)).astype(int))]


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
