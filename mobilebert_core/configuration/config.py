"""The configuration: every field of the released config.json, checked, in both generations of its JSON.

Field names and defaults are those of transformers 4.37.2. What differs is on the side of safety: the
configuration is validated, `true_hidden_size` is always derived, a keyword that means nothing is an error.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, overload

import numpy as np

from ..errors import CheckpointNotFoundError, ConfigError
from ..files import CONFIG_FILE, directory_to_save_in, read_json, write_text
from ..hub.resolve import resolve, take_hub_keywords
from ..saves import current
from ..spelling import did_you_mean
from ..virtual_bases import VirtualSubclass
from . import json_dialect
from .checks import faults
from .fields import ConfigFields, default_values
from .google_dialect import in_our_dialect
from .presets import PRESETS


@dataclass(init=False, repr=False, eq=False)
class MobileBertConfig(VirtualSubclass, ConfigFields):
    """Describes one MobileBERT: its sizes, its branches and how its head is read.

    Built by keyword, or by position in the order of `ConfigFields`. Fields can be assigned afterwards and are checked
    again then. With `model_type` the keywords are those of a whole file, as in `MobileBertConfig(**config.to_dict())`,
    of which keys that are no fields are kept. Defaults are those of transformers, which are the released model except
    that there `classifier_activation` is False (`MobileBertConfig.from_preset("mobilebert")`).

    Raises:
        ConfigError: for an impossible value, an unknown keyword, or a conflict between fields.
    """

    model_type = "mobilebert"
    is_composition = False
    keys_to_ignore_at_inference: ClassVar[list[str]] = []  # a list, to which the Trainer of transformers adds
    sub_configs: ClassVar[dict[str, Any]] = {}
    attribute_map: ClassVar[dict[str, str]] = {}
    _auto_class = None
    _virtual_base = ("transformers.configuration_utils", "PretrainedConfig")
    if TYPE_CHECKING:  # attributes; at run time they are no fields of the dataclass
        extra: dict[str, Any] = field(default_factory=dict)
        _ready: bool = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        known = [f.name for f in fields(self)]
        if len(args) > len(known):
            raise ConfigError(f"MobileBertConfig takes at most {len(known)} positional values, got {len(args)}.")
        passed = dict(zip(known, args, strict=False))
        for name, value in kwargs.items():
            target = json_dialect.ALIASES.get(name, name)
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
        kept = self.__dict__.get("extra", {})  # what a derived class has assigned before
        inert = {n: passed.pop(n) for n in list(passed) if n in json_dialect.INERT_FIELDS}
        unknown = {n: passed.pop(n) for n in list(passed) if n not in known}
        if unknown and "model_type" not in kwargs:  # with it they are the keys of a whole file, see `from_dict`
            raise ConfigError(json_dialect.unknown_fields(unknown, known))
        json_dialect.name_near_misses(unknown, passed)
        object.__setattr__(self, "extra", {**kept, **inert, **unknown})
        for name, default in default_values().items():
            setattr(self, name, copy.deepcopy(passed.get(name, default)))
        self._set_labels(passed.get("id2label"), passed.get("label2id"), num_labels)
        self.validate(building=False)
        object.__setattr__(self, "_ready", True)

    # ----------------------------------------------------------------------------------------- fields

    def __setattr__(self, name: str, value: Any) -> None:
        name = json_dialect.ALIASES.get(name, name)
        value = value.item() if isinstance(value, np.generic) else value
        if name in json_dialect.INERT_FIELDS:
            self.extra[name] = value
            return
        descriptor = getattr(type(self), name, None)
        if isinstance(descriptor, property):
            descriptor.__set__(self, value)
            return
        if name in self.__dict__.get("extra", {}):  # a key of the user's own, read from a file
            self.extra[name] = value
            return
        if name not in self.__dataclass_fields__:
            if name in self.own_fields():
                self.__dict__.setdefault("extra", {})[name] = value
                return
            raise ConfigError(json_dialect.unknown_fields([name], self.__dataclass_fields__))
        if name == "pruned_heads":
            value = json_dialect.pruned_heads(value, self.num_hidden_layers)
        elif name == "dtype":
            value = json_dialect.dtype_name(value)
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

    def __delattr__(self, name: str) -> None:
        """Takes away a key of the user's own, never a field."""
        if name in self.__dataclass_fields__:
            raise ConfigError(f"MobileBertConfig: wanted a key of your own to delete, got the field {name!r}.")
        if name not in self.__dict__.get("extra", {}):
            return object.__delattr__(self, name)
        del self.extra[name]

    if not TYPE_CHECKING:  # for a type checker every misspelled field would have the type Any

        def __getattr__(self, name: str) -> Any:
            if name in json_dialect.INERT_FIELDS and "extra" in self.__dict__:
                return self.extra.get(name, json_dialect.INERT_FIELDS[name])
            if name in json_dialect.ALIASES:
                return getattr(self, json_dialect.ALIASES[name])
            if name != "extra" and name in self.__dict__.get("extra", {}):
                return self.extra[name]
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

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

    def _set_labels(self, *maps: Any, **named: Any) -> None:
        """Takes what `label_maps` takes."""
        id2label, label2id = json_dialect.label_maps(*maps, **named)
        object.__setattr__(self, "id2label", id2label)
        object.__setattr__(self, "label2id", label2id)

    @classmethod
    def own_fields(cls) -> set[str]:
        """What the constructors of a derived class take beside the fields; they are kept and saved like these."""
        derived = cls.__mro__[: cls.__mro__.index(MobileBertConfig)]
        taken = [inspect.signature(vars(kind)["__init__"]).parameters for kind in derived if "__init__" in vars(kind)]
        several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        named = {name for parameters in taken for name, one in parameters.items() if one.kind not in several}
        return named - {"self", *cls.__dataclass_fields__, *json_dialect.ALIASES, *json_dialect.DERIVED}

    def _values(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    # ------------------------------------------------------------------------------------- validation

    def validate(self, building: bool = True) -> None:
        """Checks every field and their combinations; raises ConfigError naming all that is wrong.

        Models call it. Construction and assignment come with `building=False`, which leaves to the model what
        a file or a caller may fill in step by step: hidden_size 0, and heads pruned that are not there.
        """
        if wrong := faults({**self._values(), "true_hidden_size": self.true_hidden_size}, building):
            raise ConfigError("MobileBertConfig: " + "; ".join(wrong) + ".")

    # ------------------------------------------------------------------------------------------- JSON

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict in the layout of transformers' config.json, `true_hidden_size` included.

        Some fields always stand in it (see `ConfigFields`), the others when they differ from their default.
        """
        derived = {"model_type": self.model_type, "true_hidden_size": self.true_hidden_size}
        return {**derived, **self.extra, **json_dialect.written(self._values())}

    def to_diff_dict(self) -> dict[str, Any]:
        """`to_dict`, which already leaves out what is at its default outside the architecture."""
        return self.to_dict()

    def to_json_string(self, use_diff: bool = True) -> str:
        """config.json as transformers lays it out: sorted keys, two spaces, a newline at the end.

        `use_diff=False` writes the fields at their default as well.
        """
        return json_dialect.json_text(
            self.to_dict() if use_diff else {**json_dialect.everything(self._values()), **self.to_dict()}
        )

    def to_json_file(self, json_file_path: str | Path, use_diff: bool = True) -> None:
        write_text(Path(json_file_path), self.to_json_string(use_diff))

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Writes config.json into the directory, which is made if needed.

        `push_to_hub` uploads the directory afterwards, with the keywords of `mobilebert_core.hub.pushing.push_folder`.
        """
        from ..hub.pushing import push_after_saving

        name = type(self).__name__
        last = push_after_saving(f"{name}.save_pretrained", save_directory, push_to_hub, kwargs, name)
        self.to_json_file(directory_to_save_in(save_directory) / CONFIG_FILE)
        last()

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Saves the configuration and uploads it as `owner/name`, with the keywords of `save_pretrained`."""
        from ..hub.pushing import push_saved

        return push_saved(self, repo_id, **kwargs)

    @overload
    @classmethod
    def from_dict(
        cls, config_dict: Mapping[str, Any], return_unused_kwargs: Literal[False] = False, **kwargs: Any
    ) -> Self: ...

    @overload
    @classmethod
    def from_dict(
        cls, config_dict: Mapping[str, Any], return_unused_kwargs: Literal[True], **kwargs: Any
    ) -> tuple[Self, dict[str, Any]]: ...

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """Reads a dict of either generation of transformers; `kwargs` override it field by field.

        Keys that this package does not know are kept in `extra` and written back. Keywords that it does not
        know are an error, or come back as the second item when `return_unused_kwargs` is set.
        """
        values = dict(config_dict)
        known = {*cls.__dataclass_fields__, *json_dialect.ALIASES, *json_dialect.INERT_FIELDS, *json_dialect.DERIVED}
        known |= cls.own_fields()
        extra = {name: values.pop(name) for name in list(values) if name not in known}
        extra |= {name: kwargs.pop(name) for name in list(kwargs) if name in extra}
        unused = {name: kwargs.pop(name) for name in list(kwargs) if name not in known}
        json_dialect.name_near_misses(extra, values)
        if unused and not return_unused_kwargs:
            raise ConfigError(json_dialect.unknown_fields(unused, sorted(known)))
        config = cls(**json_dialect.overridden(values, kwargs))
        config.extra.update(extra)
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def from_json_file(cls, json_file: str | Path) -> Self:
        return cls.from_dict(in_our_dialect(read_json(Path(json_file))))

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | Path, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The raw dict of a directory, a file or a name on the hub, and the keywords that are none of the hub's."""
        hub = take_hub_keywords(kwargs)
        for name in ("trust_remote_code", "code_revision"):  # no code is fetched
            kwargs.pop(name, None)
        path = resolve(pretrained_model_name_or_path, config=True, **hub)
        if path.is_file() and path.suffix != ".json":
            raise CheckpointNotFoundError(
                f"{path}: wanted the directory of config.json and its weights, got a file. What Keras saved as .keras "
                "is read by keras.models.load_model."
            )
        file = path if path.is_file() or (path.suffix == ".json" and not path.is_dir()) else path / CONFIG_FILE
        return read_json(current(file)), kwargs

    @overload
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, return_unused_kwargs: Literal[False] = False, **kwargs: Any
    ) -> Self: ...

    @overload
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, return_unused_kwargs: Literal[True], **kwargs: Any
    ) -> tuple[Self, dict[str, Any]]: ...

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """Reads config.json of a directory or of a name on the hub, or a JSON file, also of Google's code.

        `kwargs` override fields (see `from_dict`); `subfolder`, `revision` and the others of `hub.resolve` say
        where the file is.

        Raises:
            CheckpointNotFoundError: when there is no such file.
            ConfigError: when it is not the configuration of a MobileBERT.
        """
        values, kwargs = cls.get_config_dict(pretrained_model_name_or_path, **kwargs)
        try:
            return cls.from_dict(
                in_our_dialect(values), **{"name_or_path": str(pretrained_model_name_or_path), **kwargs}
            )
        except ConfigError as e:
            raise ConfigError(f"{pretrained_model_name_or_path}: {e}") from None

    @classmethod
    def from_preset(cls, name: str, **kwargs: Any) -> Self:
        """The configuration of a published architecture (`mobilebert_core.PRESETS`); `kwargs` override it."""
        if name not in PRESETS:
            hint = did_you_mean(name, PRESETS)
            raise ConfigError(f"No preset {name!r}; the presets are {', '.join(PRESETS)}.{hint}")
        return cls(**{**PRESETS[name].fields, **kwargs})

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> Self:
        """Itself: all of MobileBERT is about text."""
        return self

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Assigns every item; nothing is changed when one of them is wrong."""
        merged = type(self).from_dict(self.to_dict(), **dict(config_dict))
        for name in ("name_or_path", "attn_implementation"):
            if name not in config_dict:
                object.__setattr__(merged, name, getattr(self, name))
        self.__dict__.update(merged.__dict__)

    def update_from_string(self, update_str: str) -> None:
        """Assigns fields written as "name=value,name=value"; a value is read as the one it takes the place of."""
        found: dict[str, Any] = {}
        for part in update_str.split(","):
            name, equals, text = part.partition("=")
            old = getattr(self, name, None)
            if not equals or not isinstance(old, bool | int | float | str):
                raise ConfigError(f"update_from_string: wanted name=value of a field with one value, got {part!r}.")
            try:
                found[name] = _FROM_TEXT[text.lower()] if isinstance(old, bool) else type(old)(text)
            except (KeyError, ValueError):
                raise ConfigError(f"update_from_string: {name} must be a {type(old).__name__}, got {text!r}.") from None
        self.update(found)

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


_FROM_TEXT = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

Config = MobileBertConfig  # as `mobilebert.Config`


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
