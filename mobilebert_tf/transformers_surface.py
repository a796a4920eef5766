"""What scripts written for transformers call on a model, beside loading, saving, training and running it.

tests/backends/test_surface.py has the table of it, with what is left out and why. Twin:
mobilebert_torch/transformers_surface.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.heads import OWN_HEAD, Head
from mobilebert_core.hub.pushing import push_saved
from mobilebert_core.inputs import DUMMY_IDS


class TransformersSurface(keras.Model):
    """The calls and attributes that `TFMobileBertPreTrainedModel` has because users of transformers know them."""

    head: ClassVar[Head] = OWN_HEAD
    config: MobileBertConfig
    base_model: Any
    config_class = MobileBertConfig
    base_model_prefix = "mobilebert"
    main_input_name = "input_ids"
    framework = "tf"
    generation_config = None
    _keys_to_ignore_on_load_missing: ClassVar[Any] = None
    _keys_to_ignore_on_load_unexpected: ClassVar[Any] = None
    _keys_to_ignore_on_save: ClassVar[Any] = None

    # -------------------------------------------------------------------------------------- inspection

    @property
    def name_or_path(self) -> str:
        """What the model was loaded from; empty for one with random weights."""
        return self.config.name_or_path

    @name_or_path.setter
    def name_or_path(self, value: str) -> None:
        self.config.name_or_path = str(value)

    @property
    def dummy_inputs(self) -> dict[str, np.ndarray]:
        """Ids that every model takes: (3, 5), for choices (3, 1, 5)."""
        ids = np.array(DUMMY_IDS, np.int32)
        return {"input_ids": ids[:, None] if self.head.per_choice else ids}

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Distinct parameters; tied ones count once."""
        tables = [layer for layer in self._flatten_layers() if isinstance(layer, keras.layers.Embedding)]
        left_out = {id(v) for layer in tables for v in layer.weights} if exclude_embeddings else set()
        weights = self.trainable_weights if only_trainable else self.weights
        return sum(int(np.prod(v.shape)) for v in weights if id(v) not in left_out)

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """Bytes of the weights, tied ones once; there are no buffers."""
        itemsize = {"bfloat16": 2, "int4": 1}
        return sum(
            int(np.prod(v.shape)) * (itemsize.get(v.dtype) or np.dtype(v.dtype).itemsize)
            for v in {id(v): v for v in self.weights}.values()
        )

    def floating_point_ops(self, input_dict: Mapping[str, Any], exclude_embeddings: bool = True) -> int:
        """Of a forward and a backward pass, about: 6 for each parameter and token."""
        return 6 * self.estimate_tokens(input_dict) * self.num_parameters(exclude_embeddings=exclude_embeddings)

    def estimate_tokens(self, input_dict: Mapping[str, Any]) -> int:
        """Tokens of a batch, padding included; 0 where the batch has no input_ids."""
        ids = input_dict.get(self.main_input_name)
        return 0 if ids is None else int(np.prod(ids.shape))

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    @classmethod
    def can_generate(cls) -> bool:
        """False: MobileBERT reads text, it does not write it."""
        return False

    # ---------------------------------------------------------------------------------------- training

    def gradient_checkpointing_enable(self) -> None:
        """Recomputes each block in the backward pass instead of keeping its activations (`keras.remat`)."""
        self.base_model.encoder.gradient_checkpointing = True
        self.train_function = None  # a graph recorded before would go on as it was

    def gradient_checkpointing_disable(self) -> None:
        self.base_model.encoder.gradient_checkpointing = False
        self.train_function = None

    @property
    def is_gradient_checkpointing(self) -> bool:
        return self.base_model.encoder.gradient_checkpointing

    # --------------------------------------------------------------------------------------------- hub

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Saves the model and uploads it as `owner/name`; takes the keywords of `mobilebert_core.hub.pushing`.

        `max_shard_size` and `safe_serialization` are those of `save_pretrained`.
        """
        return push_saved(self, repo_id, **kwargs)
