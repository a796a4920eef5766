"""Tokenizer files with other types, keys left out, ids that cannot be: read, or refused by file and key."""

from __future__ import annotations

import copy
import json

import pytest

from mobilebert_core import AddedToken, AutoTokenizer
from mobilebert_core.errors import MobileBertError, TokenizerError
from tests.core.tokenizers import CLASSES, write_vocabulary

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fox", "the", "##s"]
GONE = object()
VALUES = [
    GONE, None, True, 0, -1, 1.5, 1e300, float("nan"), float("inf"), 10**8, 10**30, "", "5", "text", "\ud800", [], {},
    [1], [None], [[]], {"a": 1}, {"content": 5}, {"content": "\ud800"}, {"0": {"content": "fox"}}, [{"content": "fox"}],
]  # fmt: skip
LINES = [
    None, "", "null", "true", "0", "[]", " ", "fox", "[UNK]", "##", "\x00", "\ufeff", "\u2028", "[SEP]", "x" * 10_000,
]  # fmt: skip
PARTS = {"vocab": 2, "added_tokens": 1}  # how many items stand for all
NOT_READ = ("post_processor", "decoder", "pre_tokenizer")  # in tokenizer.json: they are as for every BERT


def places(value, path=()):
    """Every path in JSON data."""
    if path:
        yield path
    if isinstance(value, dict | list) and not (path and path[-1] in NOT_READ):
        items = list(value.items() if isinstance(value, dict) else enumerate(value))
        for key, item in items[: PARTS.get(path[-1]) if path else None]:
            yield from places(item, (*path, key))


def mutants(data):
    for path in places(data):
        for value in VALUES:
            changed = copy.deepcopy(data)
            target = changed
            for key in path[:-1]:
                target = target[key]
            if value is GONE:
                del target[path[-1]]
            else:
                target[path[-1]] = value
            yield (path, "gone" if value is GONE else value), json.dumps(changed)


def use(made, folder):
    """None where the tokenizer is read and works; what was said where it is refused; fails otherwise."""
    try:
        tokenizer = made(folder)
        found = tokenizer(["the foxs <new>", "fox"], padding="max_length", max_length=9, truncation=True)
        assert [len(row) for row in found[tokenizer.model_input_names[0]]] == [9, 9]
        tokenizer.decode([1, 2, 5])
        repr(tokenizer)
        len(tokenizer)
    except MobileBertError as error:
        return str(error)
    return None


@pytest.fixture
def saved(tmp_path):
    tokenizer = CLASSES[0](write_vocabulary(tmp_path / "first", VOCABULARY), model_max_length=40)
    tokenizer.add_tokens([AddedToken("<new>")])
    tokenizer.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    every = {"do_basic_tokenize": True, "never_split": None, "tokenize_chinese_chars": True, "strip_accents": None,
             "clean_text": True, "wordpieces_prefix": "##", "max_input_chars_per_word": 100, "padding_side": "right",
             "truncation_side": "right", "model_input_names": ["input_ids"], "split_special_tokens": False,
             "pad_token_type_id": 0, "do_lower_case": True, "bos_token": None, "extra_special_tokens": ["<e>"],
             "additional_special_tokens": ["<e>"], "max_len": 40, "own": 1}  # fmt: skip
    config["added_tokens_decoder"] = dict(list(config["added_tokens_decoder"].items())[-2:])
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, **every}))
    return tmp_path


def read(kind):
    return lambda folder: AutoTokenizer.from_pretrained(folder, use_fast=kind == "fast")


@pytest.mark.parametrize("kind", ["fast", "slow"])
@pytest.mark.parametrize(
    "name", ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"]
)
def test_values_of_another_type(saved, name, kind):
    data = json.loads((saved / name).read_text())
    if name == "tokenizer.json":
        (saved / "vocab.txt").unlink()
    else:
        (saved / "tokenizer.json").unlink()
    if name in ("special_tokens_map.json", "added_tokens.json"):
        (saved / "tokenizer_config.json").unlink()
    assert use(read(kind), saved) is None
    said, wrong = {}, []
    for what, text in mutants(data):
        (saved / name).write_text(text)
        try:
            said[repr(what)] = use(read(kind), saved)
        except BaseException as error:  # a panic of the library is no Exception
            wrong.append((what, repr(error)[:200]))
    assert not wrong, f"{len(wrong)} of {len(said) + len(wrong)}: {wrong[:5]}"
    refused = {what: message for what, message in said.items() if message}
    assert len(refused) < len(said)
    assert len(refused) > len(said) / 5
    # What is only missed in use, and no fault of the file's, is named without it.
    named = (str(saved), "cls_token", "sep_token", "pad_token", "Use MobileBertTokenizer")
    for what, message in refused.items():
        assert any(part in message for part in named), (what, message)


@pytest.mark.parametrize("kind", ["fast", "slow"])
def test_lines_of_the_vocabulary(saved, kind):
    (saved / "tokenizer.json").unlink()
    (saved / "added_tokens.json").unlink()
    (saved / "tokenizer_config.json").unlink()
    wrong = []
    for number in range(len(VOCABULARY)):
        for line in LINES:
            lines = [line if at == number else old for at, old in enumerate(VOCABULARY)]
            (saved / "vocab.txt").write_text("".join(f"{new}\n" for new in lines if new is not None), encoding="utf-8")
            try:
                use(read(kind), saved)
            except BaseException as error:
                wrong.append((number, line, repr(error)[:200]))
    assert not wrong


@pytest.mark.parametrize("made", CLASSES)
def test_ids_that_stand_twice_or_far_away(saved, made):
    (saved / "vocab.txt").unlink()
    file = saved / "tokenizer.json"
    data = json.loads(file.read_text())
    vocabulary = data["model"]["vocab"]
    for index, message in (
        (6, r"tokenizer\.json: model: vocab: .*got 'fox' and 'the' with the id 6"),
        (10**8, r"tokenizer\.json: wanted ids below 1000000 for 9 tokens, got 'fox' with the id 100000000"),
    ):
        file.write_text(json.dumps({**data, "model": {**data["model"], "vocab": {**vocabulary, "fox": index}}}))
        with pytest.raises(TokenizerError, match=message):
            made.from_pretrained(saved)
    twice = [*data["added_tokens"], {**data["added_tokens"][0], "content": "other"}]
    file.write_text(json.dumps({**data, "added_tokens": twice}))
    with pytest.raises(TokenizerError, match=r"added_tokens: wanted one token with the id 0, got \[PAD\] and other"):
        made.from_pretrained(saved)


@pytest.mark.parametrize("made", CLASSES)
def test_keywords_of_another_type(tmp_path, made):
    path = write_vocabulary(tmp_path, VOCABULARY)
    for keywords in (
        {"do_lower_case": "yes"}, {"strip_accents": 5}, {"max_input_chars_per_word": "9"}, {"mask_token": 5},
        {"model_input_names": "input_ids"}, {"additional_special_tokens": "[E]"}, {"model_max_length": "40"},
        {"added_tokens_decoder": {"x": "y"}}, {"never_split": 5},
    ):  # fmt: skip
        with pytest.raises(TokenizerError, match=next(iter(keywords))):
            made(path, **keywords)
    assert made(path, do_lower_case=1, model_max_length=1e30).tokenize("FOX") == ["fox"]


def test_a_tokenizer_that_puts_nothing_around_a_text_is_saved_without_what_cannot_say_so(tmp_path):
    tokenizer = CLASSES[0](write_vocabulary(tmp_path, VOCABULARY), cls_token=None)
    assert tokenizer.encode("fox", add_special_tokens=False) == [5]
    tokenizer.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved" / "tokenizer.json").exists()
    with pytest.raises(TokenizerError, match="cls_token: wanted a token"):
        CLASSES[1](tmp_path / "vocab.txt", cls_token=None)
