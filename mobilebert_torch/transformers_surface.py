"""What scripts and libraries written for transformers call on a model, beside loading, saving and running it.

tests/backends/test_surface.py has the table of it, with what is left out and why. Twin:
mobilebert_tf/transformers_surface.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import InputError
from mobilebert_core.heads import OWN_HEAD, Head
from mobilebert_core.hub.pushing import push_saved
from mobilebert_core.inputs import DUMMY_IDS
from mobilebert_core.virtual_bases import VirtualSubclass

from .checkpointing import check_checkpointing
from .inputs import attention_bias


class TransformersSurface(VirtualSubclass, nn.Module):
    """The calls and attributes that `MobileBertPreTrainedModel` has because users of transformers know them."""

    head: ClassVar[Head] = OWN_HEAD
    config: MobileBertConfig
    base_model: Any
    config_class = MobileBertConfig
    base_model_prefix = "mobilebert"
    main_input_name = "input_ids"
    framework = "pt"
    is_parallelizable = False
    supports_gradient_checkpointing = True
    model_tags: list[str] | None = None
    generation_config = None
    # What the Trainer of transformers, accelerate and PEFT ask a model for.
    _virtual_base = ("transformers.modeling_utils", "PreTrainedModel")
    _no_split_modules: ClassVar[list[str]] = ["MobileBertLayer"]
    _keep_in_fp32_modules = None
    _keys_to_ignore_on_load_missing: ClassVar[Any] = None
    _keys_to_ignore_on_load_unexpected: ClassVar[Any] = None
    _keys_to_ignore_on_save: ClassVar[Any] = None
    _supports_sdpa = False  # in the sense of transformers 4: no second set of attention classes
    _auto_class = None

    # -------------------------------------------------------------------------------------- inspection

    @property
    def name_or_path(self) -> str:
        """What the model was loaded from; empty for one with random weights."""
        return self.config.name_or_path

    @name_or_path.setter
    def name_or_path(self, value: str) -> None:
        self.config.name_or_path = str(value)

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """Ids that every model takes: (3, 5), for choices (3, 1, 5)."""
        ids = torch.tensor(DUMMY_IDS, device=next(self.parameters()).device)
        return {"input_ids": ids[:, None] if self.head.per_choice else ids}

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Distinct parameters; tied ones count once."""
        tables = {id(m.weight) for m in self.modules() if isinstance(m, nn.Embedding)} if exclude_embeddings else set()
        return sum(
            p.numel() for p in self.parameters() if (p.requires_grad or not only_trainable) and id(p) not in tables
        )

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """Bytes of the parameters, tied ones once, and of the buffers."""
        tensors = [*self.parameters(), *(self.buffers() if return_buffers else ())]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def floating_point_ops(self, input_dict: Mapping[str, Any], exclude_embeddings: bool = True) -> int:
        """Of a forward and a backward pass, about: 6 for each parameter and token."""
        return 6 * self.estimate_tokens(input_dict) * self.num_parameters(exclude_embeddings=exclude_embeddings)

    def estimate_tokens(self, input_dict: Mapping[str, Any]) -> int:
        """Tokens of a batch, padding included; 0 where the batch has no input_ids."""
        ids = input_dict.get(self.main_input_name)
        return 0 if ids is None else int(ids.numel())

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    @classmethod
    def can_generate(cls) -> bool:
        """False: MobileBERT reads text, it does not write it."""
        return False

    @classmethod
    def is_custom_code(cls) -> bool:
        """True: transformers has no names of its own into which to translate ours."""
        return True

    # ------------------------------------------------------------------------------------------- masks

    def get_extended_attention_mask(
        self,
        attention_mask: Tensor,
        input_shape: Iterable[int] | None = None,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """What attention adds to its scores for a mask (B, S) or (B, S, S): (B, 1, 1, S) or (B, 1, S, S).

        `input_shape` and `device` change nothing. Default dtype is the model's.

        Raises:
            InputError: for a mask of another rank.
        """
        if attention_mask.dim() not in (2, 3):
            raise InputError(
                f"{type(self).__name__}.get_extended_attention_mask: wanted (B, S) or (B, S, S), got "
                f"{tuple(attention_mask.shape)}."
            )
        return attention_bias(attention_mask, dtype or next(self.parameters()).dtype)

    def invert_attention_mask(self, encoder_attention_mask: Tensor) -> Tensor:
        """As `get_extended_attention_mask`, in the dtype of the model."""
        return self.get_extended_attention_mask(encoder_attention_mask)

    def get_head_mask(
        self, head_mask: Tensor | None, num_hidden_layers: int, is_attention_chunked: bool = False
    ) -> Tensor | list[None]:
        """A mask (N,) or (L, N) as (L, 1, N, 1, 1); None as a list of None."""
        if head_mask is None:
            return [None] * num_hidden_layers
        per_layer = head_mask.expand(num_hidden_layers, -1) if head_mask.dim() == 1 else head_mask
        mask = per_layer[:, None, :, None, None].to(next(self.parameters()).dtype)
        return mask[..., None] if is_attention_chunked else mask

    # ---------------------------------------------------------------------------------------- training

    def gradient_checkpointing_enable(
        self,
        gradient_checkpointing_kwargs: Mapping[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """Recomputes blocks in the backward pass instead of keeping their activations.

        Args:
            gradient_checkpointing_kwargs: of `torch.utils.checkpoint.checkpoint`; `use_reentrant` is False unless
                they say otherwise.
            every_n_layers: only the first of every so many blocks is recomputed.
            offload: what is kept for it lies in the memory of the host.

        Raises:
            ConfigError: for an option that PyTorch's function has not, or a number of blocks below 1.
        """
        check_checkpointing(gradient_checkpointing_kwargs, every_n_layers)
        encoder = self.base_model.encoder
        encoder.gradient_checkpointing = True
        encoder.checkpoint_options = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}
        encoder.checkpoint_every, encoder.checkpoint_offload = every_n_layers, offload
        if encoder.checkpoint_options["use_reentrant"]:
            self.enable_input_require_grads()  # or a block whose input needs no gradient gets none for its weights

    def activation_checkpointing_enable(
        self,
        activation_checkpointing_kwargs: Mapping[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """`gradient_checkpointing_enable` under the name of transformers 5."""
        self.gradient_checkpointing_enable(activation_checkpointing_kwargs, every_n_layers, offload)

    def gradient_checkpointing_disable(self) -> None:
        self.base_model.encoder.gradient_checkpointing = False

    def activation_checkpointing_disable(self) -> None:
        self.gradient_checkpointing_disable()

    @property
    def is_gradient_checkpointing(self) -> bool:
        return self.base_model.encoder.gradient_checkpointing

    @property
    def is_activation_checkpointing(self) -> bool:
        return self.is_gradient_checkpointing

    def enable_input_require_grads(self) -> None:
        """Makes the embedded words require gradients although their table is frozen, as adapters need it."""
        self.disable_input_require_grads()
        words = self.base_model.embeddings.word_embeddings
        self._require_grads_hook = words.register_forward_hook(_require_gradients)

    def disable_input_require_grads(self) -> None:
        hook = self.__dict__.pop("_require_grads_hook", None)
        if hook is not None:
            hook.remove()

    def set_attn_implementation(self, attn_implementation: str) -> None:
        """`config.attn_implementation`: "eager" or "sdpa"; both compute the same."""
        self.config.attn_implementation = attn_implementation

    # --------------------------------------------------------------------------------------------- hub

    def add_model_tags(self, tags: str | Iterable[str]) -> None:
        """Adds tags for the model card that `push_to_hub` writes."""
        named = [tags] if isinstance(tags, str) else tags
        self.model_tags = list(dict.fromkeys([*(self.model_tags or ()), *named]))

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Saves the model and uploads it as `owner/name`; takes the keywords of `mobilebert_core.hub.pushing`.

        `max_shard_size` and `safe_serialization` are those of `save_pretrained`.
        """
        tags = [*(self.model_tags or ()), *(kwargs.pop("tags", None) or ())]
        return push_saved(self, repo_id, tags=tags, **kwargs)


def _require_gradients(module: nn.Module, inputs: Any, output: Tensor) -> None:
    output.requires_grad_(True)
