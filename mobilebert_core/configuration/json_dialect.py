"""Hugging Face's JSON of a configuration, in the spelling of both its generations: functions on plain values.

transformers 4 and 5 write the same fields under different names, and every file carries fields of other models. What
is read here and what is written means the same to both.
"""

from __future__ import annotations

import copy
import difflib
import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..processes import warn
from .checks import MOST_LABELS, is_int
from .fields import ALWAYS_WRITTEN, WRITTEN_ACTIVATIONS, default_values, fields_marked

logger = logging.getLogger("mobilebert")

# Fields that every transformers configuration may carry. They change nothing in MobileBERT; they are
# accepted, kept and written back, so that a file survives the trip.
INERT_FIELDS: dict[str, Any] = {
    "add_cross_attention": False, "bad_words_ids": None, "begin_suppress_tokens": None, "bos_token_id": None,
    "chunk_size_feed_forward": 0, "cross_attention_hidden_size": None, "decoder_start_token_id": None,
    "diversity_penalty": 0.0, "do_sample": False, "early_stopping": False, "encoder_no_repeat_ngram_size": 0,
    "eos_token_id": None, "exponential_decay_length_penalty": None, "finetuning_task": None,
    "forced_bos_token_id": None, "forced_eos_token_id": None,
    "is_composition": False, "is_decoder": False, "is_encoder_decoder": False, "length_penalty": 1.0,
    "max_length": 20, "min_length": 0, "no_repeat_ngram_size": 0, "num_beam_groups": 1, "num_beams": 1,
    "num_choices": None, "num_return_sequences": 1, "output_scores": False, "prefix": None,
    "remove_invalid_values": False, "repetition_penalty": 1.0, "return_dict_in_generate": False,
    "sep_token_id": None, "suppress_tokens": None,
    "task_specific_params": None, "temperature": 1.0, "tf_legacy_loss": False, "tie_encoder_decoder": False,
    "tokenizer_class": None, "top_k": 50, "top_p": 1.0, "transformers_version": None,
    "typical_p": 1.0, "use_bfloat16": False, "use_cache": True, "language": None, "name": None,
}  # fmt: skip

ALIASES = {"torch_dtype": "dtype", "_name_or_path": "name_or_path", "_attn_implementation": "attn_implementation"}
RUNTIME_ONLY = {"name_or_path", "attn_implementation"}  # never written
DERIVED = {"num_labels", "model_type", "true_hidden_size"}  # in a file, but no fields of their own

_WRITTEN_AS = {"dtype": "torch_dtype"}  # which both generations read
_LABEL_MAPS = {"id2label", "label2id"}
_DEFAULT_LABELS = {0: "LABEL_0", 1: "LABEL_1"}  # of a file that says nothing about labels


# ------------------------------------------------------------------------------------------------ written


def written(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of fields as config.json has them, without those that may be left out at their default.

    Labels are written unless they are the two of a file without labels.
    """
    always, defaults = fields_marked(ALWAYS_WRITTEN), default_values()
    out = {
        _WRITTEN_AS.get(name, name): copy.deepcopy(value)
        for name, value in values.items()
        if name not in RUNTIME_ONLY | _LABEL_MAPS and (name in always or value != defaults[name])
    }
    out["hidden_act"] = WRITTEN_ACTIVATIONS.get(out["hidden_act"], out["hidden_act"])
    if values["id2label"] != _DEFAULT_LABELS:
        out |= {name: dict(values[name] or {}) for name in ("id2label", "label2id")}
    return out


def everything(values: Mapping[str, Any]) -> dict[str, Any]:
    """Every field as config.json has it, those of other models included."""
    own = {_WRITTEN_AS.get(name, name): value for name, value in values.items() if name not in RUNTIME_ONLY}
    return {**INERT_FIELDS, **own}


def json_text(values: Mapping[str, Any]) -> str:
    """config.json as transformers lays it out: sorted keys, two spaces, a newline at the end."""
    return json.dumps(values, indent=2, sort_keys=True) + "\n"


# --------------------------------------------------------------------------------------------------- read


def overridden(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a file, field by field replaced by `overrides`; one spelling of each field is left.

    A number of labels that is not the file's renames them all.
    """
    new = {ALIASES.get(name, name): value for name, value in overrides.items()}
    kept = {name: value for name, value in values.items() if ALIASES.get(name, name) not in new}
    if new.keys() & {"num_labels", *_LABEL_MAPS}:
        names = kept.get("id2label")
        if new.keys() & _LABEL_MAPS or names is None or len(names) != new["num_labels"]:
            kept = {name: value for name, value in kept.items() if name not in ("num_labels", *_LABEL_MAPS)}
    if "dtype" in kept:
        kept.pop("torch_dtype", None)
    return {**kept, **new}


def label_maps(
    id2label: Mapping[Any, str] | None = None,
    label2id: Mapping[str, Any] | None = None,
    num_labels: int | None = None,
) -> tuple[dict[int, str], dict[str, int]]:
    """Both maps of the labels, from either of them or from their number; two labels without any.

    Raises:
        ConfigError: when they contradict each other.
    """
    num_labels = num_labels.item() if isinstance(num_labels, np.generic) else num_labels
    if num_labels is not None and (not is_int(num_labels) or num_labels < 1):
        raise ConfigError(f"MobileBertConfig: num_labels must be a whole number of at least 1, got {num_labels!r}.")
    if num_labels is not None and num_labels > MOST_LABELS:  # before a name is made for each
        raise ConfigError(f"MobileBertConfig: num_labels must be at most {MOST_LABELS}, got {num_labels}.")
    try:
        maps = {"id2label": id2label, "label2id": label2id}
        if strange := [name for name, each in maps.items() if each and not isinstance(each, Mapping)]:
            raise TypeError(f"{strange[0]} is a {type(maps[strange[0]]).__name__}, pass a dict")
        by_id = {int(k): v for k, v in id2label.items()} if id2label else None
        by_name = {k: int(v) for k, v in label2id.items()} if label2id else None
    except (TypeError, ValueError, OverflowError) as e:
        raise ConfigError(f"MobileBertConfig: id2label maps numbers to names, label2id names to numbers: {e}") from e
    if by_id is None and by_name is not None:
        by_id = {v: k for k, v in sorted(by_name.items(), key=lambda item: item[1])}
    if by_id is None:
        by_id = {i: f"LABEL_{i}" for i in range(len(_DEFAULT_LABELS) if num_labels is None else num_labels)}
    if num_labels is not None and num_labels != len(by_id):
        raise ConfigError(
            f"MobileBertConfig: num_labels is {num_labels} but the label maps name {len(by_id)} labels "
            f"({', '.join(map(str, list(by_id.values())[:4]))}...). Give one of the two, or make them agree."
        )
    if strange := [name for name in by_id.values() if not isinstance(name, str | int | float)]:
        raise ConfigError(f"MobileBertConfig: id2label maps numbers to names, got the name {strange[0]!r}.")
    inverse = {name: i for i, name in by_id.items()}
    if by_name is not None and len(inverse) == len(by_id) and by_name != inverse:
        raise ConfigError(
            f"MobileBertConfig: label2id {dict(list(by_name.items())[:4])} is not the inverse of id2label "
            f"{dict(list(by_id.items())[:4])}. Give id2label alone and the other is derived."
        )
    return by_id, dict(label2id) if label2id else inverse


def pruned_heads(value: Any, layers: int) -> Any:
    """{layer: sorted heads} with layers counted from the front; what is no such mapping is left to the checks."""
    try:
        pruned: dict[int, set[int]] = {}
        for layer, heads in (value or {}).items():
            index = int(layer) + layers if int(layer) < 0 else int(layer)
            numbers = {int(head) for head in heads}
            if numbers != {float(head) for head in heads}:
                return value
            pruned[index] = pruned.get(index, set()) | numbers
    except (TypeError, ValueError, AttributeError):
        return value
    return {layer: sorted(heads) for layer, heads in pruned.items() if heads}


def dtype_name(value: Any) -> str | None:
    """The name of a dtype, however a framework or a file spells it."""
    return None if value is None else str(value).removeprefix("torch.").removeprefix("<dtype: '").removesuffix("'>")


def name_near_misses(extra: Iterable[str], values: Mapping[str, Any]) -> None:
    """Logs the keys of a file that are no fields but nearly one that the file lacks."""
    lacking = [name for name in fields_marked(ALWAYS_WRITTEN) if name not in values]
    for name in extra:
        if close := difflib.get_close_matches(name, lacking, n=1, cutoff=0.8):
            warn(
            logger,
                "MobileBertConfig has no field %r, which the file has; it is kept and changes nothing. Did it mean %r?",
                name, close[0],
            )  # fmt: skip


def unknown_fields(unknown: Iterable[str], known: Iterable[str]) -> str:
    """The message about fields that a configuration does not have, with the nearest name of each."""
    hints, known = [], list(known)
    for name in unknown:
        close = difflib.get_close_matches(name, known, n=1)
        hints.append(f"{name!r}" + (f" (did you mean {close[0]!r}?)" if close else ""))
    return f"MobileBertConfig has no field {', '.join(hints)}."
