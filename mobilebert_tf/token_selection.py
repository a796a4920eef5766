"""Which tokens the heads read: a selection, so that the last block and the head compute no others.

B batch, S sequence, T tokens. Twin: mobilebert_torch/token_selection.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.heads import Head
from mobilebert_core.inputs import check_labels

from .inputs import PROBE
from .losses import labelled_rows

# Selects the tokens whose outputs the head needs: (T, size) and the length S -> (tokens, size).
TokenSelection = Callable[[Any, Any], Any]


def first_token(x: Any, length: Any) -> Any:
    """(T, size) -> (B, size)."""
    return ops.reshape(x, (-1, length, x.shape[-1]))[:, 0]


def labelled_tokens(
    config: MobileBertConfig, head: Head, inputs: dict[str, Any], labels: dict[str, Any]
) -> tuple[TokenSelection | None, dict[str, Any]]:
    """With `sparse_prediction`, a selection of the N tokens with a word label, and the labels of these only, (N,).

    On TensorFlow alone: JAX has no sizes that depend on values, so all tokens are scored there.
    """
    words = head.words
    passed = None if words is None else words.labels_in(labels)
    if not config.sparse_prediction or words is None or passed is None or keras.backend.backend() != "tensorflow":
        return None, labels
    main = inputs["inputs_embeds"] if inputs["input_ids"] is None else inputs["input_ids"]
    check_labels(config, head, words, passed, (*main.shape[:2], config.vocab_size), PROBE)
    rows = labelled_rows(passed)
    labelled = {**labels, words.label: ops.take(ops.reshape(passed, (-1,)), rows)}
    return lambda x, length: ops.take(x, rows, axis=0), labelled
