"""A folded model gives what the model it was made from gives, in every branch of the configuration."""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert_core.errors import ConfigError
from mobilebert_core.heads import HEADS
from tests.tiny import BRANCHES, tiny_batch, tiny_config

FOLDABLE = [
    name
    for name, changes in BRANCHES.items()
    if changes.get("normalization_type") != "layer_norm" and "folding" not in changes
]
BASES = ("block", "all")


def fold(backend, model, basis="auto"):
    if backend.name == "torch":
        from mobilebert_torch import fold as fold_model
    else:
        from mobilebert_tf import fold as fold_model
    return fold_model(model, basis)


def flat(backend, outputs):
    """Every array of outputs, states and attentions one by one."""
    for name, value in outputs.items():
        for index, array in enumerate(value if isinstance(value, tuple) else (value,)):
            yield f"{name}.{index}", backend.numpy(array)


def worst(backend, model, folded, head, **options):
    """The largest difference of any output, as a share of the output's largest value."""
    batch = tiny_batch(model.config, head)
    pairs = [flat(backend, backend.call(each, batch, return_dict=True, **options)) for each in (model, folded)]
    found = {}
    for (name, wanted), (other, got) in zip(*pairs, strict=True):
        assert name == other and wanted.shape == got.shape and np.isfinite(got).all()
        found[name] = np.abs(wanted - got).max() / max(np.abs(wanted).max(), 1e-300)
    return max(found.values())


STATES = {"output_hidden_states": True, "output_attentions": True}


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("branch", FOLDABLE)
def test_every_branch(backend, checkpoint, branch, basis):
    path = checkpoint("PreTraining", hidden_scale=1e8, **BRANCHES[branch])
    model = backend.load("PreTraining", path, dtype="float64")
    folded = fold(backend, model, basis)
    assert folded.config.folding == basis and folded.num_parameters() != model.num_parameters()
    assert worst(backend, model, folded, "PreTraining", **STATES) < 1e-12
    assert worst(backend, model, folded, "PreTraining") < 1e-12


@pytest.mark.parametrize("head", HEADS)
def test_every_head(backend, checkpoint, head):
    model = backend.load(head, checkpoint(head, hidden_scale=1e4), dtype="float64")
    folded = fold(backend, model)
    assert type(folded) is type(model)
    assert worst(backend, model, folded, head) < 1e-12


def test_a_pooler_that_was_left_out_stays_out(backend, checkpoint):
    model = backend.load("Model", checkpoint("Model"), dtype="float64", add_pooling_layer=False)
    folded = fold(backend, model)
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
    if backend.name == "torch":
        model.get_parameter(weight.name).data[2] = gain
    else:
        array = backend.parameters(model)[weight.name]
        array[2] = gain
        model.variable_of(weight).assign(array)


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


def test_what_cannot_be_folded(backend, checkpoint):
    model = backend.load("Model", checkpoint("Model"))
    with pytest.raises(ConfigError, match="basis must be one of 'block', 'all', got 'half'"):
        fold(backend, model, "half")
    folded = fold(backend, model)
    with pytest.raises(ConfigError, match="wanted a model as it was trained, got one folded by"):
        fold(backend, folded)
    with pytest.raises(ConfigError, match="Prune first and fold the result"):
        folded.prune_heads({0: [1]})
    layer_norm = backend.load("Model", checkpoint("Model", name="other", normalization_type="layer_norm"))
    with pytest.raises(ConfigError, match="wanted normalization_type 'no_norm', got 'layer_norm'"):
        fold(backend, layer_norm)
    set_gain(backend, model, "mobilebert.encoder.layer.0.attention.output.LayerNorm.weight", np.nan)
    with pytest.raises(ConfigError, match=r"encoder\.layer\.0\..* would not be finite"):
        fold(backend, model)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"folding": "some"}, "folding must be one of None, 'block', 'all', got 'some'"),
        ({"folding": "all", "normalization_type": "layer_norm"}, "folding needs normalization_type 'no_norm'"),
        ({"kept_norms": ["encoder.layer.0.output"]}, "kept_norms is of folded models"),
        ({"folding": "all", "kept_norms": ["encoder.layer.2.output"]}, "names 'encoder.layer.2.output'"),
        ({"folding": "all", "kept_norms": "encoder.layer.0.output"}, "kept_norms must be a list of names"),
    ],
)
def test_impossible_configurations(fields, message):
    with pytest.raises(ConfigError, match=message):
        tiny_config(**fields)
