"""The forms in which Keras users pass inputs: keywords, a mapping, a list, or one array of input_ids."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
from keras import ops
from keras.src.backend.common.symbolic_scope import in_symbolic_scope  # Keras exports the scope only

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import InputError, MobileBertError, first_line
from mobilebert_core.heads import HEADS, Head
from mobilebert_core.inputs import check_inputs, check_no_text, text_among

from .inputs import ID_INPUTS, PROBE

if TYPE_CHECKING:
    from keras import Model as _Model
else:
    _Model = object


def unconverted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that the AutoGraph of a user's `tf.function` calls as it is: it cannot rewrite all of Python."""
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    wrapped: Callable[..., Any] = tf.autograph.experimental.do_not_convert(function)
    return wrapped


class CallForms(_Model):
    """Mixed into a `keras.Model`: brings the inputs of a call to keywords and checks them.

    Raises:
        InputError: for a wrong name, rank, shape, dtype or value.
    """

    config: MobileBertConfig
    head: ClassVar[Head]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Takes keywords, one mapping, a list in the order of the signature, or one array of input_ids."""
        return super().__call__(**self._checked(args, kwargs))

    def stateless_call(
        self,
        trainable_variables: Any,
        non_trainable_variables: Any,
        *args: Any,
        return_losses: bool = False,
        **kwargs: Any,
    ) -> Any:
        """As `keras.Model.stateless_call`, which the JAX backend trains with; the same forms of inputs."""
        return super().stateless_call(
            trainable_variables, non_trainable_variables, return_losses=return_losses, **self._checked(args, kwargs)
        )

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs as `keras.KerasTensor`, of inputs in any form of a call."""
        return keras.Operation.compute_output_spec(self, **self._checked(args, kwargs))

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs' shapes by name, of the shapes of inputs in any form of a call; labels are class numbers."""
        return output_shapes(self, args, kwargs, "float32")

    @unconverted
    def _checked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        inputs = named_inputs(type(self).__name__, self._argument_names(), args, kwargs)
        check_no_text(self.config, self.head, inputs)
        if in_symbolic_scope() or _in_default_signature():  # Keras calls a model around this one with floats
            inputs |= {n: ops.cast(inputs[n], "int32") for n in ID_INPUTS if inputs.get(n) is not None}
        check_inputs(self.config, self.head, inputs, PROBE)
        return {n: value for n, value in inputs.items() if value is not None}

    @classmethod
    def _argument_names(cls) -> tuple[str, ...]:
        return tuple(n for n in inspect.signature(cls.call).parameters if n != "self")


def _in_default_signature() -> bool:
    """Whether TensorFlow saves a model, for whose default signature Keras makes floats of the shapes seen first."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    while graph is not None and getattr(graph, "name", None) != "serving_default":
        graph = getattr(graph, "outer_graph", None)
    return graph is not None


def shaped_inputs(
    names: Sequence[str], args: tuple[Any, ...], kwargs: Mapping[str, Any], floating: str
) -> dict[str, Any]:
    """The inputs of a call as placeholders by name, of their shapes in any form of a call.

    Args:
        names: of the arguments, in their order. `input_shape` is the first one's, "x_shape" that of x, as in Keras.
        floating: dtype of the inputs that are no whole numbers.
    """
    first, *others = args or (None,)
    if isinstance(first, Mapping):
        shapes = dict(first)
    else:
        several = isinstance(first, list | tuple) and any(isinstance(item, list | tuple) for item in first)
        shapes = dict(zip(names, first if several else (first,), strict=False))
    shapes |= dict(zip(names[1:], others, strict=False))
    for name, shape in kwargs.items():
        shapes[names[0] if name == "input_shape" else name.removesuffix("_shape")] = shape
    return {
        name: keras.KerasTensor(tuple(shape), "int32" if name in _WHOLE else floating)
        if isinstance(shape, list | tuple)
        else shape
        for name, shape in shapes.items()
        if shape is not None
    }


def output_shapes(layer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], floating: str) -> Any:
    """The shapes of a layer's outputs, of those of its inputs as in `shaped_inputs`.

    Raises:
        NotImplementedError: where the shapes are too few, as when a layer was built without any: `summary` asks for
            those it was built with, and shows "?" then.
    """
    inputs = shaped_inputs(layer._argument_names(), args, kwargs, floating)
    name = f"{type(layer).__name__}.compute_output_shape"
    if not any(isinstance(value, keras.KerasTensor) for value in inputs.values()):
        raise NotImplementedError(f"{name}: wanted the shapes of the inputs, got none.")
    try:
        spec = layer.compute_output_spec(**inputs)
    except MobileBertError:
        raise
    except Exception as e:  # of whatever step of the layer
        raise NotImplementedError(
            f"{name}: wanted the shapes of all inputs that a call needs, got {', '.join(inputs)} ({first_line(e)})."
        ) from e
    return keras.tree.map_structure(lambda output: output.shape, spec)


def named_inputs(
    class_name: str, names: Sequence[str], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments of a call by name, whichever of the three forms it took, as arrays.

    The first argument may be one array, a list or tuple of arrays in the order of the signature, or a mapping;
    the others follow by position or keyword.
    """
    passed = dict(kwargs)
    first, *others = args or (passed.pop(names[0], None),)
    rest = list(names[1:])
    if isinstance(first, Mapping):
        packed = dict(first)
    elif isinstance(first, list | tuple) and any(_is_array(item) and item.ndim > 0 for item in first):
        if len(first) > len(names):
            raise InputError(
                f"{class_name}: a list of {len(first)} inputs were passed, there are {len(names)}: {list(names)}."
            )
        packed = dict(zip(names, first, strict=False))
    else:
        packed = {names[0]: first}
    if len(others) > len(rest):
        raise InputError(
            f"{class_name}: {len(args)} positional inputs were passed, there are {len(names)}: {list(names)}."
        )
    for source in (dict(zip(rest, others, strict=False)), passed):
        if twice := [n for n in source if source[n] is not None and packed.get(n) is not None]:
            raise InputError(f"{class_name}: {', '.join(twice)} passed twice. Leave one out.")
        packed |= {n: value for n, value in source.items() if value is not None or n not in packed}
    if unknown := [n for n in packed if n not in names]:
        raise InputError(
            f"{class_name} knows no argument {', '.join(map(repr, unknown))}; it takes {', '.join(names)}."
        )
    return {n: _as_array(class_name, n, value) for n, value in packed.items()}


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype") and not np.isscalar(value)


_TOKENIZE = "Tokenize it first, for fit by mobilebert_tf.text_dataset or mobilebert_tf.TextPreprocessor."
_LABELS = {name for head in HEADS.values() for name in head.label_names}
_WHOLE = {*ID_INPUTS, "attention_mask", *_LABELS}
_OPTIONS = ("output_attentions", "output_hidden_states", "return_dict", "training", "select", "in_units", "length")


def _as_array(class_name: str, name: str, value: Any) -> Any:
    if value is None or name in _OPTIONS or (name in _LABELS and text_among(value) is not None):
        return value  # labels of text are refused where the names of the classes are known
    if isinstance(value, str):
        raise InputError(f"{class_name}: {name} must be an array of numbers, got text. {_TOKENIZE}")
    if type(value).__name__ in ("RaggedTensor", "SparseTensor"):
        raise InputError(f"{class_name}: {name} must be an array of numbers, got a {type(value).__name__}.")
    if type(value).__module__.partition(".")[0] == "tf_keras":  # whose models would hold none of the weights
        raise InputError(
            f"{class_name}: {name} must be an array or an input of Keras 3, got a {type(value).__name__} of tf_keras. "
            "Build the model around with keras.Input and keras.Model, without TF_USE_LEGACY_KERAS."
        )
    if _is_array(value) and not isinstance(value, np.ndarray):
        if "string" in str(value.dtype):
            raise InputError(f"{class_name}: {name} must be an array of numbers, got text. {_TOKENIZE}")
        return value
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind in "US":
        raise InputError(f"{class_name}: {name} must be an array of numbers, got text. {_TOKENIZE}")
    if array.dtype == object:
        raise InputError(
            f"{class_name}: {name} must be an array, got {type(value).__name__} that makes none. Lists of different "
            "lengths must be padded first."
        )
    return array
