"""Tokenizer files of both generations of transformers: read, written, and refused when they contradict each other."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from mobilebert_core import AddedToken, AutoTokenizer, MobileBertTokenizer, MobileBertTokenizerFast
from mobilebert_core.errors import CheckpointNotFoundError, TokenizerError
from tests.core.tokenizers import CLASSES, write_vocabulary
from tests.golden.record_tokenization import FIRST, SECOND, TEXTS, VOCABULARY

pytestmark = pytest.mark.filterwarnings("error")
SAMPLES = [*TEXTS, "NEWTOK newtok the<e1>fox [E2] left"]


def enriched(made, folder, **options):
    """A tokenizer with everything that files have to carry."""
    tokenizer = made(write_vocabulary(folder), model_max_length=48, padding_side="left", **options)
    tokenizer.add_tokens(["NewTok", AddedToken("left", lstrip=True)])
    tokenizer.add_tokens("<e1>", special_tokens=True)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<e1>", "[E2]"]})
    return tokenizer


def ids(tokenizer):
    return tokenizer(SAMPLES)["input_ids"], tokenizer(FIRST, SECOND)["input_ids"]


@pytest.mark.parametrize("reader", CLASSES)
@pytest.mark.parametrize("writer", CLASSES)
@pytest.mark.parametrize("legacy", [None, True, False])
@pytest.mark.parametrize(
    "options", [{}, {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False}]
)
def test_round_trip(tmp_path, writer, reader, legacy, options):
    saved = enriched(writer, tmp_path, **options)
    names = {os.path.basename(path) for path in saved.save_pretrained(tmp_path / "saved", legacy_format=legacy)}
    assert names == {path.name for path in (tmp_path / "saved").iterdir()}
    assert ("vocab.txt" in names, "tokenizer.json" in names) == (legacy is not False, legacy is not True)
    loaded = reader.from_pretrained(tmp_path / "saved")
    assert ids(loaded) == ids(saved)
    assert (len(loaded), loaded.vocab_size) == (len(saved), saved.vocab_size)
    assert loaded.special_tokens_map == saved.special_tokens_map
    assert loaded.added_tokens_decoder == saved.added_tokens_decoder
    assert (loaded.padding_side, loaded.model_max_length) == ("left", 48)
    assert loaded.do_lower_case == saved.do_lower_case


@pytest.mark.parametrize("reader", CLASSES)
@pytest.mark.parametrize("writer", CLASSES)
def test_a_token_that_lost_its_name_is_no_additional_one(tmp_path, writer, reader):
    saved = enriched(writer, tmp_path)
    saved.add_special_tokens({"cls_token": "<cls>"})
    saved.save_pretrained(tmp_path / "saved")
    loaded = reader.from_pretrained(tmp_path / "saved")
    assert loaded.all_special_tokens == saved.all_special_tokens and "[CLS]" not in loaded.all_special_tokens
    assert loaded.special_tokens_map == saved.special_tokens_map and ids(loaded) == ids(saved)


def test_auto_tokenizer(tmp_path):
    enriched(MobileBertTokenizer, tmp_path).save_pretrained(tmp_path / "saved")
    assert type(AutoTokenizer.from_pretrained(tmp_path / "saved")) is MobileBertTokenizerFast
    assert type(AutoTokenizer.from_pretrained(tmp_path / "saved", use_fast=False)) is MobileBertTokenizer
    inside = AutoTokenizer.from_pretrained(tmp_path, subfolder="saved", local_files_only=True)
    assert inside.encode("fox") == [VOCABULARY.index(token) for token in ("[CLS]", "fox", "[SEP]")]


@pytest.mark.parametrize("made", CLASSES)
def test_from_a_file_and_overrides(tmp_path, made):
    path = write_vocabulary(tmp_path)
    assert made.from_pretrained(path).tokenize("FOX") == ["fox"]
    assert made.from_pretrained(str(path), do_lower_case=False).tokenize("Fox") == ["[UNK]"]
    made(path, do_lower_case=False).save_pretrained(tmp_path / "cased")
    assert made.from_pretrained(tmp_path / "cased").do_lower_case is False
    assert made.from_pretrained(tmp_path / "cased", do_lower_case=True, sep_token="[MASK]").tokenize("Fox") == ["fox"]
    (tmp_path / "cased" / "tokenizer_config.json").unlink()
    assert made.from_pretrained(tmp_path / "cased").do_lower_case is False  # as its tokenizer.json says
    assert made.from_pretrained(tmp_path / "cased" / "tokenizer.json").tokenize("Fox") == ["[UNK]"]


def test_what_tokenizer_json_cannot_say(tmp_path):
    tokenizer = MobileBertTokenizer(write_vocabulary(tmp_path), never_split=["fox!"])
    tokenizer.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved" / "tokenizer.json").exists()
    assert MobileBertTokenizer.from_pretrained(tmp_path / "saved").tokenize("fox!") == ["fox!"]
    with pytest.raises(TokenizerError, match="Use MobileBertTokenizer"):
        AutoTokenizer.from_pretrained(tmp_path / "saved")
    with pytest.raises(TokenizerError, match=r"wanted a tokenizer that tokenizer\.json can"):
        tokenizer.save_pretrained(tmp_path / "saved", legacy_format=False)


@pytest.mark.parametrize("made", CLASSES)
def test_prefix_and_cleaning_survive(tmp_path, made):
    vocabulary = write_vocabulary(tmp_path, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "run", "@@ning", "a\x07b"])
    made(vocabulary, wordpieces_prefix="@@", clean_text=False).save_pretrained(tmp_path / "saved")
    for reader in CLASSES:
        assert reader.from_pretrained(tmp_path / "saved").tokenize("running a\x07b") == ["run", "@@ning", "a\x07b"]


@pytest.mark.parametrize("made", CLASSES)
def test_files_from_before_added_tokens_decoder(tmp_path, made):
    write_vocabulary(tmp_path)
    size = len(VOCABULARY)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"NewTok": size, "[E2]": size + 1}))
    (tmp_path / "special_tokens_map.json").write_text(
        json.dumps({"mask_token": {"content": "[MASK]", "lstrip": True}, "additional_special_tokens": ["[E2]"]})
    )
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "max_len": 40, "auto_map": {}}))
    tokenizer = made.from_pretrained(tmp_path)
    assert tokenizer("a newtok [MASK] [E2]")["input_ids"][1:-1] == [
        VOCABULARY.index("a"), size, VOCABULARY.index("[MASK]"), size + 1,
    ]  # fmt: skip
    assert tokenizer.model_max_length == 40
    assert tokenizer.decode([size, size + 1], skip_special_tokens=True) == "NewTok"


@pytest.mark.parametrize("made", CLASSES)
def test_unknown_configuration_keys_are_kept(tmp_path, made):
    made(write_vocabulary(tmp_path)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "house_rule": 7}))
    made.from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())["house_rule"] == 7


@pytest.mark.parametrize("made", CLASSES)
def test_vocabulary_with_repeated_lines(tmp_path, made):
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fox", "dog", "fox", "the"]
    tokenizer = made(write_vocabulary(tmp_path, tokens))
    assert tokenizer.encode("fox the", add_special_tokens=False) == [7, 8]
    tokenizer.save_pretrained(tmp_path / "saved", legacy_format=True)
    assert made.from_pretrained(tmp_path / "saved").get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize("made", CLASSES)
def test_windows_line_ends_and_byte_order_mark(tmp_path, made):
    path = tmp_path / "vocab.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(VOCABULARY).encode())
    assert made(path).get_vocab() == made(write_vocabulary(tmp_path / "plain")).get_vocab()


@pytest.mark.parametrize("made", CLASSES)
def test_save_vocabulary(tmp_path, made):
    tokenizer = enriched(made, tmp_path)
    (path,) = tokenizer.save_vocabulary(tmp_path, filename_prefix="copy")
    assert path == str(tmp_path / "copy-vocab.txt")
    assert (tmp_path / "copy-vocab.txt").read_bytes() == (tmp_path / "vocab.txt").read_bytes()
    with pytest.raises(TokenizerError, match="wanted a directory to save in, got none"):
        tokenizer.save_vocabulary(tmp_path / "nowhere")
    with pytest.raises(TokenizerError, match="wanted a directory to save in, got a file"):
        tokenizer.save_pretrained(tmp_path / "vocab.txt")
    for place in ("", "a\0b", 5, None):
        with pytest.raises(TokenizerError, match="save_pretrained: wanted the path of a directory, got"):
            tokenizer.save_pretrained(place)


def test_stale_files_go(tmp_path):
    enriched(MobileBertTokenizer, tmp_path).save_pretrained(tmp_path)
    assert (tmp_path / "added_tokens.json").exists()
    plain = MobileBertTokenizer(write_vocabulary(tmp_path))
    plain.save_pretrained(tmp_path)
    assert not (tmp_path / "added_tokens.json").exists()
    assert len(MobileBertTokenizerFast.from_pretrained(tmp_path)) == len(plain)


@pytest.mark.parametrize("made", [*CLASSES, AutoTokenizer])
def test_nothing_there(tmp_path, made):
    with pytest.raises(CheckpointNotFoundError, match=r"nowhere: wanted a directory .*Check the path"):
        made.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointNotFoundError, match=r"wanted vocab\.txt or tokenizer\.json .*found config\.json"):
        made.from_pretrained(tmp_path)


@pytest.mark.parametrize("made", CLASSES)
def test_damaged_and_contradicting_files(tmp_path, made):
    saved = tmp_path / "saved"
    enriched(made, tmp_path).save_pretrained(saved)

    def broken(name, text):
        folder = tmp_path / f"broken-{made.__name__}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(saved, folder)
        (folder / name).write_bytes(text)
        return folder

    with pytest.raises(TokenizerError, match=r"tokenizer_config\.json: wanted JSON"):
        made.from_pretrained(broken("tokenizer_config.json", b'{"do_lower'))
    with pytest.raises(TokenizerError, match=r"wanted a WordPiece model behind a BertNormalizer, got BPE behind None"):
        made.from_pretrained(broken("tokenizer.json", b'{"model": {"type": "BPE", "vocab": {}}}'))
    with pytest.raises(TokenizerError, match=r"wanted UTF-8 text"):
        made.from_pretrained(broken("vocab.txt", b"\xff\xfe\n"))
    with pytest.raises(TokenizerError, match=r"got an empty file"):
        made.from_pretrained(broken("vocab.txt", b""))
    swapped = "\n".join([*VOCABULARY[:2], *VOCABULARY[3:], "[UNK]"]).encode()
    with pytest.raises(
        TokenizerError, match=r"wanted the same vocabulary in both.*Delete the file that is out of date"
    ):
        made.from_pretrained(broken("vocab.txt", swapped))
    other = broken("vocab.txt", swapped)
    (other / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match=r"wanted added token '\[UNK\]' at id 2"):
        made.from_pretrained(other)
    with pytest.raises(TokenizerError, match=r"got 'lower'"):
        made.from_pretrained(saved, lower=True)


# transformers 5 in this process ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def transformers():
    import transformers

    return transformers


@pytest.mark.filterwarnings("default")  # its imports warn, which is not ours to judge
@pytest.mark.parametrize("made", CLASSES)
def test_transformers_reads_what_is_written(tmp_path, transformers, made):
    saved = enriched(made, tmp_path)
    for legacy in (None, False):
        saved.save_pretrained(tmp_path / f"saved{legacy}", legacy_format=legacy)
        for theirs in (
            transformers.AutoTokenizer.from_pretrained(tmp_path / f"saved{legacy}"),
            transformers.MobileBertTokenizer.from_pretrained(tmp_path / f"saved{legacy}"),
        ):
            assert (theirs(SAMPLES)["input_ids"], theirs(FIRST, SECOND)["input_ids"]) == ids(saved)
            assert len(theirs) == len(saved)
            assert theirs.model_max_length == 48
            assert theirs.mask_token_id == saved.mask_token_id


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("made", CLASSES)
@pytest.mark.parametrize("lower", [True, False])
def test_what_transformers_writes_is_read(tmp_path, transformers, made, lower):
    theirs = transformers.BertTokenizer(vocab=str(write_vocabulary(tmp_path)), do_lower_case=lower, model_max_length=48)
    theirs.add_tokens(["NewTok"])
    theirs.add_tokens(["<e1>"], special_tokens=True)
    theirs.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved" / "vocab.txt").exists()
    ours = made.from_pretrained(tmp_path / "saved")
    assert ids(ours) == (theirs(SAMPLES)["input_ids"], theirs(FIRST, SECOND)["input_ids"])
    assert (ours.do_lower_case, ours.model_max_length, len(ours)) == (lower, 48, len(theirs))
