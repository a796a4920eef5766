"""`mobilebert predict` and the files of training: every row answered or named, and no file lost."""

from __future__ import annotations

import datetime
import gzip
import io
import json
import os
import signal
import sys

import pyarrow
import pyarrow.parquet
import pytest

from mobilebert import pipelines
from mobilebert.cli import main
from mobilebert.commands import prediction_files
from mobilebert.commands.prediction_files import AnswerFile
from mobilebert_core import InputError, MobileBertTokenizerFast
from mobilebert_core.datasets.examples import BadRows, ReadOptions
from mobilebert_core.datasets.inputs import InputRow
from mobilebert_core.datasets.sources import Source
from mobilebert_core.tasks.table import TASKS
from tests.core.data_files import written
from tests.parity.train_tasks import signalled


def rows_of(folder, task, name, content, passed=(), **options):
    """(line, values) of each input of a file, and what is reported."""
    reported = []

    class Reported(BadRows):
        def add(self, line, message, advice=""):
            reported.append((line, message))

        def lost(self, first, last, message, advice):
            reported.append((range(first, last + 1), message))

    path = written(folder, name, content)
    rows = TASKS[task].files.rows(Source.of(path), ReadOptions(**options), passed, Reported(path, True))
    return [(row.line, row.values, row.kept) for row in rows], reported


TEXTS = "text-classification"


@pytest.mark.parametrize(
    ("task", "name", "content", "options", "rows"),
    [
        (TEXTS, "a.csv", " sentence ,label\ncats,x\n", {}, [(2, {"text": "cats"}, {})]),
        (TEXTS, "a.csv", "id,premise,hypothesis\n7,a,b\n", {}, [(2, {"text": "a", "text_pair": "b"}, {"id": "7"})]),
        (TEXTS, "a.csv", "q,text_pair\na,b\n", {"text_column": "q"}, [(2, {"text": "a"}, {})]),
        (TEXTS, "a.tsv", 'a "b"\tx\n', {"text_column": "1", "header": False}, [(1, {"text": 'a "b"'}, {})]),
        (TEXTS, "a.tsv.gz", gzip.compress(b"text\r\na\r\n", mtime=0), {}, [(2, {"text": "a"}, {})]),
        (TEXTS, "a.txt", "a\r\rb\r", {}, [(1, {"text": "a"}, {}), (3, {"text": "b"}, {})]),
        (TEXTS, "a.txt", " \n", {}, []),
        (TEXTS, "a.jsonl", '"a"\n{"sentence": "b", "id": 1}\n{"text": "c", "text_pair": null}\n', {},
         [(1, {"text": "a"}, {}), (2, {"text": "b"}, {"id": 1}), (3, {"text": "c"}, {})]),
        ("next-sentence", "a.csv", "q,text2\na,b\n", {"text_column": "q"}, [(2, {"text": "a", "text_pair": "b"}, {})]),
        ("zero-shot-classification", "a.csv", 'text,candidate_labels\na,x|y\nb,\n', {},
         [(2, {"text": "a", "candidate_labels": ["x", "y"]}, {}), (3, {"text": "b"}, {})]),
        ("multiple-choice", "a.csv", "text,choice0,choice1\na,b,c\n", {},
         [(2, {"text": "a", "choices": ["b", "c"]}, {})]),
        ("multiple-choice", "a.jsonl", [{"text": "a", "ending0": "b", "ending1": "c"}, {"text": "a", "choices": ["d"]}],
         {}, [(1, {"text": "a", "choices": ["b", "c"]}, {}), (2, {"text": "a", "choices": ["d"]}, {})]),
        ("multiple-choice", "a.csv", "sent1,sent2,ending0,ending1,label\na,b,c,d,0\ne,,f,g,1\n", {},
         [(2, {"text": "a", "choices": ["b c", "b d"]}, {}), (3, {"text": "e", "choices": ["f", "g"]}, {})]),
        ("multiple-choice", "a.jsonl", [{"sent1": "a", "sent2": "b", "ending0": "c", "ending1": "d"}],
         {"text_column": "sent1"}, [(1, {"text": "a", "choices": ["b c", "b d"]}, {})]),
        ("multiple-choice", "a.jsonl", [{"question": "a", "choices": ["c", "d"]}], {},
         [(1, {"text": "a", "choices": ["c", "d"]}, {})]),
        ("question-answering", "a.jsonl", [{"question": "q", "context": "c"}], {},
         [(1, {"question": "q", "context": "c"}, {})]),
        ("question-answering", "a.json",
         {"data": [{"paragraphs": [{"context": "c", "qas": [{"id": "x", "question": "q"}, {"question": "r"}]}]}]}, {},
         [(1, {"question": "q", "context": "c"}, {"id": "x"}),
          (2, {"question": "r", "context": "c"}, {"id": "data[0].paragraphs[0].qas[1]"})]),
        ("token-classification", "a.txt", "Zola sings\nthe city O\n", {},
         [(1, {"text": "Zola sings"}, {}), (2, {"text": "the city O"}, {})]),
        ("token-classification", "a.txt", "Zola B-x\nsings O\n\na O\n", {},
         [(1, {"text": ["Zola", "sings"]}, {"text": "Zola sings"}), (4, {"text": ["a"]}, {"text": "a"})]),
        ("token-classification", "a.conll", "# 1\nZola\nsings\n\na\n", {},
         [(2, {"text": ["Zola", "sings"]}, {"text": "Zola sings"}), (5, {"text": ["a"]}, {"text": "a"})]),
        ("token-classification", "a.tsv", "1\tZola\tO\n2\tsings\tO\n", {},
         [(1, {"text": ["Zola", "sings"]}, {"text": "Zola sings"})]),
        ("token-classification", "a.jsonl", '{"tokens": ["a", "b"], "id": 3}\n{"text": "c"}\n["d", "e"]\n', {},
         [(1, {"text": ["a", "b"]}, {"id": 3, "text": "a b"}), (2, {"text": "c"}, {}),
          (3, {"text": ["d", "e"]}, {"text": "d e"})]),
        ("token-classification", "a.csv", "text\na\n", {}, [(2, {"text": "a"}, {})]),
    ],
)  # fmt: skip
def test_inputs_are_read_from_every_format(tmp_path, task, name, content, options, rows):
    assert rows_of(tmp_path, task, name, content, **options) == (rows, [])


BROKEN = [
    ("a.csv", 'text,x\na,1\n"b,2\nc,3\n', [2], [(range(3, 5), "a quotation mark opens a cell that never ends.")]),
    ("a.csv", 'text,x\na,1\n"b,2\nc,"d"\ne,3\n', [2],
     [(range(3, 6), "a quotation mark opens a cell that ends within another, in line 4.")]),
    ("a.csv", 'text,x\n"a"b,1\nc,2\n', [3], [(2, "wanted comma-separated values")]),
    ("a.csv", "text,x\na\nb,2\n,3\n", [3], [(2, "wanted 2 columns, got 1"), (4, "text is empty.")]),
    ("a.csv", b"text\n\xe9\nb\n", [3], [(2, "wanted UTF-8 text")]),
    ("a.txt", b"\xe9\nb\n", [2], [(1, "wanted UTF-8 text")]),
    ("a.jsonl", '{"texts": "a"}\n{"text": ""}\n{"text": "a", "text": "b"}\n"c"\n', [4],
     [(1, "wanted the key 'text' or"), (2, "text is empty."), (3, "wanted different keys")]),
    ("a.csv", f"text,x\n{'a ' * 100_000},1\nb,2\n", [2, 3], []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "lines", "broken"), BROKEN)
def test_every_row_is_used_or_reported(tmp_path, name, content, lines, broken):
    rows, reported = rows_of(tmp_path, TEXTS, name, content)
    assert [line for line, _, _ in rows] == lines
    assert [line for line, _ in reported] == [line for line, _ in broken]
    assert all(found.startswith(wanted) for (_, found), (_, wanted) in zip(reported, broken, strict=True))


def test_an_unclosed_quotation_mark(model, predict, tmp_path):
    file = written(tmp_path, "a.csv", 'text\ncats\n"dogs\na\nb\n')
    code, records, said = predict(TEXTS, "--model", model(TEXTS), "--input", file)
    assert code == 1 and [record["line"] for record in records] == [2]
    assert "a.csv, line 3: a quotation mark opens a cell that never ends. Of lines 3 to 5 nothing is read." in said
    assert "3 broken lines, 1 answered" in said


def test_files_of_training_are_answered(model, predict, tmp_path, monkeypatch):
    path = model(TEXTS)
    pyarrow.parquet.write_table(pyarrow.table({"sentence": ["cats", None, "dogs"]}), tmp_path / "a.parquet")
    code, records, said = predict(TEXTS, "--model", path, "--input", tmp_path / "a.parquet")
    assert code == 1 and [record["line"] for record in records] == [1, 3] and "line 2: text must be text" in said
    table = b"q\tlabel\ncats\tx\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(table)))
    code, records, _ = predict(TEXTS, "--model", path, "--input", "-", "--format", "tsv", "--text-column", "q")
    assert code == 0 and [record["line"] for record in records] == [2]
    code, records, said = predict(TEXTS, "--model", path, "--input", written(tmp_path, "a.tsv", table))
    assert code == 2 and records == [] and "no column text or sentence" in said


def test_messages_name_the_options_of_the_command(model, predict, tmp_path):
    path, table = model(TEXTS), written(tmp_path, "a.csv", "words,label\ncats,x\n")
    for arguments, wanted in (
        (("--input", table), "Name it by --text-column, or pass --no-header if the first row is data."),
        (("--input", table, "--text-column", "text_column"), "no column 'text_column' (--text-column);"),
        (("cats " * 40, "--on-long", "error"), "(--on-long is 'error')"),
        (("cats", "--top-k", 0), "--top-k must be at least 1, got 0."),
    ):
        code, _, said = predict(TEXTS, "--model", path, *arguments)
        assert code in (1, 2) and wanted in said
    code, _, said = predict("next-sentence", "cats", "--model", path)
    assert code == 2 and "--text-pair missing" in said


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl.gz", "a.tsv"])
def test_answers_are_not_written_under_the_name_of_another_format(model, predict, tmp_path, capsys, name):
    with pytest.raises(SystemExit):
        predict(TEXTS, "cats", "--model", model(TEXTS), "--output", tmp_path / name)
    assert "wanted a name that ends in .jsonl or .parquet" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


@pytest.fixture
def linked(tmp_path):
    """A file under three names."""
    file = written(tmp_path, "in.txt", "cats\n")
    (tmp_path / "soft.txt").symlink_to(file)
    os.link(file, tmp_path / "hard.txt")
    return file


@pytest.mark.parametrize("name", ["in.txt", "soft.txt", "hard.txt", "../{folder}/in.txt"])
@pytest.mark.parametrize("resume", [(), ("--resume",)])
def test_an_output_that_is_the_input_is_refused(predict, tmp_path, linked, name, resume):
    output = tmp_path / name.format(folder=tmp_path.name)
    code, _, said = predict(TEXTS, "--model", "none", "--input", linked, "--output", output, *resume)
    assert code == 2 and ("is what is read as well" in said or (resume and "wanted answers of this command" in said))
    assert linked.read_text() == "cats\n"


def test_a_vocabulary_does_not_take_the_place_of_its_texts(linked, capsys):
    for name in ("in.txt", "soft.txt", "hard.txt"):
        output = linked.parent / name
        assert main(["vocab", "train", str(linked), "--size", "30", "--output", str(output)]) == 2
        assert "is one of the texts" in capsys.readouterr().err and linked.read_text() == "cats\n"


def test_an_output_that_is_the_model_or_a_directory_is_refused(model, predict, tmp_path):
    path = model(TEXTS)
    for output, message in ((f"{path}/config.json", "is what is read as well"), (path, "is a directory")):
        code, _, said = predict(TEXTS, "cats", "--model", path, "--output", output)
        assert code == 2 and message in said
    weights = f"{path}/model.safetensors"
    code, _, said = predict(TEXTS, "cats", "--model", weights, "--output", f"{path}/config.json")
    assert code == 2 and "is what is read as well" in said
    assert json.loads((tmp_path / path / "config.json").read_text())


def test_an_output_is_replaced_by_a_whole_one_only(model, predict, tmp_path, monkeypatch):
    path, output = model(TEXTS), written(tmp_path, "out.jsonl", "before\n")
    bad = written(tmp_path, "a.csv", "words\ncats\n")
    assert predict(TEXTS, "--model", path, "--input", bad, "--output", output)[0] == 2
    assert predict(TEXTS, "--model", tmp_path / "gone", "cats", "--output", output)[0] == 2
    file = written(tmp_path, "a.txt", "cats\n" * 6)
    run, calls = pipelines.MobileBertPipeline._run, []

    def interrupted(self, rows):
        calls.append(rows)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return run(self, rows)

    monkeypatch.setattr(pipelines, "BATCHES_AT_ONCE", 1)
    monkeypatch.setattr(pipelines.MobileBertPipeline, "_run", interrupted)
    command = (TEXTS, "--model", path, "--input", file, "--batch-size", 2, "--output", output)
    code, _, said = predict(*command)
    assert code == 130 and "2 answers are written, --resume goes on" in said
    assert output.read_text() == "before\n" and len((tmp_path / "out.jsonl.partial").read_text().splitlines()) == 2
    monkeypatch.setattr(pipelines.MobileBertPipeline, "_run", run)
    (tmp_path / "link.jsonl").symlink_to(output)
    assert predict(*command[:-1], tmp_path / "link.jsonl", "--resume")[0] == 0
    assert [json.loads(line)["line"] for line in output.read_text().splitlines()] == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "link.jsonl").is_symlink() and not (tmp_path / "out.jsonl.partial").exists()
    # Killed when the answers had come to their place, and what says what they were made from had not.
    answers, record = output.read_text(), tmp_path / ".out.jsonl.resume.json"
    for earlier in (None, "{}"):
        record.rename(tmp_path / ".out.jsonl.partial.resume.json")
        if earlier is not None:
            record.write_text(earlier)  # of the answers before
        assert predict(*command, "--resume")[0] == 0
        assert output.read_text() == answers and json.loads(record.read_text())["lines"] == 6
        assert not (tmp_path / ".out.jsonl.partial.resume.json").exists()


def test_an_interruption_says_what_is_kept(model, predict, tmp_path, monkeypatch):
    def interrupted(self, rows):
        raise KeyboardInterrupt

    path = model(TEXTS)
    monkeypatch.setattr(pipelines.MobileBertPipeline, "_run", interrupted)
    for more, said in (((), "0 answers are written"), (("--output", tmp_path / "a.parquet"), "nothing is kept")):
        code, _, err = predict(TEXTS, "cats", "--model", path, *more)
        assert code == 130 and said in err and "--resume" not in err
    signalled(monkeypatch, pipelines.MobileBertPipeline, "_run", signal.SIGTERM, 1)
    assert predict(TEXTS, "cats", "--model", path)[::2] == (143, "mobilebert: terminated; 0 answers are written\n")


def test_a_name_that_is_empty_is_no_input(capsys):
    for command in (("predict", TEXTS, "--model", "m", "--input", ""), ("evaluate", TEXTS, "", "--model", "m")):
        with pytest.raises(SystemExit):
            main([*command])
        assert "wanted a file to read, got an empty name" in capsys.readouterr().err


def test_files_are_closed_where_open_ones_cannot_be_renamed(tmp_path, monkeypatch):
    """As on Windows."""
    monkeypatch.setattr(prediction_files, "_OPEN_FILES_MOVE", False)
    output, replace, seen = written(tmp_path, "out.jsonl", "before\n"), os.replace, []
    answers = AnswerFile(output, {})
    held = []
    monkeypatch.setattr(os, "replace", lambda *a: seen.append([each.closed for each in held]) or replace(*a))
    with answers:
        held += answers._held
        for row in answers.unanswered(iter([InputRow(1, {})])):
            answers.write(row, 0)
        answers.finished = True
    assert seen[-2:] == [[True, True]] * 2 and json.loads(output.read_text())["line"] == 1


def test_a_device_is_written_to(model, predict):
    assert predict(TEXTS, "cats", "--model", model(TEXTS), "--output", "/dev/null")[0] == 0
    assert not os.path.isfile("/dev/null")


@pytest.mark.parametrize("at_once", [3, 1 << 16])
def test_broken_rows_are_reported_once_when_resumed(model, predict, tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(prediction_files, "_READ_AT_ONCE", at_once)
    file, output = written(tmp_path, "a.jsonl", '"cats"\n3\n"dogs"\n'), tmp_path / "out.jsonl"
    command = (TEXTS, "--model", model(TEXTS), "--input", file, "--output", output)
    assert predict(*command)[0] == 1
    code, _, said = predict(*command, "--resume")
    assert code == 0 and said == "" and len(output.read_text().splitlines()) == 2


def test_texts_that_are_cut_are_counted(model, predict, tmp_path):
    path, file = model(TEXTS), written(tmp_path, "a.txt", "cats\n" + "cats " * 100 + "\ndogs\n")
    command = (TEXTS, "--model", path, "--input", file, "--max-length", 12)
    code, records, said = predict(*command)
    assert code == 0 and len(records) == 3
    assert "1 of 3 inputs were longer than the 12 tokens of a row and cut; --on-long 'error' or 'windows'" in said
    code, whole, said = predict(*command, "--on-long", "windows")
    assert code == 0 and len(whole) == 3 and said == "" and whole[1] != records[1]
    code, records, said = predict(*command, "--on-long", "error")
    assert (
        code == 1 and [record["line"] for record in records] == [1, 3] and "line 2: text-classification: wanted" in said
    )


def test_an_endless_line_costs_what_its_first_tokens_cost(model, predict, tmp_path, monkeypatch):
    seen, count = [], MobileBertTokenizerFast._count
    monkeypatch.setattr(
        MobileBertTokenizerFast, "_count", lambda self, text, **k: seen.append(len(text)) or count(self, text, **k)
    )
    file = written(tmp_path, "a.csv", "text\n" + "cats, dogs " * 200_000 + "\n").rename(tmp_path / "a.txt")
    code, records, said = predict(TEXTS, "--model", model(TEXTS), "--input", file)
    assert code == 0 and len(records) == 2 and "1 of 2 inputs" in said
    assert 0 < sum(seen) < 100_000


def test_words_that_cannot_be_read_are_said_in_the_words_of_the_file(model, predict, tmp_path):
    path = model("token-classification")
    rows = '{"tokens": ["cats"]}\n{"tokens": ["cats", ""]}\n'
    code, records, said = predict("ner", "--model", path, "--input", written(tmp_path, "a.jsonl", rows))
    assert code == 1 and len(records) == 1 and "line 2: tokens must be words that are not empty, got ''" in said
    tags = written(tmp_path, "a.conll", "1 O\n2 O\n3 B-X\n")
    code, records, said = predict("ner", "--model", path, "--input", tags)
    assert code == 2 and "column 2 holds tags. Name the column of the words" in said


def test_an_id_that_only_parquet_has_is_text_in_the_answers(tmp_path):
    """Bytes of a UUID, and a time inside an object."""
    kept = {"id": {"key": b"\x01\xff", "at": datetime.date(2020, 1, 2)}}
    with AnswerFile(tmp_path / "a.jsonl", {}) as answers:
        for row in answers.unanswered(iter([InputRow(1, {"text": "a"}, kept)])):
            answers.write(row, [])
    record = json.loads((tmp_path / "a.jsonl").read_text())
    assert record == {"line": 1, "id": {"key": "01ff", "at": "2020-01-02"}, "result": []}


@pytest.mark.parametrize("line", ["1e999", "999", "-3", "true", '"2"', "[" * 100_000, "0", "2.5"])
def test_a_damaged_last_answer_is_not_gone_on_from(tmp_path, line):
    """A number beyond the input used to leave all other lines unanswered, without a word."""
    inputs = [InputRow(number, {"text": "a"}) for number in range(1, 5)]
    with AnswerFile(tmp_path / "a.jsonl", {}) as answers:
        for row in answers.unanswered(iter(inputs[:2])):
            answers.write(row, [])
    content = (tmp_path / "a.jsonl").read_text().replace('{"line": 2,', f'{{"line": {line},')
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(InputError, match="a.jsonl: (wanted answers of this command|its last answer is to line 999)"):  # noqa: SIM117
        with AnswerFile(tmp_path / "a.jsonl", {}, resume=True) as answers:
            list(answers.unanswered(iter(inputs)))
    assert (tmp_path / "a.jsonl").read_text() == content
