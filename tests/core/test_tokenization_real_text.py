"""Both tokenizers on real texts and the real vocabulary, which are not in the repository."""

from __future__ import annotations

import json

import pytest

from mobilebert_core import MobileBertTokenizer, MobileBertTokenizerFast
from tests.core.tokenizers import real_data

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def tokenizers():
    vocabulary = real_data("vocab", "vocab.txt")
    return MobileBertTokenizer(vocabulary), MobileBertTokenizerFast(vocabulary)


def _agree(slow, fast, texts):
    ours, theirs = slow(texts, return_offsets_mapping=True), fast(texts, return_offsets_mapping=True)
    assert dict(ours) == dict(theirs)
    assert [e.word_ids for e in ours.encodings] == [e.word_ids for e in theirs.encodings]
    assert slow.batch_decode(ours["input_ids"]) == fast.batch_decode(theirs["input_ids"])


def test_both_agree_on_comments(tokenizers):
    lines = real_data("goemotions", "dev.tsv").read_text(encoding="utf-8").splitlines()
    _agree(*tokenizers, [line.split("\t")[0] for line in lines])


def test_both_agree_on_paragraphs_and_find_answers(tokenizers):
    paragraphs = [
        paragraph
        for article in json.loads(real_data("xquad", "xquad.en.json").read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
    ]
    _agree(*tokenizers, [paragraph["context"] for paragraph in paragraphs])
    for paragraph in paragraphs:  # an answer's characters lead to the tokens that decode to it
        context = paragraph["context"]
        for question in paragraph["qas"][:1]:
            answer = question["answers"][0]
            encoding = tokenizers[0](question["question"], context)
            start = encoding.char_to_token(0, answer["answer_start"], sequence_index=1)
            end = encoding.char_to_token(0, answer["answer_start"] + len(answer["text"].rstrip()) - 1, sequence_index=1)
            first, last = encoding.token_to_chars(start), encoding.token_to_chars(end)
            assert context[first.start : last.end].startswith(answer["text"][:1])
            assert answer["text"].rstrip() in context[first.start : last.end]


def test_both_agree_on_words(tokenizers):
    slow, fast = tokenizers
    lines = real_data("wnut17", "emerging.dev.conll").read_text(encoding="utf-8").split("\n")
    sentences: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            sentences[-1].append(line.split("\t")[0])
        elif sentences[-1]:
            sentences.append([])
    sentences = [sentence for sentence in sentences if sentence]
    ours = slow(sentences, is_split_into_words=True, return_offsets_mapping=True)
    theirs = fast(sentences, is_split_into_words=True, return_offsets_mapping=True)
    assert dict(ours) == dict(theirs)
    assert [e.word_ids for e in ours.encodings] == [e.word_ids for e in theirs.encodings]
