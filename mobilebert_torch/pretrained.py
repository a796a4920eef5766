"""The base of the PyTorch models: initialisation, embeddings and ties, loading and saving.

Twin: mobilebert_tf/pretrained.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, overload

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mobilebert_core.checkpoints.dtypes import widest
from mobilebert_core.checkpoints.formats import OUTPUT_FORMATS
from mobilebert_core.checkpoints.loading import prepare_loading
from mobilebert_core.checkpoints.plan import LoadPlan
from mobilebert_core.checkpoints.targets import ModelToWrite
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import DTYPES
from mobilebert_core.errors import CheckpointError, ConfigError
from mobilebert_core.heads import Head, check_head
from mobilebert_core.resizing import resized_vocabulary, surviving_features
from mobilebert_core.weights import Weight, weight_table

from . import resizing
from .layers import LMPredictionHead, NoNorm, truncated_normal_
from .state_dict import StateDict


class MobileBertPreTrainedModel(nn.Module):
    """What the eight models share. Not used by itself.

    Raises:
        ConfigError: when the configuration cannot carry the head of the class.
    """

    head: ClassVar[Head]
    config_class = MobileBertConfig
    base_model_prefix = "mobilebert"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    # What the Trainer of transformers, accelerate and PEFT ask a model for.
    _no_split_modules: ClassVar[list[str]] = ["MobileBertLayer"]
    _keep_in_fp32_modules = None
    _keys_to_ignore_on_load_missing = None
    _keys_to_ignore_on_load_unexpected = None
    _keys_to_ignore_on_save = None
    _supports_sdpa = False  # in the sense of transformers 4: no second set of attention classes

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

    # ---------------------------------------------------------------------------------- initialisation

    def post_init(self) -> None:
        """Initialises what this class added and ties the decoder; every constructor ends with it."""
        for child in self.children():
            if not isinstance(child, MobileBertPreTrainedModel):
                child.apply(self._init_weights)
        self.tie_weights()

    def init_weights(self) -> None:
        """Initializes every weight again."""
        self.apply(self._init_weights)
        self.tie_weights()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Matrices from a normal distribution cut at two standard deviations, as in the released code.

        Biases start at 0, norms at the identity, and the padding row of the word embeddings at 0.
        """
        for name, parameter in module.named_parameters(recurse=False):
            self._init_parameter(module, name, parameter)

    def _init_parameter(self, module: nn.Module, name: str, parameter: Tensor) -> None:
        if name == "bias":
            nn.init.zeros_(parameter)
        elif isinstance(module, NoNorm | nn.LayerNorm):
            nn.init.ones_(parameter)
        else:
            truncated_normal_(parameter, self.config.initializer_range)
            if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                parameter[module.padding_idx].zero_()

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

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Distinct parameters; tied ones count once."""
        tables = {id(m.weight) for m in self.modules() if isinstance(m, nn.Embedding)} if exclude_embeddings else set()
        return sum(
            p.numel() for p in self.parameters() if (p.requires_grad or not only_trainable) and id(p) not in tables
        )

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    def can_generate(self) -> bool:
        """False: MobileBERT reads text, it does not write it."""
        return False

    def weight_table(self) -> tuple[Weight, ...]:
        """The rows of the table of weights that this model has."""
        return weight_table(self.config, self.head, pooler=self._has_pooler)

    @property
    def _has_pooler(self) -> bool:
        return getattr(self.base_model, "pooler", None) is not None

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
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> nn.Embedding:
        """Changes the vocabulary everywhere it shows: embeddings, decoder, extra output matrix and bias.

        Kept words keep their logits; new rows start like newly initialized weights, new biases are 0.
        Returns the word embeddings; without arguments it changes nothing. Sets `config.vocab_size`.
        """
        config, embeddings = self.config, self.get_input_embeddings()
        size = resized_vocabulary(config, new_num_tokens, pad_to_multiple_of)
        if size != embeddings.num_embeddings:
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

    # ---------------------------------------------------------------------------------------- training

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None) -> None:
        """Recomputes each block in the backward pass instead of keeping its activations.

        `gradient_checkpointing_kwargs` go to `torch.utils.checkpoint.checkpoint`; `use_reentrant` is False
        unless they say otherwise.
        """
        encoder = self.base_model.encoder
        encoder.gradient_checkpointing = True
        encoder.checkpoint_options = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}

    def gradient_checkpointing_disable(self) -> None:
        self.base_model.encoder.gradient_checkpointing = False

    @property
    def is_gradient_checkpointing(self) -> bool:
        return self.base_model.encoder.gradient_checkpointing

    # ------------------------------------------------------------------------------------------- files

    @classmethod
    def from_config(cls, config: MobileBertConfig, **kwargs: Any) -> Self:
        """A model with random weights."""
        return cls(config, **kwargs)

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
            allow_missing: names of weights that may be newly initialized.
            allow_unknown: names in the file that are no weights of the model and may stay there.
            output_loading_info: also return a dict of missing, unexpected and mismatched keys.
            kwargs: fields of the configuration to override, such as `num_labels`; `add_pooling_layer` for
                the bare model; `subfolder`, `revision` and the others of `mobilebert_core.hub.resolve`.

        Raises:
            CheckpointNotFoundError: when a file is not there.
            CheckpointError: when weights are missing, unknown or mis-shaped, or the file is damaged.
            ConfigError: for a configuration of another model or an unknown keyword.
        """
        model_kwargs = {n: kwargs.pop(n) for n in list(kwargs) if n in _constructor_names(cls)}
        loading = prepare_loading(
            pretrained_model_name_or_path,
            cls.head,
            config=config,
            state_dict=None if state_dict is None else StateDict(Path("state_dict"), state_dict),
            pooler=model_kwargs.get("add_pooling_layer"),
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            allow_missing=allow_missing,
            allow_unknown=allow_unknown,
            keywords=kwargs,
        )
        plan = loading.plan
        model = cls._load(loading.config, plan, loading.read, _torch_dtype(dtype or torch_dtype, plan), model_kwargs)
        return (model, plan.loading_info()) if output_loading_info else model

    @classmethod
    def _load(cls, config: MobileBertConfig, plan: LoadPlan, read: Any, dtype: torch.dtype, kwargs: Any) -> Self:
        arrays = {w.name: torch.as_tensor(read(name)).to(dtype) for w, name in plan.sources.items()}
        newly_initialized = [*plan.newly_initialized, *(weight for weight, _ in plan.mismatched)]
        arrays |= {w.name: torch.empty(w.shape, dtype=dtype) for w in newly_initialized}
        model = cls._of_tensors(config, arrays, kwargs)
        with torch.no_grad():
            for weight in newly_initialized:
                path, _, leaf = weight.name.rpartition(".")
                module = model.get_submodule(path)
                model._init_parameter(module, leaf, getattr(module, leaf))
        return model.eval()

    @classmethod
    def _of_tensors(cls, config: MobileBertConfig, tensors: Mapping[str, Tensor], kwargs: Mapping[str, Any]) -> Self:
        """A model that holds these tensors, by the names of its state dict without the tied ones."""
        with torch.device("meta"), _Unfilled():
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
    ) -> None:
        """Writes config.json and model.safetensors, which both backends and transformers read in turn.

        Tied weights are stored once. Files appear whole or not at all. Only the main process of a
        distributed run writes; `state_dict` is then the gathered one. Weights of several dtypes are stored in the
        widest of them.

        Args:
            safe_serialization: False writes pytorch_model.bin instead, which both backends read too, and removes a
                model.safetensors there, which would be read in its place.
            max_shard_size: splits the weights into files of at most this, in bytes or as "5GB".
        """
        if not is_main_process:
            return
        values = StateDict(Path("state_dict"), self.state_dict() if state_dict is None else state_dict)
        names = {w.full_name: w.name for w in self.weight_table() if w.tied_to is None}
        if absent := [name for name in names.values() if name not in values.stored]:
            raise CheckpointError(
                f"{save_directory}: state_dict lacks {len(absent)} weights of {type(self).__name__}, the first "
                f"{absent[0]}; nothing was written. Gather the whole state dict first."
            )
        model = ModelToWrite(
            self.config,
            self.head,
            widest(values.stored[name].dtype for name in names.values()),
            lambda full_name: values.read(names[full_name]),
            pooler=self._has_pooler,
        )
        output_format = OUTPUT_FORMATS["pytorch" if safe_serialization else "pytorch-bin"]
        output_format.written.write(Path(save_directory), model, max_shard_size)


class _Unfilled(TorchFunctionMode):
    """Leaves random starts out, for a model that gets its weights from a file.

    On the meta device they fill nothing, but the first one there imports the machinery of `torch.compile`: a second.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", None) in ("uniform_", "normal_", "kaiming_uniform_", "trunc_normal_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _constructor_names(cls: type) -> set[str]:
    return set(inspect.signature(cls.__init__).parameters) - {"self", "config"}  # type: ignore[misc]  # of a class


def _torch_dtype(dtype: torch.dtype | str | None, plan: LoadPlan) -> torch.dtype:
    if dtype == "auto":
        dtype = plan.dtype
    name = str(dtype or "float32").removeprefix("torch.")
    if name not in DTYPES:
        raise ConfigError(f"dtype must be 'auto' or one of {', '.join(DTYPES)}, got {dtype!r}.")
    return getattr(torch, name)
