"""Endless texts: the tokens that truncation keeps are those of the whole text, and only its beginning is tokenized."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from mobilebert_core import AddedToken, MobileBertTokenizerFast
from mobilebert_core.text import long_texts, word_ends
from mobilebert_core.text.basic_tokenization import TextNormalizer
from mobilebert_core.text.character_classes import (
    DIVIDING_CLASS,
    is_letter,
)
from mobilebert_core.text.padding_truncation import cut_lengths
from tests.core.tokenizers import CLASSES, write_vocabulary

WORDS = (
    "the", "fox", "running", "dog's", "x" * 150, "naïve", "e\u0301\u0316", "日本", "한국", "[MASK]", "new tok",
    "\u200d", "the[SEP]fox", "Ünîcode", "a.b,c!", "\x00", "  ", "\u3000", "Foxrun", "[X]",
)  # fmt: skip


@pytest.fixture(params=CLASSES)
def tokenizer(request, tmp_path):
    made = request.param(write_vocabulary(tmp_path))
    made.add_tokens([AddedToken("new tok"), AddedToken("Foxrun", single_word=True), AddedToken("[X]", lstrip=True)])
    return made


@pytest.fixture
def soon(monkeypatch):
    """Texts are long from a few words on, so that many places are cut."""
    monkeypatch.setattr(long_texts, "_CHARACTERS", 1)
    monkeypatch.setattr(long_texts, "_WORTH_IT", 1)
    monkeypatch.setattr(long_texts, "NEVER_LONG", 10)
    monkeypatch.setattr(long_texts, "_AT_ONCE", 300)


def made_of(seed, count):
    rng = np.random.default_rng(seed)
    return "".join(str(word) + " " * int(rng.integers(0, 2)) for word in rng.choice(WORDS, count))


def whole(tokenizer, text):
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


@pytest.mark.parametrize("seed", range(5))
def test_a_long_text_is_cut_as_if_tokenized_whole(tokenizer, soon, seed):
    text = made_of(seed, 400)
    for length in (3, 10, 41):
        found = tokenizer(text, truncation=True, max_length=length, return_offsets_mapping=True)
        assert found["input_ids"][1:-1] == whole(tokenizer, text)[: length - 2]
        places = tokenizer(text, return_offsets_mapping=True, verbose=False)["offset_mapping"]
        assert found["offset_mapping"] == [*places[: length - 1], (0, 0)]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("length", [12, 13])
def test_long_pairs_are_cut_as_if_tokenized_whole(tokenizer, soon, seed, length, monkeypatch):
    sizes = [(400, 3), (3, 400), (400, 401), (401, 400), (400, 400)]
    pairs = [(made_of(seed, a), made_of(seed + (a != b), b)) for a, b in sizes]
    found = tokenizer([a for a, _ in pairs], [b for _, b in pairs], truncation=True, max_length=length)
    monkeypatch.setattr(long_texts, "NEVER_LONG", 10**9)  # all of every text
    plain = tokenizer([a for a, _ in pairs], [b for _, b in pairs], truncation=True, max_length=length)
    assert found == plain


def test_a_cut_word_does_not_make_the_shorter_text_the_longer_one(tokenizer, soon, monkeypatch):
    """Cut in the middle, a word that is one unknown token has many pieces."""
    second = "fox " * 100 + " " * 3000
    for spaces in range(1900, 2400, 45):  # so that one of the cuts falls in the word
        first = " " * spaces + "the " * 60 + "q" * 200
        for pair in ((first, second), (second, first)):
            found = tokenizer(*pair, truncation=True, max_length=4)["input_ids"]
            with monkeypatch.context() as patch:
                patch.setattr(long_texts, "NEVER_LONG", 10**9)  # all of every text
                assert found == tokenizer(*pair, truncation=True, max_length=4)["input_ids"]


@pytest.mark.parametrize("strategy", ["only_first", "only_second"])
def test_one_text_of_a_pair_is_cut(tokenizer, soon, strategy):
    long, short = made_of(1, 300), "the fox"
    first, second = (long, short) if strategy == "only_first" else (short, long)
    found = tokenizer(first, second, truncation=strategy, max_length=15)["input_ids"]
    a, b = whole(tokenizer, first), whole(tokenizer, second)
    cut = cut_lengths(len(a), len(b), len(a) + len(b) + 3 - 15, strategy, "right")
    assert found == tokenizer.build_inputs_with_special_tokens(a[cut.first], b[cut.second])


LETTERS = [
    "x" * 300, "xfox" * 90, "Ab1" * 120, "ж" * 250, "Éa" * 180, "x" * 150 + "\u0301" + "y" * 220, "x" * 203, "x" * 205,
    "a" * 230 + "日" + "b" * 240, "q" * 200 + "-" + "q" * 300, "z" * 260 + "\u200d" + "z" * 250, "x" * 99, "x" * 101,
    "new" + "t" * 280 + "new", "[" + "M" * 300 + "ASK]", "k\u0307" * 210, "İ" * 230, "the", "fox", "fox!", "!",
]  # fmt: skip

MORE_LETTERS = [
    "กั" * 200,
    "क्षि" * 120,
    "한" * 230,
    "😀" * 240,
    "e\u0301" * 220,
    "\u0316" * 230,
    "\u200d" * 240,
    "的" * 9,
]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "added", [[], ["fox"], ["t!t", AddedToken("fox!", normalized=False), AddedToken("x [", lstrip=True)]]
)
@pytest.mark.parametrize("made", CLASSES)
def test_endless_words(made, tmp_path, soon, monkeypatch, seed, added):
    tokenizer = made(write_vocabulary(tmp_path))
    tokenizer.add_tokens(added)
    rng = np.random.default_rng(seed)
    for _ in range(3):
        text, other = (
            "".join(str(word) + " " * int(rng.integers(0, 2)) for word in rng.choice(LETTERS, 30)) for _ in range(2)
        )
        for length in (4, 11, 40):
            with monkeypatch.context() as patch:
                options = {"truncation": True, "max_length": length}
                rows = {"text": [text, "the"], "text_pair": [other, text]}
                found = tokenizer(text, **options), tokenizer(**rows, **options)
                placed = tokenizer(text, **options, return_offsets_mapping=True)
                patch.setattr(long_texts, "NEVER_LONG", 10**9)  # all of every text
                plain = tokenizer(text, **options), tokenizer(**rows, **options)
                assert placed == tokenizer(text, **options, return_offsets_mapping=True)
            assert found == plain
            for one, all_of in zip(found, plain, strict=True):
                assert [each.offsets for each in one.encodings] == [each.offsets for each in all_of.encodings]


@pytest.mark.parametrize("text", ["x" * 200_000 + " fox", "Ab1" * 70_000 + " fox", "fox " + "ж" * 300_000 + " fox"])
@pytest.mark.parametrize("made", CLASSES)
def test_little_of_an_endless_word_is_tokenized(made, tmp_path, text, monkeypatch):
    tokenizer = made(write_vocabulary(tmp_path))
    seen, count = [], made._count
    monkeypatch.setattr(made, "_count", lambda self, *a, **k: seen.append(len(a[0])) or count(self, *a, **k))
    found = tokenizer([text], truncation=True, max_length=16)
    assert sum(seen) < 20_000
    assert found.tokens()[1:-1] == [word if word == "fox" else "[UNK]" for word in text.split()]
    assert found.token_to_chars(len(text.split())).end == len(text)


@pytest.mark.parametrize("text", ["the fox " * 20_000, "x" * 200_000 + " fox", "日本" * 50_000, "[MASK]" * 20_000])
def test_only_the_beginning_is_tokenized(tokenizer, text, monkeypatch):
    seen, count = [], type(tokenizer)._count
    monkeypatch.setattr(type(tokenizer), "_count", lambda self, *a, **k: seen.append(len(a[0])) or count(self, *a, **k))
    found = tokenizer(text, truncation=True, max_length=16)["input_ids"]
    assert len(found) == (4 if "x" * 9 in text else 16)
    assert sum(seen) < 60_000
    assert [*itertools.islice(found, 3)] == tokenizer(text[:3000] if len(found) > 4 else text)["input_ids"][:3]


def test_what_needs_all_of_a_text_has_it(tokenizer, soon):
    text = made_of(3, 300)
    ids = whole(tokenizer, text)
    assert tokenizer(text, verbose=False)["input_ids"][1:-1] == ids
    found = tokenizer(text, truncation=True, max_length=12, return_overflowing_tokens=True)
    if tokenizer.is_fast:
        assert sum(len(row) - 2 for row in found["input_ids"]) == len(ids)
    else:
        assert found["overflowing_tokens"] == ids[10:]


def test_characters_in_an_endless_word_divide_none():
    """Of every code point that no class of ours takes for a divider, no normalization makes one."""
    dividing = re.compile(f"[{DIVIDING_CLASS}]")
    plain = TextNormalizer(), TextNormalizer(clean_text=False, do_lower_case=False, strip_accents=True)
    points = (chr(point) for point in (*range(0xD800), *range(0xE000, 0x10000), *range(0x1F000, 0x1FB00)))
    inside = [char for char in points if not dividing.match(char)]
    for normalizer in plain:
        for char in inside:
            text = normalizer.normalize(char)
            assert not any(dividing.match(each) for each in text)
            assert text or not is_letter(char)


FIELDS = ("ids", "type_ids", "tokens", "offsets", "word_ids", "sequence_ids", "special_tokens_mask")


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("added", [[], ["fox"], ["t!t", AddedToken("x [", lstrip=True)]])
@pytest.mark.parametrize("made", CLASSES)
def test_every_way_of_asking_gives_what_the_whole_text_gives(made, tmp_path, soon, monkeypatch, added, side):
    tokenizer = made(write_vocabulary(tmp_path), truncation_side=side)
    tokenizer.add_tokens(added)
    rng = np.random.default_rng(len(added))
    for turn in range(4):
        texts = [
            "".join(str(word) + " " * int(rng.integers(0, 2)) for word in rng.choice([*LETTERS, *MORE_LETTERS], 16))
            for _ in range(4)
        ]
        length = (4, 9, 12, 40)[turn]
        calls = [
            ((texts[0],), {"return_offsets_mapping": True}),
            ((texts[:2], texts[2:]), {"return_offsets_mapping": True, "padding": True}),
            ((texts[:2], ["the", "fox"]), {"add_special_tokens": False}),
            ((texts[0], texts[0]), {}),
            ((texts[0], texts[1]), {"truncation": "only_second" if turn > 2 else True}),
            ((texts[0].split(" "),), {"is_split_into_words": True, "return_offsets_mapping": True}),
            ((texts[0].split(" "), texts[1].split(" ")), {"is_split_into_words": True}),
            ((texts[:2], texts[2:]), {"return_offsets_mapping": True, **WHOLE}),
            ((texts[0].split(" "), texts[1].split(" ")), {"is_split_into_words": True, **WHOLE}),
        ]
        for texts_of_call, options in calls:
            options = {"truncation": True, "max_length": length, **options}
            if options["truncation"] == "only_second":
                texts_of_call = ("the", texts_of_call[1])
            found = tokenizer(*texts_of_call, **options)
            with monkeypatch.context() as patch:
                patch.setattr(long_texts, "NEVER_LONG", 10**9)  # all of every text
                plain = tokenizer(*texts_of_call, **options)
            assert dict(found) == dict(plain)
            for one, all_of in zip(found.encodings, plain.encodings, strict=True):
                assert [getattr(one, name) for name in FIELDS] == [getattr(all_of, name) for name in FIELDS]


WHOLE = {"truncation": False, "max_length": None, "verbose": False}
ENDLESS = [
    "x" * 200_000,
    "ж" * 200_000,
    "กั" * 100_000,
    "क्षि" * 50_000,
    "한" * 200_000,
    "😀" * 200_000,
    "e\u0301" * 100_000,
]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("made", CLASSES)
def test_little_of_a_long_text_is_looked_at_however_it_is_asked_for(made, tmp_path, side, monkeypatch):
    tokenizer = made(write_vocabulary(tmp_path), truncation_side=side)
    seen: list[int] = []
    if tokenizer.is_fast:
        encode = tokenizer._tokenizer.encode
        note = lambda rows: seen.extend(len(str(row)) for row in rows)  # noqa: E731
        monkeypatch.setattr(tokenizer._tokenizer, "encode", lambda rows, *a, **k: note(rows) or encode(rows, *a, **k))
    else:
        for name in ("ids", "pieces"):
            method = getattr(tokenizer._splitter, name)
            monkeypatch.setattr(
                tokenizer._splitter, name, lambda text, *a, method=method: seen.append(len(text)) or method(text, *a)
            )
    prose = "the fox running " * 20_000
    options = {"truncation": True, "max_length": 17}
    for word in ENDLESS:
        tokenizer([f"{word} fox", f"fox {word}"], [prose, word], **options, return_offsets_mapping=True)
    tokenizer([prose], return_offsets_mapping=True, **options)
    tokenizer([f"{word} fox" for word in ENDLESS], ENDLESS, return_offsets_mapping=True, **WHOLE)
    tokenizer([ENDLESS], is_split_into_words=True, **WHOLE)
    tokenizer([[*(["fox"] * 200_000), ENDLESS[0]]], is_split_into_words=True, **options)
    tokenizer([[ENDLESS[0], "fox", ENDLESS[1]]], is_split_into_words=True, return_offsets_mapping=True, **options)
    if not tokenizer.is_fast:  # the library gives the odd token to the longer of two texts, which must be counted
        tokenizer([prose], [prose + "fox"], truncation=True, max_length=16)
    assert sum(seen) < 400_000


def test_only_the_shorter_of_two_long_texts_is_counted(tmp_path, monkeypatch):
    tokenizer = MobileBertTokenizerFast(write_vocabulary(tmp_path))
    seen, count = [], MobileBertTokenizerFast._count
    monkeypatch.setattr(
        MobileBertTokenizerFast, "_count", lambda self, text, **k: seen.append(len(text)) or count(self, text, **k)
    )
    monkeypatch.setattr(long_texts, "_AT_ONCE", 10_000)
    short, long = "the fox " * 4_000, "the fox " * 40_000
    for pair in ((short, long), (long, short)):
        found = tokenizer(*pair, truncation=True, max_length=128)
        sequences = found.sequence_ids()
        assert sequences.count(int(pair[1] is long)) == 63
    assert sum(seen) < 500_000  # both whole would be 704,000 and more


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("made", CLASSES)
def test_an_endless_word_is_looked_through_once(made, tmp_path, side, monkeypatch):
    """And not at all where the tokens that are wanted come before it."""
    looked: list[int] = []
    plain = word_ends._is_plain
    monkeypatch.setattr(word_ends, "_is_plain", lambda text: looked.append(len(text)) or plain(text))
    tokenizer = made(write_vocabulary(tmp_path), truncation_side=side)
    options = {"truncation": True, "max_length": 16}
    for word in ENDLESS:
        looked.clear()
        tokenizer(word, **options)
        assert len(word) - 20_000 < sum(looked) < 1.05 * len(word)
        looked.clear()
        tokenizer(f"{word} {word}", **options)
        assert sum(looked) < 2.1 * len(word)
        looked.clear()
        prose = "the fox " * 2_000
        tokenizer(word + " " + prose if side == "left" else prose + word, **options)
        assert sum(looked) < 5_000
        looked.clear()
        tokenizer(word, word, truncation=True, max_length=17)
        assert sum(looked) < 4.2 * len(word)


@pytest.mark.parametrize(
    ("token", "word", "wanted"),
    [
        ("fox", "FOXXOF" * 50_000, None),  # found in lower case
        ("fox", "xof" * 100_000, 1),  # the letters of it, and nowhere the token
        ("fox", "f\x00ox" + "xof" * 100_000, None),  # cleaning removes what stands in it
    ],
)
@pytest.mark.parametrize("made", CLASSES)
def test_an_added_token_that_is_nowhere_in_an_endless_word(made, tmp_path, monkeypatch, token, word, wanted):
    tokenizer = made(write_vocabulary(tmp_path))
    tokenizer.add_tokens([token])
    seen, count = [], made._count
    monkeypatch.setattr(made, "_count", lambda self, *a, **k: seen.append(len(a[0])) or count(self, *a, **k))
    found = tokenizer(word, truncation=True, max_length=16)["input_ids"][1:-1]
    assert found == whole(tokenizer, word[:20_000])[:14] and (wanted is None or len(found) == wanted)
    assert sum(seen) < 60_000
