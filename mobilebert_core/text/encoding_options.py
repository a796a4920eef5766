"""The options of one call: the spellings that users may write, resolved to one and checked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import TokenizerError

logger = logging.getLogger(__name__)

PADDING = ("do_not_pad", "longest", "max_length")
TRUNCATION = ("do_not_truncate", "longest_first", "only_first", "only_second")
_LIMITLESS = int(1e20)
_LONGEST = 2**31 - 1  # the tokenizers library counts no further on every machine


@dataclass(frozen=True)
class EncodingOptions:
    """One call's options, with the many spellings users may write resolved to one."""

    add_special_tokens: bool = True
    padding: str = "do_not_pad"
    truncation: str = "do_not_truncate"
    max_length: int | None = None
    stride: int = 0
    is_split_into_words: bool = False
    pad_to_multiple_of: int | None = None
    padding_side: str | None = None  # None: the tokenizer's
    return_token_type_ids: bool = True
    return_attention_mask: bool = True
    return_overflowing_tokens: bool = False
    return_special_tokens_mask: bool = False
    return_offsets_mapping: bool = False
    return_length: bool = False
    split_special_tokens: bool = False
    verbose: bool = True  # False: no warning about a sequence that is longer than the model takes


def resolve_strategies(
    padding: Any, truncation: Any, max_length: int | None, pad_to_multiple_of: int | None, model_max_length: int
) -> tuple[str, str, int | None]:
    """The padding and truncation meant, by name, and the length that they work to.

    `max_length` alone truncates; without it the model's limit counts; without either there is neither truncation nor
    padding to a length, which is logged.
    """
    padding, truncation = getattr(padding, "value", padding), getattr(truncation, "value", truncation)
    if max_length is not None and padding is False and truncation is None:
        truncation = "longest_first"
    padding = {False: "do_not_pad", None: "do_not_pad", True: "longest"}.get(padding, padding)
    truncation = {False: "do_not_truncate", None: "do_not_truncate", True: "longest_first"}.get(truncation, truncation)
    _choose("padding", padding, PADDING)
    _choose("truncation", truncation, TRUNCATION)
    for name, number in (("max_length", max_length), ("pad_to_multiple_of", pad_to_multiple_of)):
        if number is not None and (isinstance(number, bool) or not hasattr(number, "__index__") or number < 1):
            raise TokenizerError(f"{name}: wanted a whole number above 0 or None, got {number!r}.")
        if number is not None and number > _LONGEST and (name != "max_length" or padding == "max_length"):
            of = " to pad to" if name == "max_length" else ""
            raise TokenizerError(f"{name}: wanted at most {_LONGEST}{of}, got {number}.")
    max_length = max_length and min(max_length, _LONGEST)
    if max_length is None and (padding == "max_length" or truncation != "do_not_truncate"):
        if model_max_length <= _LIMITLESS:
            max_length = model_max_length
        else:
            logger.warning(
                "no max_length was passed and the tokenizer has no model_max_length: nothing is truncated or padded to"
                " a length. Pass max_length, or model_max_length when the tokenizer is made."
            )
            truncation = "do_not_truncate"
            padding = "do_not_pad" if padding == "max_length" else padding
    if (
        truncation != "do_not_truncate"
        and padding != "do_not_pad"
        and pad_to_multiple_of
        and max_length is not None
        and max_length % pad_to_multiple_of
    ):
        nearest = max(1, max_length // pad_to_multiple_of) * pad_to_multiple_of
        raise TokenizerError(
            f"max_length: wanted a multiple of pad_to_multiple_of ({pad_to_multiple_of}) when both truncating and"
            f" padding, got {max_length}. Use {nearest}."
        )
    return padding, truncation, max_length


def _choose(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise TokenizerError(f"{name}: wanted True, False or one of {', '.join(allowed)}; got {value!r}.")


def resolve_options(
    options: dict[str, Any],
    model_max_length: int,
    model_input_names: Sequence[str],
    split_special_tokens: bool,
    pad_token: str | None,
) -> EncodingOptions:
    """The options of a call, completed by the settings of the tokenizer.

    Raises `TokenizerError` for an option or value that is unknown, and for padding without a pad token.
    """
    if "pad_to_max_length" in options or "truncation_strategy" in options:
        options = _of_transformers_2(dict(options))
    padding, truncation, max_length = resolve_strategies(
        options.get("padding", False),
        options.get("truncation"),
        options.get("max_length"),
        options.get("pad_to_multiple_of"),
        model_max_length,
    )
    if padding != "do_not_pad" and pad_token is None:
        raise TokenizerError(
            "padding: wanted a pad_token, which this tokenizer lacks. Set one: tokenizer.pad_token = '[PAD]'."
        )
    if not options.keys() <= EncodingOptions.__dataclass_fields__.keys():
        unknown = [name for name in options if name not in EncodingOptions.__dataclass_fields__]
        raise TokenizerError(
            f"tokenizer: wanted options it knows, got {', '.join(map(repr, unknown))}."
            f" It knows {', '.join(EncodingOptions.__dataclass_fields__)} and return_tensors."
        )
    if options.get("padding_side") not in (None, "right", "left"):
        raise TokenizerError(f"padding_side: wanted 'right' or 'left', got {options['padding_side']!r}.")
    resolved = {**options, "padding": padding, "truncation": truncation, "max_length": max_length}
    if resolved.get("return_token_type_ids") is None:
        resolved["return_token_type_ids"] = "token_type_ids" in model_input_names
    if resolved.get("return_attention_mask") is None:
        resolved["return_attention_mask"] = "attention_mask" in model_input_names
    if resolved.get("split_special_tokens") is None:
        resolved["split_special_tokens"] = split_special_tokens
    return EncodingOptions(**resolved)


def _of_transformers_2(options: dict[str, Any]) -> dict[str, Any]:
    """The options of before transformers 3, `pad_to_max_length` and `truncation_strategy`, in today's words."""
    strategy = options.pop("truncation_strategy", None)
    if options.get("truncation") is None and strategy not in (None, "do_not_truncate"):
        options["truncation"] = strategy
    if options.pop("pad_to_max_length", False) and not options.get("padding"):
        if options.get("max_length") is not None and options.get("truncation") is None:
            options["truncation"] = "longest_first"
        options["padding"] = "longest" if options.get("max_length") is None else "max_length"
    return options


def warn_of_length(logged: dict[str, bool], length: int, model_max_length: int, options: EncodingOptions) -> None:
    """Logs, once for a tokenizer, that a sequence is longer than the model takes.

    Not where the call cuts it or asks for silence. What was logged is noted in `logged`.
    """
    if logged.get(_TOO_LONG) or not options.verbose or options.max_length is not None or length <= model_max_length:
        return
    logged[_TOO_LONG] = True
    logger.warning(
        "a sequence of %d tokens is longer than model_max_length (%d), which the model will refuse;"
        " pass truncation=True.",
        length,
        model_max_length,
    )


# As transformers names it, for scripts that set it in `tokenizer.deprecation_warnings` to silence the warning.
_TOO_LONG = "sequence-length-is-longer-than-the-specified-maximum"
