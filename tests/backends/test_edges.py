"""The table of edge inputs: what each kind of input gives, the same in both frameworks and in their recorded graphs."""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert_core.errors import InputError
from tests.backends.backend import built

LAST = 96  # the last word of 97
IDS = np.array([[5, 7, LAST, 1, 3], [2, 4, 6, 8, 9]], np.int32)
SEGMENTS, PLACES = IDS % 3, np.array([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]], np.int32)
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32)
INTEGERS = ("int8", "int16", "int64", "uint8", "uint16", "uint64")
NAN, INF = np.nan, np.inf


@pytest.fixture
def model(backend):
    return built(backend, num_labels=4)


def assert_near(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def logits(backend, model, **batch):
    return backend.numpy(backend.call(model, {"input_ids": IDS, **batch})["logits"])


def full(kind, value, shape=(2, 1, 5, 5)):
    return np.full(shape, value, kind)


@pytest.mark.parametrize("kind", INTEGERS)
def test_every_integer_type_counts(backend, model, kind):
    batch = {"attention_mask": MASK, "token_type_ids": SEGMENTS, "position_ids": PLACES}
    expected = logits(backend, model, **batch)
    got = logits(backend, model, input_ids=IDS.astype(kind), **{n: v.astype(kind) for n, v in batch.items()})
    np.testing.assert_array_equal(got, expected)
    square = full("int32", 1, (2, 5, 5)) * MASK[:, None]
    expected = logits(backend, model, attention_mask=square)
    for mask in (square, square[:, None], np.repeat(square[:, None], 4, 1)):
        assert_near(logits(backend, model, attention_mask=mask.astype(kind)), expected)


@pytest.mark.parametrize("kind", INTEGERS)
def test_class_numbers_and_places_of_every_integer_type(backend, model, kind):
    labels = IDS % 4
    loss = backend.numpy(backend.call(model, {"input_ids": IDS, "labels": labels})["loss"])
    got = backend.numpy(backend.call(model, {"input_ids": IDS, "labels": labels.astype(kind)})["loss"])
    assert_near(got, loss)
    spans = built(backend, "QuestionAnswering", max_position_embeddings=200)
    batch = {"input_ids": np.ones((2, 150), np.int32)}  # longer than int8 counts
    losses = [
        backend.numpy(backend.call(spans, {**batch, "start_positions": at, "end_positions": at})["loss"])
        for at in (np.array([3, 100]), np.array([3, 100]).astype(kind))
    ]
    assert_near(losses[0], losses[1])


@pytest.mark.parametrize("kind", ["bool", "float16", "float32", "float64"])
@pytest.mark.parametrize("name", ["input_ids", "token_type_ids", "position_ids"])
def test_ids_of_other_types_are_errors(backend, model, name, kind):
    with pytest.raises(InputError, match=f"{name} must be whole numbers of an integer type, got .*{kind}"):
        logits(backend, model, **{name: np.ones((2, 5), kind)})


TABLES = {"input_ids": 97, "token_type_ids": 3, "position_ids": 37}


def wrong_ids():
    for name, size in TABLES.items():
        for value in (-1, -size, -size - 1, size, 2**31 - 1):
            ids = np.zeros((2, 5), np.int64)
            ids[1, 2] = value
            yield name, size, value, ids


def test_ids_outside_their_table(backend, model):
    for name, size, value, ids in wrong_ids():
        with pytest.raises(InputError, match=rf"{name} must lie in 0..{size - 1} .*, got values from {min(value, 0)}"):
            logits(backend, model, **{name: ids})


def test_ids_outside_their_table_in_a_recorded_graph(backend, model):
    batch = {"input_ids": IDS, "token_type_ids": SEGMENTS, "position_ids": PLACES}
    run = backend.recorded(model, batch)
    assert_near(run(batch), logits(backend, model, **batch))
    for name, size, value, ids in wrong_ids():
        with pytest.raises(backend.out_of_range, match="indi|index"):
            run({**batch, name: ids})
            raise AssertionError(f"{name} {value} of {size} was answered")


KEPT = {  # each hides the last two tokens of the second text
    "booleans": MASK.astype(bool),
    "floats": MASK.astype("float32"),
    "half floats": MASK.astype("float16"),
    "square": full("int32", 1, (2, 5, 5)) * MASK[:, None],
    "square of booleans": (full("int32", 1, (2, 5, 5)) * MASK[:, None]).astype(bool),
    "4-D of booleans": (full("int32", 1) * MASK[:, None, None]).astype(bool),
    "a head each": full("int32", 1, (2, 4, 5, 5)) * MASK[:, None, None],
    "scores": np.where(MASK[:, None, None] == 1, 0, -1e9).astype("float32") * np.ones((1, 1, 5, 1), "float32"),
    "scores of -inf": np.where(MASK[:, None, None] * np.ones((1, 1, 5, 1)) == 1, 0, -INF).astype("float32"),
    "wide scores of -inf": np.where(MASK[:, None, None] * np.ones((1, 1, 5, 1)) == 1, 0, -INF),
    "lowest scores": np.where(MASK[:, None, None] * np.ones((1, 4, 5, 1)) == 1, 0, np.finfo("float64").min),
}


@pytest.mark.parametrize("kind", KEPT)
def test_masks_that_hide_the_same(backend, model, kind):
    expected = logits(backend, model, attention_mask=MASK)
    assert_near(logits(backend, model, attention_mask=KEPT[kind]), expected)
    if kind in ("floats", "square", "scores of -inf"):
        batch = {"input_ids": IDS, "attention_mask": KEPT[kind]}
        assert_near(backend.recorded(model, batch)(batch), expected)


@pytest.mark.parametrize("attn_implementation", ["sdpa", "eager"])
@pytest.mark.parametrize(
    "mask", [full("int32", 0), full("float32", -INF), full("float64", -INF), full("int64", 0, (2, 5))]
)
def test_rows_without_any_token_are_uniform(backend, mask, attn_implementation):
    model = built(backend, num_labels=4, attn_implementation=attn_implementation)
    output = backend.call(model, {"input_ids": IDS, "attention_mask": mask}, output_attentions=True)
    np.testing.assert_allclose(backend.numpy(output["attentions"][0]), 0.2, atol=1e-6)
    got = logits(backend, model, attention_mask=mask)
    assert_near(got, backend.numpy(output["logits"]))
    assert np.isfinite(got).all()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (MASK * 0.5, "attention_mask must hold 1 .* got fractions"),
        (full("float32", 0.5, (2, 5, 5)), "attention_mask must hold 1 .* got fractions"),
        (MASK * -1, "attention_mask must hold 1 .* from -1 to 0"),
        (full("uint8", 2), "attention_mask must hold 1 .* from 2 to 2"),
        (np.where(MASK == 1, 1, NAN), "attention_mask must hold 1 .* nan"),
        (np.where(MASK == 1, 0, -INF), "attention_mask must hold 1 .* from -inf to 0"),
        (full("float32", NAN), "added to the scores.*up to nan"),
        (full("float32", 1), "added to the scores.*up to 1"),
        (full("float32", INF), "added to the scores.*up to inf"),
        (full("float32", 0, (2, 3, 5, 5)), r"shape .2, 3, 5, 5.* heads 4"),
        (full("int32", 1, (2, 2, 5, 5)), r"shape .2, 2, 5, 5.* heads 4"),
        (full("int32", 1, (2, 1, 5, 4)), r"attention_mask has shape .2, 1, 5, 4."),
        (MASK.astype("complex64"), "attention_mask must be integers, booleans or floats.* got complex64"),
        (full("complex128", 0), "attention_mask must be integers, booleans or floats.* got complex128"),
    ],
)
def test_masks_that_say_nothing_clear(backend, model, mask, message):
    with pytest.raises(InputError, match=message):
        logits(backend, model, attention_mask=mask)


def test_complex_numbers_are_errors_everywhere(backend, model):
    for name, wanted, array in (
        ("input_ids", "whole numbers of an integer type", IDS),
        ("position_ids", "whole numbers of an integer type", PLACES),
        ("inputs_embeds", "integers, booleans or floats", np.zeros((2, 5, 20))),
        ("head_mask", "integers, booleans or floats", np.ones(4)),
    ):
        ids = {} if name == "inputs_embeds" else {"input_ids": IDS}
        with pytest.raises(InputError, match=f"{name} must be {wanted}.* got complex64"):
            backend.call(model, {**ids, name: array.astype("complex64")})


def test_masks_of_pruned_models(backend):
    model = built(backend, num_labels=4, pruned_heads={0: [1]})
    assert np.isfinite(logits(backend, model, attention_mask=full("int32", 1, (2, 3, 5, 5)))).all()
    model = built(backend, num_labels=4, num_hidden_layers=2, pruned_heads={0: [1]})
    for heads in (3, 4):
        with pytest.raises(InputError, match=f"shape .2, {heads}, 5, 5.* heads 3 or 4"):
            logits(backend, model, attention_mask=full("int32", 1, (2, heads, 5, 5)))


def test_embeddings_are_floats_and_nan_stays_nan(backend, model):
    embeds = np.zeros((2, 5, 20), np.float32)
    for kind in ("int32", "bool"):
        with pytest.raises(InputError, match="inputs_embeds must be floats, got .* Pass ids as input_ids"):
            backend.call(model, {"inputs_embeds": embeds.astype(kind)})
    embeds[1, 2] = NAN
    got = backend.numpy(backend.call(model, {"inputs_embeds": embeds})["logits"])
    assert np.isnan(got[1]).all() and np.isfinite(got[0]).all()


@pytest.mark.parametrize(
    ("problem_type", "targets", "message"),
    [
        ("multi_label_classification", [[0, 2.0, 0], [0, 1, 1]], "must be 1 for labels that hold.*from 0 to 2"),
        ("multi_label_classification", [[0, -1.0, 0], [0, 1, 1]], "must be 1 for labels that hold.*from -1 to 1"),
        ("multi_label_classification", [[0, -100, 0], [0, 1, 1]], "must be 1 for labels that hold.*from -100 to 1"),
        ("multi_label_classification", [[0, NAN, 0], [0, 1, 1]], "must be 1 for labels that hold.*nan"),
        ("regression", [[0, NAN, 0], [0, 1, 1]], "must be finite.*nan"),
        ("regression", [[0, 1j, 0], [0, 1, 1]], "labels must be integers, booleans or floats.*got complex128"),
        ("regression", [[0, INF, 0], [0, 1, 1]], "must be finite.*from 0 to inf"),
        ("single_label_classification", [3, 0], "must lie in 0..2.*from 0 to 3"),
        ("single_label_classification", [-1, 0], "must lie in 0..2.*from -1 to 0"),
        ("single_label_classification", [NAN, 0], "must be whole numbers, got .*float64"),
        (
            "multi_label_classification",
            [2, 0],
            "wanted .2, 3.*problem_type='multi_label_classification'.* takes floats",
        ),
        (None, [[1, 0, 1], [0, 0, 1]], "wanted .2,.*no problem_type.*mean 'single_label_classification'"),
        (None, [1.0, 0.0], "wanted .2, 3.*no problem_type.*mean 'multi_label_classification'"),
    ],
)
def test_targets_outside_their_range(backend, problem_type, targets, message):
    model = built(backend, "SequenceClassification", num_labels=3, problem_type=problem_type)
    with pytest.raises(InputError, match=message):
        backend.call(model, {"input_ids": IDS, "labels": np.array(targets)})


def test_targets_at_the_ends_of_their_range(backend):
    def loss(problem_type, targets):
        model = built(backend, "SequenceClassification", num_labels=3, problem_type=problem_type)
        return backend.numpy(backend.call(model, {"input_ids": IDS, "labels": np.array(targets)})["loss"])

    for kind in (bool, "int32", "float32", "float64"):
        targets = np.array([[0, 1, 0], [1, 1, 1]], kind)
        assert np.isfinite(loss("multi_label_classification", targets))
    assert np.isfinite(loss("multi_label_classification", [[0, 0.5, 0], [0.1, 0.9, 1]]))  # label smoothing
    assert np.isfinite(loss("regression", [[-1e3, 2.0, 0], [0, 1e3, 1]]))
    assert loss("single_label_classification", [-100, -100]) == 0
