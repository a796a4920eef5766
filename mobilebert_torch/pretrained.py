"""The base of the PyTorch models: initialization, embeddings and ties, loading and saving.

Twin: mobilebert_tf/pretrained.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, overload

import torch
from torch import Tensor, nn

from mobilebert_core.checkpoints.dtypes import widest
from mobilebert_core.checkpoints.formats import OUTPUT_FORMATS
from mobilebert_core.checkpoints.loading import Loading, prepare_loading
from mobilebert_core.checkpoints.own_weights import IgnoredNames, OwnWeights
from mobilebert_core.checkpoints.targets import ModelToWrite
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import ConfigError
from mobilebert_core.files import directory_to_save_in
from mobilebert_core.heads import check_head
from mobilebert_core.hub.pushing import push_after_saving
from mobilebert_core.resizing import resized_vocabulary, surviving_features
from mobilebert_core.weights import Weight, weight_table

from . import resizing
from .construction import Unfilled, as_dtype, check_values, constructor_names, mapped_device, with_random_weights
from .initialization import INITIALIZED, has_values, initialize, keep_values
from .inputs import rows_of
from .layers import LMPredictionHead
from .state_dict import StateDict
from .transformers_surface import TransformersSurface


class MobileBertPreTrainedModel(TransformersSurface):
    """What the eight models share. Not used by itself, but as the base of a model with a head of its own:

        class Ranker(MobileBertPreTrainedModel):
            def __init__(self, config):
                super().__init__(config)
                self.mobilebert = MobileBertModel(config)
                self.out = nn.Linear(config.hidden_size, 1)
                self.post_init()

            def forward(self, input_ids=None, attention_mask=None):
                return self.out(self.mobilebert(input_ids, attention_mask).pooler_output)

    `from_pretrained` then takes any checkpoint of a MobileBERT and initializes what it lacks; what is saved has it all.

    Raises:
        ConfigError: when the configuration cannot carry the head of the class.
    """

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        if not isinstance(config, MobileBertConfig):
            got = f"{type(config).__module__}.{type(config).__name__}"
            raise ConfigError(
                f"{type(self).__name__}: wanted a mobilebert_core.MobileBertConfig, got {got}. Another library's "
                "becomes one by MobileBertConfig.from_dict(config.to_dict())."
            )
        config.validate()
        check_head(config, self.head)
        self.config: MobileBertConfig = config
        self.warnings_issued: dict[str, bool] = {}  # where trainers for transformers note what they warned of

    # ---------------------------------------------------------------------------------- initialization

    def post_init(self) -> None:
        """Initializes what has no values yet and ties the decoder; every constructor ends with it.

        What was loaded or initialized before keeps its values. `model.apply(model._init_weights)` starts
        it all anew.
        """
        self.apply(self._init_once)
        self.tie_weights()

    def init_weights(self) -> None:
        """`post_init` by the name with which older scripts end a constructor."""
        self.post_init()

    def _init_once(self, module: nn.Module) -> None:
        if not has_values(module):
            self._init_weights(module)
            keep_values(module)

    def _init_weights(self, module: nn.Module) -> None:
        """Random values for the weights of one module, whatever it has. See `initialization.py`."""
        if isinstance(module, INITIALIZED):
            for name, parameter in module.named_parameters(recurse=False):
                initialize(module, name, parameter, self.config.initializer_range)

    def tie_weights(self) -> None:
        """Makes the decoder share the word embeddings (unless untied) and the bias of the predictions."""
        predictions = self._predictions()
        if predictions is None:
            return
        predictions.decoder.bias = predictions.bias
        if self.config.tie_word_embeddings:
            predictions.decoder.weight = self.get_input_embeddings().weight

    @property
    def _tied_weights_keys(self) -> list[str]:
        return [weight.name for weight in self.weight_table() if weight.tied_to is not None]

    # -------------------------------------------------------------------------------------- inspection

    @property
    def base_model(self) -> Any:
        """The bare model inside, or the model itself."""
        return getattr(self, self.base_model_prefix, self)

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def weight_table(self) -> tuple[Weight, ...]:
        """The rows of the table of weights that this model has."""
        return weight_table(self.config, self.head, pooler=self._has_pooler)

    @property
    def _has_pooler(self) -> bool:
        return getattr(self.base_model, "pooler", None) is not None

    def _pooler_option(self) -> dict[str, bool]:
        """The argument of the constructor that says whether there is a pooler, where the class leaves it open."""
        return {"add_pooling_layer": self._has_pooler} if self.head.bare else {}

    # -------------------------------------------------------------------------------------- embeddings

    def _predictions(self) -> LMPredictionHead | None:
        return getattr(getattr(self, "cls", None), "predictions", None)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.base_model.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replaces the word embeddings; a tied decoder follows. For another size see `resize_token_embeddings`."""
        self.base_model.embeddings.word_embeddings = value
        self.tie_weights()

    def get_output_embeddings(self) -> nn.Linear | None:
        """The decoder of the masked-language head, or None."""
        predictions = self._predictions()
        return None if predictions is None else predictions.decoder

    def set_output_embeddings(self, value: nn.Linear) -> None:
        """Replaces the decoder; the bias of the predictions becomes the decoder's."""
        predictions = self._predictions()
        if predictions is None:
            raise ConfigError(f"{type(self).__name__} has no output embeddings; the masked-language heads have.")
        predictions.decoder = value
        predictions.bias = value.bias

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = False,
    ) -> nn.Embedding:
        """Changes the vocabulary everywhere it shows: embeddings, decoder, extra output matrix and bias.

        Kept words keep their logits; new rows start like newly initialized weights, new biases are 0.
        Returns the word embeddings; without arguments it changes nothing. Sets `config.vocab_size`.
        """
        config, embeddings = self.config, self.get_input_embeddings()
        size = resized_vocabulary(config, new_num_tokens, pad_to_multiple_of, mean_resizing)
        if size != rows_of(embeddings):
            tied = config.tie_word_embeddings
            resizing.resize_token_embeddings(embeddings, self._predictions(), size, tied, config.initializer_range)
            self._configure(vocab_size=size)
            self.tie_weights()
        return embeddings

    def prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Removes attention heads: {layer: heads}, numbered as before any pruning.

        Recorded in `config.pruned_heads`, so that a saved model is rebuilt with them removed.
        """
        features, pruned = surviving_features(self.config, heads_to_prune)
        resizing.prune_heads(self.base_model.encoder.layer, features, self.config.head_size)
        self._configure(pruned_heads=pruned)

    def _configure(self, **fields: Any) -> None:
        """Gives the model a configuration of its own: another model may have been built from the same one."""
        self.config = self.base_model.config = self.config.copy(**fields)

    # ------------------------------------------------------------------------------------------- files

    hf_device_map: dict[str, Any]  # where `device_map` put the model

    @classmethod
    def from_config(cls, config: MobileBertConfig, **kwargs: Any) -> Self:
        """A model with random weights; `dtype` and `attn_implementation` as in `from_pretrained`."""
        return with_random_weights(cls, config, kwargs)

    _from_config = from_config

    @overload
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path | None, *, output_loading_info: Literal[True], **kwargs: Any
    ) -> tuple[Self, dict[str, Any]]: ...

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | None,
        *,
        config: MobileBertConfig | str | Path | None = None,
        state_dict: Mapping[str, Tensor] | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
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
        pretrained_model_name_or_path: str | Path | None,
        *,
        config: MobileBertConfig | str | Path | None = None,
        state_dict: Mapping[str, Tensor] | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        ignore_mismatched_sizes: bool = False,
        allow_missing: Iterable[str] = (),
        allow_unknown: Iterable[str] = (),
        device_map: Any = None,
        variant: str | None = None,
        key_mapping: Mapping[str, str] | None = None,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Loads a checkpoint of any format into evaluation mode, all or nothing.

        It is a directory, a file, or a name on the Hugging Face hub. Of a directory it takes model.safetensors, or
        else pytorch_model.bin, from which no code is run, or tf_model.h5, each also in shards, or else its one other
        checkpoint; see `mobilebert inspect`.

        Args:
            config: used in place of config.json.
            state_dict: used in place of the weights file.
            dtype: of the weights, default float32; "auto" keeps that of the file. `torch_dtype` is the same.
            ignore_mismatched_sizes: mis-shaped weights are newly initialized instead of being an error.
            allow_missing: weights that may be newly initialized, beside those of `_keys_to_ignore_on_load_missing`.
            allow_unknown: names that may stay in the file, beside those of `_keys_to_ignore_on_load_unexpected`.
            device_map: the one device of the model: "cpu", 0, {"": 0}; "auto" takes the accelerator if there is one.
            variant: of the weights: "fp16" for model.fp16.safetensors.
            key_mapping: regular expressions in names of the file, and what takes the place of what they match.
            output_loading_info: also return a dict of missing, unexpected and mismatched keys.
            kwargs: fields of the configuration to override, such as `num_labels` (with fewer `num_hidden_layers`
                those above are left in the file); arguments of the constructor; `subfolder`, `revision` and the
                others of `mobilebert_core.hub.resolve`; those of `mobilebert_core.checkpoints.call_keywords`.

        Raises:
            CheckpointNotFoundError: when a file is not there.
            CheckpointError: when weights are missing, unknown or mis-shaped, or the file is damaged.
            ConfigError: for a configuration of another model, a keyword that is unknown or cannot be honoured, or
                under `torch.device("meta")`, where weights have no values.
        """
        device = None if device_map is None else mapped_device(f"{cls.__name__}.from_pretrained", device_map)
        model_kwargs = {n: kwargs.pop(n) for n in list(kwargs) if n in constructor_names(cls)}
        derived: list[Self] = []  # of a class of the user's: built first, since only it knows its own weights

        def own(config: MobileBertConfig) -> OwnWeights:
            derived.append(cls(config, **model_kwargs))
            return OwnWeights(derived[0]._has_pooler, derived[0]._own_shapes())

        loading = prepare_loading(
            pretrained_model_name_or_path,
            cls.head,
            config=config,
            state_dict=None if state_dict is None else StateDict(Path("state_dict"), state_dict),
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
        dtype = as_dtype(dtype or torch_dtype, loading.plan)
        model = (derived[0]._filled(loading, dtype) if derived else cls._load(loading, dtype, model_kwargs)).eval()
        check_values(cls.__name__, model)
        if device is not None:
            model.to(device)
            vars(model)["hf_device_map"] = {"": device}
        return (model, loading.plan.loading_info()) if output_loading_info else model

    @classmethod
    def _load(cls, loading: Loading, dtype: torch.dtype, kwargs: Any) -> Self:
        plan = loading.plan
        arrays = {w.name: torch.as_tensor(loading.read(name)).to(dtype) for w, name in plan.sources.items()}
        newly_initialized = [*plan.newly_initialized, *(weight for weight, _ in plan.mismatched)]
        arrays |= {w.name: torch.empty(w.shape, dtype=dtype) for w in newly_initialized}
        model = cls._of_tensors(loading.config, arrays, kwargs)
        for weight in newly_initialized:
            path, _, leaf = weight.name.rpartition(".")
            module = model.get_submodule(path)
            initialize(module, leaf, getattr(module, leaf), model.config.initializer_range)
        return model

    def _filled(self, loading: Loading, dtype: torch.dtype) -> Self:
        """This model, newly built, with what the file has."""
        names = {w.name: name for w, name in loading.plan.sources.items()} | {name: name for name in loading.own}
        self.to(dtype)
        self.load_state_dict({n: torch.as_tensor(loading.read(name)) for n, name in names.items()}, strict=False)
        self.apply(keep_values)
        self.tie_weights()
        return self

    def _own_shapes(self) -> dict[str, tuple[int, ...]]:
        """What a class of the user's holds beside the weights of the table."""
        if (self.base_model is self and not self.head.bare) or self.base_model_prefix != "mobilebert":
            raise ConfigError(
                f"{type(self).__name__}: wanted a MobileBertModel under the name `mobilebert`, as in "
                "self.mobilebert = MobileBertModel(config), and no base_model_prefix of its own; the class has none."
            )
        table = {weight.name for weight in self.weight_table()}
        return {name: tuple(value.shape) for name, value in self.state_dict().items() if name not in table}

    @classmethod
    def _of_tensors(cls, config: MobileBertConfig, tensors: Mapping[str, Tensor], kwargs: Mapping[str, Any]) -> Self:
        """A model that holds these tensors, by the names of its state dict without the tied ones."""
        with torch.device("meta"), Unfilled():
            model = cls(config, **kwargs)
        model.load_state_dict(tensors, strict=False, assign=True)
        model.tie_weights()
        return model

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        state_dict: Mapping[str, Tensor] | None = None,
        is_main_process: bool = True,
        safe_serialization: bool = True,
        max_shard_size: int | str | None = None,
        variant: str | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Writes config.json and model.safetensors, which both backends and transformers read in turn.

        Tied weights are stored once. Files appear whole or not at all. Only the main process of a
        distributed run writes; `state_dict` is then the gathered one. Weights of several dtypes are stored in the
        widest of them. What a class of the user's adds stands there under its names.

        Args:
            safe_serialization: False writes pytorch_model.bin instead, which both backends read too, and removes a
                model.safetensors there, which would be read in its place.
            max_shard_size: splits the weights into files of at most this, in bytes or as "5GB".
            variant: "fp16" writes model.fp16.safetensors, which `from_pretrained` reads with the same word.
            push_to_hub: uploads the directory afterwards.
            kwargs: of `mobilebert_core.hub.pushing.push_folder`. `save_function` changes nothing: no other writes.
        """
        call = f"{type(self).__name__}.save_pretrained"
        last = push_after_saving(call, save_directory, push_to_hub, kwargs, type(self).__name__)
        if not is_main_process:
            return
        values = StateDict(Path("state_dict"), self.state_dict() if state_dict is None else state_dict)
        own = {} if "head" in vars(type(self)) else self._own_shapes()
        written = [name for name in own if name not in (self._keys_to_ignore_on_save or ())]
        table, held = self.weight_table(), [name for name, _ in self.named_parameters()]
        names = {w.full_name: w.name for w in table if w.tied_to is None} | {name: name for name in written}
        values.check_complete(str(save_directory), type(self).__name__, names.values(), own, state_dict is None)
        values.check_nothing_lost(str(save_directory), table, own, held)
        model = ModelToWrite(
            self.config,
            self.head,
            widest(values.stored[name].dtype for name in names.values()),
            lambda full_name: values.read(names[full_name]),
            pooler=self._has_pooler,
            own={name: values.stored[name] for name in written},
            architecture=type(self).__name__ if own else None,
            variant=variant,
        )
        written_as = OUTPUT_FORMATS["pytorch" if safe_serialization else "pytorch-bin"].written
        written_as.write(directory_to_save_in(save_directory), model, max_shard_size)
        last()
