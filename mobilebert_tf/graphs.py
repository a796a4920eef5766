"""A function of arrays as TensorFlow graphs, which run about 12 times as fast as Keras code without a graph.

TensorFlow is imported when it is needed, because Keras may run on another backend.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from operator import itemgetter
from typing import Any

import keras

KINDS = 16  # graphs that are kept at once: one for each combination of names, ranks and dtypes in use

# What Keras keeps in every layer, but for what decides how the layer computes. Weights and inner layers are attributes.
_OF_KERAS = frozenset(vars(keras.layers.Layer(name="layer")))

# Models may share layers, and whoever records one may build them: one thread at a time records.
_RECORDING = threading.RLock()


class Watch:
    """Says whether a model computes as it did: the same layers with the same attributes, by identity.

    Values of weights may change. Looking takes about as long as listing the weights.
    Threads may ask while one looks.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        # The configuration, its fields, and the layers: replaced at once.
        self._seen: tuple[Any, dict[str, Any], list[tuple[Any, int, Any, Any, list[tuple[Any, Any]]]]] | None = None

    def look(self) -> None:
        """Remembers the model as it is now."""
        config, layers = self.model.config, []
        fields = dict(vars(config))
        for layer in self.model._flatten_layers():
            own = vars(layer)
            model = isinstance(layer, keras.Model)
            keys = {n for n in own.keys() - _OF_KERAS if not n.startswith("_self_")}  # TensorFlow's: of checkpoints
            if model:  # the rest is of its training
                keys = {n for n in keys if isinstance(own[n], keras.layers.Layer)}
            take = itemgetter("_trainable", "_dtype_policy", *keys)  # two at least, or it would not be a tuple
            inside = [(own[n], own[n].copy()) for n in keys if isinstance(own[n], list | dict | set)]
            layers.append((own, -1 if model else len(own), take, take(own), inside))
        self._seen = config, fields, layers

    def changed(self) -> bool:
        """True where `look` would find something else than it did, or has not been called."""
        if self._seen is None:
            return True
        config, fields, layers = self._seen
        if config is not self.model.config or fields != vars(config):
            return True
        try:
            for own, size, take, attributes, inside in layers:
                if (size not in (-1, len(own))) or take(own) != attributes:
                    return True
                for container, copy in inside:
                    if container != copy:
                        return True
        except (KeyError, TypeError, ValueError):  # an attribute went, or arrays were compared: other ones
            return True
        return False


class RecordedGraphs:
    """The function as a graph of any batch size and length, recorded once for the names, ranks and dtypes of arrays.

    When the model has changed, all graphs are recorded anew. On other backends than TensorFlow it is the function
    itself.

    Args:
        function: of arrays by name.
        model: the model that it runs.
        jit_compile: as in `tf.function`.
    """

    def __init__(
        self, function: Callable[[Mapping[str, Any]], Any], model: Any, jit_compile: bool | None = None
    ) -> None:
        self._function = function
        self._watch = Watch(model)
        self._jit_compile = jit_compile
        self._graphs: dict[Hashable, Callable[[Mapping[str, Any]], Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the graphs, which belong to their process."""
        return {**vars(self), "_graphs": {}, "_watch": Watch(self._watch.model)}

    def __call__(self, arrays: Mapping[str, Any]) -> Any:
        """The function's result."""
        if keras.backend.backend() != "tensorflow":
            return self._function(arrays)
        import tensorflow as tf

        graphs = {} if self._graphs and self._watch.changed() else self._graphs
        tensors = {name: tf.convert_to_tensor(array) for name, array in arrays.items()}
        kind = tuple(sorted((name, tensor.shape.rank, tensor.dtype.name) for name, tensor in tensors.items()))
        graph = graphs.get(kind)
        if graph is None:
            with _RECORDING:
                graph = self._recorded(kind, tensors)
        return graph(tensors)

    def _recorded(self, kind: Hashable, tensors: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Any]:
        """The graph of a kind, which another thread may have recorded meanwhile."""
        import tensorflow as tf

        graphs = {} if self._graphs and self._watch.changed() else dict(self._graphs)
        graph = graphs.get(kind)
        if graph is None:
            specs = {name: tf.TensorSpec([None] * tensor.shape.rank, tensor.dtype) for name, tensor in tensors.items()}
            recorded = tf.function(self._function, autograph=False, jit_compile=self._jit_compile)
            graph = recorded.get_concrete_function(specs)
            if len(graphs) >= KINDS:
                graphs.pop(next(iter(graphs)))
            graphs[kind] = graph
            self._watch.look()  # after recording, which may build layers
            self._graphs = graphs
        return graph
