"""The calls that both tokenizers share: text to model inputs, ids back to text, and the tokens they know."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Self

from ..errors import TokenizerError
from ..hub.pushing import push_after_saving, push_saved
from ..virtual_bases import VirtualSubclass
from . import model_inputs
from .batch_rows import Row, check_room, is_batch, listed, listed_words, paired_rows, split_rows
from .encoding import BatchEncoding
from .encoding_options import EncodingOptions, resolve_options, warn_of_length
from .long_texts import Parts, RowGaps, some_long
from .model_inputs import Padding, as_columns
from .padding_truncation import Cut
from .special_tokens import SpecialTokens
from .tensor_conversion import as_lists
from .token_inventory import TokenInventory
from .token_table import TokenTable
from .tokenizer_files import TOKENIZER, VOCABULARY, read_vocabulary
from .tokenizer_loading import constructor_arguments
from .tokenizer_saving import tokenizer_config, write_tokenizer, write_vocabulary
from .tokenizer_settings import GENERAL_DEFAULTS, TokenizerSettings


class TokenizerBase(VirtualSubclass, TokenInventory):
    """A BERT tokenizer: the public surface, over parts that do the work and that a subclass completes.

    The parts are a table of tokens, the special tokens in it, and functions of the modules beside this one for rows,
    padding and files. A subclass supplies the way from text to pieces and back: the methods under "Supplied by a
    subclass".

    Keywords of both tokenizers besides those listed there: `model_max_length`, `padding_side` and `truncation_side`
    ("right" or "left"), `model_input_names`, `clean_up_tokenization_spaces` (decode "don't" rather than "don ' t"),
    `split_special_tokens` (take "[MASK]" in a text for five ordinary characters), `additional_special_tokens`,
    `bos_token`, `eos_token`, `clean_text`, `wordpieces_prefix`, `max_input_chars_per_word`.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": VOCABULARY, "tokenizer_file": TOKENIZER}
    chat_template = None
    _virtual_base = ("transformers.tokenization_utils_base", "PreTrainedTokenizerBase")
    _built: ClassVar[tuple[str, ...]]  # attributes that `_build` makes
    is_fast: ClassVar[bool]
    model_max_length: int
    padding_side: str
    truncation_side: str
    model_input_names: list[str]
    clean_up_tokenization_spaces: bool
    split_special_tokens: bool
    pad_token_type_id: int
    name_or_path: str

    def __init__(
        self,
        vocab_file: str | os.PathLike[str] | None,
        tokenizer_file: str | os.PathLike[str] | None,
        special_tokens: Mapping[str, Any],
        splitting: Mapping[str, Any],
        keywords: Mapping[str, Any],
    ) -> None:
        settings = TokenizerSettings.sort(type(self).__name__, special_tokens, splitting, keywords)
        for name, value in settings.general.items():
            setattr(self, name, value)
        self._splitting, self._config_extras = settings.splitting, settings.config_extras
        self.vocab_file = None if vocab_file is None else os.fspath(vocab_file)
        self.deprecation_warnings: dict[str, bool] = {}  # what was logged once
        source = settings.source or read_vocabulary(vocab_file, tokenizer_file)
        table = TokenTable(source, settings.added)
        super().__init__(table, SpecialTokens(table, settings.named, settings.additional, source.path))

    def __getstate__(self) -> dict[str, Any]:
        """What the tokenizer was made from: calls in between change no fingerprint that a cache goes by."""
        return {name: value for name, value in vars(self).items() if name not in (*self._built, "deprecation_warnings")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, deprecation_warnings={})
        self._build()

    @property
    def init_kwargs(self) -> dict[str, Any]:
        """The keywords that make such a tokenizer, with the special tokens that it now has."""
        named = {"vocab_file": self.vocab_file, **self._special.texts_by_name()}
        return {**self._config_extras, **self._settings(), **named}

    def _settings(self) -> dict[str, Any]:
        return {**{name: getattr(self, name) for name in GENERAL_DEFAULTS}, **self._splitting}

    # Supplied by a subclass -------------------------------------------------------------------------------------------

    def _encode_batch(
        self, rows: Sequence[Row], return_tensors: Any, options: EncodingOptions, single: bool = False
    ) -> BatchEncoding:
        """A batch from (text, second text or None); `single` says that it stands for one row alone."""
        raise NotImplementedError

    def _count(self, text: str, split_special_tokens: bool) -> int:
        """The number of pieces of a text."""
        raise NotImplementedError

    def _decode(self, ids: list[int], skip_special_tokens: bool, spaces_between_special_tokens: bool) -> str:
        raise NotImplementedError

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The tokens joined to text, pieces to words."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, vocab_size={self.vocab_size},"
            f" model_max_length={self.model_max_length}, padding_side={self.padding_side!r},"
            f" truncation_side={self.truncation_side!r}, special_tokens={self.special_tokens_map})"
        )

    # Text to model inputs ---------------------------------------------------------------------------------------------

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        **options: Any,
    ) -> BatchEncoding:
        """Model inputs of one text, one pair, or a batch of either; `text_target` gives a column "labels".

        `text` is a string or a list of strings or of pairs (text, second text); with `is_split_into_words=True` a
        list of words or a list of such lists. A column of datasets, a Series or an array of strings is a list too.
        `padding` is False, True ("longest") or "max_length"; `truncation` is False, True ("longest_first"),
        "only_first" or "only_second"; `max_length` alone truncates. `return_tensors` is "np", "pt" (int64) or "tf"
        (int32). Offsets count characters of the original text.
        """
        options |= {
            "add_special_tokens": add_special_tokens, "padding": padding, "truncation": truncation,
            "max_length": max_length, "stride": stride, "is_split_into_words": is_split_into_words,
            "pad_to_multiple_of": pad_to_multiple_of, "return_token_type_ids": return_token_type_ids,
            "return_attention_mask": return_attention_mask, "return_overflowing_tokens": return_overflowing_tokens,
            "return_special_tokens_mask": return_special_tokens_mask, "return_offsets_mapping": return_offsets_mapping,
            "return_length": return_length, "verbose": verbose,
        }  # fmt: skip
        target = None if text_target is None else self._call(text_target, text_pair_target, return_tensors, options)
        if text is None:
            if target is None:
                raise TokenizerError("tokenizer: wanted text, got None. Pass a string or a list of strings.")
            return target
        encoding = self._call(text, text_pair, return_tensors, options)
        if target is not None:
            encoding["labels"] = target["input_ids"]
        return encoding

    def _call(self, text: Any, text_pair: Any, return_tensors: Any, options: dict[str, Any]) -> BatchEncoding:
        words = options["is_split_into_words"]
        text, text_pair = map(listed_words if words else listed, (text, text_pair))
        if not is_batch(text, words):
            return self._encode_one(text, text_pair, return_tensors, self._options(options))
        rows = split_rows(text, words) if text_pair is None else paired_rows(text, text_pair)
        return self._encode_batch(rows, return_tensors, self._options(options))

    def piece_ids(self, texts: list[str]) -> list[list[int]]:
        """The ids of whole texts without special tokens, for which a call would make and check more than is needed."""
        encoded = self(
            texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False, verbose=False
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def encode(self, text: Any, text_pair: Any = None, **options: Any) -> Any:
        """The input ids alone of one text or pair (passed as text, tokens or ids); takes the options of a call."""
        return self.encode_plus(text, text_pair, **options)["input_ids"]

    def encode_plus(
        self, text: Any, text_pair: Any = None, return_tensors: Any = None, **options: Any
    ) -> BatchEncoding:
        """Model inputs of one text or pair; besides text also tokens or ids are taken. Options as in a call."""
        return self._encode_one(listed(text), listed(text_pair), return_tensors, self._options(options))

    def _encode_one(self, text: Any, text_pair: Any, return_tensors: Any, options: EncodingOptions) -> BatchEncoding:
        batch = self._encode_batch([(text, text_pair)], return_tensors, options, single=True)
        if return_tensors is not None or (self.is_fast and options.return_overflowing_tokens):
            return batch
        kept = ("length",) if self.is_fast else ()  # the fast tokenizer gives a list here, as in transformers
        for key, value in batch.items():
            if key not in kept:
                batch[key] = value[0]
        return batch

    def batch_encode_plus(
        self, batch_text_or_text_pairs: Sequence[Any], return_tensors: Any = None, **options: Any
    ) -> BatchEncoding:
        """Model inputs of a list of texts, or of (text, second text) tuples. Options as in a call."""
        resolved = self._options(options)
        rows = split_rows(listed(batch_text_or_text_pairs), resolved.is_split_into_words)
        return self._encode_batch(rows, return_tensors, resolved)

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **options: Any
    ) -> list[str]:
        """The pieces of a text, and of a second one, as texts."""
        return self.encode_plus(text, pair, add_special_tokens=add_special_tokens, **options).tokens()

    def _options(self, options: dict[str, Any]) -> EncodingOptions:
        return resolve_options(
            options, self.model_max_length, self.model_input_names, self.split_special_tokens, self.pad_token
        )

    def _parts(self, rows: Sequence[Row], options: EncodingOptions) -> tuple[Sequence[Row], Sequence[RowGaps]]:
        """The rows, of which texts that truncation would cut far shorter are cut before they are tokenized.

        Endless words are cut where nothing is truncated, too.

        Their tokens stay; places in them are to be `moved` by the gaps, of which there are none where nothing was cut.
        """
        if options.return_overflowing_tokens or not some_long(rows):
            return rows, ()
        added = [token.content for token in self._table.added.values()]
        parts = Parts.of(
            partial(self._count, split_special_tokens=options.split_special_tokens),
            self._normalize,
            int(self._splitting["max_input_chars_per_word"]),
            [*added, *map(self._normalize, added), *(self._splitting.get("never_split") or ())],
            self.truncation_side == "left",
            self.is_fast,
        )
        return parts.whole(rows) if options.truncation == "do_not_truncate" else parts.rows(rows, options)

    def _check_room(self, rows: Sequence[Row], options: EncodingOptions) -> None:
        if options.truncation == "do_not_truncate":
            return
        check_room(rows, options, self.num_special_tokens_to_add(), self.num_special_tokens_to_add(pair=True))

    # Ids to model inputs; the names without a body are functions of model_inputs.py -----------------------------------

    num_special_tokens_to_add = model_inputs.num_special_tokens_to_add
    build_inputs_with_special_tokens = model_inputs.build_inputs_with_special_tokens
    create_token_type_ids_from_sequences = model_inputs.create_token_type_ids_from_sequences
    get_special_tokens_mask = model_inputs.get_special_tokens_mask
    truncate_sequences = model_inputs.truncate_sequences

    def prepare_for_model(
        self,
        ids: list[int],
        pair_ids: list[int] | None = None,
        prepend_batch_axis: bool = False,
        return_tensors: Any = None,
        **options: Any,
    ) -> BatchEncoding:
        """Model inputs from ids without special tokens; takes the options of a call of the tokenizer."""
        resolved = self._options(options)
        row, _ = self._arrange(list(ids), None if pair_ids is None else list(pair_ids), resolved)
        self._padding(resolved).row(row, resolved)
        if resolved.return_length:
            row["length"] = len(row[self.model_input_names[0]])
        return BatchEncoding(row, tensor_type=return_tensors, prepend_batch_axis=prepend_batch_axis)

    def pad(
        self,
        encoded_inputs: Any,
        padding: Any = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: Any = None,
        verbose: bool = True,
        padding_side: str | None = None,
    ) -> BatchEncoding:
        """Encoded inputs filled up to one length: one mapping, a batch of columns, or a list of mappings (a collator).

        The arguments are not changed. Columns that the tokenizer does not know (labels) are passed on as they are.
        """
        columns = as_columns(encoded_inputs, self.model_input_names[0])
        options = {
            "padding": padding, "truncation": False, "max_length": max_length, "padding_side": padding_side,
            "pad_to_multiple_of": pad_to_multiple_of, "return_attention_mask": return_attention_mask,
        }  # fmt: skip
        resolved = self._options(options)
        return self._padding(resolved).encodings(columns, resolved, return_tensors)

    def _padding(self, options: EncodingOptions) -> Padding:
        side = options.padding_side or self.padding_side
        return Padding(self._special, self.model_input_names[0], self.pad_token_type_id, side)

    def _arrange(
        self, ids: list[int], pair_ids: list[int] | None, options: EncodingOptions
    ) -> tuple[dict[str, Any], Cut]:
        row, cut = model_inputs.arrange(self, ids, pair_ids, options)
        warn_of_length(self.deprecation_warnings, len(row[self.model_input_names[0]]), self.model_max_length, options)
        return row, cut

    @property
    def max_len_single_sentence(self) -> int:
        """Tokens of one text that the model takes besides the special ones."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=False)

    @property
    def max_len_sentences_pair(self) -> int:
        """Tokens of two texts together that the model takes besides the special ones."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    # Ids and tokens to text -------------------------------------------------------------------------------------------

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        spaces_between_special_tokens: bool = True,
    ) -> str:
        """Text of an id or of a list or tensor of ids. Case, accents and spacing of the original are not restored.

        An id that no token has reads "[UNK]". `spaces_between_special_tokens` is for the pure Python tokenizer: False
        leaves out the spaces around added tokens.
        """
        ids = as_lists(token_ids)
        ids = [ids] if isinstance(ids, int) else ids
        if any(not hasattr(index, "__index__") for index in ids):
            raise TokenizerError(
                f"decode: wanted ids of one sequence, got {type(ids[0]).__name__} items. Use batch_decode for several."
            )
        text = self._decode(ids, skip_special_tokens, spaces_between_special_tokens)
        if clean_up_tokenization_spaces is None:
            clean_up_tokenization_spaces = self.clean_up_tokenization_spaces
        return self.clean_up_tokenization(text) if clean_up_tokenization_spaces else text

    def batch_decode(self, sequences: Any, **options: Any) -> list[str]:
        """Texts of a list of sequences of ids; takes the options of `decode`."""
        return [self.decode(sequence, **options) for sequence in sequences]

    @staticmethod
    def clean_up_tokenization(out_string: str) -> str:
        """The text without the spaces that splitting puts before English punctuation and contractions."""
        for spaced in (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're"):
            out_string = out_string.replace(spaced, spaced.strip())
        return out_string

    # Files ------------------------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **overrides: Any) -> Self:
        """The tokenizer of a directory, of a vocab.txt or tokenizer.json whose path is passed, or of a name on the hub.

        That of a file of weights lies beside it. Reads what transformers 4 and 5 write. Keyword arguments of the
        constructor override what the files say; `subfolder`, `revision` and the others of
        `mobilebert_core.hub.resolve` say where the files are.
        Raises `CheckpointNotFoundError` when nothing is there and `TokenizerError` for files that are damaged or
        contradict each other.
        """
        vocab_file, keywords = constructor_arguments(pretrained_model_name_or_path, overrides)
        return cls(vocab_file, **keywords)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> tuple[str, ...]:
        """Paths of the files written; both tokenizers here and those of transformers 4 and 5 read them.

        `legacy_format=True` leaves out tokenizer.json, False leaves out vocab.txt. A tokenizer that tokenizer.json
        cannot describe (`never_split`, `do_basic_tokenize=False`) is saved without it. Each file is replaced whole.
        `push_to_hub` uploads the directory afterwards, with the keywords of `mobilebert_core.hub.pushing.push_folder`.
        """
        name = type(self).__name__
        last = push_after_saving(f"{name}.save_pretrained", str(save_directory), push_to_hub, kwargs, name)
        general = {name: getattr(self, name) for name in GENERAL_DEFAULTS}
        config = tokenizer_config(general, self._splitting, self._config_extras, self._table, self._special)
        parts = self._splitting, self._table, self._special
        written = write_tokenizer(save_directory, config, *parts, legacy_format, filename_prefix)
        last()
        return written

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Saves the tokenizer and uploads it as `owner/name`; takes the keywords of `save_pretrained`."""
        return push_saved(self, repo_id, **kwargs)

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Path of the vocab.txt written: the model's own vocabulary, without added tokens."""
        return (write_vocabulary(save_directory, self._table.vocabulary, filename_prefix),)
