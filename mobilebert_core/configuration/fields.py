"""What the fields of a configuration may hold, and which fields of other models' configurations are carried along."""

from __future__ import annotations

from typing import Any

# Every activation by the names that checkpoints use, and what each means to a backend.
ACTIVATIONS = {
    "relu": "relu",
    "relu6": "relu6",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_tanh": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
NORMALIZATION_TYPES = ("no_norm", "layer_norm")
REGRESSION, SINGLE_LABEL, MULTI_LABEL = "regression", "single_label_classification", "multi_label_classification"
PROBLEM_TYPES = (REGRESSION, SINGLE_LABEL, MULTI_LABEL)
ATTENTION_IMPLEMENTATIONS = ("sdpa", "eager")
DTYPES = ("float64", "float32", "float16", "bfloat16")

# Fields that every transformers configuration may carry. They change nothing in MobileBERT; they are
# accepted, kept and written back, so that a file survives the trip.
INERT_FIELDS: dict[str, Any] = {
    "add_cross_attention": False, "bad_words_ids": None, "begin_suppress_tokens": None, "bos_token_id": None,
    "chunk_size_feed_forward": 0, "cross_attention_hidden_size": None, "decoder_start_token_id": None,
    "diversity_penalty": 0.0, "do_sample": False, "early_stopping": False, "encoder_no_repeat_ngram_size": 0,
    "eos_token_id": None, "exponential_decay_length_penalty": None, "finetuning_task": None,
    "forced_bos_token_id": None, "forced_eos_token_id": None,
    "is_composition": False, "is_decoder": False, "is_encoder_decoder": False, "length_penalty": 1.0,
    "max_length": 20, "min_length": 0, "no_repeat_ngram_size": 0, "num_beam_groups": 1, "num_beams": 1,
    "num_choices": None, "num_return_sequences": 1, "output_scores": False, "prefix": None,
    "remove_invalid_values": False, "repetition_penalty": 1.0, "return_dict_in_generate": False,
    "sep_token_id": None, "suppress_tokens": None,
    "task_specific_params": None, "temperature": 1.0, "tf_legacy_loss": False, "tie_encoder_decoder": False,
    "tokenizer_class": None, "top_k": 50, "top_p": 1.0, "transformers_version": None,
    "typical_p": 1.0, "use_bfloat16": False, "use_cache": True, "language": None, "name": None,
}  # fmt: skip

ALIASES = {"torch_dtype": "dtype", "_name_or_path": "name_or_path", "_attn_implementation": "attn_implementation"}
RUNTIME_ONLY = {"name_or_path", "attn_implementation"}
