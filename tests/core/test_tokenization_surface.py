"""What scripts for transformers 4.37.2 pass to a tokenizer and ask it for."""

from __future__ import annotations

import copy
import pickle

import pytest
import tokenizers

from mobilebert_core import DEMO_MODEL, AutoTokenizer, MobileBertTokenizerFast
from mobilebert_core.errors import ConfigError, InputError


@pytest.fixture(params=[True, False], ids=["fast", "python"])
def tokenizer(request):
    return AutoTokenizer.from_pretrained(DEMO_MODEL, use_fast=request.param, from_slow=True, _from_auto=True)


def test_padding_in_the_words_of_before_transformers_3(tokenizer):
    texts = ["one", "two or three"]
    for old, new in (
        ({"pad_to_max_length": True, "max_length": 8}, {"padding": "max_length", "max_length": 8, "truncation": True}),
        ({"pad_to_max_length": True}, {"padding": "longest"}),
        ({"pad_to_max_length": False}, {}),
        (
            {"truncation_strategy": "only_first", "max_length": 4, "pad_to_max_length": True},
            {"truncation": "only_first", "max_length": 4, "padding": "max_length"},
        ),
    ):
        assert tokenizer(texts, **old) == tokenizer(texts, **new), old


def test_ids_of_no_token_read_as_unknown(tokenizer):
    words = tokenizer.convert_tokens_to_ids(["a", "b"])
    assert tokenizer.decode([words[0], -100, words[1]], clean_up_tokenization_spaces=False) == "a [UNK] b"
    assert tokenizer.batch_decode([[-100], words]) == ["[UNK]", "a b"]
    beyond = [words[0], len(tokenizer), 10**12]
    assert tokenizer.decode(beyond) == tokenizer.decode(beyond, skip_special_tokens=True) == "a [UNK] [UNK]"


def test_the_unknown_token_can_be_taken_away(tokenizer):
    before = tokenizer("☃ a")
    tokenizer.unk_token = None
    assert tokenizer.unk_token is None and tokenizer.unk_token_id is None
    assert tokenizer("☃ a") == before
    assert tokenizer.convert_tokens_to_ids("☃") is None
    for other in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert other("☃ a") == before and other.unk_token is None


def test_spaces_between_special_tokens():
    tokenizer = AutoTokenizer.from_pretrained(DEMO_MODEL, use_fast=False)
    tokenizer.add_tokens(["<x>", "<y>"])
    ids = tokenizer.convert_tokens_to_ids(["a", "<x>", "<y>", "b"])
    assert tokenizer.decode(ids) == "a <x> <y> b"
    assert tokenizer.decode(ids, spaces_between_special_tokens=False) == "a<x><y>b"


def test_init_kwargs_make_the_tokenizer_again(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = type(tokenizer)(**type(tokenizer).from_pretrained(tmp_path).init_kwargs)
    assert again.vocab_file == again.init_kwargs["vocab_file"] == str(tmp_path / "vocab.txt")
    assert type(tokenizer).max_model_input_sizes == {"mobilebert-uncased": 512}
    assert again("It isn't. ☃") == tokenizer("It isn't. ☃") and again.model_max_length == tokenizer.model_max_length


def test_saving_names_a_keyword_that_it_does_not_know(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path, push_to_hub=False, token=None)
    with pytest.raises(ConfigError, match="save_pretrained: no such keyword: 'legacy'"):
        tokenizer.save_pretrained(tmp_path, legacy=True)


def test_a_new_vocabulary_keeps_the_settings():
    old = MobileBertTokenizerFast.from_pretrained(DEMO_MODEL, model_max_length=77, padding_side="left")
    batches = [["hello world, hello", "mobile worlds"], ["hello mobile"]] * 4
    new = old.train_new_from_iterator(iter(batches), 70, length=8, new_special_tokens=["<x>"],
                                      special_tokens_map={"[MASK]": "<mask>"})  # fmt: skip
    assert new.tokenize("Hello <x> world <mask>") == ["hello", "<x>", "world", "<mask>"]
    assert new.mask_token == "<mask>" and new.additional_special_tokens == ["<x>"] and len(new) <= 70
    assert (new.model_max_length, new.padding_side) == (77, "left")
    assert set(new.all_special_ids) == set(range(len(new.all_special_tokens)))
    assert len(old) == 8000 and old.mask_token == "[MASK]"
    for size in (-1, 2.5, 10**20):
        with pytest.raises(InputError, match="vocabulary: size must be a whole number"):
            old.train_new_from_iterator(batches, size)


def test_special_tokens_under_every_name(tokenizer):
    tokenizer.add_special_tokens({"additional_special_tokens": ["<x>"]})
    named = tokenizer.special_tokens_map_extended
    assert {name: str(token) for name, token in named.items() if name != "additional_special_tokens"} == {
        name: text for name, text in tokenizer.special_tokens_map.items() if name != "additional_special_tokens"
    }
    assert [str(token) for token in named["additional_special_tokens"]] == ["<x>"]
    assert [str(token) for token in tokenizer.all_special_tokens_extended] == tokenizer.all_special_tokens
    assert tokenizer.sanitize_special_tokens() == 0  # all are in the vocabulary already


def test_special_tokens_as_scripts_look_for_them(tokenizer):
    assert tokenizer._pad_token is not None and tokenizer._eos_token is None and tokenizer.init_inputs == ()
    theirs = tokenizers.AddedToken("<end>", rstrip=True, special=True, normalized=False)
    tokenizer.add_special_tokens({"eos_token": theirs})
    assert tokenizer._eos_token == theirs and theirs == tokenizer.added_tokens_decoder[tokenizer.eos_token_id]
    assert theirs in tokenizer.all_special_tokens_extended
    assert tokenizer._eos_token != "<end>" and tokenizer._eos_token != tokenizers.AddedToken("<end>", special=True)
    assert {tokenizer._eos_token: 1}[tokenizer._eos_token] == 1
    ids = tokenizer.convert_tokens_to_ids(["a", "<end>"])  # as the collator for whole words asks in transformers 4
    assert [tokenizer._convert_id_to_token(index) for index in (*ids, 10**6)] == ["a", "<end>", "[UNK]"]
    assert [tokenizer._convert_token_to_id(token) for token in ("a", "<end>")] == ids


def test_additional_tokens_by_the_names_of_transformers_5(tokenizer, tmp_path):
    extra = {"extra_special_tokens": ["<a>", "<b>"]}
    assert tokenizer.add_special_tokens(extra) == 2
    tokenizer.add_special_tokens({"extra_special_tokens": ["<c>"]}, replace_extra_special_tokens=False)
    assert tokenizer.extra_special_tokens == tokenizer.additional_special_tokens == ["<a>", "<b>", "<c>"]
    assert tokenizer.extra_special_tokens_ids == tokenizer.convert_tokens_to_ids(["<a>", "<b>", "<c>"])
    tokenizer.extra_special_tokens = ["<a>"]
    assert tokenizer.additional_special_tokens == ["<a>"]
    tokenizer.save_pretrained(tmp_path, save_jinja_files=False)
    assert type(tokenizer).from_pretrained(DEMO_MODEL, **extra).extra_special_tokens == ["<a>", "<b>"]


def test_the_warning_of_long_texts_is_silenced_as_in_transformers(tokenizer, caplog):
    tokenizer.model_max_length = 4
    tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
    tokenizer("one two three four five")
    assert not caplog.text
    tokenizer.deprecation_warnings = {}
    tokenizer("one two three four five")
    tokenizer("one two three four five")
    assert caplog.text.count("longer than model_max_length (4)") == 1 and len(tokenizer.deprecation_warnings) == 1


def test_the_models_own_words_by_their_ids():
    tokenizer = AutoTokenizer.from_pretrained(DEMO_MODEL, use_fast=False)
    before = tokenizer.get_vocab()
    tokenizer.add_tokens(["<x>"])
    assert {text: index for index, text in tokenizer.ids_to_tokens.items()} == before
