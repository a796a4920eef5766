"""The special tokens of a tokenizer: their names ("cls_token"), texts and ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import TokenizerError
from .added_tokens import ADDITIONAL, EXTRA, SPECIAL_TOKEN_NAMES, SPECIAL_TOKENS, AddedToken
from .token_table import TokenTable


class SpecialTokens:
    """Which tokens of a table are special: those with a name, and additional ones without.

    `flags` (lstrip, single_word) of a token that the table lists already win over those of the argument.
    """

    def __init__(self, table: TokenTable, named: Mapping[str, Any], additional: Iterable[Any], path: str) -> None:
        flags = {token.content: token for token in table.added.values()}
        self._table = table
        self._named: dict[str, AddedToken | None] = {
            name: None if named[name] is None else AddedToken.of(flags.get(str(named[name]), named[name]), special=True)
            for name in SPECIAL_TOKEN_NAMES
        }
        self._additional = [AddedToken.of(flags.get(str(token), token), special=True) for token in additional]
        self._unknown = "[UNK]"
        self._check_unknown(path)
        # a token such as [CLS] that has lost its name to another is none of the additional ones
        present = {*self.texts(), *SPECIAL_TOKENS}
        self._additional += [t for t in table.added.values() if t.special and t.content not in present]
        self.register(self.tokens())

    def token(self, name: str) -> AddedToken | None:
        """The token with this name, or None when the tokenizer has none."""
        return self._named[name]

    def text(self, name: str) -> str | None:
        """Text of the token with this name, or None when the tokenizer has none."""
        token = self._named[name]
        return None if token is None else token.content

    def id(self, name: str) -> int | None:
        """Id of the token with this name, or None when the tokenizer has none.

        Raises `TokenizerError` when the token is not in the vocabulary.
        """
        token = self._named[name]
        return None if token is None else self._id_of(name, token.content)

    def _id_of(self, name: str, token: str) -> int:
        index = self._table.find(token)
        if index is None:
            raise TokenizerError(
                f"{name}: wanted a token of the vocabulary, got {token!r}, which has no id."
                f" Add it with add_special_tokens({{{name!r}: {token!r}}})."
            )
        return index

    @property
    def unknown(self) -> str:
        """What stands for words without pieces: the unk_token, or the last one where it is now None."""
        return self._unknown

    def _check_unknown(self, caller: str) -> None:
        self._unknown = self.text("unk_token") or self._unknown
        self._table.check_unknown_token(self._unknown, caller)

    def name(self, name: str, token: Any) -> None:
        """Gives the name to another token, or to none. The vocabulary stays as it is."""
        self._named[name] = None if token is None else AddedToken.of(token, special=True)
        if name == "unk_token":
            self._check_unknown(name)

    def additional_texts(self) -> list[str]:
        """Texts of the additional tokens."""
        return [token.content for token in self._additional]

    def additional_ids(self) -> list[int]:
        """Ids of the additional tokens."""
        return [self._id_of(ADDITIONAL, token.content) for token in self._additional]

    def set_additional(self, tokens: Iterable[Any] | None) -> None:
        """Replaces the additional tokens. The vocabulary stays as it is."""
        self._additional = [AddedToken.of(token, special=True) for token in _listed(ADDITIONAL, tokens or ())]

    def by_name(self) -> dict[str, Any]:
        """Name to AddedToken (a list of them for the additional ones); only what is set."""
        named: dict[str, Any] = {name: token for name, token in self._named.items() if token is not None}
        return {**named, ADDITIONAL: list(self._additional)} if self._additional else named

    def texts_by_name(self) -> dict[str, str | list[str]]:
        """Name to text (a list of texts for the additional ones); only what is set."""
        named: dict[str, str | list[str]] = {
            name: token.content for name, token in self._named.items() if token is not None
        }
        return {**named, ADDITIONAL: self.additional_texts()} if self._additional else named

    def tokens(self) -> list[AddedToken]:
        """The tokens without repetition: bos, eos, unk, sep, pad, cls, mask, then the additional ones."""
        tokens = [*(token for token in self._named.values() if token is not None), *self._additional]
        return list({token.content: token for token in reversed(tokens)}.values())[::-1]

    def texts(self) -> list[str]:
        """Texts of the tokens without repetition."""
        return [token.content for token in self.tokens()]

    def update(self, tokens: Mapping[str, Any], replace_additional: bool) -> list[AddedToken]:
        """Names these tokens and returns them, ready to be registered. Keys are as in `add_special_tokens`."""
        known = (*SPECIAL_TOKEN_NAMES, ADDITIONAL)
        tokens = {ADDITIONAL if name == EXTRA else name: value for name, value in tokens.items()}
        unknown = [name for name in tokens if name not in known]
        if unknown:
            raise TokenizerError(
                f"add_special_tokens: wanted names among {', '.join(known)}; got {', '.join(map(repr, unknown))}."
                f" Put tokens without such a name under {ADDITIONAL!r}."
            )
        new: list[AddedToken] = []
        for name, value in tokens.items():
            if name == ADDITIONAL:
                listed = [AddedToken.of(token, special=True) for token in _listed(ADDITIONAL, value)]
                self._add_additional(listed, replace_additional)
                new += listed
                continue
            token = AddedToken.of(value, special=True)
            if name == "unk_token":
                self._table.check_unknown_token(token.content, "add_special_tokens")
                self._unknown = token.content
            self._named[name] = token
            new.append(token)
        return new

    def _add_additional(self, tokens: list[AddedToken], replace: bool) -> None:
        if replace and tokens:
            self._additional = tokens
            return
        present = set(self.additional_texts())
        self._additional = [*self._additional, *(token for token in tokens if token.content not in present)]

    def register(self, tokens: Iterable[AddedToken]) -> list[AddedToken]:
        """Enters tokens in the table; returns those that are new or changed. Special ones become additional ones."""
        changed = []
        present = set(self.texts())
        for token in tokens:
            if not token.content:
                continue
            if token.content in present and not token.special:
                token = AddedToken.of(token, special=True)
            if not self._table.enter(token):
                continue
            changed.append(token)
            if token.special and token.content not in present:
                self._additional = [*self._additional, token]
                present.add(token.content)
        return changed


def _listed(name: str, tokens: Any) -> list[Any]:
    if isinstance(tokens, str) or hasattr(tokens, "content"):
        raise TokenizerError(f"{name}: wanted a list of tokens, got one token ({str(tokens)!r}). Put it in a list.")
    return list(tokens.values()) if isinstance(tokens, Mapping) else list(tokens)


def token_text(name: str) -> Any:
    """The attribute of a tokenizer for the text of one special token."""

    def get(self: Any) -> str | None:
        return self._special.text(name)

    def set_(self: Any, value: Any) -> None:
        self._special.name(name, value)
        self._special_tokens_changed()

    return property(get, set_, doc=f"Text of the {name}, or None. Setting it adds nothing to the vocabulary.")


def token_itself(name: str) -> Any:
    """The attribute of a tokenizer for one special token as an AddedToken, which scripts compare with None."""
    return property(lambda self: self._special.token(name), doc=f"The {name} as an AddedToken, or None.")


def token_id(name: str) -> Any:
    """The attribute of a tokenizer for the id of one special token."""

    def get(self: Any) -> int | None:
        return self._special.id(name)

    def set_(self: Any, value: int | None) -> None:
        setattr(self, name, None if value is None else self.convert_ids_to_tokens(int(value)))

    return property(get, set_, doc=f"Id of the {name}, or None. Setting it names the token that has this id.")
