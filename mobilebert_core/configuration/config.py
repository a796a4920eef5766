"""The configuration: every field of the released config.json, checked, in both generations of its JSON.

Field names and defaults are those of transformers 4.37.2. What differs is on the side of safety: the
configuration is validated, `true_hidden_size` is always derived, a keyword that means nothing is an error.
Long because the one class carries fields, labels, JSON and files, as its users know it; its checks stand apart.
"""

from __future__ import annotations

import copy
import difflib
import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..errors import CheckpointNotFoundError, ConfigError
from ..files import CONFIG_FILE, read_json, write_text
from ..hub.resolve import resolve, take_hub_keywords
from .checks import faults, is_int
from .fields import ALIASES, INERT_FIELDS, RUNTIME_ONLY
from .presets import PRESETS


@dataclass(init=False, repr=False, eq=False)
class MobileBertConfig:
    """Describes one MobileBERT: its sizes, its branches and how its head is read.

    Built by keyword, or by position in the order below. Fields can be assigned afterwards and are checked
    again then. Defaults are those of transformers, which are the released model except that there
    `classifier_activation` is False (`MobileBertConfig.from_preset("mobilebert")`).

    Raises:
        ConfigError: for an impossible value, an unknown keyword, or a conflict between fields.
    """

    vocab_size: int = 30522
    hidden_size: int = 512
    num_hidden_layers: int = 24
    num_attention_heads: int = 4
    intermediate_size: int = 512
    hidden_act: str = "relu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    embedding_size: int = 128
    trigram_input: bool = True
    use_bottleneck: bool = True
    intra_bottleneck_size: int = 128
    use_bottleneck_attention: bool = False
    key_query_shared_bottleneck: bool = True
    num_feedforward_networks: int = 4
    normalization_type: str = "no_norm"
    classifier_activation: bool = True
    classifier_dropout: float | None = None
    tie_word_embeddings: bool = True
    padding_invariant: bool = False  # True keeps padding out of the trigram; ours, not in transformers
    problem_type: str | None = None
    pruned_heads: dict[int, list[int]] = field(default_factory=dict)
    return_dict: bool = True
    output_hidden_states: bool = False
    output_attentions: bool = False
    torchscript: bool = False  # True makes every output a tuple, which is what `torch.jit.trace` takes
    gradient_checkpointing: bool = False  # True builds models that recompute their blocks in training
    sparse_prediction: bool = False  # True scores words only where a label is, if labels are passed; as in ModernBERT
    architectures: list[str] | None = None
    dtype: str | None = None
    name_or_path: str = ""
    attn_implementation: str | None = None
    id2label: dict[int, str] | None = None
    label2id: dict[str, int] | None = None

    model_type = "mobilebert"
    is_composition = False
    keys_to_ignore_at_inference = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        known = [f.name for f in fields(self)]
        if len(args) > len(known):
            raise ConfigError(f"MobileBertConfig takes at most {len(known)} positional values, got {len(args)}.")
        passed = dict(zip(known, args, strict=False))
        for name, value in kwargs.items():
            target = ALIASES.get(name, name)
            if target in passed and passed[target] != value:
                raise ConfigError(f"MobileBertConfig: {target} was passed twice, as {passed[target]!r} and {value!r}.")
            passed[target] = value
        passed.pop("true_hidden_size", None)
        if passed.pop("model_type", self.model_type) != self.model_type:
            raise ConfigError(
                f"MobileBertConfig: model_type is {kwargs['model_type']!r}, wanted 'mobilebert'. "
                "This is the configuration of another model."
            )
        num_labels = passed.pop("num_labels", None)
        object.__setattr__(self, "_ready", False)
        object.__setattr__(self, "extra", {n: passed.pop(n) for n in list(passed) if n in INERT_FIELDS})
        if unknown := [n for n in passed if n not in known]:
            raise ConfigError(_unknown_fields(unknown, known))
        for f in fields(self):
            default = f.default_factory() if f.default_factory is not MISSING else f.default
            setattr(self, f.name, copy.deepcopy(passed.get(f.name, default)))
        self._set_labels(passed.get("id2label"), passed.get("label2id"), num_labels)
        self.validate(building=False)
        object.__setattr__(self, "_ready", True)

    # ----------------------------------------------------------------------------------------- fields

    def __setattr__(self, name: str, value: Any) -> None:
        name = ALIASES.get(name, name)
        value = value.item() if isinstance(value, np.generic) else value
        if name in INERT_FIELDS:
            self.extra[name] = value
            return
        descriptor = getattr(type(self), name, None)
        if isinstance(descriptor, property):
            descriptor.__set__(self, value)
            return
        if name not in self.__dataclass_fields__:
            raise ConfigError(_unknown_fields([name], list(self.__dataclass_fields__)))
        if name == "pruned_heads":
            value = _normal_pruned_heads(value, self.num_hidden_layers)
        elif name == "dtype" and value is not None:
            value = str(value).removeprefix("torch.").removeprefix("<dtype: '").removesuffix("'>")
        if not self._ready:
            object.__setattr__(self, name, value)
        elif name in ("id2label", "label2id"):
            self._set_labels(**{name: value})
        else:
            before = getattr(self, name)
            object.__setattr__(self, name, value)
            try:
                self.validate(building=False)
            except ConfigError:
                object.__setattr__(self, name, before)
                raise

    def __getattr__(self, name: str) -> Any:
        if name in INERT_FIELDS and "extra" in self.__dict__:
            return self.extra.get(name, INERT_FIELDS[name])
        if name in ALIASES:
            return getattr(self, ALIASES[name])
        if name != "extra" and name in self.__dict__.get("extra", {}):
            return self.extra[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def true_hidden_size(self) -> int:
        """Width inside a block: the bottleneck's, or hidden_size without one. Derived, never stored."""
        return self.intra_bottleneck_size if self.use_bottleneck else self.hidden_size

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.true_hidden_size // self.num_attention_heads

    @property
    def head_dropout_prob(self) -> float:
        """Dropout before a classifier: classifier_dropout, or hidden_dropout_prob when that is None."""
        return self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout

    @property
    def use_return_dict(self) -> bool:
        """Whether outputs are dicts: `return_dict`, but tuples under `torchscript`."""
        return self.return_dict and not self.torchscript

    @property
    def torch_dtype(self) -> Any:
        """`dtype` as transformers gives it: a torch.dtype where PyTorch is loaded, else the name."""
        return self.dtype if self.dtype is None else getattr(sys.modules.get("torch"), self.dtype, self.dtype)

    @property
    def num_labels(self) -> int:
        """The number of labels, which is the length of id2label; assigning another number renames them all."""
        return len(self.id2label or ())

    @num_labels.setter
    def num_labels(self, value: int) -> None:
        if value != self.num_labels:
            self._set_labels(num_labels=value)

    def heads_of_layer(self, layer: int) -> int:
        """Attention heads left in a layer after pruning."""
        return self.num_attention_heads - len(self.pruned_heads.get(layer, ()))

    def _set_labels(
        self,
        id2label: Mapping[Any, str] | None = None,
        label2id: Mapping[str, Any] | None = None,
        num_labels: int | None = None,
    ) -> None:
        num_labels = num_labels.item() if isinstance(num_labels, np.generic) else num_labels
        if num_labels is not None and (not is_int(num_labels) or num_labels < 1):
            raise ConfigError(f"MobileBertConfig: num_labels must be a whole number of at least 1, got {num_labels!r}.")
        try:
            by_id = {int(k): v for k, v in id2label.items()} if id2label else None
            by_name = {k: int(v) for k, v in label2id.items()} if label2id else None
        except (TypeError, ValueError, AttributeError) as e:
            raise ConfigError(
                f"MobileBertConfig: id2label maps numbers to names, label2id names to numbers: {e}"
            ) from e
        if by_id is None and by_name is not None:
            by_id = {v: k for k, v in sorted(by_name.items(), key=lambda item: item[1])}
        if by_id is None:
            by_id = {i: f"LABEL_{i}" for i in range(2 if num_labels is None else num_labels)}
        if num_labels is not None and num_labels != len(by_id):
            raise ConfigError(
                f"MobileBertConfig: num_labels is {num_labels} but the label maps name {len(by_id)} labels "
                f"({', '.join(map(str, list(by_id.values())[:4]))}...). Give one of the two, or make them agree."
            )
        inverse = {name: i for i, name in by_id.items()}
        if by_name is not None and len(inverse) == len(by_id) and by_name != inverse:
            raise ConfigError(
                f"MobileBertConfig: label2id {dict(list(by_name.items())[:4])} is not the inverse of id2label "
                f"{dict(list(by_id.items())[:4])}. Give id2label alone and the other is derived."
            )
        object.__setattr__(self, "id2label", by_id)
        object.__setattr__(self, "label2id", dict(label2id) if label2id else inverse)

    # ------------------------------------------------------------------------------------- validation

    def validate(self, building: bool = True) -> None:
        """Checks every field and their combinations; raises ConfigError naming all that is wrong.

        Models call it. Construction and assignment come with `building=False`, which leaves to the model what
        a file or a caller may fill in step by step: hidden_size 0, and heads pruned that are not there.
        """
        if wrong := faults(self, building):
            raise ConfigError("MobileBertConfig: " + "; ".join(wrong) + ".")

    # ------------------------------------------------------------------------------------------- JSON

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict in the layout of transformers' config.json, `true_hidden_size` included.

        Fields of the architecture always stand in it, the others when they differ from their default.
        """
        out: dict[str, Any] = {"model_type": self.model_type, "true_hidden_size": self.true_hidden_size, **self.extra}
        architecture = True
        for f in fields(self):
            architecture = architecture and f.name != "tie_word_embeddings"
            value = getattr(self, f.name)
            default = f.default_factory() if f.default_factory is not MISSING else f.default
            if f.name in ("id2label", "label2id") or f.name in RUNTIME_ONLY:
                continue
            if architecture or value != default:
                out["torch_dtype" if f.name == "dtype" else f.name] = copy.deepcopy(value)
        if self.id2label != {0: "LABEL_0", 1: "LABEL_1"}:
            out["id2label"], out["label2id"] = dict(self.id2label or {}), dict(self.label2id or {})
        return out

    def to_diff_dict(self) -> dict[str, Any]:
        """`to_dict`, which already leaves out what is at its default outside the architecture."""
        return self.to_dict()

    def to_json_string(self, use_diff: bool = True) -> str:
        """config.json as transformers lays it out: sorted keys, two spaces, a newline at the end.

        `use_diff=False` writes the fields at their default as well.
        """
        out = self.to_dict()
        if not use_diff:
            everything = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in RUNTIME_ONLY}
            everything["torch_dtype"] = everything.pop("dtype")
            out = {**INERT_FIELDS, **everything, **out}
        return json.dumps(out, indent=2, sort_keys=True) + "\n"

    def to_json_file(self, json_file_path: str | Path, use_diff: bool = True) -> None:
        write_text(Path(json_file_path), self.to_json_string(use_diff))

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Writes config.json into the directory, which is made if needed."""
        self.to_json_file(Path(save_directory) / CONFIG_FILE)

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """Reads a dict of either generation of transformers; `kwargs` override it field by field.

        Keys that this package does not know are kept in `extra` and written back. Keywords that it does not
        know are an error, or come back as the second item when `return_unused_kwargs` is set.
        """
        values = dict(config_dict)
        known = {*cls.__dataclass_fields__, *ALIASES, *INERT_FIELDS, "num_labels", "model_type", "true_hidden_size"}
        extra = {name: values.pop(name) for name in list(values) if name not in known}
        unused = {name: kwargs.pop(name) for name in list(kwargs) if name not in known}
        if unused and not return_unused_kwargs:
            raise ConfigError(_unknown_fields(list(unused), sorted(known)))
        overrides = {ALIASES.get(name, name): value for name, value in kwargs.items()}
        for name in [n for n in values if ALIASES.get(n, n) in overrides]:
            del values[name]
        if overrides.keys() & {"num_labels", "id2label", "label2id"}:
            kept = values.get("id2label")
            names_given = overrides.keys() & {"id2label", "label2id"}
            if names_given or kept is None or len(kept) != overrides["num_labels"]:
                values = {n: v for n, v in values.items() if n not in ("id2label", "label2id", "num_labels")}
        if "dtype" in values and "torch_dtype" in values:
            values.pop("torch_dtype")
        config = cls(**{**values, **overrides})
        config.extra.update(extra)
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def from_json_file(cls, json_file: str | Path) -> Self:
        return cls.from_dict(read_json(Path(json_file)))

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | Path, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The raw dict of a directory, a file or a name on the hub, and the keywords that are none of the hub's."""
        hub = take_hub_keywords(kwargs)
        path = resolve(pretrained_model_name_or_path, config=True, **hub)
        if path.is_file() and path.suffix != ".json":
            raise CheckpointNotFoundError(
                f"{path}: wanted the directory of config.json and its weights, got a file. What Keras saved as .keras "
                "is read by keras.models.load_model."
            )
        return read_json(path if path.is_file() or path.suffix == ".json" else path / CONFIG_FILE), kwargs

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """Reads config.json of a directory or of a name on the hub, or a JSON file.

        `kwargs` override fields (see `from_dict`); `subfolder`, `revision` and the others of `hub.resolve` say
        where the file is.

        Raises:
            CheckpointNotFoundError: when there is no such file.
            ConfigError: when it is not the configuration of a MobileBERT.
        """
        values, kwargs = cls.get_config_dict(pretrained_model_name_or_path, **kwargs)
        try:
            return cls.from_dict(values, **{"name_or_path": str(pretrained_model_name_or_path), **kwargs})
        except ConfigError as e:
            raise ConfigError(f"{pretrained_model_name_or_path}: {e}") from None

    @classmethod
    def from_preset(cls, name: str, **kwargs: Any) -> Self:
        """The configuration of a published architecture (`mobilebert_core.PRESETS`); `kwargs` override it."""
        if name not in PRESETS:
            close = difflib.get_close_matches(name, PRESETS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"No preset {name!r}; the presets are {', '.join(PRESETS)}.{hint}")
        return cls(**{**PRESETS[name].fields, **kwargs})

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Assigns every item; nothing is changed when one of them is wrong."""
        merged = type(self).from_dict(self.to_dict(), **dict(config_dict))
        for name in ("name_or_path", "attn_implementation"):
            if name not in config_dict:
                object.__setattr__(merged, name, getattr(self, name))
        self.__dict__.update(merged.__dict__)

    def copy(self, **kwargs: Any) -> Self:
        """A new configuration with some fields replaced."""
        other = copy.deepcopy(self)
        if kwargs:
            other.update(kwargs)
        return other

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MobileBertConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"


MobileBertConfig.__init__.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)]
    + [
        inspect.Parameter(
            f.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None if f.default is MISSING else f.default,
            annotation=f.type,
        )
        for f in fields(MobileBertConfig)
    ]
    + [inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)]
)


def _normal_pruned_heads(value: Any, layers: int) -> Any:
    """{layer: sorted heads} with layers counted from the front; what is no such mapping is left to `validate`."""
    try:
        pruned: dict[int, set[int]] = {}
        for layer, heads in (value or {}).items():
            index = int(layer) + layers if int(layer) < 0 else int(layer)
            pruned[index] = pruned.get(index, set()) | {int(head) for head in heads}
    except (TypeError, ValueError, AttributeError):
        return value
    return {layer: sorted(heads) for layer, heads in pruned.items() if heads}


def _unknown_fields(unknown: list[str], known: list[str]) -> str:
    hints = []
    for name in unknown:
        close = difflib.get_close_matches(name, known, n=1)
        hints.append(f"{name!r}" + (f" (did you mean {close[0]!r}?)" if close else ""))
    return f"MobileBertConfig has no field {', '.join(hints)}."
