"""Files to examples: formats, columns, labels as they stand, and which files a data set has."""

from __future__ import annotations

import tracemalloc

import pytest

from mobilebert_core import DataError
from mobilebert_core.datasets import word_files
from mobilebert_core.datasets.examples import (
    BadRows,
    ChoiceExample,
    QuestionExample,
    ReadOptions,
    TextExample,
    WordsExample,
)
from mobilebert_core.datasets.reading import splits
from mobilebert_core.datasets.sources import Source
from mobilebert_core.tasks.table import TASKS
from mobilebert_core.training.tasks.table import TRAINING_TASKS
from tests.core.data_files import CHOICES, ENDINGS, QUESTIONS, TEXTS, WORDS, answered, read, squad, written

FIRST = TextExample(2, "hello cats", None, "good")
HERE = {"text_column": "1", "label_column": "2", "header": False}


@pytest.mark.parametrize(
    ("name", "content", "options", "items"),
    [
        ("a.csv", "text,label\nhello cats,good\n", {}, [FIRST]),
        ("A.CSV", "\ufefftext,label\r\nhello cats,good\r\n", {}, [FIRST]),
        ("a.csv", "label,x,sentence\ngood,,hello cats", {}, [FIRST]),
        ("a.csv", ' text , label \n"hello cats",good\n\n', {}, [FIRST]),
        ("a.csv", 'text,label\n"a ""b"", c\nd",e\nf,g\n', {},
         [TextExample(2, 'a "b", c\nd', None, "e"), TextExample(4, "f", None, "g")]),
        ("a.tsv", 'text\tlabel\n"a "b", c\td\n\n', {}, [TextExample(2, '"a "b", c', None, "d")]),
        ("a.tsv", "a\u2028b\x0cc\tgood\tx\r\n", HERE, [TextExample(1, "a\u2028b\x0cc", None, "good")]),
        ("a.csv", "a,good\n", HERE, [TextExample(1, "a", None, "good")]),
        ("a.csv", "premise,hypothesis,label\na,b,1\n", {}, [TextExample(2, "a", "b", "1")]),
        ("a.csv", "text1,sentence2,labels\na,b,1\n", {}, [TextExample(2, "a", "b", "1")]),
        ("a.csv", "q,text_pair,label\na,b,1\n", {"text_column": "q"}, [TextExample(2, "a", None, "1")]),
        ("a.csv", "q,r,y\na,b,1\n", {"text_column": "q", "pair_column": "r", "label_column": "y"},
         [TextExample(2, "a", "b", "1")]),
        ("a.csv", "text,label\na, x | y\nb,\nc,z\n", {"label_separator": "|"},
         [TextExample(2, "a", None, ("x", "y")), TextExample(3, "b", None, ()), TextExample(4, "c", None, ("z",))]),
        ("a.csv", "text,label\na,x|y\n", {"problem_type": "multi_label_classification"},
         [TextExample(2, "a", None, ("x|y",))]),
        ("a.jsonl", '{"text": "a", "label": 1}\n\n{"text": "b", "label": 2.0}\n{"text": "c", "label": true}', {},
         [TextExample(1, "a", None, "1"), TextExample(3, "b", None, "2"), TextExample(4, "c", None, "true")]),
        ("a.jsonl", [{"text": "a\u2028b", "labels": ["x", 2]}, {"text": "c", "labels": [], "more": 0}], {},
         [TextExample(1, "a\u2028b", None, ("x", "2")), TextExample(2, "c", None, ())]),
        ("a.jsonl", '{"text": "\\ud800", "label": 0.25}\n', {}, [TextExample(1, "\ud800", None, "0.25")]),
        ("a.csv", "text,label\na,\ufeffx\nb,x\u200b \nc,x\0\n", {},
         [TextExample(2, "a", None, "x"), TextExample(3, "b", None, "x"), TextExample(4, "c", None, "x")]),
        ("a.csv", 'text,label\na,"tensor([1., 0.])"\nb,"array([0, 1], dtype=int64)"\n', {},
         [TextExample(2, "a", None, ("0", "1"), (1.0, 0.0)), TextExample(3, "b", None, ("0", "1"), (0.0, 1.0))]),
        ("a.csv", "text,label\na,tensor(x)\n", {}, [TextExample(2, "a", None, "tensor(x)")]),
    ],
)  # fmt: skip
def test_texts_are_read_from_every_layout(tmp_path, name, content, options, items):
    examples = read(tmp_path, TEXTS, name, content, **options)
    assert examples.items == items and examples.skipped == []


@pytest.mark.parametrize(
    ("name", "content", "options", "items"),
    [
        ("a.conll", "a\tO\nb\tB-x\n\nc\tO\n", {}, [(1, "a b", "O B-x"), (4, "c", "O")]),
        ("a.txt", "\ufeffa O\r\nb  B-x\r\n\r\n\r\n\r\nc O", {}, [(1, "a b", "O B-x"), (6, "c", "O")]),
        ("a.conll", "a\tO\n\t\nb\tO\n \n", {}, [(1, "a", "O"), (3, "b", "O")]),
        ("a.conll", "-DOCSTART- -X- O O\n\nEU NNP I-NP B-x\n-DOCSTART- -X- O O\na b c O\n", {},
         [(3, "EU", "B-x"), (5, "a", "O")]),
        ("a.conll", "# id = 3\na\tO\n#\tO\n#b\tB-y\n# more\nc\tO\n", {}, [(2, "a # #b c", "O O B-y O")]),
        ("a.conll", "a\tO\n#b\tRARE\n# id\n", {}, [(1, "a #b", "O RARE")]),
        ("a.conll", "# 1\n# is it\na O\n# O\n# B-z\n#b O\n", {}, [(3, "a # # #b", "O O B-z O")]),
        ("a.conll", "1\ta\tX\tO\n2\tb\tY\tB-x\n", {"text_column": "2", "label_column": "3"}, [(1, "a b", "X Y")]),
        ("a.conll", "\u00a0\tO\nb\u2028c\tO\n", {}, [(1, "\u00a0 b\u2028c", "O O")]),
        ("a.jsonl", [{"tokens": ["a", "b"], "ner_tags": [0, 3]}], {}, [(1, "a b", "0 3")]),
        ("a.jsonl", [{"id": 1, "words": ["a", "b"], "tags": ["O", "B-x"]}], {}, [(1, "a b", "O B-x")]),
        ("a.jsonl", [{"w": ["a"], "labels": ["O"], "tags": ["X"]}], {"text_column": "w", "label_column": "tags"},
         [(1, "a", "X")]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("held", [1 << 17, 2], ids=["held", "read twice"])
def test_words_are_read_from_every_layout(tmp_path, monkeypatch, name, content, options, items, held):
    monkeypatch.setattr(word_files, "HELD", held)
    examples = read(tmp_path, WORDS, name, content, **options)
    assert examples.items == [
        WordsExample(line, tuple(words.split(" ")), tuple(tags.split())) for line, words, tags in items
    ]


def test_lines_of_words_are_read_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(word_files, "HELD", 64)
    path = tmp_path / "a.conll"
    path.write_text("bee\tB-x\nsun\tO\n\n" * 10_000)
    tracemalloc.start()
    try:
        count = sum(1 for _ in word_files.read_words(Source.of(path), ReadOptions(), BadRows(path, False)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 10_000 and peak < 1 << 20


@pytest.mark.parametrize(
    ("name", "content", "options", "item"),
    [
        ("a.jsonl", [{"question": "a", "choices": ["b", "c"], "label": 1}], {}, (1, "a", "b c", 1)),
        ("a.jsonl", [{"text": "a", "choice0": "b", "choice1": "c", "label": "0"}], {}, (1, "a", "b c", 0)),
        ("a.jsonl", [{"text": "a", "ending0": "b", "ending1": "c", "ending2": "d", "label": 2}], {},
         (1, "a", "b c d", 2)),
        ("a.csv", ",sent1,sent2,gold-source,ending0,ending1,label\n0,a,He,gold,b,c,1\n", {},
         (2, "a", "He_b He_c", 1)),
        ("a.csv", "sent1,sent2,ending0,ending1,label\na,,b,c,1\n", {}, (2, "a", "b c", 1)),
        ("a.csv", "q,choice0,choice1,y\na,b,c,B\n",
         {"text_column": "q", "label_column": "y", "label_names": ("A", "B", "C")}, (2, "a", "b c", 1)),
        ("a.tsv", "a\t1\n", {**HERE}, None),
    ],
)  # fmt: skip
def test_choices_are_read_from_every_layout(tmp_path, name, content, options, item):
    if item is None:  # without a header no column can be a choice
        with pytest.raises(DataError, match="no columns with choices"):
            read(tmp_path, CHOICES, name, content, **options)
        return
    line, text, choices, label = item
    expected = ChoiceExample(line, text, tuple(choice.replace("_", " ") for choice in choices.split()), label)
    assert read(tmp_path, CHOICES, name, content, **options).items == [expected]


def test_questions_are_read_with_all_their_answers(tmp_path):
    context = "Émile Zola lives in the city of Paris."
    data = squad(
        answered("Zola", 6),
        {"answers": [], "is_impossible": True, "plausible_answers": [{"text": "Paris", "answer_start": 32}]},
        {"answers": [{"text": "Paris", "answer_start": 32}, {"text": "the city", "answer_start": 20}]},
        {"answers": []},
    )
    found = read(tmp_path, QUESTIONS, "a.json", data).items
    answers = (((6, "Zola"),), (), ((32, "Paris"), (20, "the city")), ())
    assert found == [QuestionExample(f"q{i}", "who is in the city?", context, each) for i, each in enumerate(answers)]


ROWS_WITH_OTHER_KEYS = (
    (TEXTS, [{"text": "a", "label": 0}, {"premise": "b", "hypothesis": "c", "labels": 1}],
     [("a", None), ("b", "c")]),
    (WORDS, [{"tokens": ["a"], "ner_tags": ["O"]}, {"words": ["b"], "tags": ["O"]}], [("a",), ("b",)]),
    (CHOICES, [{"question": "a", "choices": ["b", "c"], "label": 0},
               {"sent1": "d", "sent2": "e", "ending0": "f", "ending1": "g", "label": 1}],
     [("a", ("b", "c")), ("d", ("e f", "e g"))]),
)  # fmt: skip


@pytest.mark.parametrize(("task", "rows", "fields"), ROWS_WITH_OTHER_KEYS)
def test_each_line_of_json_has_its_own_keys_in_training_and_in_prediction(tmp_path, task, rows, fields):
    """The first line decided for all in training."""
    examples = read(tmp_path, task, "a.jsonl", rows).items
    names = {TEXTS: ("text", "pair"), WORDS: ("words",), CHOICES: ("text", "choices")}[task]
    found = [tuple(getattr(each, name) for name in names) for each in examples]
    assert found == (fields if task != WORDS else [(words,) for words in fields])
    source = Source(written(tmp_path, "a.jsonl", rows), ".jsonl")
    bad = BadRows(source.path, skip=False)
    inputs = [each.values for each in TASKS[task].files.rows(source, ReadOptions(), (), bad)]
    names = tuple({"words": "text", "pair": "text_pair"}.get(name, name) for name in names)
    shown = [tuple(tuple(v) if isinstance(v, list) else v for v in map(row.get, names)) for row in inputs]
    assert shown == found
    named = ReadOptions(pair_column="hypothesis")
    if task == TEXTS:  # a column that is named must be in each line
        with pytest.raises(DataError, match=r"a.jsonl:1: wanted the key 'hypothesis', got 'text', 'label'"):
            list(TASKS[task].files.rows(source, named, (), bad))


def test_the_files_of_a_data_set(tmp_path):
    file = written(tmp_path, "anything.csv", "text,label\n")
    assert splits(file, ENDINGS) == {"train": file}
    for name in ("train.tsv", "valid.jsonl", "test.CSV", "labels.txt", "train.tsv.bak", "train.log", "devel.tsv"):
        written(tmp_path, name, "")
    assert splits(tmp_path, ENDINGS) == {
        "train": tmp_path / "train.tsv",
        "dev": tmp_path / "valid.jsonl",
        "test": tmp_path / "test.CSV",
    }
    written(tmp_path, "dev.tsv", "")
    with pytest.raises(DataError, match=r"dev.tsv and valid.jsonl are both dev data. Keep one there."):
        splits(tmp_path, ENDINGS)
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="other: wanted a file train with one of .*; the directory holds nothing"):
        splits(tmp_path / "other", ENDINGS)
    written(tmp_path / "other", "training.csv", "")
    with pytest.raises(DataError, match=r"holds training.csv. Rename the file, or give its path"):
        splits(tmp_path / "other", ENDINGS)
    with pytest.raises(DataError, match=r"gone: wanted a data file or a directory, there is none; beside it: any.*"):
        splits(tmp_path / "gone", ENDINGS)
    with pytest.raises(DataError, match="no such directory"):
        splits(tmp_path / "gone" / "gone", ENDINGS)
    (tmp_path / "other" / ".cache").mkdir()
    with pytest.raises(DataError, match="beside it: training.csv\\.$"):  # hidden names say nothing
        splits(tmp_path / "other" / "gone", ENDINGS)


def test_a_directory_is_no_file_of_examples(tmp_path):
    written(tmp_path, "train.csv", "text,label\na,b\n")
    task = TRAINING_TASKS[TEXTS]
    with pytest.raises(DataError, match=r"wanted a file ending in .csv, .* a directory, which holds train.csv. Give"):
        task.read(tmp_path, ReadOptions())
    with pytest.raises(DataError, match=r"gone: wanted a file ending in .csv, .*, there is none; beside it: train.csv"):
        task.read(tmp_path / "gone", ReadOptions())


def test_the_tasks_of_the_package_are_in_the_table():
    assert {TEXTS, WORDS, QUESTIONS, CHOICES, "fill-mask", "pretraining"} <= set(TRAINING_TASKS)


@pytest.mark.parametrize("name", TRAINING_TASKS)
def test_every_task_is_whole(name):
    from mobilebert_core.heads import HEADS

    task = TRAINING_TASKS[name]
    assert task.name == name and task.head in HEADS and task.about and task.reader.endings
    assert {each.name for each in task.option_fields()} == set(task.options)
    assert all(each.metadata["help"] for each in task.option_fields())
    assert isinstance(task.best_metric, str)


def test_examples_remember_where_they_are_from(tmp_path):
    path = written(tmp_path, "a.csv", "text,label\na,b\n")
    options = ReadOptions(skip_bad_rows=True)
    examples = TRAINING_TASKS[TEXTS].read(path, options)
    assert examples.path == path and examples.options == options


@pytest.mark.parametrize(
    ("rows", "bad"),
    [
        ([[0, 1], [1, 0], [0.5, 1]], []),  # the last says that they are vectors
        (["-100", "1", "0.5"], []),  # and that -100 is a number
        (["-100", "1", "2"], [1]),
        (["x", None, ["y", "z"], "", "x"], [2, 4]),
        ([[0, 1], [1], [1, 2]], []),
    ],
)
def test_a_file_of_any_length_is_read_alike(tmp_path, monkeypatch, rows, bad):
    content = [{"text": "a", "label": label} for label in rows]
    whole = read(tmp_path, "text-classification", "a.jsonl", content, skip_bad_rows=True)
    monkeypatch.setattr("mobilebert_core.datasets.labelled_tables.HELD", 1)
    again = read(tmp_path, "text-classification", "a.jsonl", content, skip_bad_rows=True)
    assert again.items == whole.items and sorted(again.skipped) == sorted(whole.skipped)
    assert sorted(int(message.split(":")[1]) for message in whole.skipped) == bad
    assert [item.line for item in whole.items] == [n for n, _ in enumerate(rows, 1) if n not in bad]
