"""Random starts: once for each module, and never over values that are there already."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mobilebert_torch import (
    MobileBertForMaskedLM,
    MobileBertForSequenceClassification,
    MobileBertModel,
    MobileBertPreTrainedModel,
)
from tests.tiny import tiny_config


def values(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def kept(before, model):
    after = model.state_dict()
    return [name for name in before if not torch.equal(before[name], after[name])] == []


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(3)
    MobileBertForSequenceClassification(tiny_config(num_hidden_layers=1)).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("call", ["post_init", "init_weights"])
def test_values_are_kept(call, saved):
    loaded = MobileBertForSequenceClassification.from_pretrained(saved)
    resized = MobileBertForMaskedLM(tiny_config(num_hidden_layers=1))
    resized.resize_token_embeddings(103)
    for model in (loaded, copy.deepcopy(loaded), resized):
        before = values(model)
        getattr(model, call)()
        assert kept(before, model)
    loaded.classifier = nn.Linear(48, 5, bias=False)
    before = values(loaded)
    getattr(loaded, call)()
    assert not torch.equal(loaded.classifier.weight, before.pop("classifier.weight")) and kept(before, loaded)
    assert loaded.classifier.weight.std() < 0.5  # PyTorch's start is uniform
    before = values(loaded)
    loaded.apply(loaded._init_weights)
    assert not kept(before, loaded)


@pytest.mark.parametrize("call", ["post_init", "init_weights"])
def test_a_loaded_part_of_a_users_model_is_kept(call, saved):
    class Tower(MobileBertPreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.mobilebert = MobileBertModel.from_pretrained(saved)
            self.start = values(self.mobilebert)
            self.out = nn.Linear(48, 1)
            self.convolution, self.norm, self.share = nn.Conv1d(48, 2, 3), nn.BatchNorm1d(48), nn.PReLU()
            self.other = values(self.convolution)
            getattr(self, call)()

    tower = Tower(tiny_config(num_hidden_layers=1))
    assert kept(tower.start, tower.mobilebert) and tower.out.bias.abs().sum() == 0
    assert kept(tower.other, tower.convolution)
    assert tower.norm.weight.unique().tolist() == [1.0] and tower.share.weight.tolist() == [0.25]
