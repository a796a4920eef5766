"""Questions about texts in SQuAD's JSON, version 1, or 2 with questions that have no answer; also a question a row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..errors import DataError
from .arrow_files import ARROW_FILES
from .examples import BadRow, BadRows, QuestionExample, ReadOptions, brief
from .reading import Reader
from .sources import NOT_UTF8, Source, is_utf8
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
                yield row, str(row.get("id") or line), _text(row, "context"), line
        return
    for a, article in enumerate(_articles(source)):
        where = f"data[{a}].paragraphs"
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        if not isinstance(paragraphs, list):
            bad.add(where, f"wanted a list, got {brief(paragraphs)}.")
            continue
        for p, paragraph in enumerate(paragraphs):
            with bad.row(f"{where}[{p}]"):
                context, questions = _text(paragraph, "context"), paragraph.get("qas")
                if not isinstance(questions, list):
                    raise BadRow(f"qas must be a list, got {brief(questions)}.")
                for number, item in enumerate(questions):
                    name = item.get("id") if isinstance(item, dict) else None
                    name = str(name) if name is not None else f"{where}[{p}].qas[{number}]"
                    yield item, name, context, f"question {name!r}"


def _articles(source: Source) -> list[Any]:
    path, text = source.path, source.text()
    if not is_utf8(text):
        line = next(number for number, each in enumerate(text.split("\n"), 1) if not is_utf8(each))
        raise DataError(f"{path}:{line}: {NOT_UTF8} Save the file as UTF-8.")
    try:
        data = json.loads(text)
    except ValueError as e:
        raise DataError(f"{path}:{getattr(e, 'lineno', 1)}: wanted JSON, got text that breaks off ({e}).") from None
    except RecursionError:
        raise DataError(f"{path}: wanted SQuAD's JSON, got one that is nested too deeply.") from None
    articles = data.get("data") if isinstance(data, dict) else None
    if not isinstance(articles, list):
        got = f"the keys {', '.join(map(repr, data)) or 'none'}" if isinstance(data, dict) else type(data).__name__
        raise DataError(f'{path}: wanted SQuAD\'s JSON, {{"data": [{{"paragraphs": [...]}}]}}, got {got}.')
    return articles


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
