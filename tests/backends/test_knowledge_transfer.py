"""Knowledge transfer on both backends: the terms, what is trained in a stage, and going on in the middle of one."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest

from conversion.backends import FRAMEWORKS
from mobilebert_core.training import knowledge_transfer_losses as losses
from mobilebert_core.training.knowledge_transfer import TERMS, Comparison, Stage, TransferSettings, schedule
from mobilebert_core.training.knowledge_transfer_start import Pair, copied_from, with_fitted_norm
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.state import AGE, FIRST
from mobilebert_core.training.tasks.masked_language import TextRow
from tests.tiny import BRANCHES, tiny_batch, tiny_config

HEAD = "PreTraining"
STEPS = 20
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
TEACHER = tiny_config(
    **{**BRANCHES["teacher"], "num_hidden_layers": 3, "hidden_dropout_prob": 0.3, "padding_invariant": True}
)
STUDENT = tiny_config(**NO_DROPOUT, num_feedforward_networks=1, padding_invariant=True)
BATCH = tiny_batch(STUDENT, HEAD)
RELATION_HEADS = 8


def trainer(backend, config, source=None, precision="float64", **recipe):
    recipe = Recipe(**{"learning_rate": 2e-3, **recipe})
    return FRAMEWORKS[backend].trainer("test").start(HEAD, source, recipe, config=config.copy(), precision=precision)


@cache
def teacher(backend):
    """Random weights of a size at which blocks differ much."""
    found, rng = trainer(backend, TEACHER), np.random.default_rng(1)
    table = [w for w in found.model.weight_table() if w.tied_to is None]
    found.assign({w.name: rng.normal(w.kind.endswith("norm") and "weight" in w.name, 0.3, w.shape) for w in table})
    return found


def transfer(backend):
    return FRAMEWORKS[backend].load("knowledge_transfer", "test")


def tensors(backend, batch):
    if backend == "torch":
        import torch

        return {name: torch.from_numpy(array) for name, array in batch.items()}
    import keras

    return {name: keras.ops.convert_to_tensor(array) for name, array in batch.items()}


def plain(value):
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


def terms_of(backend, student, stage, batch=BATCH, follows=(1, 2)):
    start = {"hidden": np.eye(48)} if "hidden" in stage.weights else {}
    objective = transfer(backend).KnowledgeTransfer(
        teacher(backend).model, Comparison(stage, follows, 2.0, RELATION_HEADS), start
    )
    found = objective(student.model, tensors(backend, batch))
    return {name: float(plain(value)) for name, value in found.items()}


def every_term(blocks=(0, 1)):
    return Stage("every term", 0, 1, dict.fromkeys(TERMS, 1.0), blocks, (1.0, 1.0), 1.0, False)


@cache
def student(backend):
    return trainer(backend, STUDENT)


@cache
def all_terms(backend):
    return terms_of(backend, student(backend), every_term())


def by_definition(backend):
    """Each term from the states of the backend by the definitions in numpy."""
    watch, batch = transfer(backend).watch, tensors(backend, BATCH)
    ours = watch(student(backend).model, batch, {0, 1}, 2)
    theirs = watch(teacher(backend).model, batch, {1, 2}, 3)
    mask, found = BATCH["attention_mask"], {name: [] for name in TERMS}

    def states(x):
        return plain(x).reshape(*mask.shape, -1)

    for t, s in ((theirs[1][1], ours[1][0]), (theirs[1][2], ours[1][1])):
        for name in ("feature", "mean", "variance", "hidden"):
            found[name].append(getattr(losses, name)(states(t.output), states(s.output), mask))
        scores = [losses.relation_scores(states(b.query), states(b.key), 4) for b in (t, s)]
        for name in ("attention", "scores"):
            found[name].append(getattr(losses, name)(*scores, mask))
        for name, part in (("queries", "query"), ("keys", "key"), ("values", "value")):
            relations = [losses.relation_scores(*[states(getattr(b, part))] * 2, RELATION_HEADS) for b in (t, s)]
            found[name].append(losses.attention(*relations, mask))
    found["hidden"].append(losses.hidden(states(theirs[0]), states(ours[0]), mask))
    found["cosine"].append(losses.cosine(states(theirs[2]), states(ours[2]), mask))
    known = BATCH["labels"] != -100
    logits = [each(backend).run({n: a for n, a in BATCH.items() if "label" not in n}) for each in (teacher, student)]
    words = [output["prediction_logits"][known] for output in logits]
    found["soft"].append(losses.soft(*words, temperature=2.0))
    found["hard"].append(losses.hard(words[1], BATCH["labels"][known]))
    found["next_sentence"].append(losses.hard(logits[1]["seq_relationship_logits"], BATCH["next_sentence_label"]))
    return {name: np.mean(values) for name, values in found.items()}


def test_each_term_is_its_definition(backend):
    found, wanted = all_terms(backend.name), by_definition(backend.name)
    assert all(abs(found[name] / wanted[name] - 1) < 1e-10 for name in TERMS) and min(found.values()) > 1e-4


def test_terms_agree_between_the_backends():
    one, other = all_terms("torch"), all_terms("keras")
    assert all(abs(one[name] / other[name] - 1) < 1e-10 for name in TERMS)


def test_a_student_that_is_its_teacher_has_no_loss(backend):
    stage = Stage("", 0, 1, dict.fromkeys([t for t in TERMS if t not in ("hard", "next_sentence")], 1.0), (0, 1, 2),
                  (1.0,) * 3, 1.0, False)  # fmt: skip
    same = trainer(backend.name, TEACHER.copy(**NO_DROPOUT))
    same.assign({w.name: teacher(backend.name).array(w.name) for w in same.model.weight_table() if w.tied_to is None})
    found = terms_of(backend.name, same, stage, follows=(0, 1, 2))
    assert max(map(abs, found.values())) < 1e-13


def test_padding_changes_no_term(backend):
    longer = {n: np.pad(a, ((0, 0), (0, 5)), constant_values=-100 if n == "labels" else 0) if a.ndim == 2 else a
              for n, a in BATCH.items()}  # fmt: skip
    found, wanted = terms_of(backend.name, student(backend.name), every_term(), longer), all_terms(backend.name)
    assert all(found[name] == pytest.approx(wanted[name], rel=1e-9) for name in TERMS)


def test_blocks_above_a_stage_are_not_run(backend):
    """Not a number in the blocks above, on both sides, in the embeddings' heads and poolers: nothing changes."""
    stage = schedule(TransferSettings(), 2, 9, Recipe(), True).stages[0]
    own = trainer(backend.name, STUDENT)
    before = terms_of(backend.name, own, stage, follows=(1, 2))
    above = [w for w in own.model.weight_table() if ".layer.1." in w.name or w.group not in (None, "pooler")]
    own.assign({w.name: np.full(w.shape, np.nan) for w in above if w.tied_to is None})
    top = [w for w in teacher(backend.name).model.weight_table() if ".layer.2." in w.name]
    kept = {w.name: teacher(backend.name).array(w.name) for w in top}
    try:
        teacher(backend.name).assign({w.name: np.full(w.shape, np.nan) for w in top})
        assert terms_of(backend.name, own, stage, follows=(1, 2)) == before
    finally:
        teacher(backend.name).assign(kept)


# ------------------------------------------------------------------------------------------------ training


class Run:
    """A progressive training of `STEPS` steps, one step at a time."""

    def __init__(self, backend, optimizer, source=None, **settings):
        self.backend, recipe = backend, {"optimizer": optimizer, "weight_decay": 0.1}
        self.trainer = trainer(backend, STUDENT, source, **recipe)
        self.settings = TransferSettings(**{"block_share": 0.6, **settings})
        self.schedule = schedule(self.settings, 2, STEPS, self.trainer.recipe, True)
        self.pair = Pair.of(self.settings, self.schedule, TEACHER, STUDENT)
        self.table = [w for w in self.trainer.model.weight_table() if w.tied_to is None]
        if source is None:
            known = teacher(backend)
            self.trainer.assign(copied_from(known.model.weight_table(), self.table, known.array)[0])

    def begin(self, number):
        stage = self.schedule.stages[number]
        objective = transfer(self.backend).KnowledgeTransfer(
            teacher(self.backend).model, self.pair.comparison(stage), self.pair.first_weights(stage, 0, "float64")
        )
        self.trainer.begin_stage(objective, {w.name: stage.factor_of(w) for w in self.table}, restart=stage.falls)

    def step(self, number):
        return self.trainer.step([tiny_batch(STUDENT, HEAD, seed=number)], self.schedule.learning_rate_at(number))

    def weights(self):
        return {w.name: self.trainer.array(w.name) for w in self.table}


INTERRUPTED = (4, 9, 15)  # in the middle of each stage


@cache
def whole_run(backend, optimizer):
    """A training by AdamW, progressive, or LAMB, joint.

    Returns the losses, the weights before each stage and at the end, the states behind the first step of each stage,
    and what is needed to go on at the steps of `INTERRUPTED`.
    """
    run = Run(backend, optimizer, strategy="progressive" if optimizer == "adamw" else "joint")
    curve, weights, states, saved = [], [], [], {}
    for number, stage in enumerate(run.schedule.stages):
        weights.append(run.weights())
        run.begin(number)
        for step in range(stage.start, stage.start + stage.steps):
            if step in INTERRUPTED:
                saved[step] = run.weights(), run.trainer.state()
            curve.append(run.step(step))
            if step == stage.start:
                states.append(run.trainer.state())
    return np.array(curve), [*weights, run.weights()], states, saved


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_a_training_in_stages_agrees_between_the_backends(optimizer):
    one, other = whole_run("torch", optimizer)[0], whole_run("keras", optimizer)[0]
    assert np.abs(one / other - 1).max() < 1e-8
    for each, last in zip(*(whole_run(b, optimizer)[1][-1].values() for b in ("torch", "keras")), strict=True):
        assert np.abs(each - last).max() < 1e-8 * np.abs(each).max() + 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_only_the_blocks_of_a_stage_change(backend, optimizer):
    """Bit for bit, decay included; what is trained all changes, and nothing else has moments."""
    _, weights, states, _ = whole_run(backend.name, optimizer)
    for number, (before, after) in enumerate(itertools.pairwise(weights)):
        same = {name for name in before if np.array_equal(before[name], after[name])}
        opened = [".layer.0.", ".layer.1."][: number + 1] if optimizer == "adamw" else [".layer."]
        frozen = {n for n in before if number < len(states) - 1 and not any(part in n for part in opened)}
        assert same == frozen
        moments = {name.removeprefix(FIRST) for name in states[number] if name.startswith(FIRST)}
        assert {name for name in moments if states[number][FIRST + name].any()} == {*before} - frozen


@pytest.mark.slow
def test_moments_begin_with_the_stage_of_a_block(backend):
    _, _, states, _ = whole_run(backend.name, "adamw")
    name = "mobilebert.encoder.layer.{}.output.dense.weight"
    assert FIRST + name.format(1) not in states[0] and AGE + name.format(0) not in states[0]
    assert states[1][AGE + name.format(1)] == 1 and AGE + name.format(0) not in states[1]
    assert {int(states[2][AGE + name.format(i)][0]) for i in (0, 1)} == {1}  # another loss: every weight begins anew


@pytest.mark.slow
@pytest.mark.parametrize("at", INTERRUPTED)
def test_a_training_goes_on_in_any_stage_bit_for_bit(backend, at):
    wanted, _, _, saved = whole_run(backend.name, "adamw")
    run, (weights, state) = Run(backend.name, "adamw"), saved[at]
    run.trainer.assign(weights)
    run.begin(run.schedule.number_at(at))
    run.trainer.restore(state)
    assert [run.step(step) for step in range(at, at + 2)] == wanted[at : at + 2].tolist()


def test_a_learned_map_is_trained_and_saved(backend):
    run = Run(backend.name, "adamw", strategy="tinybert")
    run.begin(0)
    first = [run.step(step) for step in range(3)]
    state, later = run.trainer.state(), run.trainer.terms
    assert state["objective.hidden"].shape == (48, 48) and state[FIRST + "hidden"].any()
    assert first[-1] < first[0] and {*later} == {"hidden", "scores"}
    run.begin(0)  # a map of the same name is another one: it does not go on with the moments of the last
    assert not np.any(run.trainer.state().get(FIRST + "hidden", 0))


def test_the_weights_that_nothing_reads_stay(backend):
    """Relations read queries, keys and values of the last block, and nothing behind them."""
    run = Run(backend.name, "adamw", strategy="minilm")
    before = run.weights()
    run.begin(0)
    run.step(0)
    same = {name for name, array in run.weights().items() if np.array_equal(array, before[name])}
    assert "mobilebert.encoder.layer.1.output.dense.weight" in same and "cls.predictions.bias" in same
    assert "mobilebert.encoder.layer.0.output.dense.weight" not in same
    assert "mobilebert.encoder.layer.1.attention.self.value.weight" not in same


def test_hard_frozen_blocks_and_the_teacher_stay(backend):
    """The teacher's configuration drops 30 % of the states: with dropout two looks at one batch would differ."""
    run = Run(backend.name, "adamw", earlier=0.0)
    known = teacher(backend.name)
    kept = {w.name: known.array(w.name) for w in known.model.weight_table() if w.tied_to is None}
    before = run.weights()
    run.begin(1)
    first = run.trainer.step([BATCH], 0.0)
    assert run.trainer.step([BATCH], 1e-3) == first
    after = run.weights()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed and all(".layer.1." in name for name in changed)
    assert all(np.array_equal(array, known.array(name)) for name, array in kept.items())


@pytest.mark.slow
def test_the_clipped_norm_is_that_of_what_is_trained(backend):
    """Adam's first moment behind one step: a tenth of the clipped gradients, of the first block alone."""
    found = whole_run(backend.name, "adamw")[2][0]
    squares = [np.square(10 * array).sum() for name, array in found.items() if name.startswith(FIRST)]
    assert np.sqrt(sum(squares)) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("backend", FRAMEWORKS)
def test_the_fitted_norm_leaves_of_the_models_embeddings_what_it_says(backend):
    theirs, student = teacher(backend), trainer(backend, STUDENT)
    table = {w.name: w for w in theirs.model.weight_table() if w.tied_to is None}
    copied = copied_from(table.values(), student.model.weight_table(), theirs.array)
    rng = np.random.default_rng(0)
    ids, types = rng.integers(1, 97, (20, 16)), np.array([0] * 9 + [1] * 7)
    rows = [TextRow(row.tolist(), types.tolist()) for row in ids]
    arrays, report = with_fitted_norm(*copied, theirs.array, TEACHER, rows)
    student.assign(arrays)
    batch = tensors(backend, {"ids": ids, "types": np.tile(types, (20, 1))})
    given, wanted = (
        plain(each.model.eval().base_model.embeddings(*batch.values()) if backend == "torch"
              else each.model.base_model.embeddings(*batch.values())).reshape(-1, 48)
        for each in (student, theirs)
    )  # fmt: skip
    left = ((given - wanted) ** 2).sum() / ((wanted - wanted.mean(axis=0)) ** 2).sum()
    assert abs(1 - left - report.explained) < 1e-9 and left < 0.9
