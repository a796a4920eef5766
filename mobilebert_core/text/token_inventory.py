"""The tokens that a tokenizer knows: its vocabulary, its special and added tokens, and the way from ids to tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from .added_tokens import ADDITIONAL, SPECIAL_TOKEN_NAMES, AddedToken
from .special_tokens import SpecialTokens, token_id, token_itself, token_text
from .tensor_conversion import as_lists
from .token_table import TokenTable


class TokenInventory:
    """What a tokenizer says of its tokens, over a table of tokens and the special ones in it."""

    max_model_input_sizes: ClassVar[dict[str, int]] = {"mobilebert-uncased": 512}  # as in transformers 4.37
    SPECIAL_TOKENS_ATTRIBUTES: ClassVar[list[str]] = [*SPECIAL_TOKEN_NAMES, ADDITIONAL]

    def __init__(self, table: TokenTable, special: SpecialTokens) -> None:
        self._table = table
        self._special = special
        self._build()

    # Supplied by a subclass -------------------------------------------------------------------------------------------

    def _build(self) -> None:
        """Makes what turns text into pieces, from the table and the settings."""
        raise NotImplementedError

    def _tokens_added(self, tokens: list[AddedToken]) -> None:
        """Called after these tokens were entered in the table."""
        raise NotImplementedError

    def _as_added(self, token: AddedToken) -> AddedToken:
        """The token as this tokenizer lists it."""
        return token

    def _normalize(self, text: str) -> str:
        """`text` as words are looked up in it."""
        raise NotImplementedError

    def _token_of(self, index: int) -> str | None:
        """Text of an id, in added tokens and vocabulary."""
        return self._table.text(index)

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Id of a token, or ids of a list of them; unknown ones give the id of `unk_token`."""
        if tokens is None:
            return None
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        index = self._table.find(tokens)
        if index is None:
            index = self._table.find_normalized(tokens, self._normalize)
        return self.unk_token_id if index is None else index

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Token of an id, or tokens of ids in a list or tensor."""
        ids = as_lists(ids)
        if isinstance(ids, int):
            return self._token_of(ids)
        special = set(self.all_special_ids) if skip_special_tokens else ()
        return [self._token_of(int(index)) for index in ids if index not in special]

    def _convert_id_to_token(self, index: int) -> str:
        """As the collators of transformers for whole words ask; ids without a token read as unknown."""
        return self._token_of(index) or self._special.unknown

    def _convert_token_to_id(self, token: str) -> int | None:
        found: int | None = self.convert_tokens_to_ids(token)
        return found

    # The vocabulary ---------------------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        """Number of tokens of the model's own vocabulary, added ones left out; `len(tokenizer)` counts all."""
        return len(self._table.vocabulary)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def vocab(self) -> dict[str, int]:
        """Text to id for the whole vocabulary, added tokens included."""
        return self.get_vocab()

    def get_vocab(self) -> dict[str, int]:
        """Text to id for the whole vocabulary, added tokens included; a new dictionary."""
        return self._table.all_by_text()

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id to token for every special or added token, by ascending id."""
        return self._table.added_by_id()

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Text to id for every special or added token, by ascending id."""
        return self._table.added_by_text()

    def get_added_vocab(self) -> dict[str, int]:
        """Text to id for every special or added token, also those that the model's own vocabulary holds."""
        return self.added_tokens_encoder

    # Special and added tokens -----------------------------------------------------------------------------------------

    init_inputs = ()  # arguments without a name, of which there are none
    bos_token = token_text("bos_token")
    eos_token = token_text("eos_token")
    unk_token = token_text("unk_token")
    sep_token = token_text("sep_token")
    pad_token = token_text("pad_token")
    cls_token = token_text("cls_token")
    mask_token = token_text("mask_token")
    bos_token_id = token_id("bos_token")
    eos_token_id = token_id("eos_token")
    unk_token_id = token_id("unk_token")
    sep_token_id = token_id("sep_token")
    pad_token_id = token_id("pad_token")
    cls_token_id = token_id("cls_token")
    mask_token_id = token_id("mask_token")
    _bos_token = token_itself("bos_token")
    _eos_token = token_itself("eos_token")
    _unk_token = token_itself("unk_token")
    _sep_token = token_itself("sep_token")
    _pad_token = token_itself("pad_token")
    _cls_token = token_itself("cls_token")
    _mask_token = token_itself("mask_token")

    @property
    def additional_special_tokens(self) -> list[str]:
        """Texts of the special tokens that have no name of their own."""
        return self._special.additional_texts()

    @additional_special_tokens.setter
    def additional_special_tokens(self, tokens: Iterable[Any] | None) -> None:
        self._special.set_additional(tokens)
        self._special_tokens_changed()

    @property
    def additional_special_tokens_ids(self) -> list[int]:
        """Ids of the special tokens that have no name of their own."""
        return self._special.additional_ids()

    @additional_special_tokens_ids.setter
    def additional_special_tokens_ids(self, ids: Iterable[int]) -> None:
        self.additional_special_tokens = [self.convert_ids_to_tokens(int(index)) for index in ids]

    extra_special_tokens = additional_special_tokens  # the names in transformers 5
    extra_special_tokens_ids = additional_special_tokens_ids

    @property
    def special_tokens_map_extended(self) -> dict[str, Any]:
        """Name to AddedToken (a list of them for the additional ones); only what is set."""
        return self._special.by_name()

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """Name to text (a list of texts for the additional ones); only what is set."""
        return self._special.texts_by_name()

    @property
    def all_special_tokens_extended(self) -> list[AddedToken]:
        """The special tokens without repetition: bos, eos, unk, sep, pad, cls, mask, then the additional ones."""
        return self._special.tokens()

    @property
    def all_special_tokens(self) -> list[str]:
        """Texts of the special tokens without repetition."""
        return self._special.texts()

    @property
    def all_special_ids(self) -> list[int]:
        """Ids of the special tokens, in the order of `all_special_tokens`."""
        return self.convert_tokens_to_ids(self.all_special_tokens)

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """Number of tokens that were new to the vocabulary; they get the next free ids.

        A token that the vocabulary already holds keeps its id, and is from now on matched whole. Resize the model's
        embeddings to `len(tokenizer)` afterwards.
        """
        if isinstance(new_tokens, str) or hasattr(new_tokens, "content"):
            new_tokens = [new_tokens]
        tokens = [AddedToken.of(token, special=special_tokens or None) for token in new_tokens or ()]
        return self._add([self._as_added(token) for token in tokens])

    def sanitize_special_tokens(self) -> int:
        """Puts special tokens into the vocabulary that it lacks, and returns how many; there are none here."""
        return 0

    def add_special_tokens(
        self,
        special_tokens_dict: Mapping[str, Any],
        replace_additional_special_tokens: bool = True,
        replace_extra_special_tokens: bool = True,
    ) -> int:
        """Number of tokens that were new to the vocabulary. Keys are names such as "cls_token".

        Under "additional_special_tokens" stands a list, which replaces the present one, or extends it where one of the
        switches is False. Names with "extra" are those of transformers 5.
        """
        replace = replace_additional_special_tokens and replace_extra_special_tokens
        added = self._add(self._special.update(special_tokens_dict, replace))
        self._special_tokens_changed()
        return added

    def _add(self, tokens: Iterable[AddedToken]) -> int:
        before = self._table.next_id()
        changed = self._special.register(tokens)
        if changed:
            self._tokens_added(changed)
        return self._table.next_id() - before

    def _special_tokens_changed(self) -> None:
        self._build()
