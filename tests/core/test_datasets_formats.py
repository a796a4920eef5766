"""The same rows from every kind of file: packed, with other line ends, in Parquet and Arrow; and nothing lost."""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import struct
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
import pytest

from mobilebert_core import BackendMissingError, DataError
from mobilebert_core.datasets.examples import BadRows, QuestionExample, TextExample, WordsExample
from mobilebert_core.datasets.reading import splits
from mobilebert_core.datasets.sources import Source
from mobilebert_core.datasets.squad_file import question_items
from tests.core.data_files import CHOICES, ENDINGS, QUESTIONS, TEXTS, WORDS, read, squad, written

ROWS = [{"text": "hello cats", "label": "good"}, {"text": 'd, "e"', "label": "bad"}]
EXAMPLES = [("hello cats", "good"), ('d, "e"', "bad")]


def parquet(path, table):
    pyarrow.parquet.write_table(table, path)


def arrow_stream(path, table):
    with pyarrow.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


def arrow_file(path, table):
    pyarrow.feather.write_feather(table, path, compression="lz4")


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.parquet", parquet), ("a.arrow", arrow_stream), ("a.arrow", arrow_file), ("a.feather", arrow_file)],
)
@pytest.mark.parametrize("packed", [False, True])
def test_parquet_and_arrow(tmp_path, name, write, packed):
    path = tmp_path / name
    write(str(path), pyarrow.Table.from_pylist(ROWS))
    content = path.read_bytes()
    found = read(tmp_path, TEXTS, *((f"{name}.gz", gzip.compress(content)) if packed else (name, content)))
    assert [(item.line, item.text, item.label) for item in found.items] == [
        (1, *EXAMPLES[0]), (2, *EXAMPLES[1])
    ]  # fmt: skip


def test_lists_of_arrow(tmp_path):
    rows = [{"tokens": ["a", "b"], "ner_tags": [0, 3]}, {"tokens": ["c"], "ner_tags": [1]}]
    parquet(str(tmp_path / "a.parquet"), pyarrow.Table.from_pylist(rows))
    content = (tmp_path / "a.parquet").read_bytes()
    assert read(tmp_path, WORDS, "a.parquet", content).items[0] == WordsExample(1, ("a", "b"), ("0", "3"))
    row = {"question": "who?", "context": "in Paris", "answers": {"text": ["Paris"], "answer_start": [3]}}
    parquet(str(tmp_path / "q.parquet"), pyarrow.Table.from_pylist([row]))
    content = (tmp_path / "q.parquet").read_bytes()
    expected = [QuestionExample("1", "who?", "in Paris", ((3, "Paris"),))]
    assert read(tmp_path, QUESTIONS, "q.parquet", content).items == expected
    assert read(tmp_path, QUESTIONS, "q.jsonl", [row]).items == expected


def test_decimals_of_a_database_are_numbers(tmp_path):
    labels = pyarrow.array([Decimal("1.0"), Decimal("0.0")], pyarrow.decimal128(3, 1))
    parquet(str(tmp_path / "a.parquet"), pyarrow.table({"text": ["a", "b"], "label": labels}))
    found = read(tmp_path, TEXTS, "a.parquet", (tmp_path / "a.parquet").read_bytes())
    assert [item.label for item in found.items] == ["1", "0"]


def test_whole_decimals_keep_all_their_digits(tmp_path):
    names = [Decimal(each) for each in ("12345678901234567891", "12345678901234567890")]
    for write, name in ((parquet, "a.parquet"), (arrow_stream, "a.arrow")):
        for labels in (pyarrow.array(names), pyarrow.array(names).dictionary_encode()):
            write(str(tmp_path / name), pyarrow.table({"text": ["a", "b"], "label": labels}))
            found = read(tmp_path, TEXTS, name, (tmp_path / name).read_bytes())
            assert [item.label for item in found.items] == [str(each) for each in names]


TIMES = [
    pyarrow.array([1700000000123456789, 2], pyarrow.timestamp("ns")),
    pyarrow.array([2**60, 2], pyarrow.timestamp("us")),
    pyarrow.array([2, 3], pyarrow.timestamp("s", "Mars/Base")),
    pyarrow.array([1, 2], pyarrow.duration("ns")),
    pyarrow.array([2**30, 2], pyarrow.date32()),
    pyarrow.array([1, 2], pyarrow.time64("ns")),
    pyarrow.array([[1], [2]], pyarrow.list_(pyarrow.timestamp("ns"))),
]


@pytest.mark.parametrize("times", TIMES, ids=lambda array: str(array.type))
def test_a_column_of_times_that_python_has_not_is_no_hindrance(tmp_path, times):
    arrow_stream(str(tmp_path / "a.arrow"), pyarrow.table({"text": ["a", "b"], "label": ["x", "y"], "id": times}))
    content = (tmp_path / "a.arrow").read_bytes()
    assert [item.label for item in read(tmp_path, TEXTS, "a.arrow", content).items] == ["x", "y"]


def test_a_stream_of_arrow_is_read_to_its_end(tmp_path):
    arrow_stream(str(tmp_path / "a.arrow"), pyarrow.Table.from_pylist(ROWS))
    content = (tmp_path / "a.arrow").read_bytes()
    for other, why in ((content[:-8], "it breaks off"), (content * 2, f"{len(content)} bytes follow its end")):
        with pytest.raises(DataError, match=f"a.arrow: wanted an Arrow file, .*{why}"):
            read(tmp_path, TEXTS, "a.arrow", other)


def test_a_damaged_name_in_parquet(tmp_path):
    parquet(str(tmp_path / "a.parquet"), pyarrow.Table.from_pylist(ROWS))
    content = (tmp_path / "a.parquet").read_bytes().replace(b"label", b"lab\xffl")
    with pytest.raises(DataError, match="a.parquet: wanted a Parquet file, it cannot be read as one"):
        read(tmp_path, TEXTS, "a.parquet", content)


@pytest.mark.parametrize("other", [(0, -5, 16), (0, 1 << 30, 1 << 30)])
def test_damaged_offsets_in_arrow(tmp_path, other):
    """pyarrow itself follows them, out of the file: the process used to die."""
    arrow_stream(str(tmp_path / "a.arrow"), pyarrow.Table.from_pylist(ROWS))
    content, offsets = (tmp_path / "a.arrow").read_bytes(), struct.pack("<3i", 0, 10, 16)
    assert offsets in content
    with pytest.raises(DataError, match="a.arrow: wanted an Arrow file, it cannot be read as one"):
        read(tmp_path, TEXTS, "a.arrow", content.replace(offsets, struct.pack("<3i", *other)))


def test_questions_whose_id_is_a_number(tmp_path):
    row = {"question": "who?", "context": "in Paris", "answers": {"text": ["Paris"], "answer_start": [3]}}
    found = read(tmp_path, QUESTIONS, "q.jsonl", [{"id": 0} | row, {"id": 1} | row, row])
    assert [item.id for item in found.items] == ["0", "1", "3"]


def test_a_missing_cell_of_parquet_is_a_bad_row(tmp_path):
    parquet(str(tmp_path / "a.parquet"), pyarrow.Table.from_pylist([ROWS[0], {"text": None, "label": "x"}]))
    with pytest.raises(DataError, match="a.parquet:2: text must be text, got NoneType"):
        read(tmp_path, TEXTS, "a.parquet", (tmp_path / "a.parquet").read_bytes())


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BackendMissingError, match=r"pip install 'mobilebert\[arrow\]'"):
        read(tmp_path, TEXTS, "a.parquet", b"PAR1")


CSV = 'text,label\nhello cats,good\n"d, ""e""",bad\n'
JSON = '{"text": "hello cats", "label": "good"}\n{"text": "d, \\"e\\"", "label": "bad"}\n'
TSV = 'text\tlabel\nhello cats\tgood\nd, "e"\tbad\n'


@pytest.mark.parametrize(("name", "content"), [("a.csv", CSV), ("a.tsv", TSV), ("a.jsonl", JSON)])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("packed", [False, True])
def test_line_ends_and_packing(tmp_path, name, content, end, packed):
    data = content.replace("\n", end).encode("utf-8-sig")
    found = read(tmp_path, TEXTS, *((f"{name}.gz", gzip.compress(data)) if packed else (name, data)))
    assert [(item.text, item.label) for item in found.items] == EXAMPLES
    assert [item.line for item in found.items] == ([1, 2] if "json" in name else [2, 3])


def test_all_streams_of_a_packed_file_are_read(tmp_path):
    """xz pads streams with zeros; what is no stream is no end either."""
    first, second = (lzma.compress(part.encode()) for part in ("text,label\na,x\n", "b,y\n"))
    for between in (b"", bytes(4), bytes(8)):
        found = read(tmp_path, TEXTS, "a.csv.xz", first + between + second + between)
        assert [item.text for item in found.items] == ["a", "b"]
    for rest in (b"more", b"x" + second, second[:-5], second[:3], bytes(4) + second[1:]):
        with pytest.raises(DataError, match="a.csv.xz: wanted a file packed by xz, it is damaged"):
            read(tmp_path, TEXTS, "a.csv.xz", first + rest)


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_of_words_and_texts(tmp_path, end):
    assert read(tmp_path, WORDS, "a.conll", f"a O{end}b B-x{end}{end}c O{end}").items == [
        WordsExample(1, ("a", "b"), ("O", "B-x")), WordsExample(4, ("c",), ("O",))
    ]  # fmt: skip
    assert read(tmp_path, "fill-mask", "a.txt", f"a{end}b{end}").items == ["a", "b"]
    assert len(read(tmp_path, QUESTIONS, "a.json.gz", gzip.compress(written(tmp_path, "a", squad({"answers": []}))
                                                                     .read_bytes())).items) == 1  # fmt: skip


@pytest.mark.parametrize("indent", [None, 2])
def test_json_in_pieces_of_any_size(tmp_path, monkeypatch, indent):
    """Wherever a piece ends, in a word, a number or an escape, the questions and the place of an error are the same."""
    context = 'in "Yorkers" \U0001f600, \\ Zola'
    data = squad({"answers": [{"text": "Zola", "answer_start": context.index("Zola")}]}, {"answers": [], "id": 12345},
                 {"answers": [], "is_impossible": True, "score": -12.5e-10}, context=context)  # fmt: skip
    data["data"] = [{"none": None, **article} for article in data["data"] * 2]
    texts = [json.dumps(data, indent=indent, ensure_ascii=ascii) for ascii in (True, False)]
    expected = read(tmp_path, QUESTIONS, "a.json", texts[0]).items
    assert len(expected) == 6
    broken = texts[0][:-2] + "!" + texts[0][-2:]
    with pytest.raises(DataError) as whole:
        read(tmp_path, QUESTIONS, "a.json", broken)
    assert f"(char {len(broken) - 3})" in str(whole.value)
    for size in (*range(1, 40), 63, 64, 65, 500):
        monkeypatch.setattr("mobilebert_core.datasets.sources._PIECE", size)
        assert all(read(tmp_path, QUESTIONS, "a.json", text).items == expected for text in texts), size
        with pytest.raises(DataError) as found:
            read(tmp_path, QUESTIONS, "a.json", broken)
        assert str(found.value) == str(whole.value), size


def test_of_json_no_more_is_read_than_is_asked_for():
    article = squad({"answers": []}, context="a " * 50_000)["data"]
    stream = io.BytesIO(json.dumps({"data": article * 50}).encode())
    questions = question_items(Source(Path("a.json"), ".json", stream), BadRows(Path("a.json"), False))
    assert next(questions)[1] == "q0" and stream.tell() < 1_000_000
    assert len(list(questions)) == 49 and stream.tell() > 5_000_000


def test_a_cell_of_any_length(tmp_path):
    long = "a " * 200_000
    limit = csv.field_size_limit()
    (first, second) = read(tmp_path, TEXTS, "a.csv", f'text,label\n"{long}",x\nb,y\n').items
    assert first == TextExample(2, long, None, "x") and second.line == 3
    assert csv.field_size_limit() == limit


def test_keys_that_only_some_rows_have(tmp_path):
    rows = [{"text": "a", "label": "x"}, {"text": "b", "text_pair": "c", "label": "y"},
            {"text": "d", "text_pair": None, "label": "x"}]  # fmt: skip
    assert [item.pair for item in read(tmp_path, TEXTS, "a.jsonl", rows).items] == [None, "c", None]


def test_choices_in_a_cell(tmp_path):
    content = 'text,choices,label\na,b|c d,1\na,"[""b"", ""c|d""]",0\n'
    assert [item.choices for item in read(tmp_path, CHOICES, "a.csv", content).items] == [("b", "c d"), ("b", "c|d")]


def test_the_files_of_a_packed_data_set(tmp_path):
    for name in ("train.csv.gz", "validation.jsonl.gz"):
        written(tmp_path, name, "")
    assert {split: path.name for split, path in splits(tmp_path, ENDINGS).items()} == {
        "train": "train.csv.gz", "dev": "validation.jsonl.gz"
    }  # fmt: skip


GERMEVAL = "#\thttp://de.wikipedia.org [2009]\n1\tSchartau\tB-PER\tO\n2\tsagte\tO\tO\n\n1\tJa\tO\tO\n"
CONLLU = (
    "# sent_id = 1\n1-2\tvámonos\t_\t_\n1\tvamos\tir\tVERB\n2\tnos\tnosotros\tPRON\n2.1\tx\ty\tz\n\n"
    "# sent_id = 2\n1\tsi\tsi\tINTJ\n"
)


def test_tags_of_numbers_in_columns_are_those_of_lists(tmp_path):
    columns = read(tmp_path, WORDS, "a.conll", "a\t1.0\nb\t01\nc\tTrue\n\nd\t1\n").items
    lists = read(tmp_path, WORDS, "a.jsonl", '{"tokens": ["a", "b", "c"], "tags": [1.0, "01", true]}\n').items
    assert columns[0].tags == lists[0].tags == ("1", "01", "true") and columns[1].tags == ("1",)


@pytest.mark.parametrize(
    ("name", "content", "options", "items"),
    [
        ("a.tsv", GERMEVAL, {"tag_column": "3"}, [(2, "Schartau sagte", "B-PER O"), (5, "Ja", "O")]),
        ("a.conllu", CONLLU, {}, [(3, "vamos nos", "VERB PRON"), (8, "si", "INTJ")]),
        ("a.conllu", CONLLU, {"word_column": "3", "tag_column": "4"},
         [(3, "ir nosotros", "VERB PRON"), (8, "si", "INTJ")]),
        ("a.tsv", "word\ttag\na\tO\nb\tB-x\n", {}, [(2, "a b", "O B-x")]),
        ("a.txt", "Token POS NER_tag\n-DOCSTART- -X- O\n\na X O\n", {}, [(4, "a", "O")]),
        ("a.conll", "1 B-x\n2 O\n3 O\n", {"word_column": "1"}, [(1, "1 2 3", "B-x O O")]),
        ("a.conll", "1 B-x\na O\n", {}, [(1, "1 a", "B-x O")]),
        ("a.csv", """tokens,tags\n"['a', 'b']","['O', 'B-x']"\n""", {}, [(2, "a b", "O B-x")]),
        ("a.jsonl", [{"w": ["a"], "t": ["O"]}], {"word_column": "w", "tag_column": "t"}, [(1, "a", "O")]),
    ],
)  # fmt: skip
def test_words_are_read_from_every_format(tmp_path, name, content, options, items):
    found = read(tmp_path, WORDS, name, content, **options).items
    assert found == [WordsExample(line, tuple(words.split(" ")), tuple(tags.split())) for line, words, tags in items]
