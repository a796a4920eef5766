"""Keywords that scripts pass to the pipelines of transformers: what they mean here."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from conversion.exports.record import check_tokenizer_of
from mobilebert_core.checkpoints.call_keywords import one_device
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import InputError
from mobilebert_core.heads import HEADS
from mobilebert_core.tasks.table import TextTask

# No code of a checkpoint is run, texts are tokenized in threads of the tokenizer, rows are padded and cut as needed.
_WITHOUT_EFFECT = frozenset(
    {
        "code_revision", "feature_extractor", "image_processor", "num_workers", "padding", "pipeline_class",
        "processor", "trust_remote_code", "truncation", "use_fast", "_commit_hash",
    }
)  # fmt: skip
_FRAMEWORKS = {"pt": "torch", "tf": "keras"}
FRAMEWORK_NAMES = {ours: theirs for theirs, ours in _FRAMEWORKS.items()}


def of_transformers(call: str, options: MutableMapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What the keywords of transformers among the options say of ours, which `own` are; they are taken away.

    `device=-1` is the CPU, a number that of an accelerator; "pt" and "tf" are backends; `torch_dtype` is `dtype`,
    `model_kwargs` fields of the configuration.

    Raises:
        InputError: for a framework that there is not, and a keyword that says another thing than one of ours.
    """
    for name in _WITHOUT_EFFECT:
        options.pop(name, None)
    said = {"dtype": options.pop("torch_dtype", None), "backend": options.pop("framework", None)}
    if said["backend"] is not None and said["backend"] not in _FRAMEWORKS:
        raise InputError(f"{call}: framework must be one of {', '.join(_FRAMEWORKS)}, got {said['backend']!r}.")
    said["backend"] = _FRAMEWORKS.get(said["backend"])
    device_map = options.pop("device_map", None)
    if device_map is not None:
        place = one_device(call, device_map, accelerated=True)
        said["device"] = None if place == "auto" else place
    found = dict(own)
    for name, value in said.items():
        if value is None:
            continue
        if own[name] not in (None, value):
            raise InputError(f"{call}: {name} was passed twice, as {own[name]!r} and {value!r}. Leave one out.")
        found[name] = value
    found["device"] = _device(found["device"])
    return found


def _device(device: Any) -> Any:
    """A device as PyTorch names it; -1 is the CPU."""
    if isinstance(device, int) and not isinstance(device, bool):
        return "cpu" if device == -1 else f"cuda:{device}"
    return device if device is None or isinstance(device, str) else str(device)


def model_fields(call: str, options: MutableMapping[str, Any]) -> dict[str, Any]:
    """The `model_kwargs` among the options, which are taken away. Raises InputError where they are no mapping."""
    passed = options.pop("model_kwargs", None) or {}
    if not isinstance(passed, Mapping):
        raise InputError(f"{call}: model_kwargs must be fields of the configuration by name, got {passed!r}.")
    return dict(passed)


def framework_of(task: TextTask, model: Any, own: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    """The backend of a loaded model.

    Raises:
        InputError: for a model of another library or head, and for what is said of loading one.
    """
    kind = type(model)
    framework = _FRAMEWORKS.get(getattr(model, "framework", ""))
    if framework is None or not isinstance(getattr(model, "config", None), MobileBertConfig):
        raise InputError(
            f"{task.name}: wanted the place of a model, or a loaded one of mobilebert_torch or mobilebert_tf, got "
            f"{kind.__module__}.{kind.__qualname__}. Save it and pass its directory."
        )
    if model.head.name != task.head:
        raise InputError(f"{task.name}: wanted a {HEADS[task.head].class_name}, got a {kind.__name__}.")
    if fields or own["dtype"] is not None or own["backend"] not in (None, framework):
        raise InputError(f"{task.name}: the model is loaded; dtype, backend and model_kwargs are for loading one.")
    return framework


def tokenizer_place(call: str, tokenizer: Any, path: str | Path) -> str | Path:
    """Where the files of the tokenizer are: where it says, or with the model; raises InputError for no place.

    Raises CheckpointError for an exported directory whose tokenizer is another one.
    """
    if tokenizer is not None and not isinstance(tokenizer, str | Path):
        kind = type(tokenizer)
        raise InputError(
            f"{call}: tokenizer must be one of mobilebert_core or the place of its files, got {kind.__module__}."
            f"{kind.__qualname__}. Pass its directory, or AutoTokenizer.from_pretrained of it."
        )
    if tokenizer is None:
        check_tokenizer_of(path)
        return path
    return tokenizer
