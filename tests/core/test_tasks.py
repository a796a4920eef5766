"""The text side of the tasks with made-up scores: no model, no framework."""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert_core import TASKS, ConfigError, InputError, MobileBertConfig
from mobilebert_core.heads import HEADS
from mobilebert_core.tasks.batching import by_length, padded
from mobilebert_core.tasks.probabilities import sigmoid, softmax
from mobilebert_core.tasks.table import task_named
from mobilebert_core.tasks.task_text import Row, fields_of
from mobilebert_core.tasks.zero_shot import entailment_classes
from tests.core.tokenizers import CLASSES, write_vocabulary

VOCABULARY = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "emile", "zola", "lives", "in", "new", "york", "##ers", "the", "##y",
    "city", ".", ",", "who", "?", "paris", "sing", "##ing", "a", "b", "c", "d", "e", "f", "g", "h", "i", "is", "this",
    "example", "cats", "dogs", "hello",
]  # fmt: skip


@pytest.fixture(params=CLASSES)
def tokenizer(request, tmp_path):
    return request.param(write_vocabulary(tmp_path, VOCABULARY))


def made(name, tokenizer, config=None, **options):
    task = TASKS[name]
    config = MobileBertConfig(vocab_size=len(VOCABULARY), **(config or {}))
    return task.text(task.name, task.takes, tokenizer, config).with_options(options)


def answer(task, values, outputs):
    """What the task says when the model returns `outputs(row)` for each row."""
    rows = task.rows(values)
    return task.combine(values, rows, [task.read(row, outputs(row)) for row in rows])


def test_every_row_of_the_table_names_a_head_and_its_fields():
    for task in TASKS.values():
        assert task.head in HEADS
        assert task.takes and not task.takes[0].optional
    assert task_named("ner") is TASKS["token-classification"]
    with pytest.raises(InputError, match=r"no task 'fillmask'; there are fill-mask.*Did you mean 'fill-mask'\?"):
        task_named("fillmask")


def test_fields_of_an_input():
    fields = TASKS["question-answering"].takes
    both = {"question": "a", "context": "b"}
    assert fields_of("t", fields, both) == fields_of("t", fields, ("a", "b")) == both
    assert fields_of("t", fields, "a", {"context": "b"}) == both
    for item, message in (
        ("a", "wanted question and context, got question; context missing"),
        ({**both, "id": 1}, "got 'id' too"),
        ({"question": 3, "context": "b"}, "question must be text, got int 3"),
        (("a", "b", "c"), "got a tuple of 3"),
        (None, "question must be text, got NoneType None"),
    ):
        with pytest.raises(InputError, match=message):
            fields_of("t", fields, item)
    with pytest.raises(InputError, match="choices must be a list of texts, got str 'b'"):
        fields_of("t", TASKS["multiple-choice"].takes, ("a", "b"))


def test_options_are_checked(tokenizer):
    for options, message in (
        ({"topk": 3}, "got 'topk'. Did you mean 'top_k'"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_k": True}, "top_k must be int, got True"),
        ({"max_length": 1000}, "max_length is 1000, the model has max_position_embeddings 512"),
    ):
        with pytest.raises(InputError, match=message):
            made("fill-mask", tokenizer, **options)
    with pytest.raises(
        InputError, match="aggregation_strategy must be one of none, simple, first, average, max, got 'mean'"
    ):
        made("token-classification", tokenizer, aggregation_strategy="mean")
    with pytest.raises(InputError, match=r"hypothesis_template must have \{\}"):
        made("zero-shot-classification", tokenizer, {"id2label": {0: "entailment", 1: "no"}}, hypothesis_template="x")


def test_probabilities_of_large_scores():
    assert softmax([2.5e7, 0.0]).tolist() == [1.0, 0.0]
    assert sigmoid([-1e5, 0.0, 1e5]).tolist() == [0.0, 0.5, 1.0]


def test_batches_are_of_like_length_and_padded_on_the_right():
    rows = [Row([7] * n, [1] * n) for n in (2, 5, 3, 4)]
    assert by_length(rows, 2) == [[1, 3], [2, 0]]
    batch = padded([rows[0], rows[2]], pad_token_id=9)
    assert batch["input_ids"].tolist() == [[7, 7, 9], [7, 7, 7]] and batch["input_ids"].dtype == np.int32
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch["token_type_ids"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert padded(rows, 0, per_choice=True)["input_ids"].shape == (4, 1, 5)


def scores_for(row, words):
    """Logits (S, V) with `words` {token: score} at every place."""
    logits = np.full((len(row.input_ids) + 3, len(VOCABULARY)), -10.0)  # three places of padding
    for word, score in words.items():
        logits[:, VOCABULARY.index(word)] = score
    return {"logits": logits}


def test_fill_mask(tokenizer):
    task = made("fill-mask", tokenizer, top_k=2)
    found = answer(task, {"text": "Zola lives in [MASK]."}, lambda row: scores_for(row, {"paris": 3, "york": 2}))
    assert [word["token_str"] for word in found] == ["paris", "york"]
    assert found[0]["sequence"] == "zola lives in paris." and found[0]["token"] == VOCABULARY.index("paris")
    assert found[0]["score"] == pytest.approx(1 / (1 + np.exp(-1)), rel=1e-3)
    first, second = answer(task, {"text": "[MASK] in [MASK]"}, lambda row: scores_for(row, {"paris": 3, "york": 2}))
    assert first[0]["sequence"] == "paris in [MASK]" and second[1]["sequence"] == "[MASK] in york"
    with pytest.raises(InputError, match=r"wanted \[MASK\] in the text, got 'Zola'"):
        task.rows({"text": "Zola"})
    with pytest.raises(InputError, match=r"wanted \[MASK\] within the first tokens"):
        made("fill-mask", tokenizer, max_length=8).rows({"text": "a " * 9 + "[MASK]"})


def targets_of(tokenizer, targets, **options):
    task = made("fill-mask", tokenizer, targets=targets, **options)
    found = answer(
        task, {"text": "zola lives in [MASK]."}, lambda row: scores_for(row, {"paris": 3, "york": 2, "a": 9})
    )
    return [word["token_str"] for word in found], found


def test_fill_mask_with_targets(tokenizer, caplog):
    assert targets_of(tokenizer, ["york", "paris"])[0] == ["paris", "york"]
    assert targets_of(tokenizer, ["york", "paris"], top_k=1)[0] == ["paris"]
    assert targets_of(tokenizer, np.array(["york", "york"]))[0] == targets_of(tokenizer, "york")[0] == ["york"]
    every = targets_of(tokenizer, None)[1]
    assert targets_of(tokenizer, "a")[1] == every[:1]  # a score is a probability among all words
    assert not caplog.messages
    assert targets_of(tokenizer, ["Paris", "Yorkers", " "])[0] == ["paris", "york"]
    assert caplog.messages == [
        "fill-mask: target 'Paris' is no word of the vocabulary; 'paris' stands for it",
        "fill-mask: target 'Yorkers' is no word of the vocabulary; 'york' stands for it",
        "fill-mask: target ' ' has no word of the vocabulary and is left out",
    ]
    made("fill-mask", tokenizer, targets="Paris").with_options({"top_k": 2})
    assert len(caplog.messages) == 4  # said once
    for wrong in ([], "", 5, [5], b"paris"):
        with pytest.raises(InputError, match="targets"):
            made("fill-mask", tokenizer, targets=wrong)


def test_options_by_their_names_in_transformers(tokenizer):
    names = {"max_seq_len": 20, "max_question_len": 3, "max_answer_len": 2, "topk": 4, "doc_stride": None}
    text = made("question-answering", tokenizer, **names)
    assert (text.max_length, text.max_question_length, text.max_answer_length, text.top_k) == (20, 3, 2, 4)
    assert text.doc_stride == 128 and text.threshold is None and text.align_to_words
    with pytest.raises(InputError, match="max_seq_len is max_length here, and both were passed"):
        made("question-answering", tokenizer, max_seq_len=20, max_length=20)
    assert text.with_options({"handle_impossible_answer": True}).threshold == 0
    with_threshold = made("question-answering", tokenizer, threshold=2.5)
    assert with_threshold.with_options({"handle_impossible_answer": True}).threshold == 2.5
    assert with_threshold.with_options({"handle_impossible_answer": False}).threshold is None
    with pytest.raises(InputError, match="handle_impossible_answer must be True or False, got 1"):
        made("question-answering", tokenizer, handle_impossible_answer=1)
    tags = made("token-classification", tokenizer, aggregation_strategy="FIRST", ignore_labels="B-X")
    assert tags.aggregation_strategy == "first" and tags.ignore_labels == ("B-X",)
    assert tags.with_options({"aggregation_strategy": None, "ignore_labels": None, "offset_mapping": None}) == tags
    with pytest.raises(InputError, match="offset_mapping is not taken: start and end are places in the text"):
        tags.with_options({"offset_mapping": [(0, 1)]})
    labels = {"id2label": {0: "entailment", 1: "no"}}
    judge = made("zero-shot-classification", tokenizer, labels, candidate_labels="cats, dogs ,", multi_class=True)
    assert judge.candidate_labels == ("cats", "dogs") and judge.multi_label
    assert made("text-classification", tokenizer, function_to_apply="Sigmoid").function == "sigmoid"
    assert made("text-classification", tokenizer, function_to_apply="default").function == "softmax"


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ("about {}", "about cats"),
        ("{0}", "cats"),
        ("{} is {}", "cats is cats"),
        ("{{}} {}", "{} cats"),
        ("{:>5}", " cats"),
    ],
)
def test_templates_of_hypotheses(tokenizer, template, wanted):
    labels = {"id2label": {0: "entailment", 1: "no"}}
    task = made("zero-shot-classification", tokenizer, labels, hypothesis_template=template, candidate_labels="cats")
    assert task.rows({"text": "a"})[0].input_ids == tokenizer("a", wanted)["input_ids"]
    for wrong in ("cats", "{1}", "{name}", "{0.real}", "{", "{{}}", "{:d}"):
        with pytest.raises(InputError, match="where the label goes"):
            task.with_options({"hypothesis_template": wrong})


@pytest.mark.parametrize(
    ("config", "options", "wanted"),
    [
        ({"num_labels": 3}, {}, {"label": "LABEL_1", "score": softmax([0, 2, 1])[1]}),
        ({"num_labels": 3}, {"top_k": 2}, ["LABEL_1", "LABEL_2"]),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, {}, ["LABEL_1", "LABEL_2", "LABEL_0"]),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, {"threshold": 0.7}, ["LABEL_1", "LABEL_2"]),
        ({"num_labels": 3}, {"function_to_apply": "none"}, {"label": "LABEL_1", "score": 2.0}),
        ({"num_labels": 1}, {}, {"label": "LABEL_0", "score": 0.0}),
    ],
)
def test_text_classification(tokenizer, config, options, wanted):
    task = made("text-classification", tokenizer, config, **options)
    logits = np.array([0.0, 2.0, 1.0][: config["num_labels"]])
    found = answer(task, {"text": "a", "text_pair": "b"}, lambda row: {"logits": logits})
    if isinstance(wanted, list):
        assert [each["label"] for each in found] == wanted
    else:
        assert found == wanted


def test_pairs_are_cut_to_fit(tokenizer):
    (row,) = made("next-sentence", tokenizer, max_length=10).rows({"text": "a " * 30, "text_pair": "b " * 3})
    assert len(row.input_ids) == 10 and row.token_type_ids == [0] * 6 + [1] * 4


def test_next_sentence(tokenizer):
    task = made("next-sentence", tokenizer)
    values = {"text": "a", "text_pair": "b"}
    found = answer(task, values, lambda row: {"logits": np.array([0.0, 1.0])})
    assert found == {"is_next": False, "score": pytest.approx(1 / (1 + np.e))}


def test_multiple_choice_takes_any_number_of_choices(tokenizer):
    task = made("multiple-choice", tokenizer)
    values = {"text": "zola lives in", "choices": ["paris", "new york city", "a"]}
    found = answer(task, values, lambda row: {"logits": np.array([float(len(row.input_ids))])})
    assert found["choice"] == 1 and found["answer"] == "new york city"
    assert sum(found["scores"]) == pytest.approx(1) and found["score"] == max(found["scores"])


def test_sentence_embedding_leaves_out_padding(tokenizer):
    values = {"text": "zola lives"}  # four tokens

    def states(row):
        return {"last_hidden_state": np.array([[2.0, 0], [0, 4], [0, 0], [2, 4], [99, 99]])}

    assert answer(made("sentence-embedding", tokenizer), values, states).tolist() == [1, 2]
    assert answer(made("sentence-embedding", tokenizer, pooling="cls"), values, states).tolist() == [2, 0]
    vector = answer(made("sentence-embedding", tokenizer, normalize=True), values, states)
    assert np.linalg.norm(vector) == pytest.approx(1) and vector.dtype == np.float32


def test_zero_shot(tokenizer):
    labels = {"id2label": {0: "CONTRADICTION", 1: "neutral", 2: "ENTAILMENT"}}
    task = made("zero-shot-classification", tokenizer, labels, candidate_labels=["cats", "dogs", "cats"])
    assert [VOCABULARY[row.input_ids[-3]] for row in task.rows({"text": "a"})] == ["cats", "dogs"]

    def logits(row):
        cats = VOCABULARY.index("cats") in row.input_ids
        return {"logits": np.array([0.0, 9.0, 1.0] if cats else [0.0, 0.0, 2.0])}

    found = answer(task, {"text": "a"}, logits)
    assert found["labels"] == ["dogs", "cats"] and found["scores"] == pytest.approx(softmax([2, 1]))
    found = answer(task.with_options({"multi_label": True}), {"text": "a"}, logits)
    assert found["scores"] == pytest.approx(sigmoid([2, 1]))
    found = answer(task, {"text": "a", "candidate_labels": ["cats"]}, logits)
    assert found["scores"] == pytest.approx(sigmoid([1]))
    with pytest.raises(InputError, match="wanted candidate_labels, got none"):
        made("zero-shot-classification", tokenizer, labels).rows({"text": "a"})


def test_the_entailment_class():
    assert entailment_classes({0: "entailment", 1: "not_entailment"}) == (0, 1)
    assert entailment_classes({0: "not_entailment", 1: "entailment"}) == (1, 0)
    assert entailment_classes({0: "entailment", 1: "neutral", 2: "other"}) == (0, 2)
    for labels in ({0: "LABEL_0", 1: "LABEL_1"}, {0: "entailment"}):
        with pytest.raises(ConfigError, match="wanted a model with one label called entailment"):
            entailment_classes(labels)
