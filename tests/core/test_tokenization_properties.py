"""Properties that hold for any text: both tokenizers agree, offsets point into the text, decoding is stable."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mobilebert_core import AddedToken, MobileBertTokenizer, MobileBertTokenizerFast
from tests.core.tokenizers import write_vocabulary
from tests.golden.record_tokenization import OPTIONS, TEXTS, VOCABULARY

pytestmark = pytest.mark.filterwarnings("error")
MORE_OPTIONS = [*OPTIONS, {"clean_text": False}, {"clean_text": False, "do_lower_case": False}]
MARKS = "\u0300\u0301\u0323\u0328\u0345\u0334\u1b44\u302e\U0001d165\U0001e94a"
chunks = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.text(max_size=6),
    st.sampled_from(VOCABULARY),
    st.sampled_from(
        ["[MASK]", " [CLS]", "new tok", "NEWTOK", "<x>", "  left", "right  ", "\u200b", "\xad", "\n", *MARKS]
    ),
)
texts = st.lists(chunks, max_size=10).map("".join)


class _Pair(tuple):
    """A slow and a fast tokenizer, shown in failures by a short name."""

    def __repr__(self):
        return "pair"


def _pair(folder, options):
    pair = _Pair(made(folder / "vocab.txt", **options) for made in (MobileBertTokenizer, MobileBertTokenizerFast))
    for tokenizer in pair:
        tokenizer.add_tokens(["NewTok", "new tok", AddedToken("left", lstrip=True), AddedToken("right", rstrip=True)])
        tokenizer.add_tokens(["<x>"], special_tokens=True)
    return pair


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary")
    write_vocabulary(folder)
    return [_pair(folder, options) for options in MORE_OPTIONS]


def _fields(encoding):
    return {
        name: getattr(encoding, name)
        for name in (
            "ids", "type_ids", "tokens", "offsets", "attention_mask", "special_tokens_mask", "word_ids", "sequence_ids",
        )
    }  # fmt: skip


@settings(deadline=None, max_examples=250)
@given(batch=st.lists(texts, min_size=1, max_size=4), number=st.integers(0, len(MORE_OPTIONS) - 1))
def test_both_tokenizers_agree(pairs, batch, number):
    slow, fast = pairs[number]
    ours, theirs = slow(batch, return_offsets_mapping=True), fast(batch, return_offsets_mapping=True)
    assert dict(ours) == dict(theirs)
    for row, text in enumerate(batch):
        assert _fields(ours.encodings[row]) == _fields(theirs.encodings[row])
        for index in range(len(text)):
            assert ours.char_to_token(row, index) == theirs.char_to_token(row, index)
            assert ours.char_to_word(row, index) == theirs.char_to_word(row, index)
        for index in range(len(ours["input_ids"][row]) + 1):
            assert ours.token_to_chars(row, index) == theirs.token_to_chars(row, index)
            assert ours.token_to_word(row, index) == theirs.token_to_word(row, index)
            assert ours.token_to_sequence(row, index) == theirs.token_to_sequence(row, index)
            assert ours.word_to_tokens(row, index) == theirs.word_to_tokens(row, index)
            if ours.word_to_tokens(row, index):
                assert ours.word_to_chars(row, index) == theirs.word_to_chars(row, index)
    # without offsets both take a shorter way, to the same ids and, when asked, the same places
    for tokenizer in (slow, fast):
        short = tokenizer(batch)
        assert short["input_ids"] == theirs["input_ids"]
        assert [_fields(encoding) for encoding in short.encodings] == [_fields(e) for e in theirs.encodings]


@settings(deadline=None, max_examples=100)
@given(words=st.lists(texts, max_size=5), other=st.lists(texts, max_size=4))
def test_both_tokenizers_agree_on_words(pairs, words, other):
    slow, fast = pairs[0]
    for arguments in ((words,), (words, other)):
        options = {"is_split_into_words": True, "return_offsets_mapping": True, "return_special_tokens_mask": True}
        ours, theirs = slow(*arguments, **options), fast(*arguments, **options)
        assert dict(ours) == dict(theirs)
        assert _fields(ours.encodings[0]) == _fields(theirs.encodings[0])


@settings(deadline=None, max_examples=100)
@given(first=texts, second=texts, length=st.integers(3, 12), side=st.sampled_from(["left", "right"]))
def test_both_tokenizers_agree_on_padded_and_shortened_texts(pairs, first, second, length, side):
    slow, fast = pairs[0]
    options = {"truncation": True, "max_length": length, "padding": "max_length", "return_offsets_mapping": True}
    for tokenizer in (slow, fast):
        tokenizer.padding_side = tokenizer.truncation_side = side
    ours, theirs = slow([first, second], **options), fast([first, second], **options)
    assert dict(ours) == dict(theirs)
    assert [_fields(e) for e in ours.encodings] == [_fields(e) for e in theirs.encodings]
    ours, theirs = slow(first, second, **options), fast(first, second, **options)
    assert [len(row) for row in ours.values()] == [len(row) for row in theirs.values()] == [length] * 4


@settings(deadline=None, max_examples=150)
@given(text=texts, number=st.integers(0, len(MORE_OPTIONS) - 1))
@example(text="㐀LEFT", number=0)
def test_offsets_point_into_the_original_text(pairs, text, number):
    slow, _ = pairs[number]
    encoding = slow(text, return_offsets_mapping=True)
    end = 0
    for token, (start, stop) in list(zip(encoding.tokens(), encoding["offset_mapping"], strict=True))[1:-1]:
        assert 0 <= start < stop <= len(text)
        several = start == stop - 1 == end - 1  # one character may become several pieces
        # An added token that takes the space before it also takes one that is put behind a Chinese character.
        assert start >= end or several or (token.startswith(" ") and start >= end - 1)
        end = stop
        if token in VOCABULARY and text[start:stop].isascii() and token.isascii() and token != "[UNK]":
            assert token.removeprefix("##").lower() in text[start:stop].lower()


@settings(deadline=None, max_examples=150)
@given(text=texts)
def test_decoding_is_stable(pairs, text):
    """The text decoded from ids has, when nothing was unknown, those ids again."""
    for tokenizer in pairs[0]:
        ids = tokenizer.encode(text, add_special_tokens=False)
        again = tokenizer.encode(tokenizer.decode(ids, clean_up_tokenization_spaces=False), add_special_tokens=False)
        if tokenizer.unk_token_id not in ids and not set(ids) & set(tokenizer.get_added_vocab().values()):
            assert tokenizer.decode(again) == tokenizer.decode(ids)
        assert tokenizer.decode(ids) == tokenizer.decode(ids)


def test_every_code_point(pairs):
    """Each character of Unicode between two letters, so that no table of characters drifts from the library's."""
    slow, fast = pairs[0]
    planes = (
        range(0xD800),
        range(0xE000, 0x34000),
        range(0xE0000, 0xE1000),
        range(0xFFFF0, 0x100010),
    )  # others: empty
    points = [point for plane in planes for point in plane]
    samples = ["".join(f"a{chr(point)}b " for point in points[at : at + 512]) for at in range(0, len(points), 512)]
    for ours, theirs in zip(slow(samples)["input_ids"], fast(samples)["input_ids"], strict=True):
        assert ours == theirs
    assert slow.tokenize("".join(TEXTS)) == fast.tokenize("".join(TEXTS))


def test_marks_in_any_order(pairs):
    slow, fast = pairs[3]
    shuffle = random.Random(0)
    samples = ["".join(shuffle.choices(MARKS + "ae \u1112\u1161", k=8)) for _ in range(500)]
    ours, theirs = slow(samples, return_offsets_mapping=True), fast(samples, return_offsets_mapping=True)
    assert dict(ours) == dict(theirs)
