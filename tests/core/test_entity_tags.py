"""Tags to entities, by seqeval's rules; and words as they were split for the training."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from seqeval.metrics.sequence_labeling import get_entities

from mobilebert_core import InputError
from mobilebert_core.tasks.entity_tags import TagScheme
from mobilebert_core.tasks.table import TASKS
from mobilebert_core.tasks.task_text import fields_of
from mobilebert_core.tasks.token_classification import joined, trained_on_words
from tests.core.test_tasks import made, tokenizer  # noqa: F401

SCHEMES = {
    "IOB": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"],
    "IOB1": ["O", "I-PER", "B-PER", "I-LOC"],
    "BIOES": ["O", *(f"{prefix}-{name}" for prefix in "BIES" for name in ("PER", "LOC"))],
    "BILOU": ["O", *(f"{prefix}-{name}" for prefix in "BILU" for name in ("PER", "LOC"))],
    "BMES": ["O", *(f"{prefix}-{name}" for prefix in "BMES" for name in ("PER", "LOC"))],
    "single": ["O", "S-PER", "B-LOC", "I-LOC", "E-LOC"],
}


def entities(labels, tags):
    scheme = TagScheme(labels)
    groups = joined([{"entity": tag, "place": place} for place, tag in enumerate(tags)], scheme)
    return [
        (scheme.split(group[0]["entity"])[1], group[0]["place"], group[-1]["place"])
        for group in groups
        if group[0]["entity"] != "O"
    ]


@pytest.mark.parametrize("name", SCHEMES)
def test_entities_are_those_of_seqeval(name):
    labels, rng = SCHEMES[name], np.random.default_rng(0)
    scheme = TagScheme(labels)
    for _ in range(300):
        tags = [str(tag) for tag in rng.choice(labels, 8)]
        assert entities(labels, tags) == get_entities([scheme.iobes(tag) for tag in tags]), tags


def test_the_schemes_by_example():
    assert entities(SCHEMES["BIOES"], ["B-PER", "I-PER", "E-PER", "S-PER"]) == [("PER", 0, 2), ("PER", 3, 3)]
    assert entities(SCHEMES["BILOU"], ["U-PER", "B-PER", "L-PER", "O"]) == [("PER", 0, 0), ("PER", 1, 2)]
    assert entities(SCHEMES["IOB1"], ["I-PER", "I-PER", "B-PER", "I-LOC"]) == [
        ("PER", 0, 1), ("PER", 2, 2), ("LOC", 3, 3),
    ]  # fmt: skip


@pytest.mark.parametrize("labels", [["O", "E-mail", "phone"], ["O", "E-mail", "M-bus"], ["B-PER", "E-mail", "phone"]])
def test_names_that_look_like_prefixes(labels):
    scheme = TagScheme(labels)
    assert scheme.split("E-mail") == ("I", "E-mail")
    assert entities(labels, ["E-mail", "E-mail"]) == [("E-mail", 0, 1)]


WORDS_CONFIG = {"num_labels": 3, "id2label": {0: "O", 1: "B-PER", 2: "I-PER"}}
TEXT = "emile  d'zola-new\tlives"


def answered(task, text, labels):
    """The task's answer, where the pieces have these labels in their order."""
    values = fields_of("token-classification", TASKS["token-classification"].takes, text)
    rows = task.rows(values)
    (row,) = rows
    pieces = row.about[1]
    assert len(pieces.ids) == len(labels), pieces.tokens
    logits = np.full((len(labels) + 2, 3), -9.0)
    logits[np.arange(len(labels)) + 1, labels] = 9.0
    return task.combine(values, rows, [task.read(row, {"logits": logits})])


def test_words_end_at_white_space_where_the_model_says_so(tokenizer):  # noqa: F811
    labels = [1, 2, 0, 0, 1, 0, 0]  # emile d ' zola - new lives: of d'zola-new the first piece counts
    config = WORDS_CONFIG | trained_on_words()
    for options in ({"aggregation_strategy": "simple"}, {"aggregation_strategy": "first"}):
        (found,) = answered(made("token-classification", tokenizer, config, **options), TEXT, labels)
        assert (found["entity_group"], found["word"]) == ("PER", "emile  d'zola-new")
        assert TEXT[found["start"] : found["end"]] == found["word"]
    found = answered(made("token-classification", tokenizer, config), TEXT, labels)
    assert [(each["entity"], each["word"], each["index"]) for each in found] == [
        ("B-PER", "emile", 1), ("I-PER", "d'zola-new", 2),
    ]  # fmt: skip
    assert [TEXT[each["start"] : each["end"]] for each in found] == ["emile", "d'zola-new"]
    pieces = made("token-classification", tokenizer, config, aggregation_strategy="simple", words="tokenizer")
    assert [each["word"] for each in answered(pieces, TEXT, labels)] == ["emile  d", "-"]
    assert answered(made("token-classification", tokenizer, WORDS_CONFIG, words="whitespace"), TEXT, labels) == found


@pytest.mark.parametrize("key", [None, "text", "tokens", "words"])
def test_a_list_of_words(tokenizer, key):  # noqa: F811
    words = ["emile", "d'zola new", "日", "lives"]  # 日 becomes the unknown word
    task = made("token-classification", tokenizer, WORDS_CONFIG, aggregation_strategy="simple")
    found = answered(task, words if key is None else {key: words}, [1, 2, 0, 0, 1, 1, 0])
    assert [each["word"] for each in found] == ["emile d'zola new", "日"]
    assert all(" ".join(words)[each["start"] : each["end"]] == each["word"] for each in found)


def test_lists_that_are_no_words():
    takes = TASKS["token-classification"].takes
    for item in ([], [1], ["a", None], {"tokens": []}):
        with pytest.raises(InputError, match="text must be"):
            fields_of("token-classification", takes, item)
    with pytest.raises(InputError, match="got 'tokens' too"):
        fields_of("token-classification", takes, {"text": "a", "tokens": ["a"]})
    with pytest.raises(InputError, match="text must be text, got list"):
        fields_of("text-classification", TASKS["text-classification"].takes, {"text": ["a"]})


@pytest.mark.parametrize("kind", [tuple, np.array, lambda words: np.array(words, object), deque])
def test_words_in_other_holders(kind):
    takes, words = TASKS["token-classification"].takes, ["emile", "lives"]
    for key in ("text", "tokens", "words"):
        assert list(fields_of("token-classification", takes, {key: kind(words)})["text"]) == words
    if kind is not tuple:
        assert list(fields_of("token-classification", takes, kind(words))["text"]) == words
        choice = {"text": "a", "choices": kind(words)}
        assert list(fields_of("multiple-choice", TASKS["multiple-choice"].takes, choice)["choices"]) == words
    with pytest.raises(InputError, match="got a tuple of 2. The words of a text come as a list"):
        fields_of("token-classification", takes, tuple(words))


@pytest.mark.parametrize(
    ("options", "strategy"),
    [
        ({"grouped_entities": True}, "simple"),
        ({"grouped_entities": False}, "none"),
        ({"grouped_entities": True, "ignore_subwords": True}, "first"),
        ({"grouped_entities": True, "aggregation_strategy": "max"}, "simple"),
        ({"ignore_subwords": True}, "none"),
        ({"grouped_entities": None, "aggregation_strategy": "max"}, "max"),
    ],
)
def test_the_old_keywords_of_transformers(tokenizer, options, strategy):  # noqa: F811
    assert made("token-classification", tokenizer, WORDS_CONFIG).with_options(options).aggregation_strategy == strategy


@pytest.mark.parametrize("params", [None, [], {}, {"token-classification": 1}, {"token-classification": {"words": 2}}])
def test_other_parameters_of_tasks_say_nothing(tokenizer, params):  # noqa: F811
    config = WORDS_CONFIG | {"task_specific_params": params}
    task = made("token-classification", tokenizer, config, aggregation_strategy="simple")
    assert len(task.rows({"text": TEXT})[0].about[1].ids) == 7 and task.rows({"text": TEXT})[0].about[1].words is None
