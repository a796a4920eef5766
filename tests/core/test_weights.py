from __future__ import annotations

import pytest

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import ARCHITECTURE, default_values, fields_marked
from mobilebert_core.heads import HEADS
from mobilebert_core.weights import KERAS_RENAMES, build_table, parameter_count, weight_table
from tests.tiny import BRANCHES, tiny_config

# Parameters of the eight classes with the default configuration, as published for transformers.
PARAMETERS = {
    "Model": (1113, 24_844_544), "PreTraining": (1123, 36_860_220), "MaskedLM": (1119, 36_596_538),
    "NextSentencePrediction": (1115, 24_845_570), "SequenceClassification": (1115, 24_845_570),
    "QuestionAnswering": (1113, 24_582_914), "MultipleChoice": (1115, 24_845_057),
    "TokenClassification": (1113, 24_582_914),
}  # fmt: skip


@pytest.mark.parametrize("head", HEADS)
def test_counts_of_the_full_model(head):
    table = weight_table(MobileBertConfig(), HEADS[head])
    assert (len(table), parameter_count(table)) == PARAMETERS[head]


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("head", HEADS)
def test_every_name_is_one_to_one(head, branch):
    table = weight_table(tiny_config(**BRANCHES[branch]), HEADS[head])
    for names in ([w.name for w in table], [w.h5 for w in table if w.h5], [w.tf1 for w in table if w.tf1],
                  [w.keras for w in table if w.keras]):  # fmt: skip
        assert len(set(names)) == len(names)
    assert all((w.keras is None) == (w.tied_to is not None) for w in table)
    assert not any(set((w.keras or "").split(".")) & set(KERAS_RENAMES) for w in table)


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("head", HEADS)
def test_the_pytorch_models_have_these_weights(head, branch):
    import torch

    import mobilebert_torch

    config = tiny_config(**BRANCHES[branch])
    with torch.device("meta"):
        model = mobilebert_torch.MODEL_CLASSES[head](config)
    expected = {w.name: w.shape for w in weight_table(config, HEADS[head])}
    assert {n: tuple(t.shape) for n, t in model.state_dict().items()} == expected


@pytest.mark.parametrize("branch", ["released", "teacher", "no_bottleneck", "untied", "pruned", "embedding_is_hidden"])
@pytest.mark.parametrize("head", ["PreTraining", "SequenceClassification", "QuestionAnswering"])
def test_the_keras_models_have_these_weights_and_no_others(head, branch):
    import mobilebert_tf

    model = mobilebert_tf.MODEL_CLASSES[head](tiny_config(**BRANCHES[branch]), initializer="zeros")
    found = []
    for weight in model.weight_table():
        if weight.tied_to is None:
            variable = model.variable_of(weight)
            assert tuple(variable.shape) == weight.shape_in("keras"), weight
            found.append(variable)
    assert sorted(map(id, found)) == sorted(map(id, model.weights))
    assert len({v.path for v in found}) == len(found)


FOLDED = [name for name, changes in BRANCHES.items() if "folding" in changes]


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")  # in their constructor
@pytest.mark.parametrize("branch", sorted(set(BRANCHES) - {"teacher", "unshared", "pruned", *FOLDED}))
def test_transformers_has_the_same_names_and_shapes(branch):
    """The teacher's layout, pruned heads and folded norms are what transformers 5 cannot build."""
    import torch
    import transformers

    import mobilebert_torch

    config = tiny_config(**BRANCHES[branch])
    with torch.device("meta"):
        theirs = transformers.MobileBertForPreTraining(transformers.MobileBertConfig(**config.to_dict()))
        ours = mobilebert_torch.MobileBertForPreTraining(config)
    assert {n: t.shape for n, t in ours.state_dict().items()} == {n: t.shape for n, t in theirs.state_dict().items()}


# Another valid value of every field that is not a number or a flag.
OTHER_VALUES = {
    "mask_value": -20.0,
    "hidden_act": "gelu", "normalization_type": "layer_norm", "problem_type": "regression", "pad_token_id": 1,
    "classifier_dropout": 0.5, "pruned_heads": {0: [1]}, "architectures": ["MobileBertForMaskedLM"],
    "folding": "all", "kept_norms": ["encoder.layer.0.output"],
    "dtype": "float16", "name_or_path": "elsewhere", "attn_implementation": "eager",
    "id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1, "c": 2},
}  # fmt: skip


def another_value(name, value):
    if name in OTHER_VALUES:
        return OTHER_VALUES[name]
    if isinstance(value, bool):
        return not value
    return value * 2 if isinstance(value, int) else 0.5


def changed_fields(config, table):
    """The fields of which another value gives some head another table."""
    found = set()
    for name in default_values():
        base = config.copy(folding="block") if name == "kept_norms" else config  # only there are norms kept
        other = base.copy(**{name: another_value(name, getattr(base, name))})
        assert getattr(other, name) != getattr(base, name), name
        if any(table(other, head) != table(base, head) for head in HEADS.values()):
            found.add(name)
    return found


@pytest.mark.parametrize("table", [build_table, weight_table])
def test_the_fields_that_change_the_weights_are_marked(table):
    """They are what the cache of the tables looks at; of the maps of the labels it takes the number of labels."""
    changed = changed_fields(tiny_config(), table)
    assert changed == {*fields_marked(ARCHITECTURE), "id2label", "label2id"}
    for branch in ("no_bottleneck", "pruned", "untied"):
        assert changed_fields(tiny_config(**BRANCHES[branch]), table) <= changed
