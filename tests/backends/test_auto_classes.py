"""The Auto classes: one for each head, over the same table."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import mobilebert
from mobilebert_core import AutoConfig, AutoTokenizer, MobileBertConfig
from mobilebert_core.errors import ConfigError
from mobilebert_core.heads import HEADS
from tests.tiny import TINY, tiny_batch, tiny_config


@pytest.mark.parametrize("head", HEADS)
def test_each_head_has_one(backend, checkpoint, head):
    prefix, package = ("", "mobilebert_torch") if backend.name == "torch" else ("TF", "mobilebert_tf")
    name = prefix + HEADS[head].class_name.replace("MobileBertModel", "AutoModel").replace("MobileBert", "AutoModel")
    auto = getattr(importlib.import_module(package), name)
    assert auto is getattr(mobilebert, name) and auto.__name__ == name
    path = checkpoint(head)
    model, expected = auto.from_pretrained(path), backend.load(head, path)
    assert type(model) is backend.classes[head]
    batch = tiny_batch(model.config, head, labels=False)
    for one, other in zip(backend.call(model, batch).to_tuple(), backend.call(expected, batch).to_tuple(), strict=True):
        np.testing.assert_array_equal(backend.numpy(one), backend.numpy(other))
    assert type(auto.from_config(tiny_config(num_hidden_layers=1))) is backend.classes[head]
    with pytest.raises(ConfigError, match=f"{name} has no instances: call {name}.from_pretrained"):
        auto(model.config)


@pytest.mark.parametrize("keyword", ["dtype", "torch_dtype"])
def test_random_weights_take_the_keywords_of_transformers(backend, keyword):
    config = tiny_config(num_hidden_layers=1)
    auto = mobilebert.AutoModel if backend.name == "torch" else mobilebert.TFAutoModel
    model = auto.from_config(config, attn_implementation="eager", trust_remote_code=True, **{keyword: "float16"})
    assert (model.compute_dtype if backend.name == "keras" else model.dtype) == backend.dtype("float16")
    assert model.config.attn_implementation == "eager" and config.attn_implementation is None
    with pytest.raises(ConfigError, match="from_config: use_kernels=True cannot be honoured"):
        auto.from_config(config, use_kernels=True)


@pytest.mark.parametrize("auto", [AutoConfig, AutoTokenizer, mobilebert.AutoModel, mobilebert.TFAutoModel])
def test_none_has_instances_or_a_registry(auto):
    class Own:
        """Of another package."""

    for call in (auto, lambda: auto("mobilebert-mini")):
        with pytest.raises(
            ConfigError, match=f"{auto.__name__} has no instances: call {auto.__name__}.from_pretrained"
        ):
            call()
    for register in (
        lambda: auto.register("own", Own),
        lambda: auto.register(MobileBertConfig, None, Own, exist_ok=True),
    ):
        with pytest.raises(ConfigError, match=f"got .*Own. Call from_pretrained .* transformers.{auto.__name__}"):
            register()


def test_auto_config(checkpoint):
    path = checkpoint("Model")
    config = AutoConfig.from_pretrained(path, num_labels=5, trust_remote_code=True)
    assert type(config) is MobileBertConfig and config.num_labels == 5
    assert AutoConfig.for_model("mobilebert", **TINY) == tiny_config()
    with pytest.raises(ConfigError, match="wanted 'mobilebert', got 'bert'"):
        AutoConfig.for_model("bert")
