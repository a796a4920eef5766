"""Training a WordPiece vocabulary on plain text, by the `tokenizers` library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import InputError
from ..files import same_file, write_text

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_vocabulary(
    files: Sequence[Path], size: int, output: Path, lowercase: bool = True, min_frequency: int = 2
) -> int:
    """Learns word pieces from the lines of UTF-8 files and writes vocab.txt; returns its number of tokens.

    The five special tokens come first, so that [PAD] is 0. Equal files give equal vocabularies.

    Raises:
        InputError: when a file cannot be read as text or is the output, or there is too little text for a vocabulary.
    """
    if any(same_file(output, path) for path in files):
        raise InputError(f"vocabulary: {output} is one of the texts. Write the vocabulary elsewhere; nothing was done.")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    if size <= len(SPECIAL_TOKENS):
        raise InputError(f"vocabulary: size must be above the {len(SPECIAL_TOKENS)} special tokens, got {size}.")
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        special_tokens=list(SPECIAL_TOKENS),
        continuing_subword_prefix="##",
        show_progress=False,
    )
    tokenizer.train_from_iterator(_lines(files), trainer)
    vocabulary = tokenizer.get_vocab()
    if len(vocabulary) <= len(SPECIAL_TOKENS):
        raise InputError(f"vocabulary: no words in {', '.join(map(str, files))}; wanted UTF-8 text, one text a line.")
    write_text(output, "".join(f"{token}\n" for token in sorted(vocabulary, key=vocabulary.__getitem__)))
    return len(vocabulary)


def _lines(files: Sequence[Path]) -> Iterator[str]:
    for path in files:
        try:
            with path.open(encoding="utf-8") as lines:
                yield from lines
        except (OSError, UnicodeDecodeError) as e:
            raise InputError(f"{path}: cannot be read as UTF-8 text ({e}).") from None
