"""The named tokens of a tokenizer ([CLS], [MASK], ...): attributes, ids, and adding tokens to the vocabulary."""

from collections.abc import Iterable, Mapping
from typing import Any

from mobilebert_core.errors import TokenizerError
from mobilebert_core.text.added_tokens import AddedToken

SPECIAL_TOKEN_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
ADDITIONAL = "additional_special_tokens"


def _token_property(name: str) -> Any:
    def get(self: "SpecialTokens") -> str | None:
        token = self._special[name]
        return None if token is None else token.content

    def set_(self: "SpecialTokens", value: Any) -> None:
        self._special[name] = None if value is None else AddedToken.of(value, special=True)
        self._special_tokens_changed()

    return property(get, set_, doc=f"Text of the {name}, or None. Setting it adds nothing to the vocabulary.")


def _id_property(name: str) -> Any:
    def get(self: "SpecialTokens") -> int | None:
        token = self._special[name]
        return None if token is None else self._special_id(name, token.content)

    def set_(self: "SpecialTokens", value: int | None) -> None:
        setattr(self, name, None if value is None else self.convert_ids_to_tokens(int(value)))

    return property(get, set_, doc=f"Id of the {name}, or None. Setting it names the token that has this id.")


class SpecialTokens:
    """Named and added tokens. What a token is called, what id it has and whether decoding may skip it."""

    _special: dict[str, AddedToken | None]
    _additional: list[AddedToken]
    _added: dict[int, AddedToken]  # every special or added token by id, also those of the model's own vocabulary
    _added_ids: dict[str, int]  # the same, the other way round

    bos_token = _token_property("bos_token")
    eos_token = _token_property("eos_token")
    unk_token = _token_property("unk_token")
    sep_token = _token_property("sep_token")
    pad_token = _token_property("pad_token")
    cls_token = _token_property("cls_token")
    mask_token = _token_property("mask_token")
    bos_token_id = _id_property("bos_token")
    eos_token_id = _id_property("eos_token")
    unk_token_id = _id_property("unk_token")
    sep_token_id = _id_property("sep_token")
    pad_token_id = _id_property("pad_token")
    cls_token_id = _id_property("cls_token")
    mask_token_id = _id_property("mask_token")

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        raise NotImplementedError

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        raise NotImplementedError

    def _find_id(self, token: str) -> int | None:
        raise NotImplementedError

    def _next_id(self) -> int:
        raise NotImplementedError

    def _tokens_added(self, tokens: list[AddedToken]) -> None:
        """Called after `_added` has grown or changed."""
        raise NotImplementedError

    def _special_tokens_changed(self) -> None:
        """Called after a named token has changed."""

    def _special_id(self, name: str, token: str) -> int:
        index = self._find_id(token)
        if index is None:
            raise TokenizerError(
                f"{name}: wanted a token of the vocabulary, got {token!r}, which has no id."
                f" Add it with add_special_tokens({{{name!r}: {token!r}}})."
            )
        return index

    @property
    def additional_special_tokens(self) -> list[str]:
        """Texts of the special tokens that have no name of their own."""
        return [token.content for token in self._additional]

    @additional_special_tokens.setter
    def additional_special_tokens(self, tokens: Iterable[Any] | None) -> None:
        self._additional = [AddedToken.of(token, special=True) for token in _listed(ADDITIONAL, tokens or ())]
        self._special_tokens_changed()

    @property
    def additional_special_tokens_ids(self) -> list[int]:
        """Ids of the special tokens that have no name of their own."""
        return [self._special_id(ADDITIONAL, token.content) for token in self._additional]

    @additional_special_tokens_ids.setter
    def additional_special_tokens_ids(self, ids: Iterable[int]) -> None:
        self.additional_special_tokens = [self.convert_ids_to_tokens(int(index)) for index in ids]

    @property
    def special_tokens_map_extended(self) -> dict[str, Any]:
        """Name to AddedToken (a list of them for the additional ones); only what is set."""
        named: dict[str, Any] = {name: token for name, token in self._special.items() if token is not None}
        return {**named, ADDITIONAL: list(self._additional)} if self._additional else named

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """Name to text (a list of texts for the additional ones); only what is set."""
        named: dict[str, str | list[str]] = {
            name: token.content for name, token in self._special.items() if token is not None
        }
        return {**named, ADDITIONAL: self.additional_special_tokens} if self._additional else named

    @property
    def all_special_tokens_extended(self) -> list[AddedToken]:
        """The special tokens without repetition: bos, eos, unk, sep, pad, cls, mask, then the additional ones."""
        tokens = [*(token for token in self._special.values() if token is not None), *self._additional]
        return list({token.content: token for token in reversed(tokens)}.values())[::-1]

    @property
    def all_special_tokens(self) -> list[str]:
        """Texts of the special tokens without repetition."""
        return [token.content for token in self.all_special_tokens_extended]

    @property
    def all_special_ids(self) -> list[int]:
        """Ids of the special tokens, in the order of `all_special_tokens`."""
        return self.convert_tokens_to_ids(self.all_special_tokens)

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id to token for every special or added token, by ascending id."""
        return dict(sorted(self._added.items()))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Text to id for every special or added token, by ascending id."""
        return {token.content: index for index, token in sorted(self._added.items())}

    def get_added_vocab(self) -> dict[str, int]:
        """Text to id for every special or added token, also those that the model's own vocabulary holds."""
        return self.added_tokens_encoder

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """Number of tokens that were new to the vocabulary; they get the next free ids.

        A token that the vocabulary already holds keeps its id, and is from now on matched whole. Resize the model's
        embeddings to `len(tokenizer)` afterwards.
        """
        if isinstance(new_tokens, str) or hasattr(new_tokens, "content"):
            new_tokens = [new_tokens]
        tokens = [AddedToken.of(token, special=special_tokens or None) for token in new_tokens or ()]
        return self._add([self._as_added(token) for token in tokens])

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_additional_special_tokens: bool = True
    ) -> int:
        """Number of tokens that were new to the vocabulary. Keys are names such as "cls_token".

        Under "additional_special_tokens" stands a list, which replaces the present one or extends it.
        """
        known = (*SPECIAL_TOKEN_NAMES, ADDITIONAL)
        unknown = [name for name in special_tokens_dict if name not in known]
        if unknown:
            raise TokenizerError(
                f"add_special_tokens: wanted names among {', '.join(known)}; got {', '.join(map(repr, unknown))}."
                f" Put tokens without such a name under {ADDITIONAL!r}."
            )
        new: list[AddedToken] = []
        for name, value in special_tokens_dict.items():
            if name != ADDITIONAL:
                token = AddedToken.of(value, special=True)
                if name == "unk_token":
                    self._check_unknown_token(token.content)
                self._special[name] = token
                new.append(token)
                continue
            tokens = [AddedToken.of(token, special=True) for token in _listed(ADDITIONAL, value)]
            if replace_additional_special_tokens and tokens:
                self._additional = tokens
            else:
                present = set(self.additional_special_tokens)
                self._additional += [token for token in tokens if token.content not in present]
            new += tokens
        added = self._add(new)
        self._special_tokens_changed()
        return added

    def _as_added(self, token: AddedToken) -> AddedToken:
        """The token as this tokenizer lists it."""
        return token

    def _check_unknown_token(self, token: str) -> None:
        """Raises when WordPiece could not give this token for unknown words."""

    def _add(self, tokens: Iterable[AddedToken]) -> int:
        before = self._next_id()
        changed = self._register(tokens)
        if changed:
            self._tokens_added(changed)
        return self._next_id() - before

    def _register(self, tokens: Iterable[AddedToken]) -> list[AddedToken]:
        """Enters tokens in the tables of this object alone; returns those that are new or changed."""
        changed = []
        named = {token.content for token in self.all_special_tokens_extended}
        for token in tokens:
            if not token.content:
                continue
            if token.content in named and not token.special:
                token = AddedToken.of(token, special=True)
            index = self._find_id(token.content)
            if index is None:
                index = self._next_id()
            if self._added.get(index) == token:
                continue
            self._added[index] = token
            self._added_ids[token.content] = index
            changed.append(token)
            if token.special and token.content not in named:
                self._additional.append(token)
                named.add(token.content)
        return changed


def _listed(name: str, tokens: Any) -> list[Any]:
    if isinstance(tokens, str) or hasattr(tokens, "content"):
        raise TokenizerError(f"{name}: wanted a list of tokens, got one token ({str(tokens)!r}). Put it in a list.")
    return list(tokens.values()) if isinstance(tokens, Mapping) else list(tokens)
