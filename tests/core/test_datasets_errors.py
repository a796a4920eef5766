"""Bad data: every error says where, what was wanted, what it got and what to do; or the row is skipped and counted."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_core import DataError, MobileBertError
from mobilebert_core.training.tasks.table import TRAINING_TASKS
from tests.core.data_files import CHOICES, QUESTIONS, TEXTS, WORDS, answered, made, read, squad, written

GOOD = {"text": "a", "label": "x"}
WORD_ROW = {"tokens": ["a", "b"], "tags": ["O", "B-x"]}
CHOICE_ROW = {"text": "a", "choices": ["b", "c"], "label": 1}
ZOLA = answered("Zola", 6)

# task, file, content with one bad row among good ones, options, the message, good rows
BAD_ROWS = [
    (TEXTS, "a.csv", "text,label\na,x\nb\nc,y\n", {}, r"a.csv:3: wanted 2 columns, got 1: \['b'\].", 2),
    (TEXTS, "a.csv", "text,label\na,x\nb,c,y\n", {}, r"a.csv:3: wanted 2 columns, got 3.* Put a text with a comma", 1),
    (TEXTS, "a.tsv", "text\tlabel\na\tx\nb\ty\tz\n", {}, r"a.tsv:3: wanted 2 columns, got 3", 1),
    (TEXTS, "a.csv", 'text,label\n"a"b,x\nc,y\n', {}, r"a.csv:2: wanted comma-separated values, .*breaks off", 1),
    (TEXTS, "a.csv", b"text,label\nd,z\n\xe9,x\nc,y\n", {}, "a.csv:3: .* other bytes. Save the file as UTF-8, or", 2),
    (TEXTS, "a.tsv", b"text\tlabel\nd\tz\n\xff\tx\nc\ty\n", {}, r"a.tsv:3: wanted UTF-8 text, got other bytes.", 2),
    (TEXTS, "a.jsonl", b'{"text": "a", "label": 1}\n{"text": "\xff", "label": 1}', {}, r"a.jsonl:2: wanted UTF-8", 1),
    (TEXTS, "a.csv", "text,label\n  ,x\nc,y\n", {}, r"a.csv:2: text is empty.", 1),
    (TEXTS, "a.csv", "text,label\na,x\ntext,label\nc,y\n", {}, r"a.csv:3: .*got the header again.", 2),
    (TEXTS, "a.tsv", "text\tlabel\na\tx\ntext\tlabel\n", {}, r"a.tsv:3: .*got the header again.", 1),
    (TEXTS, "a.csv", "sentence1,sentence2,label\na,,x\nc,d,y\n", {}, r"a.csv:2: the second text is empty.", 1),
    (TEXTS, "a.csv", "text,label\na,\nc,y\n", {}, r"a.csv:2: label is empty.", 1),
    (TEXTS, "a.csv", 'text,label\na,"x,,y"\nc,y\n', {"label_separator": ","}, r"a.csv:2: label is empty.", 1),
    (TEXTS, "a.jsonl", '{"text": "a", "label": 1}\n{"text": "b"\n', {},
     r"a.jsonl:2: wanted a JSON object.*not JSON", 1),
    (TEXTS, "a.jsonl", [GOOD, [1]], {}, r"a.jsonl:2: wanted a JSON object on the line, got list \[1\].", 1),
    (TEXTS, "a.jsonl", '{"text": "a", "label": 1}\n' + "[" * 200_000, {}, r"a.jsonl:2: .*nested too deeply", 1),
    (TEXTS, "a.jsonl", [GOOD, {"text": "b", "lable": "x"}], {},
     r"a.jsonl:2: wanted the key 'label' or 'labels', got 'text', 'lable'", 1),
    (TEXTS, "a.jsonl", [GOOD, {"text": 3, "label": "x"}], {}, r"a.jsonl:2: text must be text, got int 3.", 1),
    (TEXTS, "a.jsonl", [GOOD, {"text": "b", "label": None}], {}, r"label must be a name or a number, got NoneType", 1),
    (TEXTS, "a.csv", "text,label\na,0.5\nb,NaN\n", {}, r"a.csv:3: label is missing, got 'NaN'.", 1),
    (TEXTS, "a.csv", "text,label\na,x\nb,None\n", {}, r"a.csv:3: label is missing, got 'None'.", 1),
    (TEXTS, "a.csv", "text,label\na,1\nb,-100\n", {}, r"a.csv:3: label is missing, got '-100'.", 1),
    (TEXTS, "a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": NaN}', {}, r"2: label is missing", 1),
    (TEXTS, "a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": -Infinity}', {},
     r"a.jsonl:2: label must be a name or a finite number, got -Infinity", 1),
    (TEXTS, "a.csv", "text,label\na,\"['x']\"\nb,\"[x, y]\"\n", {}, r"a.csv:3: wanted a list as JSON or Python", 1),
    (TEXTS, "a.csv", "text,x,y\na,1,0\nb,1,2\n", {"label_columns": ("x", "y")}, r"3: y must be a number from 0", 1),
    (TEXTS, "a.csv", "text,x,y\na,1,0\nb,,0\n", {"label_columns": ("x", "y")}, r"3: x is missing: it must be a nu", 1),
    (TEXTS, "a.jsonl", [{"text": "a", "labels": [1.0, 0.0, 1.0]}, {"text": "b", "labels": [0, None, 1]}], {},
     r"a.jsonl:2: wanted numbers from 0 to 1, one for each label, got \[0, None, 1\]", 1),
    (TEXTS, "a.jsonl", [{"text": "a", "labels": [0.5, 2.0]}, {"text": "b", "labels": [0, 1]}], {},
     r"a.jsonl:1: wanted names or whole numbers of labels, or a number from 0 to 1 for each, got \[0.5, 2.0\]", 1),
    (TEXTS, "a.jsonl", [{"text": "a", "labels": [1, 0, 1]}, {"text": "b", "labels": [0, 1]}], {},
     r"a.jsonl:1: wanted different labels, or a vector as long as in the other rows, got \[1, 0, 1\]", 1),
    (TEXTS, "a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": 1, "label": 2}', {},
     r"a.jsonl:2: wanted different keys in a JSON object, got 'label' twice", 1),
    (TEXTS, "a.jsonl", [GOOD, {"text": "b", "label": [{}]}], {}, r"label must be a name or a number, got dict {}", 1),
    (WORDS, "a.conll", "a\tO\nb\n\nc\tO\n", {},
     r"a.conll:2: wanted 2 columns as in the other lines, got 1: \['b'\]", 1),
    (WORDS, "a.conll", "a\tO\n\tO\n\nc\tO\n", {}, r"a.conll:2: wanted a word and its tag, one is empty", 1),
    (WORDS, "a.conll", "a\tO\nb\t \n\nc\tO\n", {}, r"a.conll:2: wanted a word and its tag, one is empty", 1),
    (WORDS, "a.conll", "a\tO\nb\tNaN\n\nc\tO\n", {}, "a.conll:2: tag is missing, got 'NaN'", 1),
    (WORDS, "a.conll", "a\t0\nb\t-100\n\nc\t0\n", {}, "a.conll:2: tag is missing, got '-100'", 1),
    (WORDS, "a.conll", b"a\tO\n\xff\tO\n\nc\tO\n", {}, r"a.conll:2: wanted UTF-8 text", 1),
    (WORDS, "a.jsonl", [WORD_ROW, {"tokens": ["a"], "tags": ["O", "O"]}], {},
     r"2: wanted a tag for each word, got 1 w", 1),
    (WORDS, "a.jsonl", [WORD_ROW, {"tokens": "a", "tags": ["O"]}], {}, r"2: tokens must be a list, got str 'a'", 1),
    (WORDS, "a.jsonl", [WORD_ROW, {"tokens": [], "tags": []}], {}, r"2: tokens is empty", 1),
    (WORDS, "a.jsonl", [WORD_ROW, {"tokens": [""], "tags": ["O"]}], {},
     r"2: tokens must be words that are not empty", 1),
    (WORDS, "a.jsonl", [WORD_ROW, {"tokens": ["a"], "tags": [None]}], {}, r"2: tag must be a name or a number", 1),
    (CHOICES, "a.jsonl", [CHOICE_ROW, {**CHOICE_ROW, "label": 2}], {},
     r"2: label must be the number of the right choice, 0 to 1, got '2'", 1),
    (CHOICES, "a.jsonl", [CHOICE_ROW, {**CHOICE_ROW, "label": -1}], {}, r"0 to 1, got '-1'", 1),
    (CHOICES, "a.jsonl", [CHOICE_ROW, {**CHOICE_ROW, "label": "9" * 5000}], {}, r"0 to 1, got '999", 1),
    (CHOICES, "a.jsonl", [CHOICE_ROW, {**CHOICE_ROW, "choices": "b"}], {},
     r"choices must be a list of texts, got str", 1),
    (CHOICES, "a.jsonl", [CHOICE_ROW, {**CHOICE_ROW, "choices": ["b", " "]}], {}, r"2: choice 1 is empty", 1),
    (CHOICES, "a.jsonl", [CHOICE_ROW, {**CHOICE_ROW, "choices": ["b", "c", "d"]}], {},
     r"2: wanted 2 choices as in the rows before, got 3", 1),
    (CHOICES, "a.jsonl", [{**CHOICE_ROW, "choices": ["b"]}, CHOICE_ROW], {},
     r"1: wanted at least 2 choices, got 1", 1),
    (QUESTIONS, "a.json", squad(ZOLA, answered("Zola", 7)), {},
     r"a.json: question 'q1': answer 'Zola' is said to start at character 7, but there stands 'ola '", 1),
    (QUESTIONS, "a.json", squad(ZOLA, answered("Zola", 700)), {}, r"starts at 700, wanted a character .*0 to 37", 1),
    (QUESTIONS, "a.json", squad(ZOLA, answered("city", -14)), {}, r"starts at -14, wanted a character", 1),
    (QUESTIONS, "a.json", squad(ZOLA, answered("Zola", None)), {}, r"starts at None", 1),
    (QUESTIONS, "a.json", squad(ZOLA, answered(" ", 5)), {}, r"text must be text that is not empty, got ' '", 1),
    (QUESTIONS, "a.json", squad(ZOLA, ZOLA | {"question": ""}), {}, r"question must be text that is not empty", 1),
    (QUESTIONS, "a.json", squad(ZOLA, {}), {}, r"'q1': answers must be a list with the answers in it, got None", 1),
    (QUESTIONS, "a.json", squad(ZOLA, {"answers": [], "is_impossible": False}), {}, r"answers must be a list", 1),
    (QUESTIONS, "a.json", {"data": [*squad(ZOLA)["data"], 3]}, {}, r"a.json: data\[1\].paragraphs: wanted a list", 1),
    (QUESTIONS, "a.json", {"data": [*squad(ZOLA)["data"], {"paragraphs": [{"qas": []}]}]}, {},
     r"data\[1\].paragraphs\[0\]: context must be text", 1),
    (QUESTIONS, "a.json", {"data": [*squad(ZOLA)["data"], {"paragraphs": [{"context": "a"}]}]}, {},
     r"data\[1\].paragraphs\[0\]: qas must be a list", 1),
    (QUESTIONS, "a.json", {"data": [*squad(ZOLA)["data"], {"paragraphs": [{"context": "a", "qas": [4]}]}]}, {},
     r"question 'data\[1\].paragraphs\[0\].qas\[0\]': question must be text", 1),
]  # fmt: skip


@pytest.mark.parametrize(("task", "name", "content", "options", "message", "good"), BAD_ROWS)
def test_a_bad_row(tmp_path, task, name, content, options, message, good):
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, task, name, content, **options)
    assert str(caught.value).endswith(", or leave such rows out with skip_bad_rows=True.")
    assert isinstance(caught.value, MobileBertError) and isinstance(caught.value, ValueError)
    examples = read(tmp_path, task, name, content, **options, skip_bad_rows=True)
    assert len(examples.items) == good and len(examples.skipped) == 1
    assert str(caught.value).startswith(f"{tmp_path / examples.skipped[0]}")


# What no skipping helps.
BAD_FILES = [
    (TEXTS, "a.csv", "", {}, "a.csv: wanted rows of data, the file is empty"),
    (TEXTS, "a.csv", "\ufeff\n \n", {}, "a.csv: wanted rows of data, the file is empty"),
    (TEXTS, "a.csv", "text,label\n", {}, "a.csv: wanted rows of data, got none."),
    (TEXTS, "a.csv", "text,label\n,x\n", {"skip_bad_rows": True},
     "a.csv: wanted rows of data, got 1 that are no use. The first: .*a.csv:2: text is empty"),
    (TEXTS, "a.jsonl", "{\n", {"skip_bad_rows": True}, "got none that can be read. The first: .*a.jsonl:1: wanted a"),
    (TEXTS, "a.csv", "text,label\na,x\n".encode("utf-16"), {}, "a.csv: wanted UTF-8 text, got UTF-16. Save it"),
    (TEXTS, "a.csv", 'text,label\na,x\n"b,y\nc,z\n', {"skip_bad_rows": True},
     "a.csv:3: a quotation mark opens a cell that never ends. Of lines 3 to 4 nothing is read. Close it"),
    (TEXTS, "a.csv", 'text,label\na,x\n"b,y\nc,"z"\nd,x\n', {"skip_bad_rows": True},
     "a.csv:3: a quotation mark opens a cell that ends within another, in line 4. Of lines 3 to 5 nothing is read"),
    (TEXTS, "a.csv", "text,label\na,x\n".encode("utf-16-le"), {}, "a.csv: wanted UTF-8 text, got UTF-16. Save it"),
    (TEXTS, "a.csv", "text,label\na,x\n".encode("utf-16-be"), {}, "a.csv: wanted UTF-8 text, got UTF-16. Save it"),
    (TEXTS, "a.csv", b"text,label,\xe9\na,text,label\nb,y,1\n", {"skip_bad_rows": True},
     "a.csv:1: wanted UTF-8 text, got other bytes. It is the header: mend it"),
    (TEXTS, "a.tsv", b"\xff\n" * 9, {"skip_bad_rows": True}, "a.tsv:1: wanted UTF-8 text, got other bytes. It is the"),
    (TEXTS, "a.csv", "text,label\na,x\n", {"text_column": "label"}, "text_column and label_column are one column; the"),
    (TEXTS, "a.csv", "text,label\na,x\n", {"pair_column": "text"}, "text_column and pair_column are one column"),
    (CHOICES, "a.jsonl", [CHOICE_ROW], {"text_column": "label"}, "text_column and label_column are one column"),
    (QUESTIONS, "a.json", '{"data": [{"paragraphs": [{"context": "a", "qas": [\n{"id": 1, "id": 2}]}]}]}', {},
     "wanted different keys in a JSON object, got 'id' twice"),
    (TEXTS, "a.csv", "text,x\na,1\n", {"label_columns": ("x", "y")}, r"no column 'y' \(label_columns\)"),
    (TEXTS, "a.csv", "text,x\na,1\n", {"label_columns": ("x", "x")}, "label_columns must name different columns"),
    (TEXTS, "a.csv", "text,x\na,1\n", {"label_columns": ("x",), "label_column": "x"}, "label_column was passed too"),
    (TEXTS, "a.jsonl", [{"text": "a", "labels": [1.0, 0.0]}], {"label_names": ("x", "y", "z")},
     "wanted as many label_names as the labels of a row have numbers, 2, got 3"),
    (TEXTS, "a.csv.gz", b"text,label", {}, r"a.csv.gz: wanted a file packed by gzip, it is damaged"),
    (TEXTS, "a.csv.gz", gzip.compress(b"text,label\na,x\n", mtime=0)[:-9], {}, r"a.csv.gz: wanted a file packed"),
    (TEXTS, "a.parquet", b"PAR1 and more", {}, "a.parquet: wanted a Parquet file, it cannot be read as one"),
    (TEXTS, "a.arrow", b"ARROW1 and more", {}, "a.arrow: wanted an Arrow file, it cannot be read as one"),
    (WORDS, "a.conll", "1\t2\n3\t4\n", {}, "column 1 holds numbers alone, such as '1'. Name the column of the words"),
    (WORDS, "a.conll", "a\t1\nb\t2\n", {}, "column 2 counts the words. Name the column of the tags by tag_column"),
    (WORDS, "a.conllu", "1\ta\tDET\t_\n2\tb\tNOUN\tSpaceAfter=No\n\n1\tc\tNOUN\t_\n", {},
     "column 4, the last, holds no tags but notes, such as '_'. Name the column of the tags by tag_column"),
    (WORDS, "a.conll", "a\tO\n", {"word_column": "2"}, "words and tags are both column 2"),
    (WORDS, "a.conll", "a\tO\n", {"word_column": "1", "text_column": "1"}, "word_column and text_column name the same"),
    (TEXTS, "a.xlsx", "text,label\na,x\n", {}, "a.xlsx: text-classification reads .csv, .tsv, .jsonl, .*got .xlsx"),
    (TEXTS, "a", "text,label\na,x\n", {}, "got no ending"),
    (QUESTIONS, "a.csv", "text,label\na,x\n", {}, "question-answering reads .json, .*got .csv"),
    (TEXTS, "a.csv", "texts,label\na,x\n", {"text_column": "text"},
     r"a.csv: no column 'text' \(text_column\); the header is 'texts', 'label'. Did you mean 'texts'\?"),
    (TEXTS, "a.csv", "words,label\na,x\n", {},
     r"no column text or sentence or .*; the header is 'words', 'label'. Name it by text_column, or pass header=False"),
    (TEXTS, "a.csv", "text;label\na;x\n", {}, r"is 'text;label'. Columns of a .csv file stand between commas, those"),
    (TEXTS, "a.csv", "text;label\na;x\n", {"text_column": "text"}, "is 'text;label'. Columns of a .csv file stand"),
    (TEXTS, "a.jsonl", [{"words": "a"}], {}, "a.jsonl:1: wanted the key 'text' or .*, got 'words'"),
    (TEXTS, "a.csv", "text,sentence,label\na,b,x\n", {}, "text and sentence could each be text_column; the header"),
    (TEXTS, "a.csv", "text,sentence2,text2,label\na,b,c,x\n", {}, "sentence2 and text2 could each be pair_column"),
    (TEXTS, "a.csv", "text,label,labels\na,b,c\n", {}, "label and labels could each be label_column"),
    (TEXTS, "a.csv", "text,text,label\na,b,x\n", {}, "text_column 'text' stands twice in the header"),
    (TEXTS, "a.csv", "a,x\n", {"header": False},
     "without a header, text_column must be the number of a column; .*1 to 2"),
    (TEXTS, "a.csv", "a,x\n", {"header": False, "text_column": "3"},
     r"no column '3' \(text_column\); there are columns 1"),
    (TEXTS, "a.csv", "text,label\na,x\n", {"label_separator": ""},
     "label_separator must be the text between two labels"),
    (TEXTS, "a.csv", "text,label\na,x\n", {"problem_type": "multi"}, "problem_type must be one of regression, single_"),
    (TEXTS, "a.csv", "text,label\na,x\n", {"problem_type": "regression", "label_separator": ","},
     "label_separator means several labels a row, problem_type is 'regression'"),
    (WORDS, "a.conll", "# nothing\n", {}, "wanted a word and its tag on each line, got no such line"),
    (WORDS, "a.tsv", "s1\t1\ta\tO\ns1\t2\tb\tB-x\n\ns2\t1\tc\tO\ns2\t2\td\tO\n", {},
     "column 1 holds one thing all through a sentence, such as 's1'.*word_column"),
    (WORDS, "a.tsv", "O\ta\nB-x\tb\n\nO\tc\n", {}, "column 1 holds tags and column 2 does not.*tag_column"),
    (WORDS, "a.conll", "a\nb\n", {}, r"in columns with a tab or spaces between, got one column: \['a'\]"),
    (WORDS, "a.conll", "a\tO\n", {"label_column": "3"},
     "label_column must be the number of a column, 1 to 2, got '3'"),
    (WORDS, "a.conll", "a\tO\n", {"text_column": "9" * 5000}, "text_column must be the number of a column, 1 to 2"),
    (WORDS, "a.conll", "a\tO\n", {"text_column": "word"}, "text_column must be the number of a column, 1 to 2"),
    (WORDS, "a.conll", "a\tO\n", {"pair_column": "2"}, "token-classification: the option pair_column does not apply"),
    (QUESTIONS, "a.json", squad(ZOLA), {"label_names": ("a",)}, "the option label_names does not apply"),
    (QUESTIONS, "a.json", '{"data": [\n', {}, "a.json:2: wanted JSON, got text that breaks off"),
    (QUESTIONS, "a.json", b'{"data":\n "\xff"}', {}, "a.json:2: wanted UTF-8 text"),
    (QUESTIONS, "a.json", "[" * 200_000, {}, "a.json:1: wanted SQuAD's JSON, got a value that is nested too deeply"),
    (QUESTIONS, "a.json", {"paragraphs": []}, {}, 'wanted SQuAD\'s JSON, {"data": .*, got the keys \'paragraphs\''),
    (QUESTIONS, "a.json", "[1]", {}, "wanted SQuAD's JSON.*, got list"),
    (QUESTIONS, "a.json", {"data": []}, {}, "wanted rows of data, got none."),
    (QUESTIONS, "a.json", {"data": 3}, {}, "wanted SQuAD's JSON, .*, got the keys 'data'"),
    (QUESTIONS, "a.json", '{"data": [],\n "data": []}', {}, "a.json:2: wanted different keys .*'data' twice"),
    (QUESTIONS, "a.json", '{"data": []}\n]', {}, r"a.json:2: .*\(Extra data: line 2 column 1 \(char 13\)\)"),
    (QUESTIONS, "a.json", '{"data": [{"paragraphs": [{}\n{}]}]}', {"skip_bad_rows": True},
     r"a.json:2: wanted JSON, .*\(Expecting ',' delimiter: line 2 column 1"),
    (QUESTIONS, "a.json", '{"data": [], 3: 4}', {}, "a.json:1: .*Expecting property name"),
    (QUESTIONS, "a.json", '{"version" 1}', {}, "a.json:1: .*Expecting ':' delimiter: line 1 column 12"),
    (QUESTIONS, "a.json", '{"version": ' + "1" * 5000 + "}", {}, "a.json:1: .*Exceeds the limit"),
    (CHOICES, "a.csv", "text,a,b,label\na,b,c,1\n", {},
     "no columns with choices; wanted choice0, .* There are 'text', 'a'"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "name", "content", "options", "message"), BAD_FILES)
def test_a_bad_file(tmp_path, task, name, content, options, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, task, name, content, **options)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(
        DataError, match=r"gone.csv: wanted a file ending in .csv, .*, there is none; beside it: nothing"
    ):
        TRAINING_TASKS[TEXTS].read(tmp_path / "gone.csv")


TRAIN = "text,label\nhello cats,x\nhello dogs,y\n"

# content of dev.csv with one bad row and one good, its options, the message
UNSUITED = [
    (TEXTS, "d.csv", TRAIN, "text,label\na,x\nb,z\n", {},
     "d.csv:3: label 'z' is not among those of the training data .*'x', 'y'"),
    (TEXTS, "d.csv", TRAIN, "text,label\na,x\nb,X\n", {}, r"label 'X' is not .*"),
    (TEXTS, "d.csv", TRAIN, "text,label\na,0\nb,2\n", {"label_names": ("x", "y")},
     "d.csv:3: label 2 is out of range: .* 0 to 1"),
    (TEXTS, "d.csv", TRAIN, "text,label\na,0\nb,0.5\n", {"label_names": ("x", "y")}, "label '0.5' is not among"),
    (TEXTS, "d.jsonl", TRAIN, [GOOD, {"text": "b", "label": ["x"]}], {}, r"wanted one label, .* got \('x',\)"),
    (TEXTS, "d.csv", "text,label\na,0.5\nb,1\n", "text,label\na,2\nb,c\n", {},
     "d.csv:3: label must be a finite number, got 'c'"),
    (TEXTS, "d.csv", "text,label\na,0.5\nb,1\n", "text,label\na,2\nb,inf\n", {},
     "label must be a finite number, got 'inf'"),
    (TEXTS, "d.csv", "text,label\na,0.5\nb,1\n", "text,label\na,2\nb,-1e300\n", {},
     "label must be a number that float32 holds, got '-1e300'"),
    (WORDS, "d.conll", "a\tO\nb\tB-x\n", "a\tO\n\na\tO\nb\tI-x\n", {},
     r"d.conll:3: label 'I-x' is not among .*Did you mean 'B-x'\?"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "name", "train", "dev", "options", "message"), UNSUITED)
def test_an_example_that_does_not_suit_the_model(tmp_path, task, name, train, dev, options, message):
    trained = made(read(tmp_path, task, "t.conll" if task == WORDS else "t.csv", train), task, tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        trained.features(read(tmp_path, task, name, dev, **options))
    assert "skip_bad_rows=True" in str(caught.value)
    examples = read(tmp_path, task, name, dev, **options, skip_bad_rows=True)
    features = trained.features(examples)
    assert [row.example for row in features.rows] == [0] and len(features.skipped) == 1
    shape = (len(features.rows[0].input_ids),) if task == WORDS else ()
    scores = trained.scores(examples, features, [{"logits": [[0.0] * trained.config.num_labels] * shape[0]
                                                  if shape else [0.0] * trained.config.num_labels}])  # fmt: skip
    assert scores["skipped"] == 1


def test_no_example_that_suits_the_model(tmp_path):
    trained = made(read(tmp_path, TEXTS, "t.csv", TRAIN), TEXTS, tmp_path)
    examples = read(tmp_path, TEXTS, "d.csv", "text,label\na,p\nb,q\n", skip_bad_rows=True)
    with pytest.raises(DataError, match="d.csv: none of 2 examples is of use. The first: .*d.csv:2: label 'p'"):
        trained.features(examples)


@pytest.mark.parametrize(
    ("task", "name", "train", "options", "message"),
    [
        (
            TEXTS,
            "t.csv",
            "text,label\na,x\nb,x\n",
            {},
            "t.csv: wanted at least 2 different labels to learn from, got 'x'",
        ),
        (TEXTS, "t.csv", TRAIN, {"label_names": ("x", "y", "x")}, "label_names: 'x' stands twice"),
        (TEXTS, "t.csv", TRAIN, {"label_names": ("x", "y"), "problem_type": "regression"}, "regression learns numbers"),
        (
            TEXTS,
            "t.csv",
            "text,label\na,0.5\nb,N/A\n",
            {},
            "t.csv: labels '0.5' and 'N/A' are a number and a name: pass",
        ),
        (TEXTS, "t.jsonl", [{"text": "a", "label": ["x"]}], {"problem_type": "regression"}, "wants one label a row"),
        (
            TEXTS,
            "t.csv",
            "text,label\na,2|7\nb,7\nc,2\n",
            {},
            "label '2|7' is several others with '|' between them. Pass label_separator '|'; where .*single_label",
        ),
        (TEXTS, "t.tsv", "text\tlabel\na\tjoy, love\nb\tlove\nc\tjoy\n", {}, "several others with ',' between them"),
        (TEXTS, "t.csv", 'text,label\na,"1,5"\nb,2\n', {}, "label '1,5' is a number with a comma, .* Write 1.5 for"),
        (WORDS, "t.conll", "a\tO\n", {}, "wanted at least 2 different labels to learn from, got 'O'"),
    ],
)
def test_labels_that_nothing_can_be_learned_from(tmp_path, task, name, train, options, message):
    with pytest.raises(DataError, match=message):
        made(read(tmp_path, task, name, train, **options), task, tmp_path)


def test_label_names_of_another_model(tmp_path):
    trained = made(read(tmp_path, TEXTS, "t.csv", TRAIN), TEXTS, tmp_path)
    with pytest.raises(DataError, match="label_names: 'z' is no label of the configuration, which has 'x', 'y'"):
        trained.features(read(tmp_path, TEXTS, "t.csv", TRAIN, label_names=("x", "y", "z")))


def test_an_advice_names_a_bad_path_once(tmp_path):
    path = written(tmp_path, "a.csv", "text,label\na\n")
    with pytest.raises(DataError) as caught:
        TRAINING_TASKS[TEXTS].read(path)
    assert str(caught.value).count(str(path)) == 1


WHOLE = [
    (TEXTS, "a.csv", 'text,label\n"a ""b"", c\nd",x\nhello cats,y\n', {}),
    (TEXTS, "a.tsv", "text\tlabel\nÉmile\t0.5\nhello cats\t2\n", {}),
    (TEXTS, "a.jsonl", '{"text": "a", "label": ["x", 2]}\n{"text": "\u00e9", "label": []}\n', {}),
    (TEXTS, "a.csv", "1,x|y,\n2,y,\n",
     {"header": False, "text_column": "1", "label_column": "2", "label_separator": "|"}),
    (WORDS, "a.conll", "-DOCSTART- -X- O\n\na b O\n# it is\nyorkers c B-x\n\nd e I-x\n", {}),
    (WORDS, "a.jsonl", '{"tokens": ["a", "É"], "tags": ["O", 1]}\n', {}),
    (QUESTIONS, "a.json", json.dumps(squad(ZOLA, {"answers": [], "is_impossible": True}), ensure_ascii=False), {}),
    (CHOICES, "a.csv", ",sent1,sent2,ending0,ending1,label\n0,a,He,b,c,1\n1,d,e,f,g,0\n", {}),
    (CHOICES, "a.jsonl", '{"text": "a", "choices": ["b", "c"], "label": 1}\n', {}),
]  # fmt: skip
PIECES = (b"", b"\n", b"\t", b",", b'"', b"\xff", b"\x00", b"[", b"{}", b"1e999", b"null", b"NaN", b"\r", b"#")
CHANGES = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 9), st.sampled_from(PIECES)), min_size=1, max_size=4
)  # fmt: skip


@pytest.mark.parametrize(("task", "name", "content", "options"), WHOLE)
@settings(deadline=None)
@given(changes=CHANGES, skip=st.booleans())
def test_a_damaged_file_is_an_error_of_ours_or_of_use(tmp_path_factory, task, name, content, options, changes, skip):
    folder = tmp_path_factory.getbasetemp()
    data = content.encode()
    for start, length, put in changes:
        start %= len(data) + 1
        data = data[:start] + put + data[start + length :]
    try:
        examples = read(folder, task, name, data, **options, skip_bad_rows=skip)
        trained = made(examples, task, folder)
        features = trained.features(examples)
    except MobileBertError as e:
        assert isinstance(e, DataError)
        return
    assert not (examples.skipped or features.skipped) or skip
    found = {row.example for row in features.rows}
    assert found <= set(range(len(examples.items))) and len(found) + len(features.skipped) == len(examples.items)
    trained.batch(features.rows)
