"""What truncation keeps of texts and pairs, and what it cannot do."""

from __future__ import annotations

import pytest

from mobilebert_core import MobileBertTokenizer, MobileBertTokenizerFast
from mobilebert_core.errors import TokenizerError

pytestmark = pytest.mark.filterwarnings("error")


def test_truncation_by_hand(tokenizer):
    assert tokenizer.truncate_sequences([1, 2, 3, 4], num_tokens_to_remove=2, stride=1) == ([1, 2], None, [2, 3, 4])
    assert tokenizer.truncate_sequences([1, 2, 3], [4, 5], 2) == ([1, 2], [4], [])
    assert tokenizer.truncate_sequences([1], [4, 5], 1, "only_second") == ([1], [4], [5])
    tokenizer.truncation_side = "left"
    assert tokenizer.truncate_sequences([1, 2, 3, 4], num_tokens_to_remove=1) == ([2, 3, 4], None, [1])


def test_windows_of_the_fast_tokenizer(vocabulary):
    tokenizer = MobileBertTokenizerFast(vocabulary)
    options = {"max_length": 8, "stride": 2, "truncation": "only_second", "return_overflowing_tokens": True}
    windows = tokenizer(["fox", "dog"], ["a b c d e f g", "a"], **options, padding=True)
    assert windows["overflow_to_sample_mapping"] == [0, 0, 0, 1]
    assert windows.tokens(1) == ["[CLS]", "fox", "[SEP]", "c", "d", "e", "f", "[SEP]"]
    assert windows["token_type_ids"][1] == [0, 0, 0, 1, 1, 1, 1, 1]
    assert windows.char_to_token(1, 4, sequence_index=1) == 3
    single = tokenizer("fox", "a b c d e f g", **options)
    assert len(single["input_ids"]) == 3
    assert MobileBertTokenizer(vocabulary)("fox", "a b c d e f", **options)["num_truncated_tokens"] == 2


def test_what_cannot_be_shortened_is_an_error(tokenizer):
    long, short = "a b c d e f g h", "fox"
    for options, message in (
        ({"truncation": "only_first", "max_length": 6}, r"truncation='only_first'.*longest_first"),
        ({"truncation": True, "max_length": 2}, "wanted room for the 3 special tokens, got 2"),
        ({"truncation": "sideways"}, "truncation: wanted True, False or one of .*got 'sideways'"),
        ({"padding": "wide"}, "padding: wanted True, False or one of"),
        ({"max_length": 0}, "max_length: wanted a whole number above 0"),
        ({"padding": True, "truncation": True, "max_length": 9, "pad_to_multiple_of": 8}, "wanted a multiple of"),
        ({"pad_to_maximal_length": True}, "wanted options it knows, got 'pad_to_maximal_length'"),
    ):
        with pytest.raises(TokenizerError, match=message):
            tokenizer(short, long, **options)
    with pytest.raises(TokenizerError, match="only_second': wanted a second text"):
        tokenizer(long, truncation="only_second", max_length=4)


# What is left of two texts of so many tokens, in transformers' class on the tokenizers library and in its slow one.
# They give the token that cannot be shared to the longer text, the second of equal ones, and to the first.
ODD_REST = {(9, 9): ((2, 3), (3, 2)), (9, 4): ((3, 2), (3, 2)), (4, 9): ((2, 3), (3, 2)), (9, 1): ((4, 1), (4, 1))}


@pytest.mark.parametrize(("lengths", "kept"), ODD_REST.items())
def test_the_odd_rest_of_two_texts_goes_where_transformers_has_it(vocabulary, lengths, kept):
    texts = [" ".join("abcdefghi"[:length]) for length in lengths]
    for tokenizer, wanted in zip((MobileBertTokenizerFast(vocabulary), MobileBertTokenizer(vocabulary)), kept,
                                 strict=True):  # fmt: skip
        sequences = tokenizer(*texts, truncation=True, max_length=8).sequence_ids()
        assert (sequences.count(0), sequences.count(1)) == wanted


@pytest.mark.parametrize("strategy", ["only_first", "only_second"])
def test_room_for_the_special_tokens_alone(vocabulary, strategy):
    """The library empties both texts then, whichever may be cut. The slow one of transformers logs an error and cuts
    nothing; ours says the error."""
    fast, slow = MobileBertTokenizerFast(vocabulary), MobileBertTokenizer(vocabulary)
    pair = {"text": "a b c", "text_pair": "d e", "truncation": strategy, "max_length": 3}
    assert fast(**pair).tokens() == ["[CLS]", "[SEP]", "[SEP]"]
    with pytest.raises(TokenizerError, match=f"truncation='{strategy}': 5 tokens must go to fit max_length"):
        slow(**pair)
    for tokenizer in (fast, slow):
        assert tokenizer("a b c", truncation=True, max_length=2).tokens() == ["[CLS]", "[SEP]"]


def test_stride_that_leaves_no_room(vocabulary):
    tokenizer = MobileBertTokenizerFast(vocabulary)
    with pytest.raises(TokenizerError, match="stride: wanted at most 2 for max_length=5 .* got 3"):
        tokenizer("a b c d e f", truncation=True, max_length=5, stride=3)
    options = {"truncation": True, "max_length": 5, "add_special_tokens": False, "return_overflowing_tokens": True}
    windows = tokenizer(["a b c d e f"], **options, stride=3)
    assert [windows.tokens(row) for row in range(2)] == [list("abcde"), list("cdef")]
    with pytest.raises(TokenizerError, match="stride: wanted at most 3 for max_length=5"):
        tokenizer("a b c d e f", **options, stride=4)
