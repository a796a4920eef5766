"""The configuration that belongs to a checkpoint: its config.json, a JSON of Google's code, or a published one."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from ..configuration.config import MobileBertConfig
from ..configuration.google_dialect import in_our_dialect
from ..configuration.presets import PRESETS
from ..errors import CheckpointError, CheckpointNotFoundError, ConfigError
from ..files import CONFIG_FILE, read_json
from ..heads import HEADS
from ..saves import current, home
from ..weight_rows import BASE_PREFIX
from ..weights import every_weight, weight_table
from .names.google import google_config, google_names, is_quantized
from .names.model_garden import model_garden_names
from .names.model_garden_config import config_from_model_garden
from .tensor_info import MappedCheckpoint, WeightFile

MODEL_GARDEN_FILE = "params.yaml"
_ENCODERS = ("bert/", "encoder/", "model/")  # where names of either of Google's codes begin
_CLASSIFIER = "output_weights"  # of Google's run_classifier: its rows are the labels, which their JSON does not tell


class ConfigFile:
    """A JSON file with a configuration, which may not be there. It is read once, when it is first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        return os.path.isfile(self.path)  # False, too, for a name that no file can have

    @cached_property
    def values(self) -> dict[str, Any]:
        """What it holds. Raises CheckpointNotFoundError or CheckpointError as `read_json`."""
        return read_json(self.path)

    def configuration(self, **overrides: Any) -> MobileBertConfig:
        """The configuration in the dialect of transformers, with fields replaced.

        Raises:
            ConfigError: when it is not that of a MobileBERT, or an override is none of its fields.
        """
        path = home(self.path)
        folder = path.parent if path.name == CONFIG_FILE else path
        try:
            values = in_our_dialect(self.values)
            return MobileBertConfig.from_dict(values, **{"name_or_path": str(folder), **overrides})
        except ConfigError as e:
            raise ConfigError(f"{folder}: {e}") from None


def configuration(passed: MobileBertConfig | str | Path, **overrides: Any) -> MobileBertConfig:
    """A configuration itself, or the one in a directory or file, with fields replaced."""
    if isinstance(passed, MobileBertConfig):
        return passed.copy(**overrides) if overrides else passed
    return MobileBertConfig.from_pretrained(passed, **overrides)


def keys_beside(place: MobileBertConfig | str | os.PathLike[str]) -> set[str]:
    """The keys that a user's configuration has, in a directory or file here, whatever they mean."""
    if isinstance(place, MobileBertConfig):
        return set(place.extra)
    file = ConfigFile(current(Path(place, CONFIG_FILE) if os.path.isdir(place) else Path(place)))
    try:
        return set(file.values) if file.path.suffix == ".json" and file.exists else set()
    except CheckpointError:  # whoever reads it for its values will hear of it
        return set()


def folder_config(file: WeightFile, found: ConfigFile, **overrides: Any) -> MobileBertConfig:
    """The configuration of a directory: its config.json."""
    return found.configuration(**overrides)


def archive_config(file: Any, found: ConfigFile, **overrides: Any) -> MobileBertConfig:
    """The configuration inside a Keras archive."""
    return configuration(file.config, **{"architectures": [file.head.class_name], **overrides})


def google_config_of(file: WeightFile, found: ConfigFile, **overrides: Any) -> MobileBertConfig:
    """The configuration of a TF1 checkpoint: the JSON beside it, or the published one that has these very weights.

    Raises:
        CheckpointNotFoundError: when there is no JSON, or several, and no published architecture fits.
        ConfigError: when the JSON is not that of a MobileBERT.
    """
    source = found if found.exists else _google_json(home(found.path).parent)
    if source is not None and "model_type" in source.values:
        return source.configuration(**overrides)
    if source is not None:
        config = google_json_config(source)
    else:
        config = _published(file, found.path.parent, lambda f, w, _: google_names(f, w))
    labels = file.stored.get(_CLASSIFIER)
    if labels is not None and len(labels.shape) == 2:
        overrides = {"num_labels": labels.shape[0], **overrides}
    return config.copy(**overrides)


def model_garden_config_of(file: Any, found: ConfigFile, **overrides: Any) -> MobileBertConfig:
    """The configuration of a Model Garden checkpoint: config.json, params.yaml, or the published one that fits.

    Raises:
        CheckpointNotFoundError: when neither file is there and no published architecture fits.
    """
    if found.exists:
        return found.configuration(**overrides)
    beside = found.path.with_name(MODEL_GARDEN_FILE)
    if beside.is_file():
        return config_from_model_garden(beside, **overrides)
    return _published(file, found.path.parent, model_garden_names).copy(**overrides)


def google_json_config(source: ConfigFile) -> MobileBertConfig:
    """A JSON file beside a TF1 checkpoint: Google's own, or transformers', which names its model."""
    values = source.values
    try:
        ours = in_our_dialect(values)
        return MobileBertConfig.from_dict(ours) if "model_type" in ours or ours != values else google_config(values)
    except ConfigError as e:
        raise ConfigError(f"{source.path}: {e}") from None


def _google_json(directory: Path) -> ConfigFile | None:
    """The one JSON file of a directory that has the fields of a configuration."""
    found = []
    for path in sorted(directory.glob("*.json")):
        source = ConfigFile(path)
        try:
            values = source.values
        except CheckpointError:
            continue  # of no interest here, whatever it is
        if {"vocab_size", "hidden_size"} <= values.keys():
            found.append(source)
    if len(found) > 1:
        raise CheckpointNotFoundError(
            f"{directory}: wanted one JSON of a configuration beside the checkpoint, got {len(found)}: "
            f"{', '.join(source.path.name for source in found)}. Name one by config=."
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
