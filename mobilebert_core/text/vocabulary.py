"""Training a WordPiece vocabulary on plain text, by the `tokenizers` library."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..datasets.sources import AS_UTF8, NOT_UTF8, Source, is_utf8
from ..errors import DataError, InputError
from ..files import same_file, write_text
from ..places import in_the_way
from .added_tokens import SPECIAL_TOKENS
from .tokenizer_settings import WORDPIECE_DEFAULTS
from .tokenizer_values import MOST

# Letters of a word, from which on it is left out: the trainer takes quadratic time, and more than 100 are [UNK] anyhow.
# Chinese characters are words of their own.
_ENDLESS = 10_000
_WORD = re.compile(rf"[^\W\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]{{{_ENDLESS},}}")


def train_vocabulary(
    files: Sequence[Path],
    size: int,
    output: Path,
    lowercase: bool = True,
    min_frequency: int = 2,
    overwrite: bool = False,
    strip_accents: bool | None = None,
) -> int:
    """Learns word pieces from the lines of UTF-8 files, also packed, and writes vocab.txt; returns how many tokens.

    `strip_accents=None` strips accents exactly when lower-casing, vowel signs of Indic and Thai letters among them.
    The five special tokens come first, so that [PAD] is 0. Of pieces that are equally frequent the library may take
    others each time.

    Raises:
        DataError: when a file cannot be read as text.
        InputError: when one is the output, the output is there and not to `overwrite` or no place for a file, or there
            is too little text for a vocabulary.
    """
    if any(same_file(output, path) for path in files):
        raise InputError(f"vocabulary: {output} is one of the texts. Write the vocabulary elsewhere; nothing was done.")
    if output.is_file() and not overwrite:
        raise InputError(f"vocabulary: {output} is there already. Choose another output, or pass overwrite=True.")
    if (found := in_the_way(output)) is not None:
        raise InputError(f"vocabulary: {output} is {found}; wanted a place for a file. Choose another output.")
    if size <= len(SPECIAL_TOKENS):
        raise InputError(f"vocabulary: size must be above the {len(SPECIAL_TOKENS)} special tokens, got {size}.")
    splitting = {"do_lower_case": lowercase, "strip_accents": strip_accents, **WORDPIECE_DEFAULTS}
    vocabulary = learnt_vocabulary(lines_of(files), size, SPECIAL_TOKENS, splitting, min_frequency=min_frequency)
    if len(vocabulary) <= len(SPECIAL_TOKENS):
        raise InputError(f"vocabulary: no words in {', '.join(map(str, files))}; wanted UTF-8 text, one text a line.")
    write_text(output, "".join(f"{token}\n" for token in sorted(vocabulary, key=vocabulary.__getitem__)))
    return len(vocabulary)


def learnt_vocabulary(
    texts: Iterable[Any], size: int, special_tokens: Sequence[str], splitting: Mapping[str, Any], **kwargs: Any
) -> dict[str, int]:
    """Token to id of word pieces learnt from texts (or batches of them); the special tokens come first.

    `splitting` says how text is normalized and split, `kwargs` are of `tokenizers.trainers.WordPieceTrainer`.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= MOST:
        raise InputError(f"vocabulary: size must be a whole number from 1 to {MOST}, got {size!r}.")
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=splitting.get("clean_text", True),
        handle_chinese_chars=splitting.get("tokenize_chinese_chars", True),
        strip_accents=splitting.get("strip_accents"),
        lowercase=splitting["do_lower_case"],
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=list(dict.fromkeys(special_tokens)),
        continuing_subword_prefix=splitting["wordpieces_prefix"],
        **{"show_progress": False, **kwargs},
    )
    tokenizer.train_from_iterator(map(_of_words, texts), trainer)
    return tokenizer.get_vocab()


def _of_words(text: Any) -> Any:
    """A text, or each of a batch, without endless words."""
    if not isinstance(text, str):
        return [_of_words(each) for each in text]
    return text if len(text) < _ENDLESS else _WORD.sub("", text)


def lines_of(files: Sequence[Path]) -> Iterator[str]:
    """The lines of UTF-8 files. Raises DataError where one is not."""
    for path in files:
        for number, line in Source.of(path).numbered():
            if not is_utf8(line):
                raise DataError(f"{path}:{number}: {NOT_UTF8} {AS_UTF8}.")
            yield line
