"""Tokens outside WordPiece: special and user-added ones, and how they are found in a text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import TokenizerError
from .character_classes import SPACES

SPECIAL_TOKEN_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # of the released vocabulary
ADDITIONAL = "additional_special_tokens"  # special tokens without a name of their own
EXTRA = "extra_special_tokens"  # the same in transformers 5
_FIELDS = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")  # of an AddedToken
_ABSENT = object()

_WORD_SIGNS = re.compile("[\u200c\u200d\u24b6-\u24e9\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189]")


@dataclass(frozen=True)
class AddedToken:
    """A token that is matched in the text before words are split.

    `special` tokens are skipped by `decode(skip_special_tokens=True)`. `normalized` tokens are looked for in the
    normalized text (so "NewTok" also matches "newtok"), others in the text as written; the default is to normalize
    all but special tokens. `lstrip` and `rstrip` swallow the spaces beside the token, `single_word` refuses matches
    inside a word.
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool | None = None
    special: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.content, str):
            raise TokenizerError(f"AddedToken: wanted text, got {type(self.content).__name__} ({self.content!r}).")
        for name in ("single_word", "lstrip", "rstrip", "normalized", "special"):
            if not isinstance(getattr(self, name), bool | None if name == "normalized" else bool):
                raise TokenizerError(
                    f"AddedToken {self.content!r}: {name}: wanted True or False, got {getattr(self, name)!r}."
                )
        if self.normalized is None:
            object.__setattr__(self, "normalized", not self.special)

    def __str__(self) -> str:
        return self.content

    def __eq__(self, other: object) -> bool:
        """Also with the AddedToken of the `tokenizers` library, which scripts import from transformers."""
        return all(getattr(other, name, _ABSENT) == getattr(self, name) for name in _FIELDS)

    @classmethod
    def of(cls, token: Any, *, special: bool | None = None) -> AddedToken:
        """An AddedToken from a string, a dictionary as in tokenizer files, or the `tokenizers` library's own.

        `special=True` makes it special whatever it was; text that becomes special is not normalized.
        """
        if isinstance(token, str):
            return cls(token, special=bool(special))
        if isinstance(token, Mapping):
            if "content" not in token:
                raise TokenizerError(f"AddedToken: wanted a dictionary with 'content', got {dict(token)!r}.")
            values = {name: token[name] for name in _FIELDS if name in token}
        elif hasattr(token, "content"):
            values = {name: getattr(token, name) for name in _FIELDS if hasattr(token, name)}
        else:
            raise TokenizerError(
                f"added token: wanted a string or an AddedToken, got {type(token).__name__} ({token!r})."
            )
        if special:
            values["special"] = True
        return cls(**values)

    def as_dict(self, *, with_special: bool = True) -> dict[str, Any]:
        """The token as transformers writes it in its files."""
        values = asdict(self)
        if not with_special:
            values.pop("special")
        return values


class AddedTokenMatcher:
    """Finds added tokens in a text: at each place the longest one, from left to right."""

    def __init__(self, tokens: Iterable[tuple[str, AddedToken, int]]) -> None:
        self._tokens = {text: (token, index) for text, token, index in tokens if text}
        texts = sorted(self._tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, texts))) if texts else None

    @property
    def search(self) -> Callable[[str], Any] | None:
        """Quick test whether anything can match; None when there are no tokens at all."""
        return self._pattern.search if self._pattern else None

    def split(self, text: str) -> list[tuple[int | None, int, int]]:
        """Cuts `text` into (id or None, start, end); together the cuts cover it all."""
        cuts: list[tuple[int | None, int, int]] = []
        done = 0
        for match in self._pattern.finditer(text) if self._pattern else ():
            token, index = self._tokens[match.group()]
            start, end = match.span()
            if token.single_word and (_is_word(text[start - 1 : start]) or _is_word(text[end : end + 1])):
                continue
            if token.lstrip:
                start = max(done, len(text[:start].rstrip(SPACES)))
            if token.rstrip:
                end = len(text) - len(text[end:].lstrip(SPACES))
            if done < start:
                cuts.append((None, done, start))
            cuts.append((index, start, end))
            done = end
        if done < len(text):
            cuts.append((None, done, len(text)))
        return cuts


def _is_word(char: str) -> bool:
    r"""True for what the `tokenizers` library's regular expressions count as `\w`; marks are, unlike in Python's."""
    if not char or char.isascii():
        return char.isalnum() or char == "_"
    category = unicodedata.category(char)
    return category[0] in "LM" or category in ("Nd", "Nl", "Pc") or bool(_WORD_SIGNS.match(char))
