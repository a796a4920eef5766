"""Which tokens the heads read: a selection, so that the last block and the head compute no others.

B batch, S sequence, T tokens. Twin: mobilebert_tf/token_selection.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.heads import IGNORE_INDEX, Head
from mobilebert_core.inputs import check_labels

from .inputs import PROBE, checking

# Selects the tokens whose outputs the head needs: (B, S, size) -> (tokens, size).
TokenSelection = Callable[[Tensor], Tensor]


def first_token(x: Tensor) -> Tensor:
    """(B, S, size) -> (B, size)."""
    return x[:, 0]


def labelled_tokens(
    config: MobileBertConfig, head: Head, inputs: dict[str, Any], labels: dict[str, Any]
) -> tuple[TokenSelection | None, dict[str, Any]]:
    """With `sparse_prediction`, a selection of the N tokens with a word label, and the labels of these only, (N,).

    N is known only when the labels are read: `torch.compile` breaks its graph here unless
    `torch._dynamo.config.capture_dynamic_output_shape_ops` is set, and a GPU is waited for.
    """
    words = head.words
    passed = None if words is None else words.labels_in(labels)
    if not config.sparse_prediction or words is None or passed is None:
        return None, labels
    if checking():
        main = inputs["inputs_embeds"] if inputs["input_ids"] is None else inputs["input_ids"]
        check_labels(config, head, words, passed, (*main.shape[:2], config.vocab_size), PROBE)
    rows = (passed.flatten() != IGNORE_INDEX).nonzero()[:, 0]
    return lambda x: x.flatten(0, 1)[rows], {**labels, words.label: passed.flatten()[rows]}
