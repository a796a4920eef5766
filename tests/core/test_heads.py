"""The table of heads agrees with the other tables, and with what the models return."""

from __future__ import annotations

import inspect

import pytest

from mobilebert_core.checkpoints.containers.keras_writer import write_keras_weights
from mobilebert_core.checkpoints.containers.safetensors import save_weights
from mobilebert_core.checkpoints.detect_heads import natural_head
from mobilebert_core.checkpoints.opening import open_checkpoint
from mobilebert_core.checkpoints.plan import plan_loading
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from mobilebert_core.errors import ConfigError
from mobilebert_core.heads import (
    HEADS,
    Head,
    Requirement,
    Task,
    check_head,
    heads_named,
    problem_type_of,
    scores_shape,
    takes_class_numbers,
)
from mobilebert_core.outputs import OUTPUT_CLASSES, SequenceClassifierOutput, field_names
from mobilebert_core.weight_rows import HEAD_ROWS, Row
from tests.core.keras_files import drawn, open_keras
from tests.tiny import tiny_batch, tiny_config

TASKS = [(head, task) for head in HEADS.values() for task in head.tasks]


def test_rows_name_what_the_other_tables_have():
    assert {module for head in HEADS.values() for module in head.modules} == set(HEAD_ROWS)
    assert {head.output for head in HEADS.values()} < set(OUTPUT_CLASSES)
    for head in HEADS.values():
        names = field_names(head.output)
        assert ("loss" in names) == bool(head.tasks) and head.bare == (not head.tasks)
        assert {task.logits for task in head.tasks} <= set(names)
    for _, task in TASKS:
        assert (task.kind == "span") == (task.classes == "positions")


@pytest.mark.parametrize("head", HEADS)
def test_both_backends_take_the_labels_of_the_table(head):
    import mobilebert_tf
    import mobilebert_torch

    inputs = set(inspect.signature(mobilebert_torch.MODEL_CLASSES["Model"].forward).parameters)
    model = mobilebert_torch.MODEL_CLASSES[head]
    code = model.forward.__code__
    forward = set(code.co_varnames[: code.co_argcount]) - inputs
    call = set(inspect.signature(mobilebert_tf.MODEL_CLASSES[head].call).parameters) - inputs - {"training"}
    assert forward == call == set(HEADS[head].label_names)
    # each label once, so that the Trainer of transformers does not wait for two names of one
    assert set(inspect.signature(model.forward).parameters) - inputs == {task.label for task in HEADS[head].tasks}


@pytest.mark.parametrize("head", [head for head in HEADS.values() if head.tasks], ids=lambda head: head.name)
def test_scores_have_the_shape_of_the_table(head):
    import torch

    import mobilebert_torch

    config = tiny_config(**({} if head.requirements else {"num_labels": 5}))
    model = mobilebert_torch.MODEL_CLASSES[head.name](config).eval()
    batch = tiny_batch(config, head, labels=False)
    with torch.no_grad():
        output = model(**{name: torch.as_tensor(array) for name, array in batch.items()})
    for task in head.tasks:
        assert tuple(output[task.logits].shape) == scores_shape(config, task, batch["input_ids"].shape)


def test_unknown_sizes_stay_unknown():
    config = tiny_config()
    shapes = {task.label: scores_shape(config, task, (None, 7)) for task in HEADS["PreTraining"].tasks}
    assert shapes == {"labels": (None, 7, config.vocab_size), "next_sentence_label": (None, 2)}
    assert scores_shape(config, HEADS["QuestionAnswering"].tasks[0], (3, None)) == (3, None)


@pytest.mark.parametrize(
    ("head", "wrong", "message"),
    [
        (
            "MaskedLM", {"embedding_size": 60},
            "MobileBertForMaskedLM: embedding_size 60 is larger than hidden_size 48; the masked-language head splits "
            "hidden_size into embedding_size and a rest.",
        ),
        ("PreTraining", {"embedding_size": 60}, "MobileBertForPreTraining: embedding_size 60 is larger than"),
        (
            "QuestionAnswering", {"num_labels": 3},
            "MobileBertForQuestionAnswering: num_labels is 3, wanted 2 (a start and an end score per token).",
        ),
    ],
)  # fmt: skip
def test_what_a_head_requires(head, wrong, message):
    check_head(tiny_config(), HEADS[head])
    with pytest.raises(ConfigError) as error:
        check_head(tiny_config(**wrong), HEADS[head])
    assert str(error.value).startswith(message)


@pytest.fixture
def another_head(monkeypatch):
    """A head that this package does not have: a score for each of seven relations between two texts."""
    head = Head(
        "Relations", SequenceClassifierOutput, pooled=True, modules=("relations",), dropout=True,
        tasks=(Task("labels", "logits", 7),),
        requirements=(Requirement(lambda config: config.type_vocab_size > 1, "needs two segments."),),
    )  # fmt: skip
    row = Row("relations", "classifier", ("H", "7"), "relations", None, None)
    monkeypatch.setitem(HEADS, head.name, head)
    monkeypatch.setitem(HEAD_ROWS, "relations", (row,))
    return head


def test_a_row_is_all_that_the_core_needs_for_a_head(another_head, tmp_path):
    config = tiny_config(architectures=[another_head.class_name])
    arrays = drawn(config, another_head)
    save_weights(tmp_path / "model.safetensors", arrays)
    config.save_pretrained(tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    file = checkpoint.weights(checkpoint.config(None))
    assert not file.unknown and natural_head(file, config) is another_head
    assert not plan_loading(file, config, another_head).newly_initialized
    write_keras_weights(tmp_path / "model.weights.h5", config, another_head, arrays.__getitem__)
    assert open_keras(tmp_path / "model.weights.h5", config).stored.keys() == arrays.keys()
    labels = tiny_batch(config, another_head)["labels"]
    assert arrays["relations.weight"].shape == (7, 48) and labels.shape == (3,)
    assert scores_shape(config, another_head.tasks[0], (3, 11)) == (3, 7)
    with pytest.raises(ConfigError, match="MobileBertForRelations: needs two segments"):
        check_head(tiny_config(type_vocab_size=1), another_head)


def test_labels_go_by_every_name():
    (task,) = HEADS["NextSentencePrediction"].tasks
    assert task.labels_in({"labels": None, "next_sentence_label": 5}) == 5
    assert task.labels_in({"labels": 3}) == 3 and task.labels_in({}) is None


def test_heads_are_known_by_the_classes_of_both_frameworks():
    found = heads_named(["TFMobileBertForMaskedLM", "MobileBertModel", "BertForMaskedLM"])
    assert [head.name for head in found] == ["Model", "MaskedLM"] and heads_named(None) == []


@pytest.mark.parametrize(
    ("fields", "integers", "expected"),
    [
        ({}, True, SINGLE_LABEL),
        ({}, False, MULTI_LABEL),
        ({"num_labels": 1}, True, REGRESSION),
        ({"num_labels": 3, "problem_type": REGRESSION}, True, REGRESSION),
    ],
)
def test_the_problem_type_is_that_of_the_labels_unless_it_is_said(fields, integers, expected):
    config = MobileBertConfig(**fields)
    (task,), (other,) = HEADS["SequenceClassification"].tasks, HEADS["TokenClassification"].tasks
    assert problem_type_of(config, task, config.num_labels, integers) == expected
    assert takes_class_numbers(expected) == (expected == SINGLE_LABEL)
    assert problem_type_of(config, other, config.num_labels, integers) is None and takes_class_numbers(None)
