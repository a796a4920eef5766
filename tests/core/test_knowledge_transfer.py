"""Knowledge transfer as data: schedules, maps of blocks, what is copied, and the definition of each term."""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert_core import ConfigError
from mobilebert_core.heads import HEADS
from mobilebert_core.training import knowledge_transfer_losses as losses
from mobilebert_core.training.knowledge_transfer import (
    STRATEGIES,
    TransferSettings,
    block_map,
    relation_heads,
    schedule,
)
from mobilebert_core.training.knowledge_transfer_start import Pair, copied_from, with_fitted_norm
from mobilebert_core.training.recipe import Recipe
from mobilebert_core.training.soft_labels import SoftLabels
from mobilebert_core.training.tasks.masked_language import TextRow
from mobilebert_core.weights import weight_table
from tests.tiny import BRANCHES, tiny_config

RECIPE = Recipe(learning_rate=1e-3)
PRETRAINING = HEADS["PreTraining"]
TEACHER = tiny_config(**BRANCHES["teacher"])


def made(strategy="progressive", blocks=3, steps=100, **settings):
    return schedule(TransferSettings(strategy=strategy, **settings), blocks, steps, RECIPE, sentences=True)


# ------------------------------------------------------------------------------------------------ schedules


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("steps", [10, 11, 100, 101])
def test_stages_share_the_steps_without_a_rest(strategy, steps):
    found = made(strategy, steps=steps)
    assert found.steps == steps
    assert [s.start for s in found.stages] == [sum(t.steps for t in found.stages[:i]) for i in range(len(found.stages))]
    assert all(stage.steps > 0 for stage in found.stages)
    assert [found.number_at(s) for s in range(steps)] == sorted(found.number_at(s) for s in range(steps))


def test_progressive_opens_one_block_at_a_time():
    found = made(steps=100, block_share=0.35)
    assert [stage.steps for stage in found.stages] == [12, 12, 11, 65]
    assert [stage.blocks for stage in found.stages] == [(0,), (1,), (2,), ()]
    assert [stage.factors for stage in found.stages] == [(1, 0, 0), (0.1, 1, 0), (0.1, 0.1, 1), (1, 1, 1)]
    assert [stage.depth for stage in found.stages] == [1, 2, 3, 3]
    assert found.stages[1].weights == {"feature": 100, "mean": 5000, "variance": 5, "attention": 1}
    assert found.stages[3].weights == {"soft": 0.5, "hard": 0.5, "next_sentence": 1}
    hard = made(earlier=0.0)
    assert [stage.factors for stage in hard.stages[:3]] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]


def test_the_other_strategies():
    joint, auxiliary, none, plain = made("joint"), made("auxiliary"), made("none"), made("none", hard_share=1.0)
    assert [(s.blocks, s.embeddings) for s in joint.stages] == [((0, 1, 2), 0.0), ((), 1.0)]
    assert [{*s.weights} for s in auxiliary.stages] == [{*losses_of(joint, 0), *losses_of(joint, 1)}]
    assert losses_of(none, 0) == {"soft", "hard", "next_sentence"} and none.stages[0].needs_teacher
    assert losses_of(plain, 0) == {"hard", "next_sentence"} and not plain.stages[0].needs_teacher
    assert made("distilbert").stages[0].weights == {"soft": 5, "hard": 2, "cosine": 1}
    assert [made("minilm").stages[0].blocks, losses_of(made("minilm"), 0)] == [(2,), {"queries", "keys", "values"}]


def losses_of(found, number):
    return {*found.stages[number].weights}


def test_every_stage_warms_up_over_its_first_tenth():
    found = made(steps=400, block_share=0.75, block_rate=2.0)
    for stage in found.stages:
        rates = [found.learning_rate_at(stage.start + i) for i in range(stage.steps)]
        peak = 1e-3 if stage.falls else 2e-3
        assert rates[0] == pytest.approx(peak / 10) and np.argmax(rates) == 9
        assert rates[9] == pytest.approx(peak, rel=0.01)
        assert rates[-1] == pytest.approx(peak / 90 if stage.falls else 0.91 * peak, rel=0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "progresive"}, "strategy must be one of progressive, joint"),
        ({"block_share": 0.02}, "each of 3 stages of blocks, got 2 of 100 steps. Raise max_steps or epochs"),
        ({"block_share": 0.0}, "block_share must be above 0 for the stages of blocks, got 0.0"),
        ({"block_share": 0.5, "stage_steps": (1, 1, 1, 1)}, "block_share or the steps of the stages, got both"),
        ({"hard_share": 1.0, "temperature": 2.0}, "with a hard_share of 1 nothing reads temperature, got 2.0"),
        ({"stage_steps": (1, 2)}, "wanted the steps of 4 stages, or of the 3 of blocks alone, each .* got 1 2"),
        ({"strategy": "none", "stage_steps": ()}, "wanted the steps of 1 stage, each of at least 1, got none"),
        ({"strategy": "distilbert", "hard_share": 1.0}, "distilbert does not read hard_share, got 1.0"),
        ({"strategy": "tinybert", "feature": 1.0}, "does not read feature, got 1.0. .* take progressive or joint or"),
        ({"relation_heads": 4}, "progressive does not read relation_heads, got 4"),
        ({"strategy": "auxiliary", "block_share": 0.5}, "auxiliary does not read block_share"),
        ({"strategy": "joint", "earlier": 0.0}, "joint does not read earlier"),
        ({"strategy": "joint", "feature": 0.0, "mean": 0.0, "variance": 0.0, "attention": 0.0}, "has no loss"),
        ({"temperature": 0.0}, "temperature must be a number above 0"),
        ({"hard_share": 1.5}, "hard_share must be from 0 to 1"),
        ({"earlier": "0.1"}, "earlier must be from 0 to 1, got '0.1'"),
        ({"feature": None}, "feature must be a number of at least 0, got None"),
        ({"temperature": "2"}, "temperature must be a number above 0, got '2'"),
        ({"stage_steps": (2.5, 1, 1)}, r"stage_steps must be whole numbers in a tuple, got \(2.5, 1, 1\)"),
        ({"stage_steps": 5}, "stage_steps must be whole numbers in a tuple, got 5"),
        ({"strategy": "minilm", "relation_heads": 8.0}, "relation_heads must be a whole number, got 8.0"),
    ],
)
def test_settings_that_make_no_schedule(settings, message):
    with pytest.raises(ConfigError, match=message):
        made(**settings)


@pytest.mark.parametrize("name", ["hard_share", "temperature"])
def test_soft_labels_take_numbers(name):
    with pytest.raises(ConfigError, match=f"teacher: {name} must be .* got '0.5'"):
        SoftLabels(**{name: "0.5"})


def test_stages_of_chosen_lengths():
    found = made(stage_steps=[5, 6, 7, 20])
    assert [stage.steps for stage in found.stages] == [5, 6, 7, 20] and found.steps == 38


# ------------------------------------------------------------------------------------- blocks and widths


def test_the_last_block_follows_the_last():
    assert block_map(24, 24) == tuple(range(24))
    assert block_map(24, 8) == (2, 5, 8, 11, 14, 17, 20, 23)
    assert block_map(12, 5)[-1] == 11 and list(block_map(12, 5)) == sorted(block_map(12, 5))
    assert block_map(24, 2, (20, 21)) == (20, 21)
    for wrong in ((1,), (1, 24), (5, 3)):
        with pytest.raises(ConfigError, match="wanted for each of 2 blocks one of the teacher's 24"):
            block_map(24, 2, wrong)
    with pytest.raises(ConfigError, match="got 2 25, counted from 1"):  # as the command and the notes count
        block_map(24, 2, (1, 24))


def test_relation_heads_divide_both_widths():
    assert relation_heads(1024, 128) == 16 and relation_heads(96, 64) == 8
    with pytest.raises(ConfigError, match="relation_heads must divide .* 1024 and 128, got 24"):
        relation_heads(1024, 128, 24)


@pytest.mark.parametrize(
    ("student", "strategy", "message"),
    [
        ({"hidden_size": 44}, "progressive", "the teacher has 48, the student 44. Take the strategy minilm"),
        ({"num_attention_heads": 2}, "joint", "block 0 of the student has 2 heads, block 0 of the teacher 4"),
        ({"vocab_size": 96}, "none", "the teacher has 97 words, the student 96"),
        ({"folding": "all"}, "none", "a student whose states are in true units, got one folded by 'all', where"),
        ({"folding": "half"}, "joint", "one folded by 'half', where states are scaled by powers of two"),
        ({"gradient_checkpointing": True}, "joint", "wanted a student without gradient_checkpointing"),
        ({"vocab_size": 98}, "minilm", "wanted one with at least 98 words, got 97"),
        ({"type_vocab_size": 4}, "joint", "wanted one with at least 4 kinds of segments, got 3"),
        ({"max_position_embeddings": 38}, "joint", "wanted one with at least 38 positions, got 37"),
    ],
)
def test_pairs_that_cannot_be_compared(student, strategy, message):
    with pytest.raises(ConfigError, match=message):
        settings = {"hard_share": 1.0} if strategy == "minilm" else {}
        Pair.of(TransferSettings(strategy=strategy, **settings), made(strategy, 2, **settings), TEACHER,
                tiny_config(**student))  # fmt: skip


def test_a_teacher_folded_by_powers_of_two_is_refused():
    teacher = tiny_config(folding="half")
    with pytest.raises(ConfigError, match="wanted a teacher whose states are in true units, got one folded by 'half'"):
        Pair.of(TransferSettings(), made("progressive", 2), teacher, tiny_config())


def test_a_teacher_that_is_not_asked_may_be_smaller():
    student = tiny_config(vocab_size=98, max_position_embeddings=38)
    alone = {"strategy": "none", "hard_share": 1.0}
    Pair.of(TransferSettings(**alone), made(blocks=2, **alone), TEACHER, student)
    longer = tiny_config(max_position_embeddings=38)  # than its longest row
    assert Pair.of(TransferSettings(), made(blocks=2), TEACHER, longer, longest=37).follows == (0, 1)


def test_relations_need_nothing_equal():
    student = tiny_config(hidden_size=44, num_attention_heads=2, num_hidden_layers=1)
    found = Pair.of(
        TransferSettings(strategy="minilm", hard_share=1.0), made("minilm", 1, hard_share=1.0), TEACHER, student
    )
    assert found.follows == (1,) and 64 % found.heads == 32 % found.heads == 0


# ------------------------------------------------------------------------------------------------- the copy


def test_what_is_copied_is_named():
    """By name and only where shapes are equal; a norm's scale and shift are never exchanged."""
    student = tiny_config(embedding_size=18, num_hidden_layers=1)
    theirs, ours = weight_table(tiny_config(), PRETRAINING), weight_table(student, PRETRAINING)
    arrays, report = copied_from(theirs, ours, lambda name: np.full(1, sum(map(ord, name))))
    assert "mobilebert.embeddings.LayerNorm.weight" in report.copied
    assert arrays["mobilebert.embeddings.LayerNorm.weight"] == sum(map(ord, "mobilebert.embeddings.LayerNorm.weight"))
    assert not any("encoder" in name for name in report.copied)
    words = "mobilebert.embeddings.word_embeddings.weight"
    assert (words, (97, 18), (97, 20)) in report.skipped and words in report.random
    assert any(words in note and "WARNING" in note for note in report.said())


def test_the_scale_of_a_layer_norm_is_not_that_of_a_nonorm():
    """As in the released code. A NoNorm that keeps its first values would stay so until the last stage."""
    theirs, ours = (weight_table(config, PRETRAINING) for config in (TEACHER, tiny_config()))
    norm = {f"mobilebert.embeddings.LayerNorm.{leaf}" for leaf in ("weight", "bias")}
    _, report = copied_from(theirs, ours, lambda name: np.zeros(1))
    assert norm == {*report.random} and "cls.predictions.transform.LayerNorm.weight" in report.copied
    assert ("mobilebert.embeddings.LayerNorm.weight", "no_norm", "layer_norm") in report.skipped
    weight = next(w for w in ours if w.name == "mobilebert.embeddings.LayerNorm.weight")
    assert made(blocks=2).stages[0].factor_of(weight, report.random) == 1


@pytest.mark.parametrize("changes", [{}, {"trigram_input": False}, {"trigram_input": False, "embedding_size": 48}])
def test_the_norm_of_the_embeddings_is_fitted_by_least_squares(changes):
    """A student that has all of the teacher's embeddings but their layer norm."""
    theirs, ours = TEACHER.copy(**changes), tiny_config(**changes)
    rng = np.random.default_rng(0)
    known = {w.full_name: rng.normal(0.5, 0.3, w.shape) for w in weight_table(theirs, PRETRAINING)}
    arrays, report = copied_from(*(weight_table(c, PRETRAINING) for c in (theirs, ours)), known.__getitem__)
    texts = [rng.integers(0, 97, 20).tolist() for _ in range(30)]
    rows = [TextRow(ids, [0] * 8 + [1] * 12) for ids in texts]
    found, fitted = with_fitted_norm(arrays, report, known.__getitem__, theirs, rows)
    ids, types = np.array(texts), np.array([0] * 8 + [1] * 12)
    table = {n: known[f"mobilebert.embeddings.{n}_embeddings.weight"] for n in ("word", "position", "token_type")}
    x = table["word"][ids]
    if theirs.trigram_input:
        none = np.zeros_like(x[:, :1])
        x = np.concatenate((np.append(x[:, 1:], none, 1), x, np.append(none, x[:, :-1], 1)), axis=-1)
    if theirs.transforms_embeddings:
        dense = (known[f"mobilebert.embeddings.embedding_transformation.{leaf}"] for leaf in ("weight", "bias"))
        x = x @ next(dense).T + next(dense)
    x = (x + table["position"][:20] + table["token_type"][types]).reshape(-1, 48)
    scale, shift = (f"mobilebert.embeddings.LayerNorm.{leaf}" for leaf in ("weight", "bias"))
    deviation = np.sqrt(x.var(axis=1, keepdims=True) + theirs.layer_norm_eps)
    y = (x - x.mean(axis=1, keepdims=True)) / deviation * known[scale] + known[shift]
    for channel in range(48):
        wanted = np.polyfit(x[:, channel], y[:, channel], 1)
        np.testing.assert_allclose([found[scale][channel], found[shift][channel]], wanted, rtol=1e-8)
    left = (found[scale] * x + found[shift] - y).var() / (y - y.mean(axis=0)).var()
    assert abs(fitted.explained - (1 - left)) < 1e-9 and 0.1 < fitted.explained < 1
    assert fitted.fitted == (scale, shift) and fitted.random == () and fitted.not_taught == (scale, shift)
    assert f"{fitted.explained:.1%}" in fitted.said()[-1] and not any("WARNING" in note for note in fitted.said())
    assert arrays.keys() < found.keys()  # what was passed is as it was


def test_no_norm_is_fitted_where_other_embeddings_are_not_the_teachers_or_norms_are_alike():
    known = {w.full_name: np.ones(w.shape) for config in (TEACHER, tiny_config())
             for w in weight_table(config, PRETRAINING)}  # fmt: skip
    for theirs, ours in ((TEACHER, tiny_config(embedding_size=18)), (tiny_config(), tiny_config())):
        copied = copied_from(*(weight_table(c, PRETRAINING) for c in (theirs, ours)), known.__getitem__)
        assert with_fitted_norm(*copied, known.__getitem__, theirs, []) == copied


def test_what_is_not_copied_is_trained_from_the_first_stage():
    found, table = made(blocks=2), {w.full_name: w for w in weight_table(tiny_config(), PRETRAINING)}
    words, bias = (table[f"mobilebert.embeddings.{n}"] for n in ("word_embeddings.weight", "LayerNorm.bias"))
    first, last = found.stages[0], found.stages[-1]
    assert first.factor_of(words) == 0 and first.factor_of(words, {words.name}) == 1
    assert first.factor_of(bias, {words.name}) == 0 and last.factor_of(bias) == 1
    assert first.factor_of(table["cls.predictions.bias"]) == 0 and last.factor_of(table["cls.predictions.bias"]) == 1
    assert first.factor_of(table["mobilebert.encoder.layer.0.output.dense.weight"]) == 1
    assert first.factor_of(table["mobilebert.encoder.layer.1.output.dense.weight"]) == 0


# ------------------------------------------------------------------------------------------------ the terms

RNG = np.random.default_rng(0)
STATES = RNG.normal(size=(2, 2, 5, 12)) * 3 + 1
SCORES = RNG.normal(size=(2, 2, 4, 5, 5)) * 3
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
OF_STATES = (losses.feature, losses.mean, losses.variance, losses.cosine, losses.hidden)
OF_SCORES = (losses.attention, losses.scores)


@pytest.mark.parametrize("term", [*OF_STATES, *OF_SCORES])
def test_a_student_that_is_its_teacher_has_no_loss(term):
    x = (STATES if term in OF_STATES else SCORES)[0]
    assert term(x, x, MASK) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("term", [*OF_STATES, *OF_SCORES])
def test_padding_takes_no_part(term):
    t, s = STATES if term in OF_STATES else SCORES
    value = term(t, s, MASK)
    other = s.copy()
    if term in OF_STATES:
        other[1, 3:] = 1e6
        cut = [
            term(x[b : b + 1, :n], y[b : b + 1, :n], MASK[b : b + 1, :n])
            for x, y in [(t, s)]
            for b, n in [(0, 5), (1, 3)]
        ]
    else:
        other[1, :, 3:] = other[1, :, :, 3:] = 1e6
        cut = [term(t[b : b + 1, :, :n, :n], s[b : b + 1, :, :n, :n], MASK[b : b + 1, :n]) for b, n in [(0, 5), (1, 3)]]
    assert term(t, other, MASK) == value
    weights = (25, 9) if term is losses.scores else (5, 3)  # pairs of tokens, or tokens
    assert value == pytest.approx(np.average(cut, weights=weights), rel=1e-12)


def test_terms_by_hand():
    t, s = np.array([[[1.0, 3.0]]]), np.array([[[2.0, 8.0]]])
    one = np.ones((1, 1))
    assert losses.feature(t, s, one) == pytest.approx(0, abs=1e-10)  # both are (-1, 1)
    assert losses.feature(t, s[..., ::-1], one) == pytest.approx(4)
    assert losses.mean(t, s, one) == 9 and losses.variance(t, s, one) == 8
    p, q = np.array([0.9, 0.1]), np.array([0.5, 0.5])
    scores = np.stack([np.log([p, p]), np.log([q, q])])[:, None, None]
    assert losses.attention(scores[0], scores[1], np.ones((1, 2))) == pytest.approx((p * np.log(p / q)).sum())
    logits = np.log(np.array([[0.9**2, 0.1**2]])), np.log(np.array([[0.25, 0.25]]))
    assert losses.soft(*logits, temperature=2.0) == pytest.approx(4 * (p * np.log(p / q)).sum())
    assert losses.hard(np.log(p)[None], np.array([1])) == pytest.approx(-np.log(0.1))
