"""LAMB by its definition (arXiv 1904.00962, algorithm 2)."""

from __future__ import annotations

import numpy as np
import torch

from mobilebert_torch.lamb import Lamb

RATE, BETAS, EPSILON, DECAY = 0.01, (0.9, 0.99), 1e-6, 0.1


def by_definition(weight, gradients, rescaled):
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    for step, gradient in enumerate(gradients, 1):
        first = BETAS[0] * first + (1 - BETAS[0]) * gradient
        second = BETAS[1] * second + (1 - BETAS[1]) * gradient**2
        update = first / (1 - BETAS[0] ** step) / (np.sqrt(second / (1 - BETAS[1] ** step)) + EPSILON)
        if rescaled:  # others neither decay nor are rescaled
            update = update + DECAY * weight
            update = update * np.linalg.norm(weight) / np.linalg.norm(update)
        weight = weight - RATE * update
    return weight


def test_lamb_takes_the_steps_of_its_definition():
    rng = np.random.default_rng(0)
    starts = [rng.normal(size=(3, 4)), rng.normal(size=5)]
    gradients = [[rng.normal(size=start.shape) for _ in range(4)] for start in starts]
    matrix, vector = (torch.nn.Parameter(torch.from_numpy(start.copy())) for start in starts)
    groups = [{"params": [matrix], "weight_decay": DECAY}, {"params": [vector], "weight_decay": 0.0, "rescaled": False}]
    optimizer = Lamb(groups, lr=RATE, betas=BETAS, eps=EPSILON)
    for pair in zip(*gradients, strict=True):
        for parameter, gradient in zip((matrix, vector), pair, strict=True):
            parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
    for parameter, start, each, rescaled in zip((matrix, vector), starts, gradients, (True, False), strict=True):
        assert np.allclose(parameter.detach().numpy(), by_definition(start, each, rescaled), rtol=1e-12, atol=0)


def test_a_matrix_of_zeros_moves():
    """There is no length to take a share of: the step is Adam's."""
    matrix = torch.nn.Parameter(torch.zeros(2, 2))
    matrix.grad = torch.ones(2, 2)
    Lamb([matrix], lr=RATE, weight_decay=0.0).step()
    assert torch.allclose(matrix, torch.full((2, 2), -RATE), rtol=1e-4)
