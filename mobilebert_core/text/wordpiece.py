"""Words to pieces: the greedy longest-match WordPiece of BERT, and the vocabulary file it reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import CheckpointNotFoundError, TokenizerError

MAX_WORD_LENGTH = 100  # characters; Google's tokenization.py uses 200, the BERT releases in transformers' format 100


def load_vocabulary(path: str | os.PathLike[str]) -> dict[str, int]:
    """Tokens of a vocab.txt with their ids, which are the line numbers from 0; of equal lines the last counts.

    Raises `CheckpointNotFoundError` for a missing file, `TokenizerError` for one that is empty or not UTF-8 text.
    """
    try:
        with open(path, encoding="utf-8-sig") as lines:
            vocabulary = {line.rstrip("\n"): index for index, line in enumerate(lines)}
    except (FileNotFoundError, IsADirectoryError) as error:
        found = "a directory" if Path(path).is_dir() else "nothing"
        raise CheckpointNotFoundError(
            f"{path}: wanted a vocabulary file with one token a line, found {found}."
            " Pass the path of a vocab.txt, or load a directory with from_pretrained(directory)."
        ) from error
    except UnicodeDecodeError as error:
        raise TokenizerError(
            f"{path}: wanted UTF-8 text with one token a line, got other bytes ({error.reason} at byte {error.start})."
            " Save the vocabulary as UTF-8."
        ) from error
    if not vocabulary:
        raise TokenizerError(f"{path}: wanted one token a line, got an empty file. Copy the vocabulary again.")
    return vocabulary


class WordpieceTokenizer:
    """Splits a word into the longest pieces of the vocabulary, from left to right.

    Pieces after the first carry `prefix`. A word with a part that no piece covers, or of more than
    `max_input_chars_per_word` characters, becomes one `unk_token`.
    """

    def __init__(
        self,
        vocab: Mapping[str, int],
        unk_token: str = "[UNK]",
        max_input_chars_per_word: int = MAX_WORD_LENGTH,
        prefix: str = "##",
    ) -> None:
        self.vocab = vocab
        self.unk_token = unk_token
        self.max_input_chars_per_word = max_input_chars_per_word
        self.prefix = prefix
        self._longest = max((len(token) for token in vocab), default=0)

    def tokenize(self, text: str) -> list[str]:
        """Pieces of the whitespace-separated words of `text`, which should have been through a BasicTokenizer."""
        return [piece for word in text.split() for piece in self.split_word(word)]

    def split_word(self, word: str) -> list[str]:
        """Pieces of one word."""
        vocab, length = self.vocab, len(word)
        if length > self.max_input_chars_per_word:
            return [self.unk_token]
        if word in vocab:
            return [word]
        pieces: list[str] = []
        start, prefix = 0, ""
        while start < length:
            longest = self._longest - len(prefix)
            for end in range(min(length, start + longest), start, -1):
                piece = prefix + word[start:end]
                if piece in vocab:
                    break
            else:
                return [self.unk_token]
            pieces.append(piece)
            start, prefix = end, self.prefix
        return pieces
