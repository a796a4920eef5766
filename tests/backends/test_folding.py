"""A folded model gives what the model it was made from gives, in every branch of the configuration."""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert_core.errors import ConfigError, InputError
from mobilebert_core.heads import HEADS
from tests.tiny import BRANCHES, tiny_batch, tiny_config

FOLDABLE = [
    name
    for name, changes in BRANCHES.items()
    if changes.get("normalization_type") != "layer_norm"
    and "folding" not in changes
    and ("hidden_act" not in changes or name == "gelu")  # acts between two norms as every other but relu does
]
BASES = ("block", "all")
# Where the third basis, "half", differs from them.
HALF = ("released", "bottleneck_attention", "unshared", "no_bottleneck", "gelu", "embedding_is_hidden", "pruned")


def fold(backend, model, basis="auto", dtype=None):
    if backend.name == "torch":
        from mobilebert_torch import fold as fold_model
    else:
        from mobilebert_tf import fold as fold_model
    calibration = tiny_batch(model.config, model.head, labels=False, seed=1) if basis == "half" else None
    return fold_model(model, basis, calibration, dtype if dtype is None else backend.dtype(dtype))


def flat(backend, outputs):
    """Every array of outputs, states and attentions one by one."""
    for name, value in outputs.items():
        for index, array in enumerate(value if isinstance(value, tuple) else (value,)):
            yield f"{name}.{index}", backend.numpy(array)


def outputs_of(backend, model, head, **options):
    return list(flat(backend, backend.call(model, tiny_batch(model.config, head), return_dict=True, **options)))


def worst(backend, model, folded, head, **options):
    return worst_of(outputs_of(backend, model, head, **options), outputs_of(backend, folded, head, **options))


def worst_of(expected, found):
    """The largest difference of any output, as a share of the output's largest value."""
    shares = {}
    for (name, wanted), (other, got) in zip(expected, found, strict=True):
        assert name == other and wanted.shape == got.shape and np.isfinite(got).all()
        shares[name] = np.abs(wanted - got).max() / max(np.abs(wanted).max(), 1e-300)
    return max(shares.values())


STATES = {"output_hidden_states": True, "output_attentions": True}


@pytest.mark.parametrize("branch", FOLDABLE)
def test_every_branch(backend, checkpoint, branch):
    """In every basis; an activation acts between two norms in each alike."""
    path = checkpoint("PreTraining", hidden_scale=1e8, **BRANCHES[branch])
    model = backend.load("PreTraining", path, dtype="float64")
    whole, plain = (outputs_of(backend, model, "PreTraining", **options) for options in (STATES, {}))
    bases = BASES[:1] if "hidden_act" in BRANCHES[branch] else BASES
    for basis in (*bases, "half") if branch in HALF else bases:
        folded = fold(backend, model, basis)
        assert folded.config.folding == basis and folded.num_parameters() != model.num_parameters()
        assert worst_of(whole, outputs_of(backend, folded, "PreTraining", **STATES)) < 1e-12
        assert worst_of(plain, outputs_of(backend, folded, "PreTraining")) < 1e-12


@pytest.mark.parametrize(
    ("head", "basis"),
    [(head, "auto") for head in HEADS]
    + [(head, "half") for head in ("MaskedLM", "QuestionAnswering", "MultipleChoice")],
)
def test_every_head(backend, checkpoint, head, basis):
    model = backend.load(head, checkpoint(head, hidden_scale=1e4), dtype="float64")
    folded = fold(backend, model, basis)
    assert type(folded) is type(model)
    assert worst(backend, model, folded, head) < 1e-12


@pytest.mark.parametrize("basis", ["auto", "half"])
def test_a_pooler_that_was_left_out_stays_out(backend, checkpoint, basis):
    model = backend.load("Model", checkpoint("Model"), dtype="float64", add_pooling_layer=False)
    folded = fold(backend, model, basis)
    assert backend.call(folded, tiny_batch(model.config, "Model"), return_dict=True).get("pooler_output") is None
    assert worst(backend, model, folded, "Model") < 1e-12


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("gain", [0.0, -1e-9])
def test_a_gain_near_zero_keeps_its_norm(backend, checkpoint, basis, gain):
    model = backend.load("TokenClassification", checkpoint("TokenClassification"), dtype="float64")
    places = ("encoder.layer.0.attention.output", "encoder.layer.1.output", "encoder.layer.0.output.bottleneck")
    for place in places:
        set_gain(backend, model, f"mobilebert.{place}.LayerNorm.weight", gain)
    set_gain(backend, model, "mobilebert.encoder.layer.0.bottleneck.input.LayerNorm.weight", gain)
    folded = fold(backend, model, basis)
    of_itself = {places[2]} if basis == "block" else set()  # this basis keeps it anyway
    assert set(folded.config.kept_norms) == set(places) - of_itself
    assert worst(backend, model, folded, "TokenClassification", **STATES) < 1e-12


def set_gain(backend, model, full_name, gain):
    (weight,) = [w for w in model.weight_table() if w.full_name == full_name]
    set_array(backend, model, weight, lambda array: np.where(np.arange(len(array)) == 2, gain, array))


def set_array(backend, model, weight, changed):
    """Sets a weight to a function of itself, in PyTorch's orientation."""
    if backend.name == "torch":
        parameter = model.get_parameter(weight.name)
        parameter.data.copy_(backend.array(np.asarray(changed(parameter.detach().numpy()))))
    else:
        variable = model.variable_of(weight)
        array = changed(variable.numpy().T if "keras" in weight.transposed else variable.numpy())
        variable.assign(array.T if "keras" in weight.transposed else array)


@pytest.mark.parametrize("basis", BASES)
def test_it_is_saved_and_loaded_like_every_model(backend, checkpoint, tmp_path, basis):
    model = backend.load("SequenceClassification", checkpoint("SequenceClassification"))
    folded = fold(backend, model, basis)
    folded.save_pretrained(tmp_path / "folded")
    again = backend.load("SequenceClassification", tmp_path / "folded")
    assert again.config.folding == basis
    assert worst(backend, folded, again, "SequenceClassification", **STATES) == 0
    assert worst(backend, model, again, "SequenceClassification", **STATES) < 1e-5


def test_the_model_it_was_made_from_stays_as_it_was(backend, checkpoint):
    model = backend.load("MaskedLM", checkpoint("MaskedLM"))
    before = {name: array.copy() for name, array in backend.parameters(model).items()}
    fold(backend, model)
    assert model.config.folding is None
    after = backend.parameters(model)
    assert before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)


def scaled_inside(backend, model):
    """Makes large what blocks store and what heads compute, the features of the last state unequal; not attention."""
    rng = np.random.default_rng(0)
    for weight in model.weight_table():
        place = weight.full_name.removeprefix("mobilebert.encoder.layer.")
        factor = {
            "0.attention.self.value.weight": 1e5,
            "0.attention.output.dense.weight": 1e-5,
            "1.attention.self.query.weight": 1e6,
            "1.attention.self.key.weight": 1e-6,
            "0.ffn.0.intermediate.dense.weight": 1e6,
            "0.ffn.0.output.dense.weight": 1e-6,
            "1.bottleneck.input.LayerNorm.weight": 1e6,
            "1.output.bottleneck.LayerNorm.weight": 10.0 ** rng.uniform(-2, 5, 48),
            "cls.predictions.transform.dense.weight": 1e9,
            "cls.seq_relationship.weight": 1e9,
        }.get(place)
        if factor is not None:
            set_array(backend, model, weight, lambda array, factor=factor: array * factor)


def deviations(backend, model, exact, head):
    """Of each output and state: the largest difference as a share of the largest value."""
    batch = tiny_batch(model.config, head, labels=False, batch=6)
    pairs = [flat(backend, backend.call(each, batch, return_dict=True, **STATES)) for each in (exact, model)]
    return {
        name: np.abs(got - wanted).max() / np.abs(wanted).max() for (name, wanted), (_, got) in zip(*pairs, strict=True)
    }


def test_half_precision_is_finite_and_as_exact_as_rounding_allows(backend, checkpoint):
    """float32 rounds by 2**13 times less than float16, by 2**16 times less than bfloat16."""
    head = "PreTraining"
    path = checkpoint(head, hidden_scale=3e7, classifier_activation=False)
    exact, model = (backend.load(head, path, dtype=dtype) for dtype in ("float64", "float32"))
    for each in (exact, model):
        scaled_inside(backend, each)
    single = deviations(backend, model, exact, head)
    half = "float16" if backend.name == "torch" else "mixed_float16"
    for dtype, rounding in ((half, 2**13), ("bfloat16", 2**16)):
        folded = fold(backend, model, "half", dtype)
        found = deviations(backend, folded, exact, head)
        assert found.keys() == single.keys()
        assert all(np.isfinite(found[name]) and found[name] < 2 * rounding * single[name] + 1e-30 for name in found)
    plain = fold(backend, model, "block", half)
    assert not all(np.isfinite(value) for value in deviations(backend, plain, exact, head).values())


def multiplied(backend, model, name, factor, more=0.0):
    (weight,) = [w for w in model.weight_table() if w.full_name == f"mobilebert.encoder.layer.{name}"]
    set_array(backend, model, weight, lambda array: array * factor + more)


def is_finite_in_half(backend, model):
    """On other texts than those of the calibration; so are its weights."""
    folded = fold(backend, model, "half", "float16" if backend.name == "torch" else "mixed_float16")
    outputs = backend.call(folded, tiny_batch(model.config, folded.head, labels=False, batch=9), return_dict=True)
    arrays = [*(array for _, array in flat(backend, outputs)), *backend.parameters(folded).values()]
    return all(np.isfinite(array).all() and np.abs(array).max() < 2**16 for array in arrays)


def test_half_precision_has_room_for_what_relu_cuts_off_in_the_calibration(backend, checkpoint):
    model = backend.load("TokenClassification", checkpoint("TokenClassification"))
    for network in ("0.ffn.0", "1"):
        multiplied(backend, model, f"{network}.intermediate.dense.weight", 1e7)
        multiplied(backend, model, f"{network}.intermediate.dense.bias", 1e7, -4e7)
        multiplied(backend, model, f"{network}.output.dense.weight", 1e-7)
    assert is_finite_in_half(backend, model)


@pytest.mark.parametrize("branch", ["released", "no_bottleneck"])
def test_half_precision_has_room_for_scores_that_neither_side_can_hold(backend, checkpoint, branch):
    model = backend.load("TokenClassification", checkpoint("TokenClassification", **BRANCHES[branch]))
    for name in ("query", "key"):
        multiplied(backend, model, f"1.attention.self.{name}.weight", 1e7)
    assert is_finite_in_half(backend, model)


@pytest.mark.parametrize("basis", ["half", "all"])
def test_float16_hides_padding_as_float32_does(backend, checkpoint, basis):
    """In a row of nothing else, and where tokens that are hidden have by far the largest scores."""
    model = backend.load("QuestionAnswering", checkpoint("QuestionAnswering"))
    for name in ("query", "key"):
        multiplied(backend, model, f"1.attention.self.{name}.weight", 3e3)
    folded = fold(backend, model, basis, "float16" if backend.name == "torch" else "mixed_float16")
    batch = tiny_batch(model.config, folded.head, labels=False)
    batch["attention_mask"][0] = 0
    batch["attention_mask"][1, 1:] = 0
    pairs = [list(flat(backend, backend.call(each, batch, return_dict=True))) for each in (model, folded)]
    assert worst_of(*pairs) < 0.02


def test_states_and_scores_of_the_half_basis_are_float32(backend, checkpoint):
    model = backend.load("SequenceClassification", checkpoint("SequenceClassification", hidden_scale=1e7))
    folded = fold(backend, model, "half", "float16")
    outputs = backend.call(folded, tiny_batch(model.config, folded.head), return_dict=True, output_hidden_states=True)
    for value in (outputs["loss"], outputs["logits"], *outputs["hidden_states"]):
        assert str(value.dtype).removeprefix("torch.").replace("<dtype: '", "").rstrip("'>") == "float32"


def test_a_model_of_the_half_basis_is_loaded_in_half_precision(backend, checkpoint, tmp_path):
    model = backend.load("MultipleChoice", checkpoint("MultipleChoice", hidden_scale=1e7))
    folded = fold(backend, model, "half")
    folded.save_pretrained(tmp_path / "single")
    fold(backend, model, "half", "float16").save_pretrained(tmp_path / "half")
    for name in ("single", "half"):
        again = backend.load("MultipleChoice", tmp_path / name, dtype="float16")
        assert worst(backend, model, again, "MultipleChoice") < 5e-3


def test_a_model_with_layer_norm_stays_as_it_is(backend, checkpoint):
    model = backend.load("Model", checkpoint("Model", normalization_type="layer_norm"))
    folded = fold(backend, model, "half")
    assert folded is not model and folded.config.folding is None
    assert worst(backend, model, folded, "Model") == 0


def test_what_cannot_be_folded(backend, checkpoint):
    model = backend.load("Model", checkpoint("Model"))
    with pytest.raises(ConfigError, match="basis must be one of 'block', 'all', 'half', got 'int8'"):
        fold(backend, model, "int8")
    module = __import__(f"mobilebert_{'torch' if backend.name == 'torch' else 'tf'}")
    batch = tiny_batch(model.config, "Model", labels=False)
    with pytest.raises(ConfigError, match="wanted calibration, such as a tokenizer's output, for basis 'half'"):
        module.fold(model, "half")
    with pytest.raises(ConfigError, match="wanted no calibration, which is of 'half', for basis 'all'"):
        module.fold(model, "all", batch)
    with pytest.raises(InputError, match="input_ids must lie in 0..96"):
        module.fold(model, "half", {**batch, "input_ids": batch["input_ids"] + 90})
    folded = fold(backend, model)
    with pytest.raises(ConfigError, match="wanted a model as it was trained, got one folded by"):
        fold(backend, folded)
    with pytest.raises(ConfigError, match="Prune first and fold the result"):
        folded.prune_heads({0: [1]})
    set_gain(backend, model, "mobilebert.encoder.layer.0.attention.output.LayerNorm.weight", np.nan)
    with pytest.raises(ConfigError, match=r"encoder\.layer\.0\..* would not be finite"):
        fold(backend, model)
    with pytest.raises(ConfigError, match="wanted a calibration batch with finite states"):
        fold(backend, model, "half")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"folding": "some"}, "folding must be one of None, 'block', 'all', 'half', got 'some'"),
        ({"folding": "half", "kept_norms": ["encoder.layer.0.output"]}, "with 'half', which keeps them all"),
        ({"folding": "all", "normalization_type": "layer_norm"}, "folding needs normalization_type 'no_norm'"),
        ({"kept_norms": ["encoder.layer.0.output"]}, "kept_norms is of folded models"),
        ({"folding": "all", "kept_norms": ["encoder.layer.2.output"]}, "names 'encoder.layer.2.output'"),
        ({"folding": "all", "kept_norms": "encoder.layer.0.output"}, "kept_norms must be a list of names"),
    ],
)
def test_impossible_configurations(fields, message):
    with pytest.raises(ConfigError, match=message):
        tiny_config(**fields)
