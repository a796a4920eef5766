"""Captum: attributions of tokens, which must add up to the change of the score."""

from __future__ import annotations

import pytest
import torch
from captum.attr import IntegratedGradients, LayerActivation, LayerIntegratedGradients

import mobilebert_torch
from tests.tiny import tiny_config


def model_and_ids():
    torch.manual_seed(0)
    model = mobilebert_torch.MobileBertForSequenceClassification(tiny_config(hidden_act="gelu")).double().eval()
    return model, torch.randint(1, 97, (2, 7))


def test_layer_attributions_of_ids_add_up():
    model, ids = model_and_ids()
    mask = torch.ones_like(ids)

    def score(input_ids, attention_mask):
        return model(input_ids=input_ids, attention_mask=attention_mask).logits[:, 1]

    method = LayerIntegratedGradients(score, model.mobilebert.embeddings)
    attributions, delta = method.attribute(
        ids, torch.zeros_like(ids), additional_forward_args=(mask,), n_steps=200, return_convergence_delta=True
    )
    assert attributions.shape == (2, 7, 48)
    change = score(ids, mask) - score(torch.zeros_like(ids), mask)
    assert delta.abs().max() < 0.02 * change.abs().max()


@pytest.mark.parametrize("part", ["encoder.layer.1", "encoder.layer.0.attention", "encoder.layer.0.attention.self"])
def test_a_block_gives_tensors_alone(part):
    model, ids = model_and_ids()
    method = LayerActivation(lambda input_ids: model(input_ids).logits, model.mobilebert.get_submodule(part))
    assert method.attribute(ids).shape[:2] == ids.shape


def test_attributions_of_embeddings_add_up():
    model, ids = model_and_ids()
    words = model.get_input_embeddings()(ids).detach()

    def score(inputs_embeds):
        return model(inputs_embeds=inputs_embeds).logits[:, 1]

    attributions, delta = IntegratedGradients(score).attribute(words, n_steps=200, return_convergence_delta=True)
    assert attributions.shape == words.shape
    assert delta.abs().max() < 0.02 * (score(words) - score(torch.zeros_like(words))).abs().max()
