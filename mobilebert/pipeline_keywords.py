"""Keywords that scripts pass to the pipelines of transformers: what they mean here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from conversion.exports.record import check_tokenizer_of
from mobilebert_core.checkpoints.call_keywords import one_device
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import InputError
from mobilebert_core.heads import HEADS
from mobilebert_core.tasks.table import TextTask
from mobilebert_core.text.batch_rows import listed

# No code of a checkpoint is run.
WITHOUT_EFFECT = frozenset(
    {
        "args_parser", "binary_output", "code_revision", "feature_extractor", "image_processor", "modelcard",
        "pipeline_class", "processor", "trust_remote_code", "use_fast", "_commit_hash",
    }
)  # fmt: skip
# Texts are tokenized in threads of the tokenizer, rows are padded and cut as needed: what says so says nothing.
OF_ROWS: dict[str, tuple[Any, ...]] = {
    "padding": (None, True, False, "longest", "max_length", "do_not_pad"),
    "truncation": (None, True, False, "longest_first", "do_not_truncate"),
}
OF_TOKENIZER = ("tokenizer_kwargs", "tokenize_kwargs")
_INPUTS = ("inputs", "sequences", "data", "X")  # what pipelines of transformers call them
_FRAMEWORKS = {"pt": "torch", "tf": "keras"}
FRAMEWORK_NAMES = {ours: theirs for theirs, ours in _FRAMEWORKS.items()}


def of_transformers(call: str, options: MutableMapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What the keywords of transformers among the options say of ours, which `own` are; they are taken away.

    `device=-1` is the CPU, a number that of an accelerator; "pt" and "tf" are backends; `torch_dtype` is `dtype`,
    `model_kwargs` fields of the configuration.

    Raises:
        InputError: for a framework that there is not, and a keyword that says another thing than one of ours.
    """
    for name in WITHOUT_EFFECT:
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


def task_options(task: TextTask, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a task, without keywords of transformers that mean nothing here, such as `num_workers`.

    Of `tokenizer_kwargs` and `tokenize_kwargs` the same is left out; `max_length` among them is an option. A truncation
    says which text of a pair is cut.

    Raises:
        InputError: for a padding or truncation that is not what happens to rows.
    """
    call = task.name
    found = {name: value for name, value in options.items() if name not in ("num_workers", *OF_TOKENIZER)}
    for holder in OF_TOKENIZER:
        passed = options.get(holder) or {}
        if not isinstance(passed, Mapping):
            raise InputError(f"{call}: {holder} must be options of the tokenizer by name, got {passed!r}.")
        known = (*OF_ROWS, "max_length")
        if strange := [name for name in passed if name not in known]:
            raise InputError(f"{call}: {holder} may have {', '.join(known)}, got {strange[0]!r}. Leave it out.")
        if doubled := [name for name in passed if found.get(name, passed[name]) != passed[name]]:
            raise InputError(f"{call}: {doubled[0]} was passed twice, in {holder} and beside it. Leave one out.")
        found |= passed
    if found.get("padding") == "max_length":
        if task.text.shows_padding:
            raise InputError(f"{call}: padding 'max_length' is not taken, answers hold the tokens of the text alone.")
        if not found.get("truncation"):
            found.pop("max_length", None)  # to which rows are padded; none is cut
    names = [field.name for field in task.takes]
    if (strategy := found.get("truncation")) in ("only_first", "only_second") and "text_pair" in names:
        del found["truncation"]
        return task_options(task, found) | {"truncation": strategy}
    if strategy == "only_first" and names == ["text"]:
        found["truncation"] = True  # of one text the same
    for name, values in OF_ROWS.items():
        if (value := found.pop(name, None)) not in values:
            raise InputError(
                f"{call}: {name} must be one of {', '.join(map(repr, values))}, got {value!r}. Rows are padded to the "
                "longest of their batch; of a text or pair that is too long the longer text is cut (on_long)."
            )
    return found


def inputs_of(task: TextTask, inputs: Any, more: tuple[Any, ...], values: Mapping[str, Any]) -> tuple[Any, Any]:
    """The inputs of a call and its other keywords, from the ways in which pipelines of transformers are called.

    Texts in `more` are the task's fields after the first one. Inputs may have the names that transformers has for
    them, and fields that are all lists are the columns of a list of inputs.

    Raises:
        InputError: for inputs that were passed twice, too many of them, and lists of different lengths.
    """
    values, names = dict(values), [field.name for field in task.takes]
    if more and all(isinstance(each, Mapping) for each in (inputs, *more)):
        inputs, more = [inputs, *more], ()
    if isinstance(inputs, tuple) and inputs and all(isinstance(each, Mapping) for each in inputs):
        inputs = list(inputs)
    if len(more) >= len(names):
        raise InputError(
            f"{task.name}: wanted one argument for each of {', '.join(names)}, got {1 + len(more)}. Several inputs "
            "come as a list."
        )
    for name, value in zip(names[1:], more, strict=False):
        if name in values:
            raise InputError(f"{task.name}: {name} was passed twice. Leave one out.")
        values[name] = value
    for name in _INPUTS:
        if name in values and name not in names:
            if inputs is not None:
                raise InputError(f"{task.name}: the inputs were passed twice, once as {name}. Leave one out.")
            inputs = values.pop(name)
    if inputs is not None:
        return inputs, values
    columns = {}
    for field in task.takes:
        column = listed(values.get(field.name))
        if isinstance(column, list | tuple) and not (field.several or field.or_words):
            columns[field.name] = column
            del values[field.name]
    if not columns:
        return None, values
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        said = " and ".join(f"{length} in {name}" for name, length in lengths.items())
        raise InputError(f"{task.name}: wanted lists of one length, got {said}.")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return rows, values


def _device(device: Any) -> Any:
    """A device as PyTorch names it; -1 is the CPU."""
    if isinstance(device, int) and not isinstance(device, bool):
        return "cpu" if device == -1 else f"cuda:{device}"
    return device if device is None or isinstance(device, str) else str(device)


def model_fields(call: str, options: MutableMapping[str, Any], others: Iterable[str] = ()) -> dict[str, Any]:
    """The `model_kwargs`, the `config` and the `others` among the options, which are taken away.

    Raises:
        InputError: for `model_kwargs` that are no mapping.
    """
    passed, config = options.pop("model_kwargs", None) or {}, options.pop("config", None)
    if not isinstance(passed, Mapping):
        raise InputError(f"{call}: model_kwargs must be fields of the configuration by name, got {passed!r}.")
    taken = {"config": config, **{name: options.pop(name, None) for name in others}}
    return {**passed, **{name: value for name, value in taken.items() if value is not None}}


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
        raise InputError(
            f"{task.name}: the model is loaded; dtype, backend, padding_invariant, threads, config and model_kwargs "
            "are for loading one."
        )
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
