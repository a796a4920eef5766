"""Models that begin with random weights: those that are named by a preset or by a configuration alone."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from mobilebert_core.card_text import name_of
from mobilebert_core.checkpoints.configurations import keys_beside
from mobilebert_core.checkpoints.digests import model_digests
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import ConfigFields
from mobilebert_core.configuration.json_dialect import ALIASES, DERIVED, INERT_FIELDS, unknown_fields
from mobilebert_core.configuration.presets import PRESETS
from mobilebert_core.errors import ConfigError
from mobilebert_core.files import sha256
from mobilebert_core.shipped_models import MINI_MODEL


def has_no_weights(model: str) -> bool:
    """True for the name of a preset and the path of a JSON file; anything else is a checkpoint."""
    return model in PRESETS or (Path(model).suffix == ".json" and Path(model).is_file())


def start_digests(model: str) -> dict[str, str]:
    """Digest by file name, of what a training begins with; a preset has no files.

    Raises:
        CheckpointNotFoundError: as `model_digests`.
    """
    if model in PRESETS:
        return {}
    return {Path(model).name: sha256(Path(model))} if has_no_weights(model) else model_digests(model)


def config_of(model: str, **fields: Any) -> MobileBertConfig:
    """The configuration of a preset, a JSON file or a checkpoint, with other fields.

    Raises:
        CheckpointError, ConfigError: as `MobileBertConfig.from_pretrained`.
    """
    if model in PRESETS:
        return MobileBertConfig.from_preset(model, **fields)
    return MobileBertConfig.from_pretrained(model, **fields)


def check_config_fields(call: str, model: str, fields: Collection[str]) -> None:
    """Raises ConfigError for what is no field of a configuration, among those a user changes for a training."""
    if strange := {"dtype", "torch_dtype"}.intersection(fields):
        raise ConfigError(f"{call}: {strange.pop()} is no matter of the configuration here. Pass precision.")
    known = [*ConfigFields.__dataclass_fields__, *ALIASES, *INERT_FIELDS, *DERIVED]
    if any(name not in known for name in fields):
        known += keys_beside(model)
    if unknown := [name for name in fields if name not in known]:
        raise ConfigError(unknown_fields(unknown, known))


def random_start_notes(model: str) -> list[str]:
    """What is said before a training on labels: that the weights are random, where they are."""
    if not has_no_weights(model):
        return []
    return [
        f"{name_of(model)}: the weights are random, and labelled rows alone teach them little. A pretrained start "
        f"usually does better: --model {MINI_MODEL.name}, or another checkpoint."
    ]
