"""Loading a tokenizer from its files and saving it to them."""

import os
from pathlib import Path
from typing import Any, Self

from mobilebert_core.errors import TokenizerError
from mobilebert_core.files import write_text
from mobilebert_core.text.special_tokens import ADDITIONAL, SPECIAL_TOKEN_NAMES
from mobilebert_core.text.tokenization_base import TokenizerBase
from mobilebert_core.text.tokenizer_files import (
    ADDED,
    CONFIG,
    SPECIAL_MAP,
    TOKENIZER,
    VOCABULARY,
    TokenizerDirectory,
    json_text,
    read_vocabulary,
    tokenizer_json,
    vocabulary_text,
)
from mobilebert_core.text.tokenizer_state import GENERAL_DEFAULTS, WORDPIECE_DEFAULTS

from ..hub.resolve import resolve, take_hub_keywords

_WITHOUT_EFFECT = ("trust_remote_code", "use_fast")  # keywords of from_pretrained in transformers; see AutoTokenizer
_ARGUMENTS = {
    *SPECIAL_TOKEN_NAMES, ADDITIONAL, *GENERAL_DEFAULTS, *WORDPIECE_DEFAULTS, "max_len", "added_tokens_decoder",
    "do_lower_case", "do_basic_tokenize", "never_split", "tokenize_chinese_chars", "strip_accents",
}  # fmt: skip
# Keys of tokenizer_config.json that describe its directory or its writer: neither arguments nor written back.
_NOT_KEPT = {
    "vocab_file", "tokenizer_file", "special_tokens_map_file", "added_tokens_file", "name_or_path", "tokenizer_class",
    "backend", "init_inputs", "auto_map", "is_local",
}  # fmt: skip


class SavedTokenizer(TokenizerBase):
    """A tokenizer with `from_pretrained` and `save_pretrained`."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **overrides: Any) -> Self:
        """The tokenizer of a directory, of a vocab.txt or tokenizer.json whose path is passed, or of a name on the hub.

        Reads what transformers 4 and 5 write. Keyword arguments of the constructor override what the files say;
        `subfolder`, `revision` and the others of `mobilebert_core.hub.resolve` say where the files are.
        Raises `CheckpointNotFoundError` when nothing is there and `TokenizerError` for files that are damaged or
        contradict each other.
        """
        hub = take_hub_keywords(overrides)
        found = TokenizerDirectory.find(resolve(pretrained_model_name_or_path, tokenizer=True, **hub))
        source = read_vocabulary(found.vocab_file, found.tokenizer_file)
        written = found.arguments()
        arguments = {key: value for key, value in written.items() if key in _ARGUMENTS}
        extras = {key: value for key, value in written.items() if key not in _ARGUMENTS | _NOT_KEPT}
        arguments |= {key: value for key, value in overrides.items() if key not in _WITHOUT_EFFECT}
        arguments["name_or_path"] = os.fspath(pretrained_model_name_or_path)
        keywords = {**source.arguments, **arguments, "_source": source, "_config_extras": extras}
        return cls(found.vocab_file, **keywords)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
    ) -> tuple[str, ...]:
        """Paths of the files written; both tokenizers here and those of transformers 4 and 5 read them.

        `legacy_format=True` leaves out tokenizer.json, False leaves out vocab.txt. A tokenizer that tokenizer.json
        cannot describe (`never_split`, `do_basic_tokenize=False`) is saved without it. Each file is replaced whole.
        """
        directory = Path(save_directory)
        if directory.exists() and not directory.is_dir():
            raise TokenizerError(f"{directory}: wanted a directory to save in, got a file. Pass another path.")
        describable = not self._arguments.get("never_split") and self._arguments.get("do_basic_tokenize", True)
        if legacy_format is False and not describable:
            raise TokenizerError(
                f"{directory}: wanted a tokenizer that {TOKENIZER} can describe, got one with never_split or without"
                " basic tokenization. Save it with legacy_format=None."
            )
        directory.mkdir(parents=True, exist_ok=True)

        def path(name: str) -> Path:
            return directory / (f"{filename_prefix}-{name}" if filename_prefix else name)

        extended = self.special_tokens_map_extended
        files = {
            CONFIG: json_text(self._config()),
            SPECIAL_MAP: json_text({name: _plain(token) for name, token in extended.items()}),
        }
        added = {token: index for token, index in self._added_ids.items() if token not in self._vocabulary}
        if legacy_format is not False:
            files[VOCABULARY] = vocabulary_text(self._vocabulary)
            if added:
                files[ADDED] = json_text(added)
        if legacy_format is not True and describable:
            files[TOKENIZER] = self._tokenizer_json()
        for name, text in files.items():
            write_text(path(name), text)
        for name in {ADDED, TOKENIZER, VOCABULARY} - files.keys():  # of an earlier tokenizer, now contradicting
            path(name).unlink(missing_ok=True)
        return tuple(str(path(name)) for name in files)

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Path of the vocab.txt written: the model's own vocabulary, without added tokens."""
        directory = Path(save_directory)
        if not directory.is_dir():
            raise TokenizerError(f"{directory}: wanted a directory to save in, found none. Create it first.")
        name = f"{filename_prefix}-{VOCABULARY}" if filename_prefix else VOCABULARY
        write_text(directory / name, vocabulary_text(self._vocabulary))
        return (str(directory / name),)

    def _tokenizer_json(self) -> str:
        return tokenizer_json(
            self._vocabulary,
            self._added,
            {**self._arguments, "unk_token": self.unk_token},
            (self.cls_token, self.cls_token_id),
            (self.sep_token, self.sep_token_id),
        )

    def _config(self) -> dict[str, Any]:
        """What stands in tokenizer_config.json. Arguments that transformers does not know only when they matter."""
        defaults = {**GENERAL_DEFAULTS, **WORDPIECE_DEFAULTS}
        values = {name: getattr(self, name) for name in GENERAL_DEFAULTS} | self._arguments
        always = ("model_max_length", "clean_up_tokenization_spaces")
        return {
            **self._config_extras,
            **{name: value for name, value in values.items() if name in always or value != defaults.get(name, ())},
            **self.special_tokens_map,
            "added_tokens_decoder": {str(index): token.as_dict() for index, token in sorted(self._added.items())},
            "tokenizer_class": "MobileBertTokenizer",
        }


def _plain(token: Any) -> Any:
    """A special token as special_tokens_map.json has it: text alone when that says it all."""
    if isinstance(token, list):
        return [_plain(item) for item in token]
    usual = not (token.single_word or token.lstrip or token.rstrip or token.normalized)
    return token.content if usual else token.as_dict(with_special=False)
