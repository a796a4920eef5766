"""How Keras trains the models: `compile`, `fit`, `evaluate` and `predict` on every form of inputs and labels.

Labels may come as y or among the inputs; the loss may be Keras's own or, without one in `compile`, the
model's. Only `compile`, `compute_loss`, `compute_metrics` and `export` are overridden, never `train_step`,
so that every backend of Keras keeps its own loop. `fit`, `evaluate` and `predict` only look at the data first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from mobilebert_core.errors import ConfigError, InputError
from mobilebert_core.heads import IGNORE_INDEX, problem_type_of, scores_shape, takes_class_numbers
from mobilebert_core.inputs import check_labels

from .inputs import PROBE, named_inputs
from .losses import head_loss
from .optimization import fuse_updates
from .prediction import predict_arrays


@keras.saving.register_keras_serializable(package="mobilebert")
class MaskedAccuracy(keras.metrics.Mean):
    """Share of labels that the largest logit meets; labels of -100 are left out.

    Labels of the shape of the logits are those of several labels a text: then it is the share of logits on the
    right side of 0.
    """

    def __init__(self, name: str = "accuracy", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == y_pred.shape[-1] != 1:
            right = ops.equal(ops.cast(y_true, "float32") > 0.5, y_pred > 0)
            super().update_state(ops.mean(ops.cast(right, "float32"), axis=-1), sample_weight=sample_weight)
            return
        found = ops.argmax(y_pred, axis=-1)
        labels = ops.reshape(ops.cast(y_true, found.dtype), ops.shape(found))
        counted = ops.cast(ops.not_equal(labels, IGNORE_INDEX), "float32")
        if sample_weight is not None:
            weight = ops.cast(sample_weight, "float32")
            missing = len(counted.shape) - len(weight.shape)
            counted = counted * ops.reshape(weight, (*ops.shape(weight), *(1,) * missing))
        super().update_state(ops.equal(found, labels), sample_weight=counted)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype}


class TrainedByKeras:
    """The part of a model that Keras's training loop sees."""

    config: Any
    head: Any

    # --------------------------------------------------------------------------------------- compiling

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        jit_compile: bool = False,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`. Without a loss the model computes its own from the labels.

        Metrics given for a head with several outputs are counted for each. "accuracy" leaves out labels of
        -100. `jit_compile` is off by default: with lengths that vary it would compile each anew. The optimizer
        is built here and, on TensorFlow, Adam and AdamW update each weight in one operation, which brings the
        first step from minutes to seconds; what they compute, and what is saved, stays Keras's.
        """
        super().compile(  # type: ignore[misc]
            optimizer=optimizer,
            loss=loss,
            loss_weights=loss_weights,
            metrics=self._metrics_by_output(metrics),
            weighted_metrics=self._metrics_by_output(weighted_metrics),
            jit_compile=jit_compile,
            **kwargs,
        )
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)
            fuse_updates(self.optimizer)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))

    def _metrics_by_output(self, metrics: Any) -> Any:
        """Strings made instances (a string costs a second trace), once for each output of the head."""
        logits = [task.logits for task in self.head.tasks]
        if metrics is None or not logits:
            return metrics
        if isinstance(metrics, Mapping):
            names = {task.label: task.logits for task in self.head.tasks}
            return {names.get(n, n): [self._metric(m) for m in _as_list(value)] for n, value in metrics.items()}
        listed = _as_list(metrics)
        if len(logits) == 1:
            return [self._metric(m) for m in listed]
        if all(isinstance(item, list | tuple) for item in listed) and len(listed) == len(logits):  # one list an output
            return {n: [self._metric(m) for m in item] for n, item in zip(logits, listed, strict=True)}
        made = [self._metric(m) for m in listed]
        return {name: [m.__class__.from_config(m.get_config()) for m in made] for name in logits}

    def _metric(self, metric: Any) -> Any:
        if isinstance(metric, str) and metric in ("accuracy", "acc"):
            return MaskedAccuracy(metric)
        metric = keras.metrics.get(metric)
        if isinstance(metric, keras.metrics.Metric):
            return metric
        return keras.metrics.MeanMetricWrapper(metric, name=getattr(metric, "__name__", None))

    # ------------------------------------------------------------------------------------ loss, metrics

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Keras's loss on the head's scores, or the model's own when `compile` was given none."""
        if self._compile_loss is not None:
            labels, scores = self._targets(x, y, y_pred)
            return super().compute_loss(x, labels, scores, sample_weight, training=training)  # type: ignore[misc]
        if isinstance(y_pred, tuple):
            raise ConfigError(f"{type(self).__name__}: fit and evaluate need return_dict=True in the configuration.")
        loss = y_pred.get("loss") if y is None and sample_weight is None else None
        if loss is None:
            loss = head_loss(self.config, self.head, y_pred, self._labels(x, y), sample_weight)
        if loss is None:
            wanted = " and ".join(task.label for task in self.head.tasks) or "a loss in compile()"
            raise InputError(
                f"{type(self).__name__}: no loss to train with. Pass {wanted}, as y or among the inputs, or a loss "
                "to compile()."
            )
        for extra in self.losses:
            loss = loss + ops.sum(ops.cast(extra, loss.dtype))
        return loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        labels, scores = self._targets(x, y, y_pred)
        if labels is None:
            return self.get_metrics_result()
        return super().compute_metrics(x, labels, scores, sample_weight=sample_weight)  # type: ignore[misc]

    def _labels(self, x: Any, y: Any) -> dict[str, Any]:
        """Labels by argument name, from y or from the inputs.

        y is one array, a list in the order of the head's labels, or a mapping by label or output name.
        """
        names = self.head.label_names
        by_output = {task.logits: task.label for task in self.head.tasks}
        if y is None:
            inputs = named_inputs(type(self).__name__, self._argument_names(), (x,), {})
            return {n: inputs.get(n) for n in names}
        if isinstance(y, Mapping):
            found = {by_output.get(n, n): value for n, value in y.items()}
            if unknown := [n for n in found if n not in names]:
                raise InputError(f"{type(self).__name__}: y has {unknown}, wanted {list(names)}.")
            return found
        tasks = self.head.tasks
        items = list(y) if isinstance(y, list | tuple) else [y]
        if len(items) != len(tasks):
            raise InputError(
                f"{type(self).__name__}: y has {len(items)} arrays, wanted {len(tasks)}: {[t.label for t in tasks]}."
            )
        return {task.label: item for task, item in zip(tasks, items, strict=True)}

    def _targets(self, x: Any, y: Any, y_pred: Any) -> tuple[Any, Any]:
        """Labels and scores in the form Keras's losses and metrics take: plain arrays, or dicts by output."""
        if isinstance(y_pred, tuple):
            raise ConfigError(f"{type(self).__name__}: fit and evaluate need return_dict=True in the configuration.")
        if not self.head.tasks:  # the bare model: whatever the caller compares
            return y, dict(y_pred)
        labels = self._labels(x, y)
        found = {task.logits: task.given(labels) for task in self.head.tasks}
        if any(value is None for value in found.values()):
            return None, None
        if len(found) == 1:
            name, value = next(iter(found.items()))
            return value, y_pred[name]
        return found, {name: y_pred[name] for name in found}

    # ------------------------------------------------------------------------------------------ running

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.fit`. Arrays are checked first, so that an id out of range is an InputError."""
        x, y = self._checked_data(x, y)
        if isinstance(validation := kwargs.get("validation_data"), tuple | list) and len(validation) > 1:
            kwargs["validation_data"] = (*self._checked_data(*validation[:2]), *validation[2:])
        with self._explained():
            return super().fit(x, y, *args, **kwargs)  # type: ignore[misc]

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`, with the checks of `fit`."""
        x, y = self._checked_data(x, y)
        with self._explained():
            return super().evaluate(x, y, *args, **kwargs)  # type: ignore[misc]

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """As `keras.Model.predict`: the outputs of all batches joined. Labels among the inputs are not used.

        On TensorFlow, arrays with `verbose=0` and nothing else to do skip Keras's input pipeline, whose start takes
        as long as the model itself on one short text.
        """
        x, _ = self._checked_data(x, None)
        if isinstance(x, Mapping):
            x = self._without_labels(x)
        elif isinstance(getattr(x, "element_spec", None), Mapping):
            x = x.map(self._without_labels)
        with self._explained():
            if isinstance(x, Mapping) and verbose == 0 and steps is None and not callbacks and self._runs_arrays():
                return predict_arrays(self, x, batch_size or 32)
            return super().predict(x, batch_size, verbose, steps, callbacks)  # type: ignore[misc]

    def _runs_arrays(self) -> bool:
        eager_or_shared = self.run_eagerly or getattr(self, "_distribute_strategy", None) is not None
        return keras.backend.backend() == "tensorflow" and not eager_or_shared

    def _without_labels(self, x: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in x.items() if name not in self.head.label_names}

    def _checked_data(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Inputs as a dict of arrays by name, labels as they are, both checked; datasets pass untouched."""
        if not isinstance(x, Mapping | list | tuple) and not hasattr(x, "__array__"):
            return x, y
        x = self._checked((x,), {})
        y = self._label_arrays(y)
        labels = self._labels(x, y) if self.head.tasks and self._compile_loss is None else {}
        shape = tuple(x.get("input_ids", x.get("inputs_embeds")).shape)
        for task in self.head.tasks:
            given = task.given(labels)
            if given is None:
                continue
            lead = shape[:3] if self.head.per_choice else shape[:2]
            scores = scores_shape(self.config, self.head, task, lead)
            problem = problem_type_of(self.config, task, scores[-1], PROBE.is_integer(given))
            check_labels(self.config, self.head, task, given, scores, takes_class_numbers(problem), PROBE)
        return x, y

    def _label_arrays(self, y: Any) -> Any:
        """Lists of numbers made arrays, one for each task."""
        if isinstance(y, Mapping):
            return {name: np.asarray(value) if isinstance(value, list) else value for name, value in y.items()}
        if isinstance(y, list | tuple) and len(self.head.tasks) > 1:
            return tuple(np.asarray(value) if isinstance(value, list) else value for value in y)
        return np.asarray(y) if isinstance(y, list) and not any(hasattr(item, "shape") for item in y) else y

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.train_on_batch`, with the checks of `fit`."""
        return super().train_on_batch(*self._checked_data(x, y), *args, **kwargs)  # type: ignore[misc]

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.test_on_batch`, with the checks of `fit`."""
        return super().test_on_batch(*self._checked_data(x, y), *args, **kwargs)  # type: ignore[misc]

    def predict_on_batch(self, x: Any) -> Any:
        """As `keras.Model.predict_on_batch`, with the checks of `fit`."""
        return super().predict_on_batch(self._checked_data(x, None)[0])  # type: ignore[misc]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns TensorFlow's complaint about an index, raised while a graph runs, into an error of ours."""
        try:
            yield
        except Exception as e:
            reasons = [line.strip() for line in str(e).splitlines() if "[0, " in line]
            if type(e).__name__ == "InvalidArgumentError" and reasons:
                raise InputError(
                    f"{type(self).__name__}: a batch of the dataset holds an id, a segment, a position or a label that "
                    f"is out of range (TensorFlow: {reasons[0]})."
                ) from e
            raise

    def export(self, filepath: Any, format: str = "tf_saved_model", input_signature: Any = None, **kwargs: Any) -> Any:
        """As `keras.Model.export`, with int32 input_ids, attention_mask and token_type_ids of any size.

        LiteRT needs fixed sizes: there the default is (1, 128).
        """
        if input_signature is None:
            shape: tuple[int | None, ...] = (1, 128) if format == "litert" else (None, None)
            if self.head.per_choice:
                shape = (shape[0], 2 if format == "litert" else None, shape[1])
            names = ("input_ids", "attention_mask", "token_type_ids")
            input_signature = [{n: keras.InputSpec(shape=shape, dtype="int32", name=n) for n in names}]
        return super().export(filepath, format=format, input_signature=input_signature, **kwargs)  # type: ignore[misc]


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
