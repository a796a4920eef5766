"""The tokenizer of a list of words that says nothing about case and accents, as `mobilebert vocab train` writes it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..files import TOKENIZER_FILES, VOCABULARY_FILES, tokenizer_place
from ..saves import current
from .auto_tokenizer import AutoTokenizer
from .basic_tokenization import TextNormalizer
from .tokenization_base import TokenizerBase

_FEW = 0.01  # of the words may have been learned otherwise, as names of signs are
_MARKERS = ("[", "<")  # how tokens begin that are no words of a text, such as [MASK], [unused0] and <s>
_ACCENTS = TextNormalizer(clean_text=False, tokenize_chinese_chars=False, strip_accents=True, do_lower_case=False)
_CAPITALS = TextNormalizer(clean_text=False, tokenize_chinese_chars=False, strip_accents=False, do_lower_case=True)


def tokenizer_at(place: str | os.PathLike[str]) -> tuple[TokenizerBase, list[str]]:
    """The tokenizer of a path or a name on the hub, and what is to be said about it.

    A list of words alone is taken for lower case without accents, as BERT's, unless more than a few of its words could
    then never be found in a text.
    """
    tokenizer, found = AutoTokenizer.from_pretrained(place), tokenizer_place(Path(place))
    if not _alone(found):
        return tokenizer, []
    words = [word for word in tokenizer.get_vocab() if not word.startswith(_MARKERS)]
    if _share(words, _CAPITALS) > _FEW:
        kept, said = {"do_lower_case": False}, "with capitals: case and accents are kept"
    elif _share(words, _ACCENTS) > _FEW:
        kept, said = {"strip_accents": False}, "with accents or vowel signs: they are kept, in lower case"
    else:
        return tokenizer, []
    return AutoTokenizer.from_pretrained(place, **kept), [f"{found.name} has words {said}"]


def lost_signs(texts: Iterable[str]) -> tuple[float, list[str]]:
    """The share of letters from which stripping accents takes something, and some of them."""
    lost: dict[str, int] = {}
    letters = 0
    for text in texts:
        letters += sum(not char.isspace() for char in text)
        for char in text if not text.isascii() else "":
            if _ACCENTS.normalize(char) != char:
                lost[char] = lost.get(char, 0) + 1
    return sum(lost.values()) / max(letters, 1), sorted(lost, key=lambda char: -lost[char])[:3]


def _alone(place: Path) -> bool:
    if place.is_dir():
        return {name for name in TOKENIZER_FILES if current(place / name).exists()} == {VOCABULARY_FILES[0]}
    return place.is_file() and place.suffix != ".json"


def _share(words: list[str], normalizer: TextNormalizer) -> float:
    return sum(normalizer.normalize(word) != word for word in words) / max(len(words), 1)
