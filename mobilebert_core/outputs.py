"""What the models return: dataclasses that are also dicts, one set of classes for both frameworks.

A field is read by attribute, by key or by position. A field that is None is left out, so an output of
logits alone has length one. Being a dict lets `tf.function`, `fit`, `predict` and `export` take it apart;
the backends register the classes with the tree libraries of their framework (`register_outputs`).

B batch, S sequence, H hidden, V vocabulary, C labels, N heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .configuration.config import MobileBertConfig
from .virtual_bases import VirtualSubclass


class ModelOutput(VirtualSubclass, dict[Any, Any]):
    """A dict whose keys are the declared fields of its class, in declared order, without None.

    Other keys can be added by `output[key] = value`, as pipelines of transformers do; they come last.

    Takes the fields by keyword, or one mapping or iterable of pairs: the tree functions of TensorFlow and
    `DataParallel` rebuild outputs as `type(output)(pairs)`. A key that is not a field is a TypeError.
    """

    def __init__(self, pairs: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), /, **values: Any) -> None:
        super().__init__()
        values = {**dict(pairs), **values}
        for name in field_names(type(self)):
            value = values.pop(name, None)
            if value is not None:
                super().__setitem__(name, value)
        if values:
            raise TypeError(f"{type(self).__name__} has no field {sorted(values)}; it has {field_names(type(self))}")

    _virtual_base = ("transformers.utils.generic", "ModelOutput")

    if not TYPE_CHECKING:  # for a type checker every misspelled field would have the type Any

        def __getattr__(self, name: str) -> Any:
            if name in field_names(type(self)):
                return self.get(name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in field_names(type(self)):
            raise TypeError(f"{type(self).__name__} has no field {name!r}; it has {field_names(type(self))}")
        self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if value is None:
            self.pop(name, None)
        else:
            super().__setitem__(name, value)

    def __getitem__(self, key: str | int | slice) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __missing__(self, name: str) -> Any:
        """What the Trainer of transformers meets that smooths labels, for which it takes `logits` of every model."""
        raise KeyError(f"{type(self).__name__} has no {name!r}; it has {', '.join(self) or 'nothing'}")

    def to_tuple(self) -> tuple[Any, ...]:
        """The values present, in the order of the fields."""
        names = field_names(type(self))
        return tuple(self[name] for name in (*names, *(key for key in self if key not in names)) if name in self)

    def __reduce__(self) -> tuple[Any, ...]:
        return unflatten_output, (type(self), tuple(self), tuple(self.values()))

    def copy(self) -> ModelOutput:
        other = type(self)()
        dict.update(other, self)
        return other

    __copy__ = copy


def field_names(output: type[ModelOutput]) -> tuple[str, ...]:
    """The declared fields of an output class; none for the bare base class."""
    return tuple(output.__dataclass_fields__) if hasattr(output, "__dataclass_fields__") else ()


Output = TypeVar("Output", bound=ModelOutput, covariant=True)


class ModelCall(Protocol[Output]):
    """A call of a model, for type checkers: what it returns by default.

    With `return_dict=False` it is a tuple, of which they do not know: of an output, too, the items are Any.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Output: ...


output_class = dataclass(init=False, repr=False, eq=False)


@output_class
class BaseModelOutput(ModelOutput):
    """The encoder alone: last_hidden_state (B, S, H)."""

    last_hidden_state: Any
    hidden_states: Any
    attentions: Any


@output_class
class BaseModelOutputWithPooling(ModelOutput):
    """The bare model: last_hidden_state (B, S, H), pooler_output (B, H).

    hidden_states are layers + 1 arrays (B, S, H), the embeddings first; attentions are one (B, N, S, S) a
    layer, after softmax, dropout and head mask. Both are tuples, here and in the classes below.
    """

    last_hidden_state: Any
    pooler_output: Any
    hidden_states: Any
    attentions: Any


@output_class
class MobileBertForPreTrainingOutput(ModelOutput):
    """prediction_logits (B, S, V) and seq_relationship_logits (B, 2); loss is the sum of both tasks'.

    With `sparse_prediction` and labels prediction_logits are as the logits of `MaskedLMOutput`.
    """

    loss: Any
    prediction_logits: Any
    seq_relationship_logits: Any
    hidden_states: Any
    attentions: Any


@output_class
class MaskedLMOutput(ModelOutput):
    """logits (B, S, V); with `sparse_prediction` and labels (labelled tokens, V), text by text in their order."""

    loss: Any
    logits: Any
    hidden_states: Any
    attentions: Any


@output_class
class NextSentencePredictorOutput(ModelOutput):
    """logits (B, 2): class 0 says that the second sentence follows the first, 1 that it was drawn at random."""

    loss: Any
    logits: Any
    hidden_states: Any
    attentions: Any


@output_class
class SequenceClassifierOutput(ModelOutput):
    """logits (B, C); with one label they are the predicted value itself (regression)."""

    loss: Any
    logits: Any
    hidden_states: Any
    attentions: Any


@output_class
class MultipleChoiceModelOutput(ModelOutput):
    """logits (B, choices)."""

    loss: Any
    logits: Any
    hidden_states: Any
    attentions: Any


@output_class
class TokenClassifierOutput(ModelOutput):
    """logits (B, S, C)."""

    loss: Any
    logits: Any
    hidden_states: Any
    attentions: Any


@output_class
class QuestionAnsweringModelOutput(ModelOutput):
    """start_logits and end_logits (B, S)."""

    loss: Any
    start_logits: Any
    end_logits: Any
    hidden_states: Any
    attentions: Any


OUTPUT_CLASSES: tuple[type[ModelOutput], ...] = (
    BaseModelOutput,
    BaseModelOutputWithPooling,
    MobileBertForPreTrainingOutput,
    MaskedLMOutput,
    NextSentencePredictorOutput,
    SequenceClassifierOutput,
    MultipleChoiceModelOutput,
    TokenClassifierOutput,
    QuestionAnsweringModelOutput,
)


def output_options(
    config: MobileBertConfig, output_attentions: bool | None, output_hidden_states: bool | None
) -> dict[str, Any]:
    """The two options of a call by name, from the configuration where they are None."""
    return {
        "output_attentions": config.output_attentions if output_attentions is None else output_attentions,
        "output_hidden_states": config.output_hidden_states if output_hidden_states is None else output_hidden_states,
    }


def returned(config: MobileBertConfig, output: ModelOutput, return_dict: bool | None) -> Any:
    """The output itself, or a tuple of its fields, as `return_dict` or the configuration says."""
    return output if (config.use_return_dict if return_dict is None else return_dict) else output.to_tuple()


_registered: set[str] = set()


def register_outputs(registry: str, register: Callable[[type[ModelOutput]], None]) -> None:
    """Calls `register` on each output class, once per process for each name of a registry.

    Both backends may ask for the same tree library (Keras on PyTorch does); a second registration is an
    error there.
    """
    if registry not in _registered:
        _registered.add(registry)
        for cls in OUTPUT_CLASSES:
            register(cls)


def flatten_output(output: ModelOutput) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """Children and keys in the order of the fields, further ones after them.

    Exporters name the outputs of a graph by it: `output_names=["start_logits", "end_logits"]`.
    """
    known = [name for name in field_names(type(output)) if name in output]
    keys = (*known, *(name for name in output if name not in known))
    return tuple(output[key] for key in keys), keys


def flatten_sorted(output: ModelOutput) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """Children and keys in sorted order, in which `tf.nest` and Keras take a dict apart."""
    keys = tuple(sorted(output))
    return tuple(output[key] for key in keys), keys


def unflatten_output(cls: type[ModelOutput], keys: Iterable[str], children: Iterable[Any]) -> ModelOutput:
    """The inverse of both. Children may be None here: tree libraries put placeholders in leaves."""
    found = dict(zip(keys, children, strict=True))
    output = cls()
    for field in fields(cls):  # type: ignore[arg-type]
        if field.name in found:
            dict.__setitem__(output, field.name, found.pop(field.name))
    dict.update(output, found)
    return output


def register_with_pytree(pytree: Any, cls: type[ModelOutput]) -> None:
    """Registers an output class with PyTorch's trees, in which Keras on PyTorch takes outputs apart too.

    Args:
        pytree: the module `torch.utils._pytree`.
    """

    def flatten_with_keys(output: ModelOutput) -> tuple[list[tuple[Any, Any]], tuple[str, ...]]:
        children, keys = flatten_output(output)
        return [(pytree.MappingKey(key), child) for key, child in zip(keys, children, strict=True)], keys

    pytree.register_pytree_node(
        cls,
        flatten_output,
        lambda children, keys: unflatten_output(cls, keys, children),
        serialized_type_name=f"mobilebert.{cls.__name__}",
        to_dumpable_context=list,
        from_dumpable_context=tuple,
        flatten_with_keys_fn=flatten_with_keys,
    )
