"""What the tokenizers do beside finding pieces: options, special tokens, tensors, padding, look-ups, errors."""

from __future__ import annotations

import copy
import logging
import pickle
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest

from mobilebert_core import AddedToken, BasicTokenizer, BatchEncoding, MobileBertTokenizer, MobileBertTokenizerFast
from mobilebert_core.errors import BackendMissingError, CheckpointNotFoundError, TokenizerError
from tests.core.tokenizers import CLASSES, ids_of, write_vocabulary
from tests.golden.record_tokenization import VOCABULARY

pytestmark = pytest.mark.filterwarnings("error")
TEXT = "A naïve [MASK] running fox."


def test_importing_core_imports_no_framework_and_no_library():
    code = (
        "import sys; import mobilebert_core; mobilebert_core.MobileBertTokenizer;"
        "print([m for m in ('tokenizers', 'torch', 'tensorflow', 'keras') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_methods_of_the_page(tokenizer):
    cls, sep, the, fox = ids_of("[CLS]", "[SEP]", "the", "fox")
    assert tokenizer.build_inputs_with_special_tokens([the]) == [cls, the, sep]
    assert tokenizer.build_inputs_with_special_tokens([the], [fox]) == [cls, the, sep, fox, sep]
    assert tokenizer.create_token_type_ids_from_sequences([the]) == [0, 0, 0]
    assert tokenizer.create_token_type_ids_from_sequences([the], [fox, the]) == [0, 0, 0, 1, 1, 1]
    assert tokenizer.get_special_tokens_mask([the], [fox]) == [1, 0, 1, 0, 1]
    assert tokenizer.get_special_tokens_mask([cls, the, sep], already_has_special_tokens=True) == [1, 0, 1]
    assert tokenizer.convert_tokens_to_string(["run", "##ning", "fox"]) == "running fox"
    assert tokenizer.num_special_tokens_to_add() == 2
    assert tokenizer.num_special_tokens_to_add(pair=True) == 3
    with pytest.raises(TokenizerError, match="wanted one sequence"):
        tokenizer.get_special_tokens_mask([cls], [sep], already_has_special_tokens=True)


def test_tokens_and_ids(tokenizer):
    tokens = ["a", "naive", "[MASK]", "run", "##ning", "fox", "."]
    assert tokenizer.tokenize(TEXT) == tokens
    assert tokenizer.tokenize("fox", "dog", add_special_tokens=True) == ["[CLS]", "fox", "[SEP]", "dog", "[SEP]"]
    assert tokenizer.convert_tokens_to_ids(tokens) == ids_of(*tokens)
    assert tokenizer.convert_ids_to_tokens(np.array(ids_of(*tokens))) == tokens
    assert tokenizer.convert_ids_to_tokens(ids_of("[CLS]", "fox"), skip_special_tokens=True) == ["fox"]
    assert tokenizer.convert_tokens_to_ids("nowhere") == tokenizer.unk_token_id
    assert tokenizer.convert_ids_to_tokens(VOCABULARY.index("fox")) == "fox"
    assert tokenizer.encode(tokens) == tokenizer.encode(ids_of(*tokens)) == ids_of("[CLS]", *tokens, "[SEP]")
    assert tokenizer.encode("fox", "dog") == ids_of("[CLS]", "fox", "[SEP]", "dog", "[SEP]")
    assert tokenizer.batch_encode_plus([("fox", "dog"), ("a", "the")])["input_ids"][1] == tokenizer.encode("a", "the")


@pytest.mark.parametrize("pair", [tuple, list])
def test_a_list_of_pairs_is_one_of_pairs(tokenizer, pair):
    pairs = [pair(("fox", "dog")), pair(("a", "the"))]
    expected = tokenizer(["fox", "a"], ["dog", "the"])
    assert tokenizer(pairs) == tokenizer.batch_encode_plus(pairs) == expected
    assert tokenizer([pairs[0], "a"])["input_ids"] == [expected["input_ids"][0], tokenizer.encode("a")]
    words = [pair((["fox", "dog"], ["a"]))]
    assert tokenizer(words, is_split_into_words=True) == tokenizer([words[0][0]], [["a"]], is_split_into_words=True)
    assert tokenizer([pairs[0]], is_split_into_words=True)["input_ids"] == [tokenizer.encode("fox dog")]
    assert tokenizer([ids_of("fox", "dog")])["input_ids"] == [tokenizer.encode("fox dog")]
    for other in (["fox"], ["fox", "dog", "a"]):
        with pytest.raises(TokenizerError, match=f"row 1: wanted a text, or .* got a list of {len(other)}.*words"):
            tokenizer([pairs[0], pair(other)])


def test_ways_of_calling_agree(tokenizer):
    one = tokenizer(TEXT)
    assert tokenizer.encode_plus(TEXT) == one
    assert tokenizer([TEXT])["input_ids"] == [one["input_ids"]]
    assert tokenizer.batch_encode_plus([TEXT, "fox"]) == tokenizer([TEXT, "fox"])
    prepared = tokenizer.prepare_for_model(tokenizer.encode(TEXT, add_special_tokens=False))
    assert prepared == one
    assert tokenizer([])["input_ids"] == []
    labelled = tokenizer(text="fox", text_target="dog")
    assert labelled["labels"] == tokenizer("dog")["input_ids"]


def test_the_vocabulary_and_its_special_tokens(tokenizer):
    assert tokenizer.vocab_size == len(tokenizer) == len(VOCABULARY)
    assert tokenizer.get_vocab() == {token: index for index, token in enumerate(VOCABULARY)}
    assert tokenizer.get_added_vocab() == {
        token: VOCABULARY.index(token) for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    }
    assert tokenizer.all_special_tokens == ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"]
    assert tokenizer.all_special_ids == ids_of(*tokenizer.all_special_tokens)
    assert (tokenizer.mask_token, tokenizer.mask_token_id) == ("[MASK]", VOCABULARY.index("[MASK]"))
    assert tokenizer.bos_token is tokenizer.bos_token_id is None
    assert tokenizer.model_max_length > 1e29
    assert tokenizer.model_input_names == ["input_ids", "token_type_ids", "attention_mask"]
    assert "vocab_size=" in repr(tokenizer)


def test_added_tokens(tokenizer):
    size = len(tokenizer)
    assert tokenizer.add_tokens(["NewTok", "fox", "NewTok"]) == 1
    assert tokenizer.add_tokens("[E1]", special_tokens=True) == 1
    assert tokenizer.add_tokens(["[CLS]", "[E1]"]) == 0
    assert tokenizer.add_special_tokens({"additional_special_tokens": ["[E2]"], "eos_token": "[EOS]"}) == 2
    assert len(tokenizer) == size + 4 and tokenizer.vocab_size == size
    assert tokenizer("newtok NEWTOK[E1]x[EOS]")["input_ids"][1:-1] == [size, size, size + 1, *ids_of("x"), size + 3]
    assert tokenizer.convert_tokens_to_ids(["NewTok", "newtok", "[E2]"]) == [size, size, size + 2]
    listed = "NewTok" if tokenizer.is_fast else "newtok"
    assert listed in tokenizer.get_added_vocab()
    assert tokenizer.decode([size, size + 1], skip_special_tokens=False) == f"{listed} [E1]"
    assert tokenizer.decode([size, size + 2, size + 3], skip_special_tokens=True) == listed
    assert tokenizer.eos_token_id == size + 3
    assert "[E2]" in tokenizer.additional_special_tokens
    with pytest.raises(TokenizerError, match=r"wanted names among .*got 'colour_token'"):
        tokenizer.add_special_tokens({"colour_token": "[X]"})
    with pytest.raises(TokenizerError, match="wanted a list of tokens"):
        tokenizer.add_special_tokens({"additional_special_tokens": "[X]"})
    with pytest.raises(TokenizerError, match="wanted a string or an AddedToken, got int"):
        tokenizer.add_tokens([3])


def test_library_tokens_are_taken(tokenizer):
    from tokenizers import AddedToken as LibraryToken

    tokenizer.add_tokens([LibraryToken("left", lstrip=True), AddedToken("alone", single_word=True)])
    encoding = tokenizer("fox  left alonex", return_offsets_mapping=True)
    assert encoding["offset_mapping"][2] == (3, 9)
    assert len(tokenizer) not in encoding["input_ids"] and encoding.tokens()[3] != "alone"


def test_special_tokens_can_be_set(tokenizer):
    tokenizer.sep_token = "[unused0]"
    assert tokenizer("fox")["input_ids"] == ids_of("[CLS]", "fox", "[unused0]")
    assert tokenizer("fox", "dog").tokens() == ["[CLS]", "fox", "[unused0]", "dog", "[unused0]"]
    tokenizer.cls_token_id = VOCABULARY.index("the")
    assert tokenizer.cls_token == "the"
    tokenizer.pad_token = None
    with pytest.raises(TokenizerError, match="wanted a pad_token"):
        tokenizer(["fox", "a fox"], padding=True)
    tokenizer.mask_token = "<mask>"
    with pytest.raises(TokenizerError, match=r"mask_token: wanted a token of the vocabulary.*add_special_tokens"):
        _ = tokenizer.mask_token_id
    with pytest.raises(TokenizerError, match="wanted a vocabulary that holds the unk_token"):
        tokenizer.unk_token = "<unk>"


def test_split_special_tokens(tokenizer):
    assert tokenizer.tokenize("[MASK]", split_special_tokens=True) == ["[", "mask", "]"]
    assert tokenizer.tokenize("[MASK]") == ["[MASK]"]


def test_options_of_the_slow_tokenizer(vocabulary):
    kept = MobileBertTokenizer(vocabulary, never_split=["running", "HELLO", "don't"])
    assert kept.tokenize("running HELLO don't fox runNING") == ["running", "HELLO", "don't", "fox", "running"]
    encoding = kept("fox  don't", return_offsets_mapping=True)
    assert encoding["offset_mapping"] == [(0, 0), (0, 3), (5, 10), (0, 0)]
    assert kept("fox  don't")["input_ids"] == encoding["input_ids"] == ids_of("[CLS]", "fox", "[UNK]", "[SEP]")
    plain = MobileBertTokenizer(vocabulary, do_basic_tokenize=False)
    assert plain.tokenize("running Fox the,dog [MASK]") == ["run", "##ning", "[UNK]", "[UNK]", "[MASK]"]
    assert plain("a\tfox")["input_ids"] == ids_of("[CLS]", "a", "fox", "[SEP]")
    assert BasicTokenizer(do_split_on_punc=False).tokenize("Don't STOP.") == ["don't", "stop."]
    assert BasicTokenizer(never_split=["[UNK]"]).tokenize(" \tHeLLo!how  [UNK]") == ["hello", "!", "how", "[UNK]"]
    for options in ({"never_split": ["x"]}, {"do_basic_tokenize": False}):
        with pytest.raises(TokenizerError, match="Use MobileBertTokenizer"):
            MobileBertTokenizerFast(vocabulary, **options)


def test_options_that_transformers_ignores(tmp_path):
    vocabulary = write_vocabulary(
        tmp_path, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "run", "@@ning", "a\x07b", "ab"]
    )
    for made in CLASSES:
        assert made(vocabulary, wordpieces_prefix="@@").tokenize("running") == ["run", "@@ning"]
        assert made(vocabulary).tokenize("a\x07b") == ["ab"]
        assert made(vocabulary, clean_text=False).tokenize("a\x07b") == ["a\x07b"]


def test_missing_special_tokens_are_appended(tmp_path):
    vocabulary = write_vocabulary(tmp_path, ["[PAD]", "[UNK]", "[CLS]", "fox"])
    for made in CLASSES:
        tokenizer = made(vocabulary)
        assert (tokenizer.sep_token_id, tokenizer.mask_token_id, len(tokenizer)) == (4, 5, 6)
        assert tokenizer("fox [MASK]")["input_ids"] == [2, 3, 5, 4]


@pytest.mark.parametrize("kind", ["np", "pt", "tf"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow")
def test_tensors_of_every_framework(tokenizer, kind):
    if kind != "np":
        import_module({"pt": "torch", "tf": "tensorflow"}[kind])
    batch = tokenizer(["fox", "a fox"], padding=True, return_tensors=kind, return_offsets_mapping=True)
    assert tuple(batch.input_ids.shape) == (2, 4)
    assert tuple(batch.offset_mapping.shape) == (2, 4, 2)
    assert str(batch["attention_mask"].dtype).replace("<dtype: '", "").endswith("int32'>" if kind == "tf" else "int64")
    assert tokenizer("fox", return_tensors=kind)["input_ids"].shape[0] == 1
    assert tokenizer.encode("fox", return_tensors=kind).shape[0] == 1
    assert tokenizer.decode(batch.input_ids[1], skip_special_tokens=True) == "a fox"
    assert tokenizer.batch_decode(batch.input_ids, skip_special_tokens=True) == ["fox", "a fox"]
    assert tokenizer.pad({"input_ids": batch.input_ids}, padding="max_length", max_length=6).input_ids.shape[1] == 6
    with pytest.raises(TokenizerError, match=r"input_ids: wanted rows of equal length.*got lengths 3, 4.*padding=True"):
        tokenizer(["fox", "a fox"], return_tensors=kind)
    if kind == "pt":
        assert batch.to("cpu", non_blocking=True) is batch
    with pytest.raises(TokenizerError, match="wanted 'np', 'pt' or 'tf', got 'jax'"):
        tokenizer("fox", return_tensors="jax")


def test_a_framework_that_is_missing(tokenizer, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendMissingError, match=r"wanted the package torch.*return_tensors='np'"):
        tokenizer("fox", return_tensors="pt")


def test_padding_of_encodings(tokenizer):
    rows = [tokenizer("fox"), tokenizer("a lazy fox")]
    before = copy.deepcopy(rows)
    padded = tokenizer.pad(rows, pad_to_multiple_of=8, return_tensors="np")
    assert padded["input_ids"].shape[1] % 8 == 0
    assert rows == before
    assert tokenizer.pad({"input_ids": [2, 5], "labels": 1}, padding="max_length", max_length=4) == {
        "input_ids": [2, 5, 0, 0],
        "labels": 1,
        "attention_mask": [1, 1, 0, 0],
    }
    rows = [{"input_ids": [2]}, {"input_ids": [2, 5]}]
    assert tokenizer.pad(rows, padding_side="left")["input_ids"] == [[0, 2], [2, 5]]
    found = tokenizer(["fox", "a lazy fox"], padding=True, padding_side="left")
    assert found["input_ids"][0][:2] == [0, 0] and found.encodings[0].attention_mask[:2] == [0, 0]
    assert tokenizer.padding_side == "right" and tokenizer(["fox", "a lazy fox"], padding=True)["input_ids"][0][-1] == 0
    with pytest.raises(TokenizerError, match="padding_side: wanted 'right' or 'left', got 'up'"):
        tokenizer("fox", padding_side="up")
    tokenizer.padding_side = "left"
    assert tokenizer.pad([{"input_ids": [2]}, {"input_ids": [2, 5]}])["input_ids"] == [[0, 2], [2, 5]]
    with pytest.raises(TokenizerError, match="wanted encodings with 'input_ids', got labels"):
        tokenizer.pad([{"labels": 1}])
    with pytest.raises(TokenizerError, match="wanted 2 rows in every column"):
        tokenizer.pad({"input_ids": [[1], [2, 3]], "labels": [1]})


def test_no_limit_is_logged(tokenizer, caplog):
    with caplog.at_level(logging.WARNING):
        assert len(tokenizer("a b c", truncation=True)["input_ids"]) == 5
        assert "no max_length was passed" in caplog.text
    tokenizer.model_max_length = 4
    assert len(tokenizer("a b c", truncation=True)["input_ids"]) == 4
    assert tokenizer.max_len_single_sentence == 2 and tokenizer.max_len_sentences_pair == 1
    with caplog.at_level(logging.WARNING):
        tokenizer("a b c", verbose=False)
        assert "longer than" not in caplog.text
        tokenizer("a b c")
        assert "longer than model_max_length (4)" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "wanted text, got None"),
        (3.5, r"row 0: wanted a string, got float \('3.5'\)"),
        (["fox", None], "row 1: wanted a string, got NoneType"),
    ],
)
def test_wrong_text(tokenizer, text, message):
    with pytest.raises(TokenizerError, match=message):
        tokenizer(text)
    with pytest.raises(TokenizerError, match="row 0: wanted a list of words, got str"):
        tokenizer("fox", is_split_into_words=True)
    with pytest.raises(TokenizerError, match="text_pair: wanted a list of 2 texts"):
        tokenizer(["a", "b"], ["c"])


def test_lone_surrogates_are_removed(tokenizer):
    encoding = tokenizer(["fo\ud800x", "a"], return_offsets_mapping=True)
    assert encoding["input_ids"][0] == ids_of("[CLS]", "fox", "[SEP]")
    assert encoding["offset_mapping"][0][1] == (0, 4)


def test_ids_are_decoded_to_text(tokenizer):
    ids = tokenizer.encode("Don't run, it's the [MASK]!", add_special_tokens=False)
    assert tokenizer.decode(ids) == "don't run, it's the [MASK]!"
    assert tokenizer.decode(ids[0]) == "don"
    assert tokenizer.decode([]) == ""
    tokenizer.clean_up_tokenization_spaces = False
    assert "don ' t" in tokenizer.decode(ids)
    with pytest.raises(TokenizerError, match="Use batch_decode"):
        tokenizer.decode([ids])


def test_places_of_tokens_and_characters(tokenizer):
    pair = tokenizer("A fox runs", "the dog", return_tensors="np")
    assert pair.is_fast is tokenizer.is_fast and pair.n_sequences == 2
    assert pair.tokens() == ["[CLS]", "a", "fox", "run", "##s", "[SEP]", "the", "dog", "[SEP]"]
    assert pair.sequence_ids() == [None, 0, 0, 0, 0, None, 1, 1, None]
    assert pair.char_to_token(2) == 2 and pair.char_to_token(0, 1) is None
    assert pair.char_to_token(0, 4, sequence_index=1) == 7
    assert pair.token_to_chars(4) == (9, 10) and pair.token_to_chars(0) is None
    assert pair.token_to_chars(-2).start == 4
    assert pair.word_to_tokens(2) == (3, 5) and pair.word_to_tokens(2).end == 5
    assert pair.word_to_chars(0, 1, sequence_index=1) == (4, 7) and pair.word_to_chars(9) is None
    assert pair.char_to_word(7) == 2 and pair.token_to_word(3) == 2 and pair.token_to_sequence(7) == 1
    with pytest.raises(TokenizerError, match="wanted row 3, but it has 1 rows"):
        pair.tokens(3)
    with pytest.raises(TokenizerError, match="from 0 on, got -1"):
        pair.word_to_tokens(-1)


def test_batch_encoding_is_a_dictionary(tokenizer):
    batch = tokenizer(["fox", "a dog", "the"])
    assert isinstance(batch, dict) and set(dict(**batch)) == set(tokenizer.model_input_names)
    assert batch.input_ids is batch["input_ids"] is batch.data["input_ids"]
    assert batch[1:3]["input_ids"] == batch["input_ids"][1:3]
    assert batch[1].tokens == batch.tokens(1)
    with pytest.raises(AttributeError, match="no key or attribute 'labels'; its keys are input_ids"):
        _ = batch.labels
    with pytest.raises(KeyError):
        batch["labels"]
    for other in (pickle.loads(pickle.dumps(batch)), copy.copy(batch), copy.deepcopy(batch), batch.copy()):
        assert other == batch and isinstance(other, BatchEncoding) and other.tokens(1) == ["[CLS]", "a", "dog", "[SEP]"]
    with pytest.raises(TokenizerError, match="made without text"):
        tokenizer.pad(batch).tokens()
    with pytest.raises(TokenizerError, match="wanted PyTorch tensors, got list for 'input_ids'"):
        batch.to("cpu")


def test_places_are_those_of_the_call(vocabulary):
    """Places found later are not those of settings or tokens that have changed since."""
    slow, fast = (made(vocabulary) for made in CLASSES)
    batches = [made(["a fox runs", "dog"], padding=True) for made in (slow, fast)]
    for made in (slow, fast):
        made.padding_side = "left"
        made(["x"], padding="max_length", max_length=30)
    assert [batch.tokens(1) for batch in batches] == [["[CLS]", "dog", "[SEP]", *["[PAD]"] * 3]] * 2
    batches = [made(["a fox runs", "dog"]) for made in (slow, fast)]
    for made in (slow, fast):
        made.add_tokens(["runs"])
    assert batches[0].tokens(0) == ["[CLS]", "a", "fox", "run", "##s", "[SEP]"]
    with pytest.raises(TokenizerError, match="Encode it again"):
        batches[1].tokens(0)


def test_wrong_construction(vocabulary, tmp_path):
    for made in CLASSES:
        with pytest.raises(TokenizerError, match=r"got 'do_lowercase'\. Did you mean 'do_lower_case'"):
            made(vocabulary, do_lowercase=True)
        with pytest.raises(TokenizerError, match="padding_side: wanted 'right' or 'left', got 'top'"):
            made(vocabulary, padding_side="top")
        with pytest.raises(TokenizerError, match="wanted vocab_file or tokenizer_file, got neither"):
            made()
        with pytest.raises(
            CheckpointNotFoundError, match="wanted a vocabulary file with one token a line, found nothing"
        ):
            made(tmp_path / "nothing.txt")
        with pytest.raises(TokenizerError, match=r"got 2 tokens without '\[UNK\]'"):
            made(write_vocabulary(tmp_path / "other", ["a", "b"]))
        with pytest.raises(TokenizerError, match="wanted a vocabulary that holds"):
            made(vocabulary, unk_token="<unk>")
