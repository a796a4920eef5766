"""What holds after softplus was added."""

from __future__ import annotations

import numpy as np

from mobilebert_core.heads import HEADS
from tests.backends.backend import BACKENDS
from tests.tiny import BRANCHES, tiny_batch, tiny_config


def test_it_is_a_branch_of_the_parity_tests():
    assert BRANCHES["softplus"] == {"hidden_act": "softplus"}


def test_both_backends_agree(checkpoint):
    path = checkpoint("MaskedLM", hidden_act="softplus")
    batch = tiny_batch(tiny_config(), HEADS["MaskedLM"], labels=False)
    scores = []
    for backend in (each() for each in BACKENDS.values()):
        model = backend.load("MaskedLM", path, dtype="float64")
        scores.append(backend.numpy(backend.call(model, batch)["logits"]))
    np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=1e-10 * np.abs(scores[0]).max())
