"""Questions about texts in SQuAD's JSON, version 1, or 2 with questions that have no answer; also a question a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import DataError
from .arrow_files import ARROW_FILES
from .examples import BadRow, BadRows, QuestionExample, ReadOptions, brief
from .json_stream import JsonStream
from .reading import Reader
from .sources import Source
from .table_files import read_table


def read_questions(source: Source, options: ReadOptions, bad: BadRows) -> Iterator[QuestionExample]:
    """The questions of a file with their answers; a paragraph that cannot be read is one bad row.

    Raises:
        DataError: for a file that is no JSON of this form.
    """
    for item, name, context, where in question_items(source, bad):
        with bad.row(where):
            yield QuestionExample(name, _text(item, "question"), context, _answers(item, context))


def question_items(source: Source, bad: BadRows) -> Iterator[tuple[Any, str, str, int | str]]:
    """Each question as (its object, id, context, place): from SQuAD's JSON, or rows of JSON lines, Parquet or Arrow."""
    if source.form != ".json":
        for line, row in read_table(source, ReadOptions(), bad).rows:
            with bad.row(line):
                name = row.get("id")
                yield row, str(line if name is None or name == "" else name), _text(row, "context"), line
        return
    stream = JsonStream(source)
    for where, paragraph in _paragraphs(stream, bad):
        with bad.row(where):
            context, questions = _text(paragraph, "context"), paragraph.get("qas")
            if not isinstance(questions, list):
                raise BadRow(f"qas must be a list, got {brief(questions)}.")
            for number, item in enumerate(questions):
                name = item.get("id") if isinstance(item, dict) else None
                name = str(name) if name is not None else f"{where}.qas[{number}]"
                yield item, name, context, f"question {name!r}"


def _paragraphs(stream: JsonStream, bad: BadRows) -> Iterator[tuple[str, Any]]:
    """Each paragraph with its place, one at a time."""
    keys: list[str] = []
    found = False
    if stream.peek() == "{":
        for key in stream.members():
            keys.append(key)
            if key == "data" and stream.peek() == "[":
                found = True
                for number in stream.elements():
                    yield from _of_article(stream, f"data[{number}].paragraphs", bad)
            else:
                stream.value()
        got = f"the keys {', '.join(map(repr, keys)) or 'none'}"
    else:
        got = type(stream.value()).__name__
    stream.end()
    if not found:
        raise DataError(f'{stream.path}: wanted SQuAD\'s JSON, {{"data": [{{"paragraphs": [...]}}]}}, got {got}.')


def _of_article(stream: JsonStream, where: str, bad: BadRows) -> Iterator[tuple[str, Any]]:
    """The paragraphs of an article."""
    got: Any = None
    if stream.peek() == "{":
        for key in stream.members():
            if key == "paragraphs" and stream.peek() == "[":
                got = []
                for number in stream.elements():
                    yield f"{where}[{number}]", stream.value()
            elif key == "paragraphs":
                got = stream.value()
            else:
                stream.value()
    else:
        stream.value()
    if not isinstance(got, list):
        bad.add(where, f"wanted a list, got {brief(got)}.")


def _text(item: Any, name: str) -> str:
    value = item.get(name) if isinstance(item, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise BadRow(f"{name} must be text that is not empty, got {brief(value)}.")
    return value


def _answers(item: Any, context: str) -> tuple[tuple[int, str], ...]:
    """(first character, text) of each answer; none where `is_impossible`."""
    answers = item.get("answers")
    if isinstance(answers, dict) and {"text", "answer_start"} <= set(answers):  # a list each, as datasets has them
        texts, starts = answers["text"], answers["answer_start"]
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise BadRow(f"answers must have as many texts as places where they start, got {brief(answers)}.")
        answers = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    if item.get("is_impossible") is True:
        return ()
    if not isinstance(answers, list) or (not answers and "is_impossible" in item):
        raise BadRow(f"answers must be a list with the answers in it, got {brief(answers)}.")
    found = []
    for answer in answers:
        text, start = _text(answer, "text"), answer.get("answer_start")
        if not isinstance(start, int) or isinstance(start, bool) or not 0 <= start < len(context):
            raise BadRow(
                f"answer {brief(text)} starts at {brief(start)}, wanted a character of the context, 0 to "
                f"{len(context) - 1}."
            )
        stands = context[start : start + len(text)]
        if stands != text:
            raise BadRow(
                f"answer {brief(text)} is said to start at character {start}, but there stands {brief(stands)}."
            )
        found.append((start, text))
    return tuple(found)


QUESTIONS = Reader((".json", ".jsonl", *ARROW_FILES), (), read_questions)
