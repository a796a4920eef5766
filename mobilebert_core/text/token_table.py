"""Text and id of every token: the model's own vocabulary, and the tokens that users added to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..errors import TokenizerError
from .added_tokens import AddedToken
from .tokenizer_files import VocabularySource

_IDS_OF_FEW = 1_000_000  # a vocab.txt has a line and a model has a row for each id up to the last


class TokenTable:
    """The vocabulary, which never changes, and the added tokens, each by its text and by its id.

    Special tokens count as added tokens, also those that stand in the model's own vocabulary: all of them are matched
    before words are split.
    """

    def __init__(self, source: VocabularySource, added: Mapping[int, AddedToken]) -> None:
        self.vocabulary: dict[str, int] = source.vocabulary
        self.texts: dict[int, str] = {index: token for token, index in source.vocabulary.items()}
        self.added: dict[int, AddedToken] = {**source.added, **added}
        self.added_ids: dict[str, int] = {token.content: index for index, token in self.added.items()}
        self._check_last(source.path)
        self._check_added(source.path)

    def _check_last(self, path: str) -> None:
        last, most = self.next_id() - 1, max(_IDS_OF_FEW, 2 * len(self))
        if last >= most:
            raise TokenizerError(
                f"{path}: wanted ids below {most} for {len(self)} tokens, got {self.text(last)!r} with the id {last}."
                " Correct that id, which has no row in a model."
            )

    def _check_added(self, path: str) -> None:
        for index, token in self.added.items():
            known = self.vocabulary.get(token.content)
            if (known is not None and known != index) or self.texts.get(index, token.content) != token.content:
                raise TokenizerError(
                    f"{path}: wanted added token {token.content!r} at id {index}, but there the vocabulary has"
                    f" {self.texts.get(index)!r} and for the token the id {known}."
                    " The added tokens belong to another vocabulary; load the files that were saved together."
                )

    def check_unknown_token(self, token: str, place: str) -> None:
        """Raises `TokenizerError` naming `place` when WordPiece could not give this token for unknown words."""
        if token not in self.vocabulary:
            raise TokenizerError(
                f"{place}: wanted a vocabulary that holds the unk_token, got {len(self.vocabulary)} tokens without"
                f" {token!r}. Pass the right file, or unk_token=... as this vocabulary calls it."
            )

    def __len__(self) -> int:
        return len(self.vocabulary) + len(self.outside_vocabulary())

    def outside_vocabulary(self) -> dict[str, int]:
        """Text to id of the added tokens that the model's own vocabulary lacks."""
        return {token: index for token, index in self.added_ids.items() if token not in self.vocabulary}

    def find(self, token: str) -> int | None:
        """Id of a token, or None."""
        index = self.vocabulary.get(token)
        return self.added_ids.get(token) if index is None else index

    def find_normalized(self, token: str, normalize: Callable[[str], str]) -> int | None:
        """Id of the added token that `token` matches in normalized text, as `tokenize` lists it, or None."""
        names = (token, normalize(token))
        return next((index for text, index in self.added_ids.items() if normalize(text) in names), None)

    def text(self, index: int) -> str | None:
        """Text of the token with this id, or None."""
        return self.added[index].content if index in self.added else self.texts.get(index)

    def next_id(self) -> int:
        """Id of the next token that is added."""
        return max(len(self.vocabulary), max(self.added, default=-1) + 1, max(self.texts, default=-1) + 1)

    def enter(self, token: AddedToken) -> bool:
        """Lists an added token under its id, or the next one; False when it is listed like that already."""
        index = self.find(token.content)
        if index is None:
            index = self.next_id()
        if self.added.get(index) == token:
            return False
        self.added[index] = token
        self.added_ids[token.content] = index
        return True

    def added_by_id(self) -> dict[int, AddedToken]:
        """Id to added token, by ascending id; a new dictionary."""
        return dict(sorted(self.added.items()))

    def added_by_text(self) -> dict[str, int]:
        """Text of the added token to id, by ascending id; a new dictionary."""
        return {token.content: index for index, token in self.added_by_id().items()}

    def all_by_text(self) -> dict[str, int]:
        """Text to id for the whole vocabulary, added tokens included; a new dictionary."""
        return {**self.vocabulary, **self.added_by_text()}
