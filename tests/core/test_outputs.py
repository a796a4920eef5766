from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from mobilebert_core.outputs import (
    OUTPUT_CLASSES,
    MaskedLMOutput,
    MobileBertForPreTrainingOutput,
    field_names,
    flatten_output,
    flatten_sorted,
    unflatten_output,
)


@pytest.mark.parametrize("cls", OUTPUT_CLASSES)
def test_by_attribute_by_key_and_by_position(cls):
    names = field_names(cls)
    assert names == tuple(f.name for f in dataclasses.fields(cls))
    output = cls(**{name: i for i, name in enumerate(names)})
    assert [getattr(output, n) for n in names] == [output[n] for n in names] == list(output.to_tuple())
    assert output[0] == 0 and output[-1] == len(names) - 1 and output[:2] == (0, 1)
    assert isinstance(output, dict) and list(output) == list(names)


def test_none_is_left_out():
    output = MaskedLMOutput(loss=None, logits=2)
    assert output.loss is None and "loss" not in output and len(output) == 1 and output[0] == 2
    output.loss = 1
    assert output.to_tuple() == (1, 2) and output["loss"] == 1
    output.loss = None
    assert output.to_tuple() == (2,)


def test_order_is_that_of_the_fields_however_filled():
    output = MaskedLMOutput([("attentions", 4), ("logits", 2)])
    output["loss"] = 1
    assert output.to_tuple() == (1, 2, 4)


def test_unknown_fields_are_errors():
    with pytest.raises(TypeError, match="no field"):
        MaskedLMOutput(logit=1)
    with pytest.raises(AttributeError, match="no attribute 'logit'"):
        _ = MaskedLMOutput(logits=1).logit
    with pytest.raises(TypeError, match="no field 'logit'"):
        MaskedLMOutput().logit = 1


def test_further_keys_come_last_and_survive():
    """Pipelines of transformers keep the inputs beside the scores."""
    output = MaskedLMOutput(logits=2)
    output["input_ids"] = 3
    output.loss = 1
    for other in (output, copy.deepcopy(output), pickle.loads(pickle.dumps(output)), output.copy()):
        assert other.to_tuple() == (1, 2, 3) and other["input_ids"] == 3 and other.logits == 2
    children, keys = flatten_output(output)
    assert unflatten_output(MaskedLMOutput, keys, children) == output


def test_copies_are_equal_and_of_the_same_class():
    output = MaskedLMOutput(loss=1, logits=2)
    for other in (copy.copy(output), copy.deepcopy(output), pickle.loads(pickle.dumps(output)), MaskedLMOutput(output)):
        assert type(other) is MaskedLMOutput and other == output


@pytest.mark.parametrize(
    ("flatten", "order"),
    [(flatten_output, ("loss", "logits", "attentions")), (flatten_sorted, ("attentions", "logits", "loss"))],
)
def test_flattening_has_an_order_and_round_trips_placeholders(flatten, order):
    output = MaskedLMOutput(logits=2, attentions=3)
    output.loss = 1
    children, keys = flatten(output)
    assert keys == order and children == tuple(output[key] for key in order)
    again = unflatten_output(MaskedLMOutput, keys, [None if key == "loss" else output[key] for key in keys])
    assert list(again) == ["loss", "logits", "attentions"] and again["loss"] is None


@pytest.mark.parametrize("cls", OUTPUT_CLASSES)
def test_the_trees_of_both_frameworks(cls):
    """PyTorch's exporters number the outputs of a graph by its tree: there they stand as in `to_tuple`."""
    import optree
    import torch.utils._pytree as pytree

    import mobilebert_tf  # noqa: F401
    import mobilebert_torch  # noqa: F401

    names = field_names(cls)
    output = cls(**{name: i for i, name in enumerate(names)})
    assert pytree.tree_leaves(output) == list(output.to_tuple())
    keyed, _ = pytree.tree_flatten_with_path(output)
    assert [path[0].key for path, _ in keyed] == list(names)
    assert optree.tree_leaves(output, namespace="keras") == [output[name] for name in sorted(names)]


def test_both_backends_return_the_same_classes():
    import optree
    import torch.utils._pytree as pytree

    import mobilebert_tf
    import mobilebert_torch  # noqa: F401

    assert mobilebert_tf.TFMobileBertForPreTrainingOutput.__module__ == "mobilebert_core.outputs"
    output = MaskedLMOutput(loss=1, logits=2)
    for doubled in (
        pytree.tree_map(lambda x: 2 * x, output),
        optree.tree_map(lambda x: 2 * x, output, namespace="keras"),
    ):
        assert type(doubled) is MaskedLMOutput and doubled.to_tuple() == (2, 4)


def test_a_key_that_is_not_there_names_those_that_are():
    """The Trainer of transformers that smooths labels takes `logits`, which the output of pretraining has not."""
    output = MobileBertForPreTrainingOutput(prediction_logits=1, seq_relationship_logits=2)
    with pytest.raises(KeyError, match="Output has no 'logits'; it has prediction_logits, seq_relationship_logits"):
        output["logits"]
    assert output.get("logits") is None and output.loss is None and "logits" not in output
