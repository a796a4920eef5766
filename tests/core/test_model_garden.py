"""Checkpoints that Model Garden's own code saved, read without it: names, weights, outputs, and what is no weight.

See tests/golden/record_model_garden.py for how they got about.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from conversion.parity.deviation import TOLERANCES, relative_deviation
from mobilebert_core.checkpoints.containers.safetensors import save_weights
from mobilebert_core.checkpoints.names.model_garden import model_garden_names
from mobilebert_core.checkpoints.names.model_garden_config import config_from_model_garden
from mobilebert_core.checkpoints.opening import open_checkpoint
from mobilebert_core.checkpoints.plan import plan_loading
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import CheckpointNotFoundError
from mobilebert_core.heads import HEADS
from mobilebert_core.weights import weight_table
from tests.core.model_garden import GOLDEN, VARIABLES, GraphOnly, opened, recorded_graph, weights_of_all_heads
from tests.golden.model_garden_cases import CASES, LISTED, MINI, Case
from tests.tiny import BRANCHES, tiny_config

# -------------------------------------------------------------------------------------------------- outputs


def written(name: str, path: Path, change: str | None = None) -> Path:
    """A recorded checkpoint as a directory that both backends load; `change` names a weight of which one number is."""
    names, config = opened(name)
    arrays = {weight: names.read(weight) for weight in names.stored}
    if change is not None:
        arrays[change] = arrays[change].copy()
        arrays[change].flat[0] += 0.1
    save_weights(path / "model.safetensors", arrays)
    config.save_pretrained(path)
    return path


def our_name(name: str, case: Case) -> str:
    """What Model Garden's output is called here."""
    field, dot, layer = name.partition(".")
    if field == "sequence_output":
        return f"hidden_states.{case.fields['num_hidden_layers']}"
    names = {
        "encoder_outputs": "hidden_states",
        "attention_scores": "attentions",
        "pooled_output": "pooler_output",
        "default": "pooler_output",
        "mlm_logits": "prediction_logits" if case.head == "PreTraining" else "logits",
        "next_sentence": "seq_relationship_logits",
    }
    return names.get(field, field) + dot + layer


def deviations(backend, name: str, path: Path) -> dict[str, float]:
    """How far each of our outputs is from the recorded one, as a share of the largest value of its vector."""
    case = CASES[name]
    with np.load(GOLDEN / name / "outputs.npz") as arrays:
        batch = {n.removeprefix("input."): arrays[n] for n in arrays if n.startswith("input.")}
        expected = {n.removeprefix("output."): arrays[n] for n in arrays if n.startswith("output.")}
    model = backend.load(case.head, path, dtype=case.dtype)
    found = {}
    for field, value in backend.call(model, batch, output_hidden_states=True, output_attentions=True).items():
        parts = {f"{field}.{i}": v for i, v in enumerate(value)} if isinstance(value, tuple) else {field: value}
        found |= {part: backend.numpy(v) for part, v in parts.items()}
    theirs = {our_name(n, case): a for n, a in expected.items()}
    return {n: relative_deviation(a, found[n]) for n, a in theirs.items() if n in found}


# What must have been compared; a pooled output that only Model Garden gives is not.
COMPARED = {
    "Model": {"hidden_states.0", "hidden_states.1", "attentions.0", "pooler_output"},
    "PreTraining": {
        "hidden_states.0",
        "hidden_states.1",
        "attentions.0",
        "prediction_logits",
        "seq_relationship_logits",
    },
    "MaskedLM": {"hidden_states.0", "hidden_states.1", "attentions.0", "logits"},
    "SequenceClassification": {"logits"},
    "TokenClassification": {"logits"},
    "QuestionAnswering": {"start_logits", "end_logits"},
}


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_those_of_model_garden(backend, name, tmp_path):
    """On padded input too: its mask of -1e9 leaves nothing of a masked score, like ours."""
    found = deviations(backend, name, written(name, tmp_path))
    assert found.keys() >= COMPARED[CASES[name].head]
    assert {n: d for n, d in found.items() if not d <= TOLERANCES[CASES[name].dtype]} == {}


@pytest.mark.parametrize("weight", ["mobilebert.encoder.layer.0.attention.self.value.weight", "cls.predictions.bias"])
def test_a_broken_weight_is_seen(backend, weight, tmp_path):
    found = deviations(backend, "pretrainer", written("pretrainer", tmp_path, weight))
    assert found["hidden_states.0"] <= TOLERANCES["float64"] < found["prediction_logits"]


# ---------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("branch", LISTED)
def test_the_table_names_every_variable_of_every_branch_once(branch):
    """Of a whole pretrainer, by its real object graph; only the head beside another pooler has no place."""
    config = MobileBertConfig(**{**MINI, **LISTED[branch]})
    shapes = {name: tuple(shape) for name, shape in VARIABLES[branch].items()}
    names = model_garden_names(GraphOnly(recorded_graph(branch), shapes), weights_of_all_heads(config), config)
    table = {w.full_name: w for w in weight_table(config, HEADS["PreTraining"]) if w.tied_to is None}
    wanted = {n: w.shape for n, w in table.items() if w.group != "seq_relationship"}
    assert {n: stored.shape for n, stored in names.stored.items()} == wanted
    head = [reason for reason in names.dropped.values() if reason.startswith("next_sentence head")]
    assert len(head) == 4 and len(names.dropped) == 6  # two kernels, two biases; and two that are no variables of it
    assert len(wanted) + len(head) == len(shapes)


@pytest.mark.parametrize("ffns", range(1, 7))
@pytest.mark.parametrize("branch", [name for name, changes in BRANCHES.items() if "folding" not in changes])
def test_paths_are_one_to_one_and_complete(branch, ffns):
    config = tiny_config(**{**BRANCHES[branch], "num_feedforward_networks": ffns})
    for head in set(HEADS) - {"MultipleChoice"}:  # which Model Garden does not have
        table = weight_table(config, HEADS[head])
        paths = [w.tf2 for w in table if w.tied_to is None and not w.name.startswith("cls.predictions.decoder.")]
        assert None not in paths and len(set(paths)) == len(paths)
        assert all(math.prod(w.shape_in("tf2")) == w.size for w in table)


def test_the_shapes_of_the_table_are_model_gardens():
    config = MobileBertConfig(**{**MINI, **LISTED["two_layers"]})
    of = VARIABLES["two_layers"]
    table = {w.full_name: w for w in weight_table(config, HEADS["PreTraining"])}
    layer = "mobilebert.encoder.layer.1."
    for ours, theirs in {
        f"{layer}attention.self.query.weight": "transformer_layer_1/attention/query/kernel",
        f"{layer}attention.self.query.bias": "transformer_layer_1/attention/query/bias",
        f"{layer}attention.self.value.weight": "transformer_layer_1/attention/value/kernel",
        f"{layer}attention.output.dense.weight": "transformer_layer_1/attention/attention_output/kernel",
        f"{layer}attention.output.dense.bias": "transformer_layer_1/attention/attention_output/bias",
        f"{layer}output.dense.weight": "transformer_layer_1/ffn_layer_1/output_dense/kernel",
        f"{layer}ffn.0.output.LayerNorm.bias": "transformer_layer_1/ffn_layer_0/norm/beta",
        "cls.predictions.dense.weight": "bert/cls/predictions/extra_output_weights",
        "cls.seq_relationship.weight": "bert/next_sentence/logits/kernel",
    }.items():
        assert table[ours].shape_in("tf2") == tuple(of[theirs])


DROPPED = {
    "model": {"object graph": 1, "number of saves": 1},
    "pooler": {"object graph": 1},
    "pretrainer": {"object graph": 1, "number of saves": 1},
    "items": {
        "object graph": 1,
        "number of saves": 1,
        "next_sentence head with tanh of a dense layer, for which there is room with classifier_activation=True": 2,
    },
    "training": {
        "object graph": 1,
        "number of saves": 1,
        "training step": 1,
        "optimizer state": 4,
        "optimizer slot": 51,
        "of another MobileBERT, model/layer_with_weights-1/encoder_network": 37,
        "next_sentence head with tanh of a dense layer, for which there is room with classifier_activation=True": 4,
    },
    "bottleneck_attention": {"object graph": 1, "number of saves": 1},
    "saved_model": {"object graph": 1, "setting of the tokenizer": 1},
    "edgetpu": {"object graph": 1, "number of saves": 1},
    "edgetpu_projection": {
        "object graph": 1,
        "number of saves": 1,
        "masked-language head of another architecture: output_weights_proj": 6,
        "next_sentence head with tanh of a dense layer, for which there is room with classifier_activation=True": 2,
    },
    "classifier": {"object graph": 1, "number of saves": 1},
    "token_classifier": {"object graph": 1, "number of saves": 1},
    "span_labeler": {"object graph": 1, "number of saves": 1},
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_weight_is_dropped_with_a_reason_and_the_rest_loads_whole(name):
    names, config = opened(name)
    assert Counter(names.dropped.values()) == DROPPED[name]
    plan = plan_loading(names, config, HEADS[CASES[name].head])
    assert plan.newly_initialized == plan.mismatched == []
    assert {names.stored[source].shape for source in plan.sources.values()} == {w.shape for w in plan.sources}
    assert all(names.read(source).shape == w.shape for w, source in plan.sources.items())
    assert all(names.read(source).flags.c_contiguous for source in plan.sources.values())


@pytest.mark.parametrize("name", CASES)
def test_from_pretrained_takes_the_directory(backend, name):
    names, config = opened(name)
    model, info = backend.load(CASES[name].head, GOLDEN / name, config=config, output_loading_info=True)
    assert info["missing_keys"] == []
    found = backend.parameters(model)
    bare = CASES[name].head == "Model"
    assert all(np.array_equal(names.read(f"mobilebert.{n}" if bare else n), array) for n, array in found.items())


def test_the_configuration_that_training_left(backend, tmp_path):
    """params.yaml beside the checkpoint; without it, and of no published size, there is none."""
    for path in (GOLDEN / "model").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(CheckpointNotFoundError, match=r"no configuration beside the checkpoint .*params.yaml"):
        open_checkpoint(tmp_path).config()
    (tmp_path / "params.yaml").write_bytes((GOLDEN / "params.yaml").read_bytes())
    assert open_checkpoint(tmp_path).config() == config_from_model_garden(GOLDEN / "params.yaml")
