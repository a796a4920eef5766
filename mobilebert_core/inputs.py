"""Checks of what a caller passes to a model, in one place for both frameworks.

A backend hands over its arrays with a `Probe` that reads their shape, dtype and extremes. Axes whose size
is not known yet (while a graph is traced) are None and pass. Every failure is one InputError that says
which argument, what was wanted, what it got and what to do.

Values that cannot be read (in a recorded graph, on a GPU, under a transform such as vmap) pass too. What the models
then make of them is the same in both frameworks: an id outside its table is an error of the framework's look-up, or
NaN where its look-up knows no errors, and never another id's row; a mask hides what is below 1; a score of minus
infinity counts as the lowest finite number; NaN stays NaN. `tests/backends/test_edges.py` is the table of these rules.

B batch, S sequence, E embedding, N heads, L layers, C labels or choices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .configuration.config import MobileBertConfig
from .configuration.fields import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from .errors import InputError
from .heads import IGNORE_INDEX, VOCABULARY, Head, Task, problem_type_of, takes_class_numbers

DUMMY_IDS = ((7, 6, 0, 0, 1), (1, 2, 3, 0, 0), (0, 0, 0, 4, 5))  # as transformers' models have them
TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")  # what a tokenizer makes of a text

Shape = tuple[int | None, ...]


class Probe(Protocol):
    """How a backend reads its own arrays."""

    def shape(self, array: Any) -> Shape: ...

    def is_integer(self, array: Any) -> bool:
        """True for whole-number dtypes; booleans are not."""

    def bounds(self, array: Any, ignore: int | None = None) -> tuple[float, float] | None:
        """Smallest and largest value apart from `ignore`, NaN where one is NaN; None where they cannot be read
        cheaply, or at all."""

    def has_fractions(self, array: Any) -> bool:
        """True where a value is no whole number; False also where values cannot be read."""


def check_inputs(config: MobileBertConfig, head: Head, inputs: Mapping[str, Any], probe: Probe) -> None:
    """Checks the model inputs of one call, passed by their argument names; None stands for absent."""
    for argument, array in inputs.items():
        _check_kind(head, argument, array)
    ids, embeds = inputs.get("input_ids"), inputs.get("inputs_embeds")
    if (ids is None) == (embeds is None):
        got = "neither" if ids is None else "both"
        raise InputError(f"{head.class_name}: wanted either input_ids or inputs_embeds, got {got}.")
    name, main = ("input_ids", ids) if embeds is None else ("inputs_embeds", embeds)
    lead = ("batch", "choices", "sequence") if head.per_choice else ("batch", "sequence")
    wanted = (*lead, "embedding_size") if embeds is not None else lead
    shape = probe.shape(main)
    if len(shape) != len(wanted):
        hint = ""
        if len(shape) == len(wanted) - 1:
            hint = " Add the missing axis, e.g. array[None]." if not head.per_choice else " This head takes choices."
        raise InputError(f"{head.class_name}: {name} must be ({', '.join(wanted)}), got shape {_show(shape)}.{hint}")
    if embeds is not None and (probe.is_integer(embeds) or _is_bool(embeds)):
        raise InputError(f"{head.class_name}: inputs_embeds must be floats, got {embeds.dtype}. Pass ids as input_ids.")
    if embeds is not None and shape[-1] not in (None, config.embedding_size):
        raise InputError(
            f"{head.class_name}: inputs_embeds must have the width embedding_size {config.embedding_size} of the word "
            f"embeddings (not hidden_size {config.hidden_size}), got shape {_show(shape)}."
        )
    axes = shape[: len(lead)]
    for axis, size in zip(lead, axes, strict=True):
        if size == 0:
            raise InputError(f"{head.class_name}: {name} has an empty {axis} axis, shape {_show(shape)}.")
    positions = inputs.get("position_ids")
    if positions is None and axes[-1] is not None and axes[-1] > config.max_position_embeddings:
        raise InputError(
            f"{head.class_name}: {name} is {axes[-1]} tokens long, the model has max_position_embeddings "
            f"{config.max_position_embeddings}. Truncate the text, or split it into windows."
        )
    _check_ids(config, head, inputs, axes, probe)
    _check_attention_mask(config, head, inputs.get("attention_mask"), axes, probe)
    _check_head_mask(config, head, inputs.get("head_mask"), probe)


_NO_NUMBERS = ("complex", "qint", "quint", "bits", "float8", "float4")  # beginnings of names of dtypes


def _check_kind(head: Head, argument: str, array: Any) -> None:
    """Raises InputError for an array of a dtype that no model computes with; other checks know the rest."""
    kind = getattr(array, "dtype", None)
    name = getattr(kind, "name", None) or str(kind).rpartition(".")[2]
    if name.startswith(_NO_NUMBERS):
        wanted = "whole numbers of an integer type" if argument.endswith("_ids") else "integers, booleans or floats"
        raise InputError(f"{head.class_name}: {argument} must be {wanted}, of a type to compute with, got {name}.")


def _check_ids(config: MobileBertConfig, head: Head, inputs: Mapping[str, Any], axes: Shape, probe: Probe) -> None:
    for name, size, field in (
        ("input_ids", config.vocab_size, "vocab_size"),
        ("token_type_ids", config.type_vocab_size, "type_vocab_size"),
        ("position_ids", config.max_position_embeddings, "max_position_embeddings"),
    ):
        ids = inputs.get(name)
        if ids is None:
            continue
        shape = probe.shape(ids)
        shared = name == "position_ids" and (_fits(shape, axes[-1:]) or _fits(shape, (1, axes[-1])))
        if not _fits(shape, axes) and not shared:
            raise InputError(
                f"{head.class_name}: {name} has shape {_show(shape)}, wanted {_show(axes)} like the other inputs."
            )
        if not probe.is_integer(ids):
            placeholder = type(ids).__name__ == "KerasTensor"
            way = "Make the placeholder by keras.Input(shape, dtype='int32')" if placeholder else "Convert it to int64"
            raise InputError(
                f"{head.class_name}: {name} must be whole numbers of an integer type, got {ids.dtype}. {way}."
            )
        bounds = probe.bounds(ids)
        if bounds is not None and not (bounds[0] >= 0 and bounds[1] < size):
            hint = " Was the text tokenized with this model's vocabulary?" if name == "input_ids" else ""
            raise InputError(
                f"{head.class_name}: {name} must lie in 0..{size - 1} ({field} {size}), got values from "
                f"{bounds[0]:.0f} to {bounds[1]:.0f}.{hint}"
            )


def _check_attention_mask(config: MobileBertConfig, head: Head, mask: Any, axes: Shape, probe: Probe) -> None:
    if mask is None:
        return
    shape = probe.shape(mask)
    *lead, sequence = axes
    batch = lead[0] if len(lead) == 1 else None  # with choices the leading axes are folded into one later
    choices = tuple(lead[1:])
    heads = {config.heads_of_layer(i) for i in range(config.num_hidden_layers)}
    per_head = [1, *heads] if len(heads) == 1 else [1]  # after pruning the layers may differ
    allowed = [
        (*lead, sequence),
        (batch, *choices, sequence, sequence),
        *((batch, *choices, n, sequence, sequence) for n in per_head),
    ]
    if not any(_fits(shape, wanted) for wanted in allowed):
        extra = "choices, " if choices else ""
        raise InputError(
            f"{head.class_name}: attention_mask has shape {_show(shape)}, wanted (batch, {extra}sequence), (batch, "
            f"{extra}sequence, sequence) or (batch, {extra}1 or heads, sequence, sequence), here with batch "
            f"{lead[0]}, sequence {sequence} and heads {' or '.join(map(str, sorted(heads)))}."
        )
    rank = len(shape) - len(choices)
    if (rank < 4 or probe.is_integer(mask)) and not _is_bool(mask):
        bounds = probe.bounds(mask)
        if bounds is not None and not (bounds[0] >= 0 and bounds[1] <= 1):
            raise InputError(
                f"{head.class_name}: attention_mask must hold 1 for tokens that are seen and 0 for the others, got "
                f"values from {bounds[0]:g} to {bounds[1]:g}. Scores to be added belong into a 4-D mask of floats."
            )
        if not probe.is_integer(mask) and probe.has_fractions(mask):
            raise InputError(
                f"{head.class_name}: attention_mask must hold 1 for tokens that are seen and 0 for the others, got "
                "fractions. What is to be added to the scores belongs into a 4-D mask of floats."
            )
    if rank == 4 and not probe.is_integer(mask) and not _is_bool(mask):
        bounds = probe.bounds(mask)
        if bounds is not None and not bounds[1] <= 0:
            raise InputError(
                f"{head.class_name}: a 4-D attention_mask of floats is added to the scores (0 keeps, a large negative "
                f"number drops), got values up to {bounds[1]:g}. For a mask of 1 and 0 pass booleans or integers."
            )
    if rank != 2 and config.padding_invariant:
        raise InputError(
            f"{head.class_name}: padding_invariant needs a (batch, {'choices, ' if choices else ''}sequence) "
            f"attention_mask to know the padding, got shape {_show(shape)}."
        )


def _check_head_mask(config: MobileBertConfig, head: Head, mask: Any, probe: Probe) -> None:
    if mask is None:
        return
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    shape = probe.shape(mask)
    if not (_fits(shape, (heads,)) or _fits(shape, (layers, heads))):
        raise InputError(
            f"{head.class_name}: head_mask has shape {_show(shape)}, wanted ({heads},) for (heads,) or "
            f"({layers}, {heads}) for (layers, heads)."
        )
    if config.pruned_heads:
        raise InputError(
            f"{head.class_name}: head_mask cannot be used after pruning: layers {sorted(config.pruned_heads)} have "
            "fewer heads. Prune the further heads instead."
        )


def check_labels(config: MobileBertConfig, head: Head, task: Task, labels: Any, logits: Shape, probe: Probe) -> None:
    """Checks the labels of one task against the logits they are compared with: their shape, dtype and values.

    Labels are numbers of classes, or have the shape of the logits, as the problem type says.
    """
    _check_kind(head, task.label, labels)
    problem = problem_type_of(config, task, logits[-1], probe.is_integer(labels))
    integer_wanted = takes_class_numbers(problem)
    try:
        shape = probe.shape(labels)
    except ValueError:  # a graph may know neither sizes nor rank
        return
    classes = logits[-1]
    wanted = logits if not integer_wanted or task.kind == "span" else logits[:-1]
    if task.kind == "span":
        wanted = logits[:1]
    if not _may_match(shape, wanted):
        hint = _problem_types(config, problem, logits) if task.kind == "problem" else ""
        raise InputError(
            f"{head.class_name}: {task.label} has shape {_show(shape)}, wanted {_show(wanted)} to match the logits "
            f"{_show(logits)}.{hint}"
        )
    if not integer_wanted:
        check_target_values(head, task, labels, target_limits(problem), probe)
        return
    if not probe.is_integer(labels):
        hint = _problem_types(config, problem, logits) if task.kind == "problem" else ""
        raise InputError(f"{head.class_name}: {task.label} must be whole numbers, got {labels.dtype}.{hint}")
    if task.kind == "span":
        return  # positions are clamped: a window need not hold the answer
    bounds = probe.bounds(labels, ignore=IGNORE_INDEX)
    if bounds is not None and classes is not None and not (bounds[0] >= 0 and bounds[1] < classes):
        raise InputError(
            f"{head.class_name}: {task.label} must lie in 0..{classes - 1}, or be {IGNORE_INDEX} where nothing is to "
            f"be learned, got values from {bounds[0]:.0f} to {bounds[1]:.0f}. The number of classes comes from "
            "num_labels, or from vocab_size for words."
        )


def check_no_text(config: MobileBertConfig, head: Head, labels: Mapping[str, Any]) -> None:
    """Raises InputError for labels that are texts, in a list or an array of any library, and says what to pass.

    Args:
        labels: by argument name; None where there are none.
    """
    numbers = config.label2id or {}
    for task in head.tasks:
        text = text_among(task.labels_in(labels))
        if text is None:
            continue
        if task.classes == VOCABULARY:
            do = "Pass ids of words, from the tokenizer."
        elif task.classes != "num_labels":
            do = (
                "Pass the number of the right "
                + {"positions": "token", "choices": "choice"}.get(str(task.classes), "class")
                + "."
            )
        elif text in ("", *numbers):
            do = f"config.label2id has their numbers: [model.config.label2id[name] for name in {task.label}]."
        else:
            known = ", ".join(f"{name!r}: {number}" for name, number in list(numbers.items())[:3])
            do = (
                f"config.label2id has {{{known}{', ...' if config.num_labels > 3 else ''}}}. Give the model your names "
                "by label2id={name: number, ...}, e.g. in from_pretrained, and pass their numbers as labels."
            )
        such = f" such as {text!r}" if text else ""
        raise InputError(f"{head.class_name}: {task.label} must be numbers, got text{such}. {do}")


def text_among(labels: Any) -> str | None:
    """The first text among labels; "" for an array of texts whose values are not known; None for numbers."""
    if isinstance(labels, str | bytes):
        return str(labels) if isinstance(labels, str) else labels.decode("utf-8", "replace")
    if isinstance(labels, list | tuple):
        return next((found for item in labels[:1] if (found := text_among(item)) is not None), None)
    kind = str(getattr(labels, "dtype", ""))
    if not ("str" in kind or kind == "object" or kind.startswith(("<U", ">U", "|S"))):
        return None
    try:
        first: Any = next(iter(labels.reshape(-1)[:1] if hasattr(labels, "reshape") else labels), None)
    except (TypeError, ValueError, RuntimeError, NotImplementedError):  # a placeholder of a graph
        return ""
    if hasattr(first, "numpy"):
        first = first.numpy()
    found = text_among(first) if isinstance(first, str | bytes | list | tuple) else None
    return found if found is not None or kind == "object" else ""


def _problem_types(config: MobileBertConfig, problem: str | None, logits: Shape) -> str:
    """What each problem type takes, and which one is meant here."""
    if config.problem_type is not None:
        found = f"The configuration has problem_type={problem!r}."
    else:
        found = f"The configuration has no problem_type; these labels and {_show(logits)} logits mean {problem!r}."
    return (
        f" {found} {SINGLE_LABEL!r} takes whole numbers {_show(logits[:-1])}, one class per text; {MULTI_LABEL!r} "
        f"takes floats {_show(logits)}, 1 for labels that hold and 0 for the others; {REGRESSION!r} takes floats "
        f"{_show(logits)}. For another one set it, e.g. from_pretrained(..., problem_type={SINGLE_LABEL!r})."
    )


@dataclass(frozen=True)
class Limits:
    """Which numbers the targets of a loss may be.

    Attributes:
        wanted: what they must be, in words, after "must be".
        todo: what to do about others.
        low, high: the ends of their range; infinite ones allow every finite number.
        ignored: whether IGNORE_INDEX stands for a target that is left out.
        whole: whether fractions are none.
    """

    wanted: str
    todo: str
    low: float = -math.inf
    high: float = math.inf
    ignored: bool = False
    whole: bool = False


FINITE = Limits("finite numbers", "Leave out the rows that have no target.")


def target_limits(problem: str | None) -> Limits:
    """The limits of targets in the shape of the logits, for the models' own losses."""
    if problem != MULTI_LABEL:
        return FINITE
    wanted = f"1 for labels that hold and 0 for the others (or a share between them) with problem_type={MULTI_LABEL!r}"
    return Limits(wanted, FINITE.todo, 0, 1)


def check_target_values(head: Head, task: Task, targets: Any, limits: Limits, probe: Probe) -> None:
    """Raises InputError for targets outside their limits, where their values can be read."""
    if _is_bool(targets):
        return
    bounds = probe.bounds(targets, IGNORE_INDEX if limits.ignored else None)
    if bounds is None:
        return
    inside = all(math.isfinite(bound) for bound in bounds) and limits.low <= bounds[0] and bounds[1] <= limits.high
    fractions = inside and limits.whole and not probe.is_integer(targets) and probe.has_fractions(targets)
    if fractions or not inside:
        got = "fractions" if fractions else f"values from {bounds[0]:g} to {bounds[1]:g}"
        raise InputError(f"{head.class_name}: {task.label} must be {limits.wanted}, got {got}. {limits.todo}")


def check_weights_fit(head: Head, task: Task, weights: Shape, labels: Shape, logits: Shape) -> None:
    """Raises InputError unless sample weights of a shape are one for each row, or for each label or loss of it."""
    wanted = [logits[:1], labels]
    wanted += [found for found in (logits[:-1], logits) if len(found) <= len(labels) and found not in wanted]
    if len(labels) == 1:
        wanted.append((*logits[:1], 1))
    if not any(_fits(weights, found) for found in wanted):
        raise InputError(
            f"{head.class_name}: sample_weight has shape {_show(weights)}, wanted "
            f"{' or '.join(dict.fromkeys(map(_show, wanted)))} for {task.label} {_show(labels)}."
        )


def _is_bool(array: Any) -> bool:
    return "bool" in str(array.dtype)


def _fits(shape: Shape, wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        a is None or b is None or a == b for a, b in zip(shape, wanted, strict=True)
    )


def _squeezed(shape: Shape) -> Shape:
    """Without the axes of one: a label may come with or without them."""
    return tuple(size for size in shape if size != 1)


def _may_match(shape: Shape, wanted: Shape) -> bool:
    """Whether labels of a shape may belong to scores; a graph does not know all sizes."""
    if None not in (*shape, *wanted):
        return _squeezed(shape) == _squeezed(wanted)
    # A last axis of one may be left out, any other one not.
    shape, wanted = (found[:-1] if found[-1:] == (1,) else found for found in (shape, wanted))
    if len(shape) == len(wanted):
        return not shape or None in (shape[-1], wanted[-1]) or shape[-1] == wanted[-1]
    return max(shape, wanted, key=len)[-1] is None


def _show(shape: Shape) -> str:
    return (
        "(" + ", ".join("?" if size is None else str(size) for size in shape) + ("," if len(shape) == 1 else "") + ")"
    )
