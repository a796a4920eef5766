"""Answers and entities as spans of the original text: windows, the rule of the widest context, aggregation."""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert_core import InputError, MobileBertTokenizerFast
from mobilebert_core.tasks.probabilities import softmax
from mobilebert_core.tasks.question_answering import best_spans
from mobilebert_core.tasks.token_classification import STRATEGIES
from mobilebert_core.tasks.windows import Window, windows_over
from tests.core.test_tasks import VOCABULARY, answer, made
from tests.core.tokenizers import CLASSES, write_vocabulary


@pytest.fixture(params=CLASSES)
def tokenizer(request, tmp_path):
    return request.param(write_vocabulary(tmp_path, VOCABULARY))


@pytest.mark.parametrize(
    ("length", "room", "step"), [(1, 5, 2), (5, 5, 2), (6, 5, 2), (23, 5, 2), (40, 7, 7), (0, 5, 2)]
)
def test_every_token_is_known_best_by_one_window(length, room, step):
    windows = windows_over(length, room, step)
    assert (
        sum(np.bincount(np.arange(w.start, w.end)[w.is_max_context], minlength=length) for w in windows).tolist()
        == [1] * length
    )
    assert windows[-1].end == length and all(w.end - w.start == room for w in windows[:-1])


def test_the_window_with_the_wider_context_knows_a_token():
    # the example of the released code: the second window has three words beside "bought", the first none after it
    first, second, third = windows_over(9, 5, 2)
    assert first.is_max_context.tolist() == [True, True, True, True, False]
    assert second.is_max_context.tolist() == [False, False, True, True, False]
    assert third.is_max_context.tolist() == [False, False, True, True, True]
    assert (third.start, third.end) == (4, 9)


def test_windows_are_those_of_the_fast_tokenizers_overflow(tmp_path):
    tokenizer = MobileBertTokenizerFast(write_vocabulary(tmp_path, VOCABULARY))
    question, context = "who is in the city?", "new yorkers, emile zola. " * 9
    task = made("question-answering", tokenizer, max_length=30, doc_stride=8)
    rows = task.rows({"question": question, "context": context})
    room = 30 - 6 - 3
    theirs = tokenizer(
        question, context, truncation="only_second", max_length=30, stride=room - 8, return_overflowing_tokens=True
    )
    assert len(rows) > 3
    assert [row.input_ids for row in rows] == theirs["input_ids"]
    assert [row.token_type_ids for row in rows] == theirs["token_type_ids"]


CONTEXT = "𝄞 Émile  ZOLA lives in Néw Yorkers city."


def pointing_at(task, values, start_word, end_word, score=5.0):
    """Scores that are highest where the first and last piece of an answer stand."""

    def outputs(row):
        pieces, window, first = row.about.pieces, row.about.window, row.about.first
        starts, ends = np.zeros((2, len(row.input_ids) + 4))
        for place in range(window.start, window.end):
            starts[first + place - window.start] = score * (pieces.tokens[place] == start_word)
            ends[first + place - window.start] = score * (pieces.tokens[place] == end_word)
        starts[-4:] = ends[-4:] = 100  # padding, which must not be looked at
        return {"start_logits": starts, "end_logits": ends}

    return answer(task, values, outputs)


def test_answers_are_spans_of_the_original_text(tokenizer):
    task = made("question-answering", tokenizer)
    found = pointing_at(task, {"question": "who", "context": CONTEXT}, "emile", "zola")
    assert found["answer"] == "Émile  ZOLA" == CONTEXT[found["start"] : found["end"]]
    found = pointing_at(task, {"question": "who", "context": CONTEXT}, "new", "##ers")
    assert found["answer"] == "Néw Yorkers"
    decomposed = "E\u0301mile zola"
    found = pointing_at(task, {"question": "who", "context": decomposed}, "emile", "emile")
    assert found["answer"] == "E\u0301mile"


def test_answers_are_of_whole_words_or_of_pieces(tokenizer):
    values = {"question": "who", "context": CONTEXT}
    assert pointing_at(made("question-answering", tokenizer), values, "##ers", "##ers")["answer"] == "Yorkers"
    assert pointing_at(made("question-answering", tokenizer), values, "new", "york")["answer"] == "Néw Yorkers"
    pieces = made("question-answering", tokenizer, align_to_words=False)
    assert pointing_at(pieces, values, "##ers", "##ers")["answer"] == "ers"


def test_an_answer_far_into_a_long_text(tokenizer):
    context = "the city is in the city. " * 60 + "Émile Zola, a. " + "this is the city. " * 60
    task = made("question-answering", tokenizer, max_length=40, doc_stride=10)
    values = {"question": "who is this?", "context": context}
    assert len(task.rows(values)) > 20
    found = pointing_at(task, values, "emile", "zola")
    assert found["answer"] == "Émile Zola" and found["start"] == context.index("Émile")


def scored(values):
    return np.array([float(values.get(place, -5)) for place in range(12)])


def spans_of(starts, ends, knows=None, n_best=20, longest=30):
    """Best spans of a text of 8 tokens that begins at token 3 of a row of 12."""
    window = Window(0, 8, np.ones(8, bool) if knows is None else knows)
    return [(s.start, s.end) for s in best_spans(scored(starts), scored(ends), 3, window, n_best, longest)]


def test_spans_stay_in_the_text_in_order_and_short():
    assert spans_of({0: 9, 1: 8, 5: 3}, {11: 9, 7: 3})[0] == (2, 4)  # neither [CLS], the question nor [SEP]
    assert spans_of({7: 5}, {5: 9, 8: 1})[0] == (4, 5)  # an end before the start does not count
    assert spans_of({3: 5}, {10: 9, 4: 1}, longest=3)[0] == (0, 1)
    assert spans_of({3: 5}, {10: 9, 4: 1}, longest=8)[0] == (0, 7)


def test_a_span_starts_where_the_window_knows_best_and_may_end_beyond():
    knows = np.array([True] * 4 + [False] * 4)
    assert spans_of({8: 9, 6: 1}, {9: 9}, knows)[0] == (3, 6)


def test_starts_and_ends_are_sought_among_the_best_of_the_row():
    assert set(spans_of({3: 5, 4: 4, 5: 3}, {6: 5, 7: 4, 8: 3}, n_best=2)) == {(0, 3), (0, 4)}
    assert spans_of({0: 9, 1: 8, 5: 3}, {11: 9, 2: 8, 7: 3}, n_best=2)[0] == (2, 4)  # none of them in the text


def test_no_answer(tokenizer):
    values = {"question": "who", "context": "zola lives in paris"}

    def outputs_with(null):
        def outputs(row):
            starts, ends = np.zeros((2, len(row.input_ids)))
            starts[0], starts[3], ends[3] = null, 2, 2  # the first word of the text
            return {"start_logits": starts, "end_logits": ends}

        return outputs

    task = made("question-answering", tokenizer)
    assert answer(task, values, outputs_with(9))["answer"] == "zola"  # none is not among the answers
    task = made("question-answering", tokenizer, threshold=0.0)
    found = answer(task, values, outputs_with(5))
    assert (found["answer"], found["start"], found["end"], found["null_difference"]) == ("", 0, 0, 1.0)
    assert answer(task, values, outputs_with(3))["answer"] == "zola"
    assert answer(task.with_options({"threshold": 2.0}), values, outputs_with(5))["answer"] == "zola"
    several = answer(task.with_options({"top_k": 3}), values, outputs_with(5))
    assert [each["answer"] for each in several][:2] == ["", "zola"]
    everything = answer(task.with_options({"top_k": 50}), values, outputs_with(5))
    assert sum(each["score"] for each in everything) == pytest.approx(1)
    assert len({each["answer"] for each in everything}) == len(everything)


def test_the_score_of_no_answer_is_the_smallest_of_the_windows(tokenizer):
    task = made("question-answering", tokenizer, max_length=12, doc_stride=3, threshold=0.0)
    values = {"question": "who", "context": "a b c d e f g h i"}
    nulls = iter([9.0, -3.0, 9.0, 9.0, 9.0])

    def outputs(row):
        starts, ends = np.zeros((2, len(row.input_ids)))
        starts[0] = next(nulls)
        return {"start_logits": starts, "end_logits": ends}

    assert answer(task, values, outputs)["null_difference"] == -3.0


def test_questions_and_texts_without_words(tokenizer):
    task = made("question-answering", tokenizer)
    for values, name in (
        ({"question": " ", "context": "a"}, "question"),
        ({"question": "a", "context": "\n"}, "context"),
    ):
        with pytest.raises(InputError, match=f"{name} has no words"):
            task.rows(values)
    (row,) = made("question-answering", tokenizer).rows({"question": "a " * 100, "context": "b"})
    assert len(row.input_ids) == 64 + 3 + 1
    with pytest.raises(InputError, match="a question of 64 word pieces leaves no room"):
        made("question-answering", tokenizer, max_length=60).rows({"question": "a " * 100, "context": "b"})


LABELS = {"num_labels": 5, "id2label": {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC"}}


def labelled(task, text, labels):
    """The task's answer where each piece has (label, probability), by its token."""

    def outputs(row):
        window, pieces = row.about
        probabilities = np.full((len(row.input_ids) + 2, 5), 1e-9)
        for place in range(window.start, window.end):
            label, share = labels.get(pieces.tokens[place], (0, 0.9))
            rest = (1 - share) / 4
            probabilities[place - window.start + 1] = rest
            probabilities[place - window.start + 1, label] = share
        return {"logits": np.log(probabilities)}

    return answer(task, {"text": text}, outputs)


NAMES = {"emile": (1, 0.9), "zola": (2, 0.7), "new": (3, 0.8), "york": (4, 0.6), "##ers": (1, 0.9)}


def test_tokens_without_aggregation(tokenizer):
    found = labelled(made("token-classification", tokenizer, LABELS), CONTEXT, NAMES)
    assert [(each["entity"], each["word"]) for each in found] == [
        ("B-PER", "emile"), ("I-PER", "zola"), ("B-LOC", "new"), ("I-LOC", "york"), ("B-PER", "##ers"),
    ]  # fmt: skip
    assert [CONTEXT[each["start"] : each["end"]] for each in found] == ["Émile", "ZOLA", "Néw", "York", "ers"]
    assert [each["index"] for each in found] == [2, 3, 6, 7, 8] and found[1]["score"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("strategy", "groups"),
    [
        ("simple", [("PER", "Émile  ZOLA", 0.8), ("LOC", "Néw York", 0.7), ("PER", "ers", 0.9)]),
        ("first", [("PER", "Émile  ZOLA", 0.8), ("LOC", "Néw Yorkers", 0.7)]),
        ("average", [("PER", "Émile  ZOLA", 0.8), ("LOC", "Néw", 0.8), ("PER", "Yorkers", 0.5)]),
        ("max", [("PER", "Émile  ZOLA", 0.8), ("LOC", "Néw", 0.8), ("PER", "Yorkers", 0.9)]),
    ],
)
def test_aggregation(tokenizer, strategy, groups):
    found = labelled(made("token-classification", tokenizer, LABELS, aggregation_strategy=strategy), CONTEXT, NAMES)
    assert [(each["entity_group"], each["word"]) for each in found] == [group[:2] for group in groups]
    assert [each["score"] for each in found] == pytest.approx([group[2] for group in groups])
    assert all(CONTEXT[each["start"] : each["end"]] == each["word"] for each in found)


def test_neighbours_that_begin_and_labels_without_prefix(tokenizer):
    task = made("token-classification", tokenizer, LABELS, aggregation_strategy="simple")
    assert len(labelled(task, "emile zola", {"emile": (1, 0.9), "zola": (1, 0.9)})) == 2
    plain = {"num_labels": 5, "id2label": {0: "O", 1: "PER", 2: "LOC", 3: "X", 4: "Y"}}
    task = made("token-classification", tokenizer, plain, aggregation_strategy="simple", ignore_labels=["O", "LOC"])
    (found,) = labelled(task, "emile zola in paris", {"emile": (1, 0.9), "zola": (1, 0.9), "paris": (2, 0.9)})
    assert found["word"] == "emile zola"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_long_texts_are_read_whole_in_windows(tokenizer, strategy):
    text = "the city is in the city. " * 30 + "Émile Zola" + " in the city" * 30
    task = made("token-classification", tokenizer, LABELS, aggregation_strategy=strategy, max_length=20, stride=6)
    assert len(task.rows({"text": text})) > 10
    found = labelled(task, text, NAMES)
    assert text[found[0]["start"] : found[-1]["end"]] == "Émile Zola"
    assert labelled(task, "", NAMES) == []


def test_a_label_comes_from_the_window_that_knows_the_token_best(tokenizer):
    task = made("token-classification", tokenizer, LABELS, max_length=8, stride=3)
    text = "a b c d e f g h i"

    def outputs(row):
        window, _ = row.about
        scores = np.zeros((len(row.input_ids), 5))
        scores[1:-1, 3] = np.where(window.is_max_context, 5.0, -5.0)  # O elsewhere
        return {"logits": scores}

    found = answer(task, {"text": text}, outputs)
    assert [each["word"] for each in found] == text.split()
    assert found[0]["score"] == pytest.approx(softmax([0, 0, 0, 5, 0])[3])
