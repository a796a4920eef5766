"""Inputs to answer, from the files that training reads, by the same columns and rules, without labels."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from ..tasks.task_text import Field
from .columns import PAIR, TEXT, cell, column, pair_of, several_of, text_of
from .examples import BadRow, BadRows, ReadOptions, brief
from .labelled_tables import CHOICE_TEXT, CHOICES, beginnings, begun, choice_columns, choices_of, numbered
from .plain_texts import PLAIN_TEXTS
from .reading import Reader
from .sources import AS_UTF8, NOT_UTF8, EmptyError, Source, is_utf8
from .squad_file import question_items
from .table_files import Table, read_table
from .word_files import COLUMNS, TAGGED_WORDS, WORDS, looks_tagged, read_columns, words_of

_USUAL = {"text": TEXT, "text_pair": PAIR}  # names of columns, besides the field's own


@dataclass(frozen=True)
class InputRow:
    """One input: its line, its fields by name, and what is to be kept with the answer.

    The line of a sentence is that of its first word, in SQuAD's JSON it is the number of the question.
    """

    line: int
    values: dict[str, Any]
    kept: dict[str, Any] = field(default_factory=dict)
    window: int = 0  # of the input, whose rows are answered together


@dataclass(frozen=True)
class InputFiles:
    """The files of a task whose inputs have these fields.

    Attributes:
        reader: that of the task's training, or the one for plain texts, whose files every task reads.
    """

    fields: tuple[Field, ...]
    reader: Reader = PLAIN_TEXTS

    @property
    def endings(self) -> tuple[str, ...]:
        """Of the files that are read."""
        return tuple(dict.fromkeys((*PLAIN_TEXTS.endings, *self.reader.endings)))

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the `ReadOptions` that say how."""
        names = {each.name for each in self.fields}
        columns = [option for option, name in (("text_column", "text"), ("pair_column", "text_pair")) if name in names]
        return (*columns, *(("word_column", "tag_column") if self.reader is TAGGED_WORDS else ()), "header")

    def rows(self, source: Source, options: ReadOptions, passed: Sequence[str], bad: BadRows) -> Iterator[InputRow]:
        """The inputs, of which the fields `passed` otherwise need no column; rows of no use go to the `BadRows`.

        A file is opened at once, so that nothing is begun with one of no use.

        Raises:
            DataError: for a file that cannot be read, or lacks a column.
            BackendMissingError: for Parquet and Arrow without pyarrow.
            InputError: for lines of text where more than one field is needed.
        """
        missing = [each.name for each in self.fields if not each.optional and each.name not in passed]
        if source.form == ".txt" and len(missing) > 1:
            raise InputError(
                f"{source.path}: lines of text are one field, wanted are {' and '.join(missing)}. Pass all but one as "
                f"options ({', '.join('--' + name.replace('_', '-') for name in missing)}), or JSON lines or CSV."
            )
        rows = self._rows(source, options, missing, bad)
        if source.form in (".txt", ".jsonl"):
            rows = _without_empty(rows)
        first = list(itertools.islice(rows, 1)) if source.stream is None else []
        return itertools.chain(first, rows)

    def _rows(self, source: Source, options: ReadOptions, missing: Sequence[str], bad: BadRows) -> Iterator[InputRow]:
        if self._is_columns(source, options):
            for item in read_columns(source, options, bad, tagged=False):
                yield InputRow(item.line, {"text": list(item.words)}, {"text": " ".join(item.words)})
        elif source.form == ".json":
            for number, (item, name, context, where) in enumerate(question_items(source, bad), 1):
                with bad.row(where):
                    question = text_of(item if isinstance(item, dict) else {}, "question", "question")
                    yield InputRow(number, {"question": question, "context": context}, {"id": name})
        elif source.form == ".txt":
            name = missing[0] if missing else self.fields[0].name
            for number, line in source.numbered():
                if not is_utf8(line):
                    bad.add(number, NOT_UTF8, AS_UTF8)
                elif line.strip():
                    yield InputRow(number, {name: line})
        else:
            yield from self._table(source, options, missing, bad)

    def _is_columns(self, source: Source, options: ReadOptions) -> bool:
        """Whether a file has a word on each line. Of .txt, which may also be a text a line, its lines say so."""
        if self.reader is not TAGGED_WORDS or source.form not in COLUMNS:
            return False
        named = options.word_column is not None or options.tag_column is not None
        return source.form != ".txt" or named or (source.stream is None and looks_tagged(source))

    def _table(self, source: Source, options: ReadOptions, missing: Sequence[str], bad: BadRows) -> Iterator[InputRow]:
        table = read_table(source, options, bad, for_inputs=True)
        readers = {each.name: self._reader(table, each, options, each.name in missing) for each in self.fields}
        alone = missing[0] if missing else self.fields[0].name
        begins = beginnings(table, options.text_column) if self.reader is CHOICES else lambda row: None
        keeps_id = "id" not in readers and (table.by_name or "id" in table.keys)
        for line, row in table.rows:
            with bad.row(line):
                if isinstance(row, str):
                    yield InputRow(line, {alone: text_of({alone: row}, alone, alone)})
                    continue
                if isinstance(row, list) and table.by_name:
                    yield self._words(line, row, alone)
                    continue
                values = {name: value for name, read in readers.items() if (value := read(row)) is not None}
                if "choices" in values:
                    values["choices"] = list(begun(values["choices"], begins(row)))
                kept = {}
                if keeps_id and (not table.by_name or "id" in row):
                    kept["id"] = row[table.keys.get("id", "id")]
                if self.reader is TAGGED_WORDS and isinstance(values["text"], tuple):
                    kept["text"] = " ".join(values["text"])
                    values["text"] = list(values["text"])
                yield InputRow(line, values, kept)

    def _words(self, line: int, row: list[Any], name: str) -> InputRow:
        """An input that is a list of words by itself."""
        if self.reader is not TAGGED_WORDS:
            raise BadRow(f"wanted a JSON object on the line, got list {brief(row)}.")
        words = list(words_of({name: row}, name))
        return InputRow(line, {name: words}, {name: " ".join(words)})

    def _reader(self, table: Table, each: Field, options: ReadOptions, needed: bool) -> Callable[[Any], Any]:
        """What takes a field from a row: a text, a list of texts, a tuple of words; None where the row has none."""
        if each.name == "choices" and needed and not table.by_name:
            keys = choice_columns(table)
            return lambda row: list(choices_of(row, keys, table.separated))
        if each.name == "text" and self.reader is TAGGED_WORDS and options.text_column is None:
            return _words_or_text(table, options.word_column)
        wanted = {"text": options.text_column, "text_pair": options.pair_column}.get(each.name)
        usual = _USUAL.get(each.name, (each.name,))
        if each.name == "text" and self.reader is CHOICES and any(name in table.keys for name in CHOICE_TEXT):
            usual = CHOICE_TEXT
        if each.name == "text_pair" and wanted is None and not needed and options.text_column is not None:
            return lambda row: None  # who names the text means this text
        key = column(table, f"{each.name}_column" if each.name == "text" else "pair_column" if each.name == "text_pair"
                     else each.name, wanted, usual, needed)  # fmt: skip
        if each.name == "text_pair" and not needed:
            return lambda row: pair_of(row, key)
        if each.several:
            return lambda row: _several(row, key, each.name, needed, table.separated)
        if needed:
            return lambda row: text_of(row, key, each.name)
        return lambda row: None if cell(row, key) is None else text_of(row, key, each.name)


def _words_or_text(table: Table, wanted: str | None) -> Callable[[Any], Any]:
    words = column(table, "word_column", wanted, WORDS, needed=wanted is not None)
    if words is not None and not table.by_name:
        return lambda row: words_of(row, words)
    text = column(table, "text_column", None, TEXT)

    def read(row: Any) -> Any:
        if words is not None and cell(row, words) is not None:
            return words_of(row, words)
        return words_of(row, text) if isinstance(cell(row, text), list) else text_of(row, text, "text")

    return read


def _several(row: Any, key: Any, name: str, needed: bool, written: bool) -> list[str] | None:
    """A list of texts; of JSON also choice0, choice1 ... and ending0, ending1 ... by their keys."""
    found = cell(row, key) if not isinstance(row, dict) or name in row else None
    if isinstance(row, dict) and found is None and name == "choices":
        found = [row[key] for key in numbered(row)] or None
    if not needed and (found is None or found == ""):
        return None
    found = several_of(found) if written else found
    if not isinstance(found, list) or not found:
        raise BadRow(f"{name} must be a list of texts, got {type(found).__name__} {brief(found)}.")
    return [text_of(found, i, name) for i in range(len(found))]


def _without_empty(rows: Iterator[InputRow]) -> Iterator[InputRow]:
    """The rows; none of what is empty."""
    try:
        yield from rows
    except EmptyError:
        return
