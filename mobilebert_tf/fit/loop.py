"""How Keras trains the models: `compile`, `fit`, `evaluate` and `predict` on every form of inputs and labels.

Labels may come as y or among the inputs; the loss may be Keras's own or, without one in `compile`, the
model's. Of the loop only `compile`, `compute_loss` and `compute_metrics` are overridden, so that every backend of
Keras keeps its own; all else looks at the data first: `fit`, `evaluate` and `predict` to check it, a step
to put labels among the inputs for `sparse_prediction`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import keras
from keras import ops

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import ConfigError, InputError
from mobilebert_core.heads import Head
from mobilebert_core.inputs import check_no_text

from ..calling import named_inputs, unconverted
from ..distributed import for_one_replica
from ..graphs import Watch
from ..losses import head_loss, labelled_only, weight_of
from .compiled import CheckedBeforeSteps
from .data import prepared, remaining_class_weight
from .metrics import by_output, losses_by_output, metrics_by_output
from .optimization import fuse_updates, fused
from .prediction import predict_arrays
from .targets import checked_labels, failed_assertion


class TrainedByKeras(CheckedBeforeSteps):
    """The part of a model that Keras's training loop sees, mixed into a `keras.Model`."""

    config: MobileBertConfig
    head: ClassVar[Head]

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

        Metrics passed for a head with several outputs are counted for each. Losses and metrics of Keras are computed
        from the logits and leave out labels of -100 (`loss_table.py`); a user's own get the logits. `jit_compile` is
        off by default: every new length would be compiled again. The optimizer is built here and, on TensorFlow, Adam
        and AdamW update each weight in one operation, which brings the first step from minutes to seconds. "adam" and
        "adamw" by name are `FusedAdam` and `FusedAdamW`.
        """
        name = type(self).__name__
        if loss is None and loss_weights is not None:
            raise ConfigError(
                f"{name}.compile: loss_weights was passed without a loss; the model's own loss has no weights."
            )
        if loss_weights is not None and self.head.tasks:
            loss_weights = by_output(name, self.head, loss_weights)
            loss_weights = list(loss_weights.values()) if len(self.head.tasks) == 1 else loss_weights
        self._compile_loss = self._compile_metrics = self.loss = None  # Keras would keep those of an earlier call
        self.__dict__.pop("_prediction_graphs", None)
        loss = losses_by_output(name, self.config, self.head, loss)
        super().compile(
            optimizer=fused(optimizer),
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics_by_output(name, self.config, self.head, metrics, loss),
            weighted_metrics=metrics_by_output(name, self.config, self.head, weighted_metrics, loss),
            jit_compile=jit_compile,
            **kwargs,
        )
        if self.optimizer is not None:
            self.optimizer.build(self.__dict__.get("_to_optimize") or self.trainable_variables)
            fuse_updates(self.optimizer)

    def get_compile_config(self) -> dict[str, Any]:
        """As Keras's, with the variables of the optimizer where layers were frozen or freed since `compile`."""
        config = super().get_compile_config()
        optimized = {id(v) for v in getattr(getattr(self, "optimizer", None), "_trainable_variables", ())}
        if optimized and optimized != {id(v) for v in self.trainable_variables}:
            config["optimized"] = [i for i, v in enumerate(self.weights) if id(v) in optimized]
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        arguments = dict(keras.saving.deserialize_keras_object(config))
        weights = self.weights
        optimized = [weights[i] for i in arguments.pop("optimized", ())]
        self.__dict__["_to_optimize"] = optimized  # past Keras, which would take them for new weights
        try:
            self.compile(**arguments)
        finally:
            del self.__dict__["_to_optimize"]

    def _start_over(self) -> None:
        """Forgets graphs and optimizer state made for other shapes."""
        if self.compiled:
            config = self.get_compile_config()
            config.pop("optimized", None)  # places among weights that are gone
            self.compile_from_config(config)
        self.train_function = self.test_function = self.predict_function = None

    # ------------------------------------------------------------------------------------ loss, metrics

    @unconverted
    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Keras's loss on the head's scores, or the model's own when `compile` got none."""
        checked = y
        if self.head.tasks and isinstance(y_pred, Mapping):
            checked = checked_labels(self, self._labels(x, y), y_pred, sample_weight)
        if self._compile_loss is not None:
            labels, scores = self._targets(x, checked, y_pred)
            if labels is None and self.head.tasks:
                raise InputError(f"{type(self).__name__}: no labels for the loss. Pass {self._label_names()}.")
            sample_weight = self._by_output(labels, sample_weight)
            return super().compute_loss(x, labels, scores, sample_weight, training=training)
        if isinstance(y_pred, tuple):
            raise ConfigError(f"{type(self).__name__}: fit and evaluate need return_dict=True in the configuration.")
        loss = y_pred.get("loss") if y is None and sample_weight is None else None
        if loss is None:
            loss = head_loss(self.config, self.head, y_pred, self._labels(x, checked), sample_weight)
        if loss is None:
            wanted = f"{self._label_names()}, or a loss to compile()" if self.head.tasks else "a loss to compile()"
            raise InputError(f"{type(self).__name__}: no loss to train with. Pass {wanted}.")
        for extra in self.losses:
            loss = loss + ops.sum(ops.cast(extra, loss.dtype))
        return for_one_replica(loss)

    def _label_names(self) -> str:
        return " and ".join(task.label for task in self.head.tasks) + ", as y or among the inputs"

    @unconverted
    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        labels, scores = self._targets(x, y, y_pred)
        if labels is None:
            return self.get_metrics_result()
        sample_weight = self._by_output(labels, sample_weight)
        return super().compute_metrics(x, labels, scores, sample_weight=sample_weight)

    def _by_output(self, labels: Any, sample_weight: Any) -> Any:
        """Weights of each task in the form Keras's losses and metrics take: as `_targets` gives the labels."""
        if not isinstance(sample_weight, Mapping | list | tuple) or not self.head.tasks:
            return sample_weight
        found = {task.logits: weight_of(task, i, sample_weight) for i, task in enumerate(self.head.tasks)}
        if len(found) == 1:
            return next(iter(found.values()))
        return {n: ops.ones(ops.shape(labels[n])[:1]) if weight is None else weight for n, weight in found.items()}

    @unconverted
    def train_step(self, *arguments: Any) -> Any:
        *state, data = arguments  # on JAX a state comes first
        return super().train_step(*state, self._labelled_only(data))

    @unconverted
    def test_step(self, *arguments: Any) -> Any:
        *state, data = arguments
        return super().test_step(*state, self._labelled_only(data))

    def _labelled_only(self, data: Any) -> Any:
        """A batch for `sparse_prediction`: its labels also among the inputs, where the model selects tokens by them,
        and labels and weights of words as (N,), as the scores will be. Without that option the batch unchanged.
        """
        if not self.config.sparse_prediction or self.head.words is None or keras.backend.backend() != "tensorflow":
            return data
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        labels = self._labels(x, y)
        if self.head.words.labels_in(labels) is None:
            return data
        x = named_inputs(type(self).__name__, self._argument_names(), (x,), {}) | labels
        return x, *labelled_only(self.head, labels, sample_weight)

    def _labels(self, x: Any, y: Any) -> dict[str, Any]:
        """Labels by argument name, from y or from the inputs.

        y is one array, a list in the order of the head's labels, or a mapping by label or output name.
        """
        labels = self._labels_by_name(x, y)
        check_no_text(self.config, self.head, labels)
        return labels

    def _labels_by_name(self, x: Any, y: Any) -> dict[str, Any]:
        names = self.head.label_names
        by_output = {task.logits: task.label for task in self.head.tasks}
        if y is None:
            inputs = named_inputs(type(self).__name__, self._argument_names(), (x,), {})
            return {n: inputs.get(n) for n in names}
        if isinstance(y, Mapping):
            found: dict[Any, Any] = {by_output.get(n, n): value for n, value in y.items()}
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
            scores = dict(y_pred)
            if y is not None and not isinstance(y, Mapping | list | tuple):
                if len(scores) > 1:
                    raise InputError(
                        f"{type(self).__name__}: y is one array, wanted a mapping by output: {', '.join(scores)}."
                    )
                return y, next(iter(scores.values()))
            return y, scores
        labels = self._labels(x, y)
        found = {task.logits: task.labels_in(labels) for task in self.head.tasks}
        if any(value is None for value in found.values()):
            return None, None
        if len(found) == 1:
            name, value = next(iter(found.items()))
            return value, y_pred[name]
        return found, {name: y_pred[name] for name in found}

    # ------------------------------------------------------------------------------------------ running

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.fit`, on arrays, datasets, generators and labels in y or among the inputs.

        Arrays, and the specification of a dataset, are checked first: what the model cannot read is an InputError.
        `class_weight` is for heads with one output whose labels are class numbers, one a text or one a token.
        """
        passed = self._prepared(super().fit, x, y, args, kwargs)
        train = test = self._needs_no_check(passed, passed.get("shuffle", True))
        validation = passed.get("validation_data")
        if validation is not None:
            apart = isinstance(validation, tuple | list) and 0 < len(validation) <= 3
            x, y, weights = prepared(self, *(validation if apart else (validation,)))
            found = {"x": x, "y": y, "sample_weight": weights}
            test = self._needs_no_check(found)
            passed["validation_data"] = tuple(found.values()) if apart or y is not None else found["x"]
        with self._explained(), self._steps_without_checks(train=train, test=test):
            return super().fit(**passed)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`, with the checks of `fit`."""
        if kwargs.get("_use_cached_eval_dataset"):  # of `fit`, which has looked at the data
            with self._explained(), self._current_graphs():
                return super().evaluate(x, y, *args, **kwargs)
        passed = self._prepared(super().evaluate, x, y, args, kwargs)
        test = self._needs_no_check(passed)
        with self._explained(), self._current_graphs(), self._steps_without_checks(test=test):
            return super().evaluate(**passed)

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.train_on_batch`, with the checks of `fit`."""
        passed = self._prepared(super().train_on_batch, x, y, args, kwargs)
        with self._steps_without_checks(train=self._needs_no_check(passed)):
            return super().train_on_batch(**passed)

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.test_on_batch`, with the checks of `fit`."""
        passed = self._prepared(super().test_on_batch, x, y, args, kwargs)
        with self._current_graphs(), self._steps_without_checks(test=self._needs_no_check(passed)):
            return super().test_on_batch(**passed)

    def _prepared(self, method: Any, x: Any, y: Any, args: Any, kwargs: Any) -> dict[str, Any]:
        """The arguments of one of Keras's methods by name, the data among them as `prepared` gives it."""
        passed = inspect.signature(method).bind(x, y, *args, **kwargs).arguments
        passed |= passed.pop("kwargs", {})
        class_weight = passed.pop("class_weight", None)
        passed["x"], passed["y"], passed["sample_weight"] = prepared(
            self, x, y, passed.get("sample_weight"), class_weight
        )
        if left := remaining_class_weight(self, x, class_weight):
            passed["class_weight"] = left
        return passed

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
        passed: dict[str, Any] = {"x": prepared(self, x)[0]}
        needless = self._needs_no_check(passed)
        x = passed["x"]
        with self._explained(), self._steps_without_checks(predict=needless):
            if isinstance(x, Mapping) and verbose == 0 and steps is None and not callbacks and self._runs_arrays():
                return predict_arrays(self, x, batch_size or 32)
            with self._current_graphs():
                return self._as_output(super().predict(x, batch_size, verbose, steps, callbacks))

    def predict_on_batch(self, x: Any) -> Any:
        """As `keras.Model.predict_on_batch`, with the checks of `fit`."""
        passed: dict[str, Any] = {"x": prepared(self, x)[0]}
        with self._current_graphs(), self._steps_without_checks(predict=self._needs_no_check(passed)):
            return self._as_output(super().predict_on_batch(**passed))

    @unconverted
    def predict_step(self, *arguments: Any) -> Any:
        outputs = super().predict_step(*arguments)
        if keras.backend.backend() == "torch" and isinstance(outputs, Mapping):
            return dict(outputs)  # Keras joins the batches by PyTorch's own tree, which need not know our outputs
        return outputs

    def _as_output(self, outputs: Any) -> Any:
        return self.head.output(outputs) if type(outputs) is dict else outputs

    @contextmanager
    def _current_graphs(self) -> Iterator[None]:
        """Lets Keras record its graphs anew where layers have changed since it did."""
        watch = self.__dict__.get("_graph_watch")
        if watch is None:
            watch = self.__dict__.setdefault("_graph_watch", Watch(self))  # as an attribute Keras would track it
        elif watch.changed():
            self.test_function = self.predict_function = None
        yield
        if watch.changed():  # the first run builds layers
            watch.look()

    def _runs_arrays(self) -> bool:
        eager_or_shared = self.run_eagerly or getattr(self, "_distribute_strategy", None) is not None
        return keras.backend.backend() == "tensorflow" and not eager_or_shared

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Under a strategy Keras averages the replicas' batches to learn their kind, which makes float64 of ids."""
        if data_batch is not None:
            data_batch = keras.tree.map_structure(
                lambda v: ops.cast(v, "int32") if "float64" in str(getattr(v, "dtype", "")) else v, data_batch
            )
        super()._symbolic_build(iterator=iterator, data_batch=data_batch)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns complaints of a framework about a batch, raised while it runs, into errors of ours."""
        try:
            yield
        except BaseException as e:
            if keras.backend.backend() == "jax":
                self.jax_state_sync()
            found = self.__dict__.pop("_batch_error", None)
            if found is not None and str(found) in str(e):
                raise found from None
            if isinstance(e, TypeError) and "'IndexedSlices' and 'float'" in str(e):
                raise ConfigError(
                    f"{type(self).__name__}: loss_scale_factor of Keras's optimizers does not scale the gradients of "
                    "tables of embeddings on TensorFlow. keras.optimizers.LossScaleOptimizer around yours does."
                ) from e
            if (said := failed_assertion(self, e)) is not None:
                raise InputError(f"{type(self).__name__}: a batch cannot be learned from: {said}") from e
            reasons = [line.strip() for line in str(e).splitlines() if "[0, " in line]
            if isinstance(e, IndexError) and "index out of range in self" in str(e):  # PyTorch's look-up
                reasons = ["index out of range"]
            if reasons and type(e).__name__ in ("InvalidArgumentError", "IndexError"):
                raise InputError(
                    f"{type(self).__name__}: a batch of the dataset holds an id, a segment, a position or a label that "
                    f"is out of range ({keras.backend.backend()}: {reasons[0]})."
                ) from e
            names_alone = ("Data is expected to be in format", "of `tf.TypeSpec` but found <class 'str'>")
            if isinstance(e, ValueError | TypeError) and any(said in str(e) for said in names_alone):
                raise InputError(
                    f"{type(self).__name__}: a batch of a PyTorch DataLoader is a dict, of which Keras on "
                    f"{keras.backend.backend()} takes the names for the data; wanted (inputs, labels). Let collate_fn "
                    "return the dict of inputs and the labels in a tuple."
                ) from e
            if isinstance(e, ValueError) and "Invalid dtype: str" in str(e):  # Keras, of a batch from a generator
                raise InputError(
                    f"{type(self).__name__}: a batch holds text, wanted numbers. config.label2id has the numbers of "
                    "labels; texts are tokenized first (mobilebert_tf.text_dataset)."
                ) from e
            raise
