"""Checkpoints of Model Garden that do not fit: several models in one, damage, other sizes, heads without a place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_core.checkpoints.containers.tensor_bundle.object_graph import OBJECT_GRAPH, ObjectGraph
from mobilebert_core.checkpoints.containers.tensor_bundle.protobuf_wire import encode_field
from mobilebert_core.checkpoints.names.model_garden_objects import saved_models
from mobilebert_core.checkpoints.plan import plan_loading
from mobilebert_core.checkpoints.tensor_info import MappedCheckpoint, TensorInfo
from mobilebert_core.errors import CheckpointError
from mobilebert_core.heads import HEADS
from tests.core.model_garden import VARIABLES, GraphOnly, graph_bytes, names_of, opened, recorded_graph
from tests.golden.model_garden_cases import TEACHER


def two_models(*roots: str) -> bytes:
    """Two encoders of nothing but word embeddings, reached from the root by these names."""
    return graph_bytes(
        ({root: 1 + 4 * i for i, root in enumerate(roots)}, None),
        *(
            item
            for at, key in ((1, "one"), (5, "two"))
            for item in (
                ({"layer_with_weights-0": at + 1}, None),
                ({"word_embedding": at + 2}, None),
                ({"embeddings": at + 3}, None),
                ({}, key),
            )
        ),
    )


def test_of_several_models_one_is_chosen():
    bundle = GraphOnly(two_models("teacher_model", "student_model"))
    message = "wanted one MobileBERT, it holds 2: teacher_model, student_model. `model_garden_names` takes"
    with pytest.raises(CheckpointError, match=f"ckpt.index: {message}"):
        names_of(bundle)
    words = "mobilebert.embeddings.word_embeddings.weight"
    for model, key, other in (("teacher_model", "one", "student_model"), ("student_model", "two", "teacher_model")):
        names = names_of(bundle, model)
        assert names.stored.keys() == {words}
        assert names.dropped == {
            OBJECT_GRAPH: "object graph",
            {"one": "two", "two": "one"}[key]: f"of another MobileBERT, {other}",
        }
    assert names_of(GraphOnly(two_models("model", "encoder"))).dropped["one"] == "of another MobileBERT, model"
    with pytest.raises(CheckpointError, match="'studnet_model' holds none.*with the objects teacher_model, student_m"):
        names_of(bundle, "studnet_model")


def test_a_recorded_teacher_is_read_by_its_path():
    fields = {**TEACHER, "normalization_type": "no_norm"}
    names, config = opened("training", "model/layer_with_weights-1", **fields)
    plan = plan_loading(names, config, HEADS["MaskedLM"])
    assert not plan.newly_initialized and not plan.mismatched
    assert sum(reason.startswith("of another MobileBERT, encoder") for reason in names.dropped.values()) == 51


def test_a_sub_encoder_is_no_model_of_its_own():
    shared = [({"word_embedding": 4}, None), ({"embeddings": 5}, None), ({}, "words")]
    part, whole = {"layer_with_weights-0": 3}, {"layer_with_weights-0": 3, "layer_with_weights-1": 3}
    for first, second in ((part, whole), (whole, part)):
        graph = ObjectGraph(graph_bytes(({"a": 1, "b": 2}, None), (first, None), (second, None), *shared))
        assert [saved.encoder for saved in saved_models(graph)] == [1 if first is whole else 2]


def test_files_without_a_mobilebert():
    bundle = GraphOnly(graph_bytes(({"model": 1}, None), ({}, "model/kernel")))
    with pytest.raises(CheckpointError, match="it holds none. The checkpoint was saved with the objects model."):
        names_of(bundle)
    bundle.strings = {}
    with pytest.raises(CheckpointError, match=r"_CHECKPOINTABLE_OBJECT_GRAPH; this one does not. Google's TF1"):
        names_of(bundle)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (b"", "the object graph is empty. Fetch or save it again."),
        (two_models("encoder", "model")[:-1], "protobuf: field 1 wants"),
        (graph_bytes(({"model": 7}, None)), "the object graph has 1 objects and refers to number 7"),
        (encode_field(1, encode_field(1, encode_field(2, b"\x80"))), "the object graph has a name that is not UTF-8"),
        (encode_field(1, encode_field(1, encode_field(2, 5))), "the object graph has a child whose number or name"),
    ],
    ids=["empty", "cut off", "outside", "not UTF-8", "not a name"],
)
def test_damaged_graphs(graph, message):
    bundle = GraphOnly(two_models("encoder"))
    bundle.graph = graph
    with pytest.raises(CheckpointError) as caught:
        names_of(bundle)
    assert str(caught.value).startswith(f"ckpt.index: {message}")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_a_graph_holds_is_read_or_refused(data):
    graph = bytearray(recorded_graph("ffn_1"))
    for _ in range(data.draw(st.integers(1, 5))):
        graph[data.draw(st.integers(0, len(graph) - 1))] = data.draw(st.integers(0, 255))
    bundle = GraphOnly(recorded_graph("ffn_1"))
    bundle.graph = bytes(graph)
    try:
        names = names_of(bundle, num_feedforward_networks=1)
    except CheckpointError:
        return
    kept = set(names.places.values())
    assert kept | names.dropped.keys() == bundle.stored.keys() | {OBJECT_GRAPH}


def test_an_array_that_the_graph_names_and_the_file_lacks():
    bundle = GraphOnly(two_models("encoder", "model"))
    del bundle.stored["one"]
    with pytest.raises(CheckpointError, match="has mobilebert.embeddings.word_embeddings.weight under 'one', the file"):
        names_of(bundle)


def test_a_name_of_no_object_stays_unknown():
    bundle = GraphOnly(recorded_graph("ffn_2"))
    bundle.stored["model/adapter/kernel/.ATTRIBUTES/VARIABLE_VALUE"] = TensorInfo((3, 4), "float32")
    names = names_of(bundle)
    assert names.stored["model/adapter/kernel/.ATTRIBUTES/VARIABLE_VALUE"].shape == (3, 4)
    assert not any("adapter" in name for name in names.dropped)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("save_counter", "number of saves"),
        ("current_step", "training step"),
        ("stage_id", "stage of the distillation"),
        ("do_lower_case", "setting of the tokenizer"),
        ("keras_api/metrics/0/total", "metric"),
        ("optimizer/_variables/7", "optimizer state"),
        ("e2e_optimizer/iter", "optimizer state"),
        ("volatiles/optimizer/beta_1", "optimizer state"),
        ("encoder/layer_with_weights-9/kernel/.OPTIMIZER_SLOT/optimizer/m", "optimizer slot"),
    ],
)
def test_what_training_leaves(key, reason):
    bundle = GraphOnly(recorded_graph("ffn_2"))
    name = f"{key}/.ATTRIBUTES/VARIABLE_VALUE"
    bundle.stored[name] = TensorInfo((), "float32")
    bundle.strings["layer/.ATTRIBUTES/OBJECT_CONFIG_JSON"] = TensorInfo((), "string")
    names = names_of(bundle)
    assert (names.dropped[name], names.dropped["layer/.ATTRIBUTES/OBJECT_CONFIG_JSON"]) == (reason, "text")
    assert name not in names.stored


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_attention_heads": 2}, r"self.query.weight wanted (32, 32), the file has (32, 4, 8)"),
        ({"num_feedforward_networks": 1}, "6 unknown"),
        ({"num_feedforward_networks": 3}, "6 of 47 weights missing"),
        ({"num_hidden_layers": 0}, "34 unknown"),
        ({"num_hidden_layers": 2}, "34 of 75 weights missing"),
        ({"key_query_shared_bottleneck": False}, "4 unknown"),
        ({"vocab_size": 98}, "word_embeddings.weight wanted (98, 20), the file has (97, 20)"),
        ({"intermediate_size": 41}, "intermediate.dense.weight wanted (41, 32), the file has (40, 32)"),
    ],
    ids=str,
)
def test_another_configuration_is_an_error(fields, message):
    names, config = opened("model", **fields)
    with pytest.raises(CheckpointError) as caught:
        plan_loading(names, config, HEADS["Model"])
    assert message in str(caught.value)


def test_a_bottleneck_that_model_garden_ignores():
    with pytest.raises(CheckpointError, match="Pass key_query_shared_bottleneck=False"):
        opened("bottleneck_attention", key_query_shared_bottleneck=True)


# --------------------------------------------------------------------------------------------- heads that do not fit


def reasons_of_head(names: MappedCheckpoint, name: str) -> set[str]:
    return {reason for key, reason in names.dropped.items() if reason.startswith(f"{name} head")}


def test_a_head_of_another_width():
    """As in Model Garden's own default, 768 beside a hidden size of 512."""
    shapes = {name: tuple(shape) for name, shape in VARIABLES["ffn_2"].items()}
    shapes["bert/next_sentence/pooler_dense/kernel"] = (12, 9)
    names = names_of(GraphOnly(recorded_graph("ffn_2"), shapes), classifier_activation=True)
    assert reasons_of_head(names, "next_sentence") == {
        "next_sentence head of another architecture: tanh of a dense layer (12, 9), wanted (12, 12)"
    }


def test_a_head_beside_a_pooler():
    shapes = {name: tuple(shape) for name, shape in VARIABLES["pooler"].items()}
    names = names_of(GraphOnly(recorded_graph("pooler"), shapes), classifier_activation=True)
    assert reasons_of_head(names, "next_sentence") == {
        "next_sentence head of another architecture: tanh of a dense layer beside another pooler"
    }
    assert names.stored["mobilebert.pooler.dense.weight"].shape == (12, 12)


def test_a_head_for_another_task():
    graph = recorded_graph("ffn_2").replace(b"next_sentence", b"which_is_next")
    names = names_of(GraphOnly(graph))
    assert reasons_of_head(names, "which_is_next") == {
        "which_is_next head of a pretrainer, for a task that this model does not have"
    }


def test_a_head_without_a_name():
    graph = graph_bytes(
        ({"encoder": 1, "classification_heads": 5}, None),
        ({"layer_with_weights-0": 2}, None), ({"word_embedding": 3}, None), ({"embeddings": 4}, None), ({}, "words"),
        ({"0": 6}, None), ({"out_proj": 7}, None), ({"kernel": 8}, None), ({}, "head"),
    )  # fmt: skip
    assert names_of(GraphOnly(graph)).dropped["head"].startswith("unnamed head of a pretrainer")


def test_the_half_of_a_head_that_checkpoint_items_keep_is_a_pooler():
    names, config = opened("items", classifier_activation=True)
    plan = plan_loading(names, config, HEADS["NextSentencePrediction"])
    assert [w.name for w in plan.newly_initialized] == ["cls.seq_relationship.weight", "cls.seq_relationship.bias"]
    kernel = names.raw("mobilebert.pooler.dense.weight")
    assert np.array_equal(names.read("mobilebert.pooler.dense.weight"), kernel.T)


def test_embeddings_as_wide_as_hidden_states_have_no_extra_output():
    graph = recorded_graph("ffn_2").replace(b"extra_output_weights", b"extra_output_without")
    names = names_of(GraphOnly(graph), embedding_size=12)
    assert names.stored["cls.predictions.dense.weight"].shape == (0, 31)
    assert names.read("cls.predictions.dense.weight").shape == (0, 31)
