"""The base of the Keras models: embeddings and ties, loading and saving.

Twin: mobilebert_torch/pretrained.py. The forms of calls stand in calling.py, what Keras's own
training adds in fit/loop.py, its `export` in keras_export.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, overload

import keras

from mobilebert_core.checkpoints.call_keywords import for_random_weights, take_neutral
from mobilebert_core.checkpoints.formats import OUTPUT_FORMATS
from mobilebert_core.checkpoints.loading import Loading, prepare_loading
from mobilebert_core.checkpoints.own_weights import IgnoredNames, OwnWeights
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import ConfigError, InputError
from mobilebert_core.files import directory_to_save_in
from mobilebert_core.heads import check_head
from mobilebert_core.hub.pushing import push_after_saving
from mobilebert_core.resizing import resized_vocabulary, surviving_features
from mobilebert_core.weights import Weight, weight_table

from . import memory, policies, quantization, resizing
from .adapting import AdaptedByKeras
from .brick import changed_layers, restore_trainable, split_changed_layers
from .calling import CallForms
from .construction import mapped_device, model_to_write, own_variables, own_weights
from .fit.loop import TrainedByKeras
from .initializers import start_weight, weight_initializer
from .keras_export import ExportedByKeras
from .keras_files import WholeKerasFiles
from .transformers_surface import TransformersSurface
from .variables import variable_array


class TFMobileBertPreTrainedModel(
    CallForms, TrainedByKeras, ExportedByKeras, AdaptedByKeras, WholeKerasFiles, TransformersSurface
):
    """What the eight models share. Not used by itself, but as the base of a model with a head of its own: a class with
    `call` and, in `build_parts`, `self.mobilebert = TFMobileBertMainLayer(config, True, ...)` and built layers.

    Weights exist after construction. Matrices start from a normal distribution cut at two standard
    deviations, as in the released code; biases at 0, norms at the identity, the padding row at 0.

    Raises:
        ConfigError: when the configuration cannot carry the head of the class.
    """

    built: bool
    dtype_policy: Any

    def __init__(self, config: MobileBertConfig, *, initializer: Any = None, **kwargs: Any) -> None:
        if not isinstance(config, MobileBertConfig):
            got = f"{type(config).__module__}.{type(config).__name__}"
            raise ConfigError(
                f"{type(self).__name__}: wanted a mobilebert_core.MobileBertConfig, got {got}. Another library's "
                "becomes one by MobileBertConfig.from_dict(config.to_dict())."
            )
        config.validate()
        check_head(config, self.head)
        dtype, quantize_as = policies.split_quantization(kwargs.pop("dtype", None))
        super().__init__(autocast=False, dtype=dtype, **kwargs)
        policies.apply_map(self, {(w.keras or "").partition(".")[0] for w in weight_table(config, self.head)})
        self.config: MobileBertConfig = config
        self.lora: dict[str, Any] | None = None  # what enable_lora was called with
        if initializer is None:
            initializer = weight_initializer(config.initializer_range)
        self.build_parts(config, initializer=initializer, dtype=self.dtype_policy)
        self.build()
        memory.forget_operations()
        if dtype is not None:
            policies.check_used(self)
        policies.take_quantized(self)
        if quantize_as is not None:
            quantization.quantize_parts(self, quantize_as)

    def build_parts(self, config: MobileBertConfig, *, initializer: Any, dtype: Any) -> None:
        """Creates `mobilebert` and the modules of the head."""
        raise TypeError(f"{type(self).__name__} is not used by itself; use one of the eight TFMobileBert classes.")

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        for layer in self.layers:
            if not layer.built:
                layer.build(None)
        self.built = True

    # ------------------------------------------------------------------------------------- inspection

    @property
    def base_model(self) -> Any:
        """The layer that holds embeddings, encoder and pooler."""
        return self.mobilebert

    def weight_table(self) -> tuple[Weight, ...]:
        """The rows of the table of weights that this model has."""
        return weight_table(self.config, self.head, pooler=self._has_pooler)

    @property
    def _has_pooler(self) -> bool:
        return self.mobilebert.pooler is not None

    def _pooler_option(self) -> dict[str, bool]:
        """The argument of the constructor that says whether there is a pooler, where the class leaves it open."""
        return {"add_pooling_layer": self._has_pooler} if self.head.bare else {}

    def variable_of(self, weight: Weight) -> Any:
        """The variable that holds a weight of the table (not for tied weights, which have none)."""
        return getattr(self._layer_of(weight), (weight.keras or "").rpartition(".")[2])

    def _layer_of(self, weight: Weight) -> Any:
        found: Any = self
        for part in (weight.keras or "").split(".")[:-1]:
            found = found[int(part)] if part.isdigit() else getattr(found, part)
        return found

    # -------------------------------------------------------------------------------------- embeddings

    def _predictions(self) -> Any:
        return getattr(getattr(self, "cls", None), "predictions", None)

    def get_input_embeddings(self) -> keras.layers.Embedding:
        return self.mobilebert.embeddings.word_embeddings

    def set_input_embeddings(self, value: Any) -> None:
        """Replaces the word embeddings by an array (V, E) or an Embedding layer; a tied decoder follows."""
        self._in_floating_point("set_input_embeddings")
        array = (
            quantization.variable_value(value, "embeddings") if hasattr(value, "embeddings") else variable_array(value)
        )
        if array.ndim != 2 or array.shape[1] != self.config.embedding_size:
            raise InputError(
                f"{type(self).__name__}.set_input_embeddings: wanted (words, {self.config.embedding_size}), got "
                f"{array.shape}."
            )
        if array.shape[0] != self.config.vocab_size:
            self.resize_token_embeddings(array.shape[0])
        self.get_input_embeddings().embeddings.assign(array)

    def get_output_embeddings(self) -> keras.layers.Embedding | None:
        """The decoder of the masked-language head (the word embeddings when tied), or None."""
        predictions = self._predictions()
        return None if predictions is None else predictions.decoder

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = False,
    ) -> keras.layers.Embedding:
        """Changes the vocabulary everywhere it shows: embeddings, decoder, extra output matrix and bias.

        Kept words keep their logits; new rows start like newly initialized weights, new biases are 0.
        Returns the word embeddings; without arguments it changes nothing. Sets `config.vocab_size`. A compiled
        model is compiled again, with a new optimizer.
        """
        self._without_adapters("resize_token_embeddings")
        self._in_floating_point("resize_token_embeddings")
        config, embeddings = self.config, self.get_input_embeddings()
        size = resized_vocabulary(config, new_num_tokens, pad_to_multiple_of, mean_resizing)
        if size != embeddings.input_dim:
            tied = config.tie_word_embeddings
            resizing.resize_token_embeddings(embeddings, self._predictions(), size, tied, config.initializer_range)
            self._configure(vocab_size=size)
            self._start_over()
        return embeddings

    def prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Removes attention heads: {layer: heads}, numbered as before any pruning.

        Recorded in `config.pruned_heads`, so that a saved model is rebuilt with them removed. A compiled model
        is compiled again, with a new optimizer.
        """
        self._without_adapters("prune_heads")
        self._in_floating_point("prune_heads")
        features, pruned = surviving_features(self.config, heads_to_prune)
        resizing.prune_heads(self.mobilebert.encoder.layer, features, self.config.head_size)
        self._configure(pruned_heads=pruned)
        if features:
            self._start_over()

    def _configure(self, **fields: Any) -> None:
        """Gives the model a configuration of its own: another model may have been built from the same one."""
        self.config = self.config.copy(**fields)

    # ------------------------------------------------------------------------------------------- files

    def get_config(self) -> dict[str, Any]:
        config = {
            "config": self.config.to_dict(),
            "dtype": policies.serialized(self),
            "name": self.name,
            "trainable": self.trainable,
        }
        adapters = {} if self.lora is None else {"lora": dict(self.lora)}
        return {**config, **adapters, **changed_layers(self)}

    @classmethod
    def from_config(cls, config: Any, custom_objects: Any = None, **kwargs: Any) -> Self:
        """A model with random weights from a MobileBertConfig, or from what `get_config` returned."""
        if isinstance(config, MobileBertConfig):
            config, dtype = for_random_weights(f"{cls.__name__}.from_config", config, kwargs)
            return cls(config, **kwargs) if dtype is None else cls(config, dtype=dtype, **kwargs)
        memory.collect_unused()
        config, changed = split_changed_layers(config)
        adapters = config.pop("lora", None)
        model = cls(cls.config_class.from_dict(config.pop("config")), **config)
        quantization.restore(model, changed.get("quantized_layers", {}))
        if adapters is not None:
            model.enable_lora(**adapters)  # freezes all but them
        if adapters is None or "trainable_flags" in changed or not changed.get("trainable", True):
            restore_trainable(model, changed)
        memory.loaded(model)
        return model

    _from_config = from_config

    @overload
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, output_loading_info: Literal[True], **kwargs: Any
    ) -> tuple[Self, dict[str, Any]]: ...

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        config: MobileBertConfig | str | Path | None = None,
        dtype: Any = None,
        torch_dtype: Any = None,
        ignore_mismatched_sizes: bool = False,
        allow_missing: Iterable[str] = (),
        allow_unknown: Iterable[str] = (),
        device_map: Any = None,
        variant: str | None = None,
        key_mapping: Mapping[str, str] | None = None,
        output_loading_info: Literal[False] = False,
        **kwargs: Any,
    ) -> Self: ...

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        config: MobileBertConfig | str | Path | None = None,
        dtype: Any = None,
        torch_dtype: Any = None,
        ignore_mismatched_sizes: bool = False,
        allow_missing: Iterable[str] = (),
        allow_unknown: Iterable[str] = (),
        device_map: Any = None,
        variant: str | None = None,
        key_mapping: Mapping[str, str] | None = None,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Loads a checkpoint of any format, all or nothing: a directory, a file, or a name on the Hugging Face hub.

        Of a directory it takes model.safetensors, or else pytorch_model.bin, from which no code is run, or
        tf_model.h5, each also in shards, or else its one other checkpoint; see `mobilebert inspect`.

        Args:
            config: used in place of config.json.
            dtype: a dtype or Keras policy such as "mixed_float16"; default Keras's global policy; "auto" keeps
                the dtype of the file; "int8_from_float32" quantizes dense layers and tables once they are loaded.
                `torch_dtype` is the same.
            ignore_mismatched_sizes: mis-shaped weights are newly initialized instead of being an error.
            allow_missing: weights that may be newly initialized, beside those of `_keys_to_ignore_on_load_missing`.
            allow_unknown: names that may stay in the file, beside those of `_keys_to_ignore_on_load_unexpected`.
            device_map: the one device of the model: "cpu", 0, {"": 0}; "auto" leaves it to Keras.
            variant: of the weights: "fp16" for model.fp16.safetensors.
            key_mapping: regular expressions in names of the file, and what takes the place of what they match.
            output_loading_info: also return a dict of missing, unexpected and mismatched keys.
            kwargs: fields of the configuration to override, such as `num_labels` (with fewer `num_hidden_layers`
                those above are left in the file); `add_pooling_layer` for the bare model; `subfolder`, `revision`
                and the others of `mobilebert_core.hub.resolve`; those of
                `mobilebert_core.checkpoints.call_keywords`.

        Raises:
            CheckpointNotFoundError: when a file is not there.
            CheckpointError: when weights are missing, unknown or mis-shaped, or the file is damaged.
            ConfigError: for a configuration of another model, or a keyword that is unknown or cannot be honoured.
        """
        memory.collect_unused()
        model_kwargs = {n: kwargs.pop(n) for n in list(kwargs) if n in ("add_pooling_layer", "name")}
        derived: list[Self] = []  # of a class of the user's: built first, since only it knows its own weights
        policy, caller = dtype or torch_dtype, cls.__name__

        def own(config: MobileBertConfig) -> OwnWeights:
            made_with, _ = policies.split_quantization(policies.from_argument(policy, None))
            derived.append(cls(config, dtype=made_with, **model_kwargs))
            return own_weights(derived[0])

        with mapped_device(f"{caller}.from_pretrained", device_map):
            loading = prepare_loading(
                pretrained_model_name_or_path,
                cls.head,
                config=config,
                pooler=model_kwargs.get("add_pooling_layer"),
                ignore_mismatched_sizes=ignore_mismatched_sizes,
                allow_missing=allow_missing,
                allow_unknown=allow_unknown,
                variant=variant,
                key_mapping=key_mapping,
                own=None if "head" in vars(cls) else own,
                ignored=IgnoredNames.of(cls),
                owner=cls,
                keywords=kwargs,
            )
            dtype, quantize_as = policies.split_quantization(policies.from_argument(policy, loading.plan.dtype))
            model = derived[0] if derived else cls(loading.config, initializer="zeros", dtype=dtype, **model_kwargs)
            quantization.refuse_quantized(f"{caller}.from_pretrained", model, "weights are loaded in floating point")
            model._assign(loading)
            if quantize_as is not None:
                quantization.quantize_parts(model, quantize_as)
        memory.loaded(model)
        return (model, loading.plan.loading_info()) if output_loading_info else model

    def _assign(self, loading: Loading) -> None:
        plan, variables = loading.plan, own_variables(self) if loading.own else {}
        for weight, name in plan.sources.items():
            array = loading.read(name)
            self.variable_of(weight).assign(array.T if "keras" in weight.transposed else array)
        for name in loading.own:
            variables[name].assign(loading.read(name))
        initializer = weight_initializer(self.config.initializer_range)
        for weight in [*plan.newly_initialized, *(weight for weight, _ in plan.mismatched)]:
            start_weight(self.variable_of(weight), weight, initializer, self.mobilebert.embeddings.pad_token_id)

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        safe_serialization: bool = True,
        max_shard_size: int | str | None = None,
        variant: str | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Writes config.json and model.safetensors, which both backends and transformers read in turn.

        Tied weights are stored once. Files appear whole or not at all. What a class of the user's adds stands there
        under its names.

        Args:
            safe_serialization: False writes tf_model.h5 instead, which TensorFlow's models of transformers and both
                backends read, and removes other weights there, which would be read in its place.
            max_shard_size: splits the weights into files of at most this, in bytes or as "5GB".
            variant: "fp16" writes model.fp16.safetensors, which `from_pretrained` reads with the same word.
            push_to_hub: uploads the directory afterwards.
            kwargs: of `mobilebert_core.hub.pushing.push_folder`. `saved_model` must be False: see `export`.
        """
        call = f"{type(self).__name__}.save_pretrained"
        take_neutral(call, kwargs, {"saved_model": ((None, False), "call export, which writes one")})
        last = push_after_saving(call, save_directory, push_to_hub, kwargs, type(self).__name__)
        model = model_to_write(self, variant)
        output_format = OUTPUT_FORMATS["pytorch" if safe_serialization else "tensorflow"]
        output_format.written.write(directory_to_save_in(save_directory), model, max_shard_size)
        last()
