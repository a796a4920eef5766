"""The configuration that belongs to a checkpoint: its config.json, a JSON of Google's code, or a published one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..configuration.config import MobileBertConfig
from ..configuration.presets import PRESETS
from ..errors import CheckpointError, CheckpointNotFoundError, ConfigError
from ..files import CONFIG_FILE, read_json
from ..heads import HEADS
from ..weights import BASE_PREFIX, every_weight, weight_table
from .names.google import google_config, google_names, is_quantized
from .names.model_garden import model_garden_names
from .names.model_garden_config import config_from_model_garden
from .tensor_info import MappedCheckpoint, WeightFile

MODEL_GARDEN_FILE = "params.yaml"
_ENCODERS = ("bert/", "encoder/", "model/")  # where names of either of Google's codes begin
_CLASSIFIER = "output_weights"  # of Google's run_classifier: its rows are the labels, which their JSON does not tell


def configuration(passed: MobileBertConfig | str | Path, **overrides: Any) -> MobileBertConfig:
    """A configuration itself, or the one in a directory or file, with fields replaced."""
    if isinstance(passed, MobileBertConfig):
        return passed.copy(**overrides) if overrides else passed
    return MobileBertConfig.from_pretrained(passed, **overrides)


def google_config_of(file: WeightFile, directory: Path, **overrides: Any) -> MobileBertConfig:
    """The configuration of a TF1 checkpoint: the JSON beside it, or the published one that has these very weights.

    Raises:
        CheckpointNotFoundError: when there is no JSON, or several, and no published architecture fits.
        ConfigError: when the JSON is not that of a MobileBERT.
    """
    path = _google_json(directory)
    if path is not None and "model_type" in read_json(path):
        return MobileBertConfig.from_pretrained(path, **overrides)
    config = read_google_json(path) if path else _published(file, directory, lambda f, w, _: google_names(f, w))
    labels = file.stored.get(_CLASSIFIER)
    if labels is not None and len(labels.shape) == 2:
        overrides = {"num_labels": labels.shape[0], **overrides}
    return config.copy(**overrides)


def model_garden_config_of(file: Any, directory: Path, **overrides: Any) -> MobileBertConfig:
    """The configuration of a Model Garden checkpoint: config.json, params.yaml, or the published one that fits.

    Raises:
        CheckpointNotFoundError: when neither file is there and no published architecture fits.
    """
    if (directory / CONFIG_FILE).is_file():
        return MobileBertConfig.from_pretrained(directory, **overrides)
    if (directory / MODEL_GARDEN_FILE).is_file():
        return config_from_model_garden(directory / MODEL_GARDEN_FILE, **overrides)
    return _published(file, directory, model_garden_names).copy(**overrides)


def read_google_json(path: Path) -> MobileBertConfig:
    """A JSON file beside a TF1 checkpoint: Google's own, or transformers', which names its model."""
    values = read_json(path)
    try:
        return MobileBertConfig.from_dict(values) if "model_type" in values else google_config(values)
    except ConfigError as e:
        raise ConfigError(f"{path}: {e}") from None


def _google_json(directory: Path) -> Path | None:
    """config.json, or else the one JSON file that has the fields of a configuration."""
    if (directory / CONFIG_FILE).is_file():
        return directory / CONFIG_FILE
    found = []
    for path in sorted(directory.glob("*.json")):
        try:
            values = read_json(path)
        except CheckpointError:
            continue  # of no interest here, whatever it is
        if {"vocab_size", "hidden_size"} <= values.keys():
            found.append(path)
    if len(found) > 1:
        raise CheckpointNotFoundError(
            f"{directory}: wanted one JSON of a configuration beside the checkpoint, got {len(found)}: "
            f"{', '.join(path.name for path in found)}. Name one by config=."
        )
    return found[0] if found else None


def _published(file: Any, directory: Path, names: Callable[..., MappedCheckpoint]) -> MobileBertConfig:
    """The preset whose encoder has the names and shapes of the file, all of them and no others."""
    for name, preset in PRESETS.items():
        if is_quantized(file) != (name == "mobilebert-qat"):
            continue  # the same weights, another activation
        config = MobileBertConfig(**preset.fields)
        seen = names(file, every_weight(config), config)
        encoder = {w.full_name: w.shape for w in weight_table(config, HEADS["Model"])}
        more = [n for n in seen.unknown if n.startswith(_ENCODERS)]
        if not more and encoder == {n: s.shape for n, s in seen.stored.items() if n.startswith(BASE_PREFIX)}:
            return config
    raise CheckpointNotFoundError(
        f"{directory}: no configuration beside the checkpoint ({CONFIG_FILE}, Google's JSON, {MODEL_GARDEN_FILE}), and "
        f"the weights are those of no published architecture ({', '.join(PRESETS)}). Put it there, or pass config=."
    )
