"""The compiled tokenizer of the `tokenizers` library, with the settings of each call passed by value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import BackendMissingError, TokenizerError
from .added_tokens import AddedToken
from .batch_rows import check_rows
from .encoding_options import EncodingOptions
from .padding_truncation import cut_lengths
from .turns import Turns

_TRUNCATION_FIELDS = ("max_length", "stride", "strategy", "direction")
_PADDING_FIELDS = ("direction", "pad_id", "pad_type_id", "pad_token", "length", "pad_to_multiple_of")


@dataclass(frozen=True)
class LibrarySettings:
    """What the library keeps in its tokenizer object although it belongs to one call."""

    truncation: tuple[Any, ...] | None = None  # values of _TRUNCATION_FIELDS
    padding: tuple[Any, ...] | None = None  # values of _PADDING_FIELDS
    split_special_tokens: bool = False


class LibraryTokenizer:
    """A `tokenizers.Tokenizer` made from a tokenizer.json, which several threads may use.

    Raises `BackendMissingError` when the library is not installed.
    """

    def __init__(self, tokenizer_json: str) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise BackendMissingError(
                f"MobileBertTokenizerFast: wanted the package tokenizers, which is not installed ({error})."
                " Install it, or use MobileBertTokenizer."
            ) from error
        try:
            self.library = Tokenizer.from_str(tokenizer_json)
        except Exception as error:  # the library has no type of its own
            raise TokenizerError(
                f"MobileBertTokenizerFast: wanted settings that the package tokenizers takes, but it says: {error}."
                " Correct the tokenizer's files or keywords, or use MobileBertTokenizer."
            ) from error
        self._turns = Turns(LibrarySettings(), self._apply)

    def __reduce__(self) -> tuple[Any, ...]:
        self._turns.begin(LibrarySettings())  # the library writes those in force into its JSON
        try:
            return type(self), (self.library.to_str(),)
        finally:
            self._turns.end()

    def __getattr__(self, name: str) -> Any:
        """What the library's tokenizer has: pipelines of transformers ask for its `model`."""
        if name == "library":  # not made yet
            raise AttributeError(name)
        return getattr(self.library, name)

    def add(self, token: AddedToken) -> int | None:
        """Adds a token and returns the id that the library gives it."""
        from tokenizers import AddedToken as LibraryToken

        add = self.library.add_special_tokens if token.special else self.library.add_tokens
        with self._turns.alone():
            add([LibraryToken(**token.as_dict())])
            return self.library.token_to_id(token.content)

    def encode(
        self, inputs: list[Any], options: EncodingOptions, settings: LibrarySettings, with_places: bool = True
    ) -> list[Any]:
        """The library's encodings of texts and pairs. `with_places=False` leaves out offsets, words and tokens."""
        self._turns.begin(settings)
        try:
            return self._encoded(inputs, options, with_places)
        finally:
            self._turns.end()

    def _encoded(self, inputs: list[Any], options: EncodingOptions, with_places: bool) -> list[Any]:
        encode = self.library.encode_batch if with_places else self.library.encode_batch_fast
        try:
            return encode(
                inputs, is_pretokenized=options.is_split_into_words, add_special_tokens=options.add_special_tokens
            )
        except (TypeError, UnicodeEncodeError):
            check_rows([item if isinstance(item, tuple) else (item, None) for item in inputs], options)
            clean = _without_surrogates(inputs)
            if clean == inputs:
                raise
            return self._encoded(clean, options, with_places)
        except BaseException as error:  # Rust's panics are no Exceptions
            explained = _explained(error, options)
            if explained is None:
                raise
            raise explained from error

    def _apply(self, settings: LibrarySettings) -> None:
        if settings.truncation is None:
            self.library.no_truncation()
        else:
            self.library.enable_truncation(**dict(zip(_TRUNCATION_FIELDS, settings.truncation, strict=True)))
        if settings.padding is None:
            self.library.no_padding()
        else:
            self.library.enable_padding(**dict(zip(_PADDING_FIELDS, settings.padding, strict=True)))
        self.library.encode_special_tokens = settings.split_special_tokens


def _explained(error: BaseException, options: EncodingOptions) -> TokenizerError | None:
    """The library's error in words that say what to do, or None for one that is not about truncation."""
    message = str(error)
    if type(error).__name__ == "PanicException" and "`stride`" in message:
        return TokenizerError(
            f"stride: wanted less than what max_length={options.max_length} leaves of a text besides the"
            f" special tokens and the other text, got {options.stride}. Raise max_length or lower stride."
        )
    if "Truncation error" not in message:
        return None
    if "Second sequence" in message:
        try:
            cut_lengths(1, None, 1, options.truncation, "right")
        except TokenizerError as explained:
            return explained
    return TokenizerError(
        f"truncation={options.truncation!r}: the text that it may shorten is too short to make the row fit"
        f" max_length={options.max_length}. Raise max_length, or use a strategy that may shorten the other"
        " text ('longest_first')."
    )


def _without_surrogates(value: Any) -> Any:
    """The texts with U+FFFD, which cleaning removes, for lone surrogates, which the library does not take."""
    if isinstance(value, str):
        return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in value)
    return type(value)(_without_surrogates(item) for item in value) if isinstance(value, list | tuple) else value
