"""Texts in what other libraries hold them in: columns, Series and arrays of strings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow
import pytest

from mobilebert_core.errors import TokenizerError


class Column(Sequence):
    """As a column of the library datasets: a sequence, and no list."""

    def __init__(self, rows):
        self.rows = rows

    def __getitem__(self, place):
        return self.rows[place]

    def __len__(self):
        return len(self.rows)


class Series:
    """As pandas' and Polars' columns: neither a sequence nor found by place."""

    def __init__(self, rows):
        self.rows = rows

    def to_list(self):
        return self.rows


HOLDERS = [tuple, np.array, lambda rows: np.array(rows, object), Column, Series, pyarrow.array]


@pytest.mark.parametrize("holder", HOLDERS)
def test_what_holds_texts_is_a_list_of_them(tokenizer, holder):
    texts, seconds = ["the fox", "a dog", "fox"], ["run", "the", "a"]
    assert tokenizer(holder(texts)) == tokenizer(texts)
    assert tokenizer(holder(texts), holder(seconds)) == tokenizer(texts, seconds)
    assert tokenizer.batch_encode_plus(holder(texts)) == tokenizer(texts)
    assert tokenizer(text_target=holder(texts)) == tokenizer(texts)
    words = tokenizer(holder(["the", "fox"]), is_split_into_words=True)
    assert words == tokenizer(["the", "fox"], is_split_into_words=True)
    batch = tokenizer([holder(["the", "fox"]), holder(["a", "dog"])], is_split_into_words=True)
    assert batch == tokenizer([["the", "fox"], ["a", "dog"]], is_split_into_words=True)


class Table(Series):
    """As a DataFrame or a data set: what it lists are no texts."""

    column_names = ("a", "b")


WRONG = [
    Table(["the", "fox"]),
    pyarrow.table({"a": ["the"]}),
    np.array([1.5]),
    np.array(["a", 2.5], object),
    Series(["a", None]),
    {"the", "fox"},
    {"the": 1},
    b"the",
]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_holds_no_texts_is_refused(tokenizer, wrong):
    with pytest.raises(TokenizerError, match="wanted a string"):
        tokenizer(wrong)
