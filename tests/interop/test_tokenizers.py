"""Both tokenizers shorten, fill and divide texts as the classes of transformers do in whose place they stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MobileBertTokenizer as TheirFast
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy as TheirSlow

from mobilebert_core import MobileBertTokenizer, MobileBertTokenizerFast, TokenizerError
from tests.golden.record_tokenization import VOCABULARY

WORDS = ("the", "fox", "running", "dog's", "naïve", "日本", "[MASK]", "a.b,c!", "x" * 150, "  ", "[SEP]", "\n", "!")
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=14).map(" ".join).filter(str.strip)
options = st.fixed_dictionaries(
    {
        "truncation": st.sampled_from([True, "longest_first", "only_first", "only_second", False]),
        "max_length": st.integers(1, 12),
        "stride": st.sampled_from([0] * 9 + [1, 2]),
        "padding": st.sampled_from([False, True, "max_length"]),
        "add_special_tokens": st.sampled_from([True, True, False]),
        "return_overflowing_tokens": st.booleans(),
        "return_special_tokens_mask": st.booleans(),
    }
)


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """Each of ours with theirs."""
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    Path(path).write_text("".join(f"{token}\n" for token in VOCABULARY), encoding="utf-8")
    ids = {token: number for number, token in enumerate(VOCABULARY)}
    fast, slow = MobileBertTokenizerFast(path), MobileBertTokenizer(path)
    return [(fast, TheirFast(vocab=ids)), (slow, TheirSlow(str(path), model_input_names=slow.model_input_names))]


def answer(tokenizer, rows: list[tuple[str, str | None]], sides: tuple[str, str], chosen: Mapping) -> dict:
    tokenizer.truncation_side, tokenizer.padding_side = sides
    second = None if rows[0][1] is None else [b for _, b in rows]
    return dict(tokenizer([a for a, _ in rows], second, **chosen))


# Where nothing that may be shortened can make a row fit. The slow tokenizers of transformers log it and leave the row
# as it is, or shorten it by less; the fast ones raise, panic, or leave it as it is.
REFUSALS = (
    r"stride: wanted|wanted room for the . special tokens|wanted a second text|tokens must go to fit|too short to make"
)


@settings(deadline=None, max_examples=200)
@given(
    rows=st.one_of(st.lists(st.tuples(texts, st.none()), min_size=1, max_size=2),
                   st.lists(st.tuples(texts, texts), min_size=1, max_size=2)),
    sides=st.tuples(st.sampled_from(["right", "left"]), st.sampled_from(["right", "left"])),
    chosen=options,
)  # fmt: skip
def test_both_cut_and_fill_as_transformers_does(classes, rows, sides, chosen):
    for ours, theirs in classes:
        # transformers 5 has another form for what its slow tokenizer cuts off
        chosen = {**chosen, "return_overflowing_tokens": chosen["return_overflowing_tokens"] and ours.is_fast}
        try:
            found = answer(ours, rows, sides, chosen)
        except TokenizerError as error:
            assert re.search(REFUSALS, str(error))
        else:
            assert found == answer(theirs, rows, sides, chosen)
