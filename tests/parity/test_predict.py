"""`mobilebert predict` from files, arguments and standard input to JSON lines."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from mobilebert import pipelines
from mobilebert.cli import main
from mobilebert.commands.answer_tables import VIEWS, table
from mobilebert_core.tasks.table import TASKS

ROOT = Path(__file__).parents[2]


def test_texts_as_arguments(model, predict):
    path = model("fill-mask")
    code, records, said = predict("fill-mask", "zola lives in [MASK]", "a [MASK]", "--model", path, "--top-k", 2)
    assert code == 0 and said == ""
    assert [record["line"] for record in records] == [1, 2]
    assert [len(record["result"]) for record in records] == [2, 2]
    assert {"score", "token", "token_str", "sequence"} == set(records[0]["result"][0])


def test_a_question_and_its_context_as_arguments_and_as_lines(model, predict, tmp_path):
    path = model("question-answering")
    code, (record,), _ = predict(
        "question-answering", "--model", path, "--question", "who?", "--context", "Émile Zola", "--threshold", 0
    )
    assert code == 0 and {"score", "start", "end", "answer", "null_difference"} == set(record["result"])
    file = tmp_path / "contexts.txt"
    file.write_text("zola lives in paris\n\nÉmile\n", encoding="utf-8")
    code, records, _ = predict("question-answering", "--model", path, "--question", "who?", "--input", file)
    assert code == 0 and [record["line"] for record in records] == [1, 3]
    assert predict("question-answering", "--model", path, "--input", file)[0] == 2


def test_broken_lines_are_reported_and_the_rest_processed(model, predict, tmp_path):
    file, out = tmp_path / "in.jsonl", tmp_path / "answers" / "out.jsonl"
    lines = [
        b'{"text": "cats", "id": "first"}', b'{"text": "ca', b'"dogs"', b"", b'{"text": 3}', b"\xff", b"[1]",
        '{"text": "Émile", "label": 1}'.encode(), b'{"texts": "a"}', b'{"text": "\\ud800 a"}',
    ]  # fmt: skip
    file.write_bytes(b"\n".join(lines))
    code, _, said = predict(
        "sentiment-analysis", "--model", model("text-classification"), "--input", file, "--output", out
    )
    assert code == 1
    records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [record["line"] for record in records] == [1, 3, 8, 10] and records[0]["id"] == "first"
    for wanted in (
        "line 2: wanted a JSON object on the line, got text that is not JSON (Unterminated string",
        "line 5: text must be text, got int 3",
        "line 6: wanted UTF-8 text, got other bytes.",
        "line 7: wanted a JSON object on the line, got list [1].",
        "line 9: wanted the key 'text' or 'sentence' or",
        "5 broken lines, 4 answered",
    ):
        assert wanted in said


def test_csv_with_several_texts_in_a_cell(model, predict, tmp_path):
    file = tmp_path / "in.csv"
    file.write_text(
        'id,text,choices\n7,"zola, emile",lives|is in paris\n8,a,"[""b"", ""c""]"\n9,a,b,c\n10,a,\n', encoding="utf-8"
    )
    code, records, said = predict("multiple-choice", "--model", model("multiple-choice"), "--input", file)
    assert code == 1 and [(record["line"], record["id"]) for record in records] == [(2, "7"), (3, "8")]
    assert records[0]["result"]["answer"] in ("lives", "is in paris")
    assert "line 4: wanted 3 columns, got 4" in said and "line 5: choice 0 is empty" in said
    file.write_text("text\na\n")
    code, _, said = predict("multiple-choice", "--model", model("multiple-choice"), "--input", file)
    assert code == 2 and "no columns with choices" in said


def test_interrupted_and_resumed(model, predict, tmp_path, monkeypatch):
    file, out = tmp_path / "in.txt", tmp_path / "out.jsonl"
    file.write_text("".join(f"{'a ' * (n % 5)}cats\n" for n in range(10)))
    command = ("sentence-embedding", "--model", model("sentence-embedding"), "--input", file, "--batch-size", 2)
    code, records, _ = predict(*command)
    assert code == 0 and len(records) == 10
    monkeypatch.setattr(pipelines, "BATCHES_AT_ONCE", 2)
    run, calls = pipelines.MobileBertPipeline._run, []

    def interrupted(self, rows):
        calls.append(len(rows))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return run(self, rows)

    monkeypatch.setattr(pipelines.MobileBertPipeline, "_run", interrupted)
    code, _, said = predict(*command, "--output", out)
    assert code == 130 and "4 answers are written, --resume goes on" in said
    assert len(out.read_text().splitlines()) == 4
    out.write_text(out.read_text() + '{"line": 5, "res')  # killed while writing
    monkeypatch.setattr(pipelines.MobileBertPipeline, "_run", run)
    assert predict(*command, "--output", out, "--resume")[0] == 0
    resumed = [json.loads(line) for line in out.read_text().splitlines()]
    assert [record["line"] for record in resumed] == list(range(1, 11))
    assert predict(*command, "--resume")[0] == 2


def test_standard_input(model, predict, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"emile zola\nparis\r\n")))
    path = model("token-classification", id2label={0: "B-PER", 1: "I-PER"})
    code, records, _ = predict("ner", "--model", path, "--aggregation", "simple")
    assert code == 0 and [record["line"] for record in records] == [1, 2]
    assert records[0]["result"][0]["start"] == 0


def test_options_that_do_not_fit(model, predict, tmp_path):
    path = model("zero-shot-classification", id2label={0: "entailment", 1: "no"})
    file = tmp_path / "in.dat"
    file.write_text("a\n")
    for arguments, message in (
        (("a", "--input", file), "text was passed as arguments and from --input"),
        (
            ("a", "--format", "csv", "--no-header"),
            "wanted --input FILE to read with --format and --no-header, got texts",
        ),
        (("a", "--text-column", "body"), "wanted --input FILE to read with --text-column, got texts as arguments"),
        (("--input", file), "wanted a file ending in txt, csv, tsv, jsonl, parquet, arrow, feather, or --format"),
        (("--input", tmp_path / "no.txt"), "no.txt: wanted a file of inputs, there is none"),
    ):
        code, _, said = predict("zero-shot-classification", *arguments, "--model", path, "--labels", "a")
        assert code == 2 and message in said
    code, records, _ = predict(
        "zero-shot-classification", "cats", "--model", path, "--labels", "cats", "new york", "--multi-label"
    )
    assert code == 0 and set(records[0]["result"]["labels"]) == {"cats", "new york"}
    for task in TASKS:
        with pytest.raises(SystemExit) as ended:
            main(["predict", task, "--help"])
        assert ended.value.code == 0


def test_the_command_as_a_process(model):
    command = [sys.executable, "-m", "mobilebert.cli", "predict", "next-sentence", "--model", model("next-sentence")]
    lines = '{"text": "zola lives", "text_pair": "in paris"}\nbroken\n'
    done = subprocess.run(command, input=lines, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert set(json.loads(done.stdout)["result"]) == {"is_next", "score"}
    assert done.stderr.splitlines()[0].startswith(
        "mobilebert: standard input, line 2: wanted a JSON object on the line, got text that"
    )


@pytest.fixture
def terminal(monkeypatch):
    """Runs the command in this process with a pseudo-terminal as standard output; returns what a person sees."""

    def run(*arguments) -> list[str]:
        master, slave = pty.openpty()
        with open(slave, "w", encoding="utf-8") as screen:
            monkeypatch.setattr(sys, "stdout", screen)
            assert main(["predict", *map(str, arguments)]) == 0
            monkeypatch.undo()
        return seen_on(master)

    return run


def seen_on(master: int) -> list[str]:
    """The lines of a pseudo-terminal whose other end is closed: they come in several parts."""
    seen = b""
    with open(master, "rb", buffering=0) as screen, suppress(OSError):  # which is the end, on Linux
        while part := screen.read(65536):
            seen += part
    return seen.decode().splitlines()


INPUTS = {  # what is passed, and what the first line on a terminal must look like
    "fill-mask": (["zola lives in [MASK]"], r"token_str +score +sequence"),
    "text-classification": (["a"], r"LABEL_\d  0\.\d{3}"),
    "token-classification": (["emile zola"], r"entity +word +score +start  end"),
    "question-answering": (["--question", "who?", "--context", "cats"], r"\S.*  [01]\.\d{3}"),
    "next-sentence": (["a", "--text-pair", "b c"], r"(follows|does not follow)  [01]\.\d{3}"),
    "multiple-choice": (["a", "--choices", "b", "c d"], r"(b|c d)  [01]\.\d{3}"),
    "sentence-embedding": (["cats"], r"(\S+ ){4}\.\.\.  \d+ numbers, length \S+"),
    "feature-extraction": (["cats"], r"(\S+ ){4}\.\.\.  3 vectors of \d+ numbers"),
    "zero-shot-classification": (["cats", "--labels", "dogs", "cats"], r"(dogs|cats)  0\.\d{3}"),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_terminal_shows_lines_of_text_and_a_pipe_gets_json(model, predict, terminal, task):
    labels = {"id2label": {0: "entailment", 1: "no"}} if task == "zero-shot-classification" else {}
    arguments, first = INPUTS[task]
    command = (task, *arguments, "--model", model(task, **labels))
    seen = terminal(*command)
    assert re.fullmatch(first, seen[0]), seen
    (record,) = [json.loads(line) for line in terminal(*command, "--json")]
    code, records, _ = predict(*command)
    assert code == 0 and [record] == records  # a terminal with --json and a pipe get the same


def test_several_inputs_are_shown_above_their_answers(model, terminal):
    path = model("text-classification", id2label={0: "good", 1: "bad"})
    seen = terminal("text-classification", "zola", "a " * 60, "--model", path)
    assert seen[0] == "zola" and re.fullmatch(r"  (good|bad)  0\.\d{3}", seen[1])
    assert seen[2] == ("a " * 60)[:73] + "..." and len(seen) == 4


def test_likely_labels_or_the_best_three_are_shown():
    def shown(scores, top_k=None, threshold=None):
        answer = [{"label": f"L{n}", "score": score} for n, score in enumerate(scores)]
        return table(answer, "text-classification", SimpleNamespace(top_k=top_k, threshold=threshold))

    assert shown([0.9, 0.6, 0.5, 0.1]) == ["L0  0.900", "L1  0.600"]
    assert shown([0.4, 0.3, 0.2, 0.1]) == ["L0  0.400", "L1  0.300", "L2  0.200"]
    assert len(shown([0.9, 0.3, 0.2, 0.1], top_k=4)) == 4 and shown([], threshold=0.9) == ["(nothing found)"]


def test_every_task_has_its_view():
    assert set(VIEWS) == set(TASKS)
    entity = {"entity_group": "PER", "score": 0.75, "word": "zola", "start": 0, "end": 4}
    assert table([entity], "token-classification", None) == [
        "entity  word  score  start  end",
        "PER     zola  0.750  0      4",
    ]
    nothing = {"score": 0.5, "start": 0, "end": 0, "answer": ""}
    assert table(nothing, "question-answering", None) == ["(no answer)  0.500"]
    word = {"score": 0.25, "token": 7, "token_str": "cats", "sequence": "cats [MASK]"}
    assert table([[word], [word]], "fill-mask", None)[1] == "1     cats       0.250  cats [MASK]"


def test_the_demo_model_at_a_terminal():
    """As a person runs it: a process whose standard streams are a pseudo-terminal."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "mobilebert", "predict", "text-classification", "I love this!"]
    done = subprocess.run(command, stdin=slave, stdout=slave, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(slave)
    seen = seen_on(master)
    assert done.returncode == 0 and done.stderr == b""
    assert len(seen) == 1 and re.fullmatch(r"love  0\.\d{3}", seen[0])


def _other_model(paths):
    config = paths["model"] / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps(values | {"initializer_range": 0.5}))


def _other_weights(paths):
    weights = paths["model"] / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def _other_vocabulary(paths):
    file = paths["model"] / "vocab.txt"
    file.write_text(file.read_text().replace("cats\n", "cots\n"))
    (paths["model"] / "tokenizer.json").unlink()


def _other_input(paths):
    paths["input"].write_text(paths["input"].read_text().replace("cats 1", "dogs 1"))


def _shorter_input(paths):
    paths["input"].write_text("cats 0\ncats 1\n")


def _lost_record(paths):
    paths["output"].with_name(".out.jsonl.resume.json").unlink()


def _damaged_record(paths):
    paths["output"].with_name(".out.jsonl.resume.json").write_text("{}")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (_other_model, (), "model: config.json has changed"),
        (_other_weights, (), "model: model.safetensors has changed"),
        (_other_vocabulary, (), "tokenizer: tokenizer.json is gone; tokenizer: vocab.txt has changed"),
        (_other_input, (), "answers an input whose first 5 lines were others"),
        (_shorter_input, (), "answers an input whose first 5 lines were others"),
        (_lost_record, (), "wanted .out.jsonl.resume.json beside it"),
        (_damaged_record, (), "wanted .out.jsonl.resume.json beside it"),
        (None, ("--top-k", "1"), "options was {"),
        (None, ("--dtype", "float64"), "dtype was 'float32', now 'float64'"),
        (None, ("--text-pair", "dogs"), "fields was {}, now {'field_text_pair': 'dogs'}"),
    ],
)
def test_only_the_same_goes_on_with_answers(model, predict, tmp_path, change, options, message):
    paths = {
        "model": Path(model("text-classification")),
        "input": tmp_path / "in.txt",
        "output": tmp_path / "out.jsonl",
    }
    paths["input"].write_text("".join(f"cats {n}\n" for n in range(5)))
    command = ("text-classification", "--model", paths["model"], "--input", paths["input"], "--output", paths["output"])
    assert predict(*command)[0] == 0
    whole = paths["output"].read_text()
    paths["output"].write_text(cut := whole[: whole.index('{"line": 4') + 20])  # as a kill leaves it
    if change is not None:
        change(paths)
    code, _, said = predict(*command, *options, "--resume")
    assert code == 2 and message in said
    assert paths["output"].read_text() == cut  # not even the broken line is gone
    assert predict(*command, *options)[0] == 0  # anew is always possible


def test_the_same_goes_on_with_answers(model, predict, tmp_path, monkeypatch):
    """A file that was cut anywhere, an input that has grown, another batch size, a model that was moved."""
    path, file, out = Path(model("text-classification")), tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_text("".join(f'"cats {n}"\n' if n % 3 else "broken\n" for n in range(7)))
    command = ["text-classification", "--input", file, "--output", out]
    assert predict(*command, "--model", path)[0] == 1
    whole = out.read_text()
    assert [json.loads(line)["line"] for line in whole.splitlines()] == [2, 3, 5, 6]
    path = path.rename(tmp_path / "moved")
    for end in range(0, len(whole), 50):
        out.write_text(whole[:end])
        assert predict(*command, "--model", path, "--resume", "--batch-size", 3)[0] == 1
        assert [json.loads(line)["line"] for line in out.read_text().splitlines()] == [2, 3, 5, 6]
    with file.open("a") as more:
        more.write('"paris"\n')
    assert predict(*command, "--model", path, "--resume")[0] == 1
    assert [json.loads(line)["line"] for line in out.read_text().splitlines()] == [2, 3, 5, 6, 8]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    again = ["text-classification", "--input", "-", "--format", "jsonl", "--output", out, "--resume", "--model", path]
    assert predict(*again)[0] == 0  # nothing is left: the broken lines lie before the last answer
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'"cats"\n')))
    code, _, said = predict(*again)
    assert code == 2 and "answers an input whose first 8 lines were others" in said


def test_words_that_are_split_already(model, predict, tmp_path):
    path = model("token-classification", id2label={0: "B-PER", 1: "I-PER"})
    file = tmp_path / "in.jsonl"
    file.write_text(
        '{"tokens": ["emile", "d\'zola-new"], "id": 1}\n["zola"]\n{"text": ["paris"]}\n{"tokens": []}\n[1]\n'
    )
    code, records, said = predict("ner", "--model", path, "--input", file)
    assert code == 1 and "2 broken lines, 3 answered" in said
    assert [[each["word"] for each in record["result"]] for record in records] == [
        ["emile", "d'zola-new"], ["zola"], ["paris"],
    ]  # fmt: skip
    code, (record,), _ = predict("ner", "d'zola-new", "--model", path, "--words", "whitespace")
    assert code == 0 and [each["word"] for each in record["result"]] == ["d'zola-new"]
