"""Examples to rows and batches: nothing is lost on the way, labels stand where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert_core import InputError, MobileBertTokenizer, MobileBertTokenizerFast
from mobilebert_core.heads import HEADS
from mobilebert_core.tasks.table import TASKS
from mobilebert_core.training.tasks.labelled_task import FeatureRow
from tests.core.data_files import CHOICES, LABELLED, QUESTIONS, TEXTS, WORDS, answered, made, read, squad

CLASSES = (MobileBertTokenizer, MobileBertTokenizerFast)
ROWS = {
    TEXTS: ("t.csv", "text,label\nhello cats,x\nhello,y\n"),
    WORDS: ("t.conll", "emile B-x\nyorkers I-x\nsinging O\n\nhello O\n"),
    QUESTIONS: ("t.json", squad(answered("Zola", 6), answered("Paris", 32))),
    CHOICES: ("t.jsonl", [{"text": "hello", "choices": ["the cats", "a"], "label": i} for i in (1, 0)]),
}


def tokens(task, row):
    return task.tokenizer.convert_ids_to_tokens(row.input_ids)


@pytest.mark.parametrize("tokenizer", CLASSES)
@pytest.mark.parametrize("name", LABELLED)
def test_a_batch_is_what_the_head_takes(tmp_path, name, tokenizer):
    examples = read(tmp_path, name, *ROWS[name])
    task = made(examples, name, tmp_path, tokenizer)
    rows = task.features(examples).rows
    assert [row.example for row in rows] == [0, 1]
    head = HEADS[task.head]
    for training in (True, False):
        for pad_to in (None, 24):
            batch = task.batch(rows, pad_to=pad_to, training=training)
            labels = {each.label for each in head.tasks} if training else set()
            assert set(batch) == {"input_ids", "attention_mask", "token_type_ids"} | labels
            longest = max(row.length for row in rows)
            shape = (2, 2, pad_to or longest) if head.per_choice else (2, pad_to or longest)
            for key in ("input_ids", "attention_mask", "token_type_ids"):
                assert batch[key].shape == shape and batch[key].dtype == np.int32
            for key in labels:
                assert batch[key].shape == (shape if name == WORDS else (2,)) and batch[key].dtype == np.int32
            ids, mask = batch["input_ids"].reshape(-1, shape[-1]), batch["attention_mask"].reshape(-1, shape[-1])
            lists = [each for row in rows for each in (row.input_ids if head.per_choice else [row.input_ids])]
            for line, seen, wanted in zip(ids, mask, lists, strict=True):
                assert line.tolist() == wanted + [0] * (shape[-1] - len(wanted))
                assert seen.tolist() == [1] * len(wanted) + [0] * (shape[-1] - len(wanted))


@pytest.mark.parametrize("name", LABELLED)
def test_rows_are_those_of_the_pipeline(tmp_path, name):
    examples = read(tmp_path, name, *ROWS[name])
    task = made(examples, name, tmp_path)
    item, row = examples.items[0], task.features(examples).rows[0]
    values = {
        TEXTS: lambda: {"text": item.text},
        WORDS: lambda: {"text": " ".join(item.words)},
        QUESTIONS: lambda: {"question": item.question, "context": item.context},
        CHOICES: lambda: {"text": item.text, "choices": list(item.choices)},
    }[name]()
    text = TASKS[name].text(name, TASKS[name].takes, task.tokenizer, task.config)
    theirs = text.rows(values)
    ids = [each.input_ids for each in theirs], [each.token_type_ids for each in theirs]
    ours = (row.input_ids, row.token_type_ids) if name == CHOICES else ([row.input_ids], [row.token_type_ids])
    assert ours == ids


@pytest.mark.parametrize("bad", [{"pad_to": 3}, {"rows": []}])
def test_rows_that_are_no_batch(tmp_path, bad):
    examples = read(tmp_path, TEXTS, *ROWS[TEXTS])
    task = made(examples, TEXTS, tmp_path)
    rows = bad.get("rows", task.features(examples).rows)
    with pytest.raises(InputError, match="batch: wanted rows of at most (3|some) tokens, got (one of 4 tokens|none)"):
        task.batch(rows, pad_to=bad.get("pad_to"))


def test_options_that_a_task_has_not(tmp_path):
    examples = read(tmp_path, TEXTS, *ROWS[TEXTS])
    with pytest.raises(InputError, match="training text-classification: wanted options it knows, got 'doc_stride'"):
        made(examples, TEXTS, tmp_path, doc_stride=3)
    with pytest.raises(InputError, match="max_length is 513, the model has max_position_embeddings 512"):
        made(examples, TEXTS, tmp_path, max_length=513)
    questions = read(tmp_path, QUESTIONS, *ROWS[QUESTIONS])
    with pytest.raises(InputError, match="doc_stride must be at least 1, got 0"):
        made(questions, QUESTIONS, tmp_path, doc_stride=0)
    with pytest.raises(InputError, match="wanted each example to be a TextExample, got QuestionExample"):
        made(examples, TEXTS, tmp_path).features(questions)


# ------------------------------------------------------------------------------------------------------------ texts


@pytest.mark.parametrize(
    ("name", "content", "options", "fields", "labels"),
    [
        ("a.csv", "text,label\na,b\nb,a\nc,b\n", {},
         ({0: "a", 1: "b"}, "single_label_classification"), [1, 0, 1]),
        ("a.csv", "text,label\na,10\nb,9\nc,-1\n", {},
         ({0: "-1", 1: "9", 2: "10"}, "single_label_classification"), [2, 1, 0]),
        ("a.csv", "text,label\na,10\nb,x\n", {}, ({0: "10", 1: "x"}, "single_label_classification"), [0, 1]),
        ("a.csv", "text,label\na,n/a\nb,inf\n", {}, None, [1, 0]),
        ("a.csv", "text,label\na,1\nb,1.0\nc,0\n", {}, ({0: "0", 1: "1"}, "single_label_classification"), [1, 1, 0]),
        ("a.csv", "text,label\na,True\nb,false\nc,TRUE\n", {},
         ({0: "false", 1: "true"}, "single_label_classification"), [1, 0, 1]),
        ("a.csv", "text,label\na,None\nb,x\n", {"label_names": ("None", "x")},
         ({0: "None", 1: "x"}, "single_label_classification"), [0, 1]),
        ("a.csv", "text,label\na,-100\nb,0.5\n", {}, ({0: "LABEL_0"}, "regression"), [-100.0, 0.5]),
        ("a.csv", "text,zeal,joy\na,1,0\nb,0.5,1.0\n", {"label_columns": ("zeal", "joy")},
         ({0: "zeal", 1: "joy"}, "multi_label_classification"), [[1, 0], [0.5, 1]]),
        ("a.jsonl", [{"text": "a", "labels": [1.0, 0.0, 1.0]}, {"text": "b", "labels": [0.0, 0.0, 0.0]}], {},
         ({0: "0", 1: "1", 2: "2"}, "multi_label_classification"), [[1, 0, 1], [0, 0, 0]]),
        ("a.jsonl", [{"text": "a", "labels": [0, 1]}, {"text": "b", "labels": [1, 0]}], {"label_names": ("x", "y")},
         ({0: "x", 1: "y"}, "multi_label_classification"), [[0, 1], [1, 0]]),
        ("a.csv", 'text,labels\na,"[0, 0, 1]"\nb,[1. 1. 0.]\n', {},
         ({0: "0", 1: "1", 2: "2"}, "multi_label_classification"), [[0, 0, 1], [1, 1, 0]]),
        ("a.tsv", "text\tlabels\na\t0,1,1\nb\t1,0,0\n", {"label_separator": ","},
         ({0: "0", 1: "1", 2: "2"}, "multi_label_classification"), [[0, 1, 1], [1, 0, 0]]),
        ("a.csv", """text,labels\na,"['y', 'x']"\nb,[]\nc,"[""x""]"\n""", {},
         ({0: "x", 1: "y"}, "multi_label_classification"), [[1, 1], [0, 0], [1, 0]]),
        ("a.csv", 'text,labels\na,"{""x"": 0.25, ""y"": 1}"\n', {},
         ({0: "x", 1: "y"}, "multi_label_classification"), [[0.25, 1]]),
        ("a.jsonl", [{"text": "a", "labels": [0, 2]}, {"text": "b", "labels": [1]}], {},
         ({0: "0", 1: "1", 2: "2"}, "multi_label_classification"), [[1, 0, 1], [0, 1, 0]]),
        ("a.csv", """text,labels\na,"('y', 'x')"\nb,()\nc,{'x'}\n""", {},
         ({0: "x", 1: "y"}, "multi_label_classification"), [[1, 1], [0, 0], [1, 0]]),
        ("a.csv", "text,label\na,(y)\nb,\"(x, y)\"\n", {},
         ({0: "(x, y)", 1: "(y)"}, "single_label_classification"), [1, 0]),
        ("a.csv", "text,label\na,1.000000000000000000e+00\nb,0\nc,1\nd,1e0\n", {},
         ({0: "0", 1: "1", 2: "1e0"}, "single_label_classification"), [1, 0, 1, 2]),
        ("a.csv", "text,label\na,caf\u00e9\nb,cafe\u0301\nc,tea\n", {},
         ({0: "caf\u00e9", 1: "tea"}, "single_label_classification"), [0, 0, 1]),
        ("a.csv", "text,label\na,y|x\nb,x\nc,y\n", {"problem_type": "single_label_classification"},
         ({0: "x", 1: "y", 2: "y|x"}, "single_label_classification"), [2, 0, 1]),
        ("a.csv", 'text,label\na,"York, NY"\nb,x\n', {},
         ({0: "York, NY", 1: "x"}, "single_label_classification"), [0, 1]),
        ("a.csv", "text,label\na,y\nb,0\nc,2\n", {"label_names": ("x", "y", "z")},
         ({0: "x", 1: "y", 2: "z"}, "single_label_classification"), [1, 0, 2]),
        ("a.csv", "text,label\na,2\nb,0\n", {"label_names": ("2", "1", "0")},
         ({0: "2", 1: "1", 2: "0"}, "single_label_classification"), [0, 2]),
        ("a.csv", "text,label\na,0.5\nb,2\nc,-1e1\n", {}, ({0: "LABEL_0"}, "regression"), [0.5, 2.0, -10.0]),
        ("a.csv", "text,label\na,1\nb,2\n", {"problem_type": "regression"}, ({0: "LABEL_0"}, "regression"), [1.0, 2.0]),
        ("a.csv", "text,label\na,0.5\nb,2\n", {"problem_type": "single_label_classification"},
         ({0: "0.5", 1: "2"}, "single_label_classification"), [0, 1]),
        ("a.csv", "text,label\na,y x y\nb,\nc,x\n", {"label_separator": " "},
         ({0: "x", 1: "y"}, "multi_label_classification"), [[1, 1], [0, 0], [1, 0]]),
        ("a.csv", "text,label\na,0\nb,1\n", {"problem_type": "multi_label_classification", "label_names": ("x", "y")},
         ({0: "x", 1: "y"}, "multi_label_classification"), [[1, 0], [0, 1]]),
        ("a.jsonl", [{"text": "a", "label": [2, "x"]}, {"text": "b", "label": "x"}], {},
         ({0: "2", 1: "x"}, "multi_label_classification"), [[1, 1], [0, 1]]),
        ("a.jsonl", [{"text": "a", "label": ["x"]}, {"text": "b", "label": []}], {},
         ({0: "x"}, "multi_label_classification"), [[1], [0]]),
    ],
)  # fmt: skip
def test_labels_of_texts(tmp_path, name, content, options, fields, labels):
    examples = read(tmp_path, TEXTS, name, content, **options)
    task = made(examples, TEXTS, tmp_path)
    if fields is not None:
        assert (task.config.id2label, task.config.problem_type) == fields
    found = task.batch(task.features(examples).rows)["labels"]
    assert found.tolist() == labels
    assert found.dtype == (np.int32 if task.problem == "single_label_classification" else np.float32)


@pytest.mark.parametrize("tokenizer", CLASSES)
def test_long_texts_are_cut_and_counted(tmp_path, tokenizer):
    rows = [("a", "b", "x"), ("a " * 9, "b " * 9, "y"), ("a b c d", "e f g", "x"), ("a " * 30, "b", "x")]
    content = "text,text_pair,label\n" + "".join(",".join(row) + "\n" for row in rows)
    examples = read(tmp_path, TEXTS, "a.csv", content)
    task = made(examples, TEXTS, tmp_path, tokenizer, max_length=10)
    features = task.features(examples)
    assert features.notes == ["2 of 4 texts longer than 10 tokens were cut"]
    assert [row.length for row in features.rows] == [5, 10, 10, 10]
    for row, (text, pair, _) in zip(features.rows, rows, strict=True):
        assert row.input_ids == task.text.row_of(text, pair).input_ids
        assert row.token_type_ids == task.text.row_of(text, pair).token_type_ids
    assert made(examples, TEXTS, tmp_path).features(examples).notes == []


def test_texts_without_words_are_counted(tmp_path):
    examples = read(tmp_path, TEXTS, "a.csv", "text,label\na,x\n\u200b,y\n\x07,x\n")
    assert made(examples, TEXTS, tmp_path).features(examples).notes == [
        "2 of 3 texts hold no character that the tokenizer keeps"
    ]


def test_texts_in_several_parts_are_the_same(tmp_path, monkeypatch):
    examples = read(tmp_path, TEXTS, "a.csv", "text,label\n" + "".join(f"{'a ' * i}b,{i % 2}\n" for i in range(20)))
    task = made(examples, TEXTS, tmp_path, max_length=9)
    whole = task.features(examples)
    monkeypatch.setattr("mobilebert_core.training.tasks.labelled_task.TEXTS_AT_ONCE", 3)
    assert task.features(examples) == whole and whole.notes == ["13 of 20 texts longer than 9 tokens were cut"]


# ------------------------------------------------------------------------------------------------------------ words


@pytest.mark.parametrize("tokenizer", CLASSES)
def test_the_first_piece_of_a_word_has_its_tag(tmp_path, tokenizer):
    examples = read(tmp_path, WORDS, "a.conll", "Yorkers B-x\n\u200d O\nÉmile B-x\nnew-york I-x\n")
    task = made(examples, WORDS, tmp_path, tokenizer)
    features = task.features(examples)
    (row,) = features.rows
    assert task.config.id2label == {0: "B-x", 1: "I-x", 2: "O"}
    found = list(zip(tokens(task, row), row.labels, strict=True))
    assert found == [
        ("[CLS]", -100), ("york", 0), ("##ers", -100), ("[UNK]", 2), ("emile", 0), ("new", 1), ("[UNK]", -100),
        ("york", -100), ("[SEP]", -100),
    ]  # fmt: skip
    assert features.notes == ["words without a character that the tokenizer keeps, read as unknown words: 1"]


@pytest.mark.parametrize("tokenizer", CLASSES)
def test_long_sentences_are_split_between_words(tmp_path, tokenizer):
    words = ["yorkers", "a", "b", "yorkers"] * 5 + ["a-" * 6, "c"]
    content = "".join(f"{word} {'B-x' if i % 2 else 'O'}\n" for i, word in enumerate(words)) + "\nhello O\n"
    examples = read(tmp_path, WORDS, "a.conll", content)
    task = made(examples, WORDS, tmp_path, tokenizer, max_length=9)
    features = task.features(examples)
    assert max(row.length for row in features.rows) == 9 and len(features.rows) > 5
    assert [row.example for row in features.rows] == [0] * (len(features.rows) - 1) + [1]
    begins, tags = [], []
    for row in features.rows[:-1]:
        assert row.labels[1] >= 0  # a row begins with a word, not within one
        begins += [token for token, label in zip(tokens(task, row), row.labels, strict=True) if label >= 0]
        tags += [label for label in row.labels if label >= 0]
    assert begins == ["york", "a", "b", "york"] * 5 + ["a", "c"]
    assert [task.config.id2label[tag] for tag in tags] == list(examples.items[0].tags)
    assert features.notes == [
        "sentences longer than 7 word pieces, split between words: 1",
        "words longer than 7 word pieces, cut: 1",
    ]


# -------------------------------------------------------------------------------------------------------- questions

CONTEXT = "the city is in the city. " * 6 + "Émile  Zola lives in Néw Yorkers city" + ", the city" * 9


@pytest.mark.parametrize("tokenizer", CLASSES)
@pytest.mark.parametrize("answer", ["Émile  Zola", "Yorkers", "Zola", "Émile  Zola lives in Néw Yorkers city"])
def test_positions_point_at_the_answer(tmp_path, tokenizer, answer):
    examples = read(tmp_path, QUESTIONS, "a.json", squad(answered(answer, CONTEXT.index(answer)), context=CONTEXT))
    task = made(examples, QUESTIONS, tmp_path, tokenizer, max_length=26, doc_stride=8, max_question_length=5)
    features = task.features(examples)
    rows = features.rows
    assert len(rows) > 4
    assert features.notes == [
        f"1 of 1 questions about long texts take several windows: {len(rows)} rows",
        "1 of 1 questions longer than 5 word pieces were cut",
    ]
    pieces = task.tokenizer.tokenize(answer)
    pointing = [row for row in rows if row.labels != (0, 0)]
    assert pointing
    for row in rows:
        start, end = row.labels
        inside = tokens(task, row)[row.about.first : -1]
        whole = any(inside[i : i + len(pieces)] == pieces for i in range(len(inside)))
        assert (row.labels != (0, 0)) == whole
        assert not whole or tokens(task, row)[start : end + 1] == pieces
    batch = task.batch(rows)
    assert list(zip(batch["start_positions"].tolist(), batch["end_positions"].tolist(), strict=True)) == [
        row.labels for row in rows
    ]


def test_a_row_points_at_an_answer_if_and_only_if_its_window_has_it_whole(tmp_path):
    context = " ".join("abcdefghi" * 3)  # a token each
    spans = [(i, size) for size in (1, 2, 3) for i in range(27 - size + 1)]
    data = squad(*(answered(context[2 * i : 2 * (i + size) - 1], 2 * i) for i, size in spans), context=context)
    examples = read(tmp_path, QUESTIONS, "a.json", data)
    task = made(examples, QUESTIONS, tmp_path, max_length=16, doc_stride=3)
    rows = task.features(examples).rows
    assert len(rows) > 5 * len(spans)
    for row in rows:
        (first, size), window = spans[row.example], row.about.window
        whole = window.start <= first and first + size <= window.end
        offset = row.about.first - window.start
        assert row.labels == ((first + offset, first + size - 1 + offset) if whole else (0, 0))


def test_an_answer_within_a_token_and_one_that_is_long(tmp_path):
    data = squad(answered("ork", 4), answered("Zola, Paris", 12), {"answers": []}, context="in Yorkers, Zola, Paris")
    examples = read(tmp_path, QUESTIONS, "a.json", data)
    task = made(examples, QUESTIONS, tmp_path, max_answer_length=2)
    features = task.features(examples)
    found = [tokens(task, row)[row.labels[0] : row.labels[1] + 1] for row in features.rows]
    assert found == [["york"], ["zola", ",", "paris"], ["[CLS]"]]
    assert features.notes == ["1 of 3 answers longer than 2 word pieces cannot be returned whole (max_answer_length)"]


def test_texts_without_words_are_bad_rows(tmp_path):
    questions = squad({"answers": []}, {"answers": [], "question": "\u200d"}, context="\u200d Zola")
    questions["data"][0]["paragraphs"][0]["qas"].append({"id": "q2", "question": "who", **answered("\u200d", 0)})
    examples = read(tmp_path, QUESTIONS, "a.json", questions, skip_bad_rows=True)
    features = made(examples, QUESTIONS, tmp_path).features(examples)
    assert [row.example for row in features.rows] == [0]
    assert [message.partition("a.json: ")[2] for message in features.skipped] == [
        "question 'q1': question has no words.",
        "question 'q2': answer '\\u200d' has no words.",
    ]
    crowded = made(examples, QUESTIONS, tmp_path, max_length=8)
    narrow = read(tmp_path, QUESTIONS, "b.json", squad({"answers": []}, {"answers": [], "question": "who"}),
                  skip_bad_rows=True)  # fmt: skip
    features = crowded.features(narrow)
    assert "q0': question-answering: a question of 6 word pieces leaves no room" in features.skipped[0]
    assert {row.example for row in features.rows} == {1}


# ----------------------------------------------------------------------------------------------------------- choices


def test_choices_are_pairs_and_cut_like_them(tmp_path):
    rows = [
        {"text": "hello " * 9, "choices": ["a", "b " * 9], "label": 1},
        {"text": "a", "choices": ["b", "c"], "label": 0},
    ]
    examples = read(tmp_path, CHOICES, "a.jsonl", rows)
    task = made(examples, CHOICES, tmp_path, max_length=10)
    features = task.features(examples)
    assert features.notes == ["2 of 4 texts with a choice longer than 10 tokens were cut"]
    for row, item in zip(features.rows, examples.items, strict=True):
        pairs = [task.text.row_of(item.text, choice) for choice in item.choices]
        assert row.input_ids == [pair.input_ids for pair in pairs]
        assert row.token_type_ids == [pair.token_type_ids for pair in pairs]
    batch = task.batch(features.rows)
    assert batch["input_ids"].shape == (2, 2, 10) and batch["labels"].tolist() == [1, 0]


def test_the_length_of_a_row():
    assert FeatureRow([1, 2, 3], [0, 0, 0], 0, 0).length == 3
    assert FeatureRow([[1], [1, 2, 3, 4]], [[0], [0] * 4], 0, 0).length == 4
