"""Keywords of from_pretrained and save_pretrained in scripts for transformers: honoured, accepted, or refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mobilebert_core.errors import CheckpointError, CheckpointNotFoundError, ConfigError, MobileBertError
from tests.tiny import tiny_batch, tiny_config

NEUTRAL = {
    "adapter_kwargs": {}, "adapter_name": "default", "allow_all_kernels": False, "disable_mmap": True,
    "experts_implementation": None, "fusion_config": None, "tqdm_class": None,
    "device_map": "auto", "from_flax": False, "key_mapping": {}, "low_cpu_mem_usage": True,
    "max_memory": {"cpu": "1GB"}, "offload_folder": "offload", "quantization_config": None, "token": "secret",
    "trust_remote_code": True, "use_safetensors": True, "variant": None, "weights_only": True, "_from_auto": True,
    "_commit_hash": None, "load_in_8bit": False, "tp_plan": None, "offload_state_dict": True,
}  # fmt: skip
REFUSED = {
    "from_flax": (True, "Flax's msgpack files are not read"),
    "quantization_config": ({"bits": 4}, "floating-point dtype"),
    "load_in_8bit": (True, "floating-point dtype"),
    "device_map": ({"mobilebert": "cpu", "classifier": 1}, "loaded on one device"),
    "tp_plan": ("auto", "loaded on one device"),
    "fusion_config": ({"qkv": True}, "modules are not replaced while loading"),
    "allow_missing": (5, "allow_missing must be names of weights, got 5"),
    "allow_unknown": ([1], "allow_unknown must be names of weights, got [1]"),
    "key_mapping": ({"a": 5}, "key_mapping must map regular expressions to texts"),
    "config": ({"vocab_size": 97}, "got builtins.dict. Another becomes one by MobileBertConfig.from_dict(config)"),
    "generation_config": ({}, "generates nothing"),
    "adapter_kwargs": ({"_adapter_model_path": "x"}, "peft.PeftModel.from_pretrained"),
    "num_label": (3, "no such keyword: 'num_label'; did you mean 'num_labels'?"),
}


def logits(backend, model):
    batch = tiny_batch(model.config, "SequenceClassification", labels=False)
    return backend.numpy(backend.call(model, batch).logits)


def test_what_asks_for_nothing_is_accepted(backend, checkpoint):
    path = checkpoint("SequenceClassification")
    plain = backend.load("SequenceClassification", path)
    model = backend.load("SequenceClassification", path, **NEUTRAL)
    np.testing.assert_array_equal(logits(backend, model), logits(backend, plain))
    assert model.config == plain.config


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_honoured_is_refused_in_words_of_the_call(backend, checkpoint, name):
    value, message = REFUSED[name]
    cls = backend.classes["SequenceClassification"]
    with pytest.raises(ConfigError, match=re.escape(message)) as e:
        cls.from_pretrained(checkpoint("SequenceClassification"), **{name: value})
    assert str(e.value).startswith(f"{cls.__name__}.from_pretrained: ")


@pytest.mark.parametrize("device_map", ["cpu", {"": "cpu"}, {"mobilebert": "cpu", "classifier": "cpu"}, {"": 0}])
def test_one_device_is_honoured(backend, checkpoint, device_map):
    """A number is the CPU where there is no accelerator: it counts processes then."""
    path = checkpoint("SequenceClassification")
    model = backend.load("SequenceClassification", path, device_map=device_map)
    np.testing.assert_array_equal(logits(backend, model), logits(backend, backend.load("SequenceClassification", path)))


@pytest.mark.parametrize("device_map", ["cuda:7", {"": "nowhere"}, "disk"])
def test_a_device_that_is_not_here_is_refused(backend, checkpoint, device_map):
    with pytest.raises(ConfigError, match="from_pretrained: device_map="):
        backend.load("Model", checkpoint("Model"), device_map=device_map)


def test_a_variant_is_written_and_read(backend, tmp_path):
    one, two = (backend.build("SequenceClassification", tiny_config()) for _ in range(2))
    one.save_pretrained(tmp_path)
    two.save_pretrained(tmp_path, variant="fp16")
    for model, variant in ((one, None), (two, "fp16")):
        again = backend.load("SequenceClassification", tmp_path, variant=variant)
        np.testing.assert_array_equal(logits(backend, again), logits(backend, model))
    with pytest.raises(CheckpointNotFoundError, match=r"variant 'int8', such as model\.int8\.safetensors"):
        backend.load("SequenceClassification", tmp_path, variant="int8")


def test_keys_are_mapped(backend, tmp_path):
    from safetensors.numpy import load_file, save_file

    model = backend.build("SequenceClassification", tiny_config())
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    arrays = load_file(file)
    save_file({name.replace("mobilebert.", "net.body."): array for name, array in arrays.items()}, file)
    with pytest.raises(CheckpointError, match="unknown  net.body."):
        backend.load("SequenceClassification", tmp_path)
    again = backend.load("SequenceClassification", tmp_path, key_mapping={r"^net\.body\.": "mobilebert."})
    np.testing.assert_array_equal(logits(backend, again), logits(backend, model))
    with pytest.raises(CheckpointError, match=r"key_mapping makes .* both same"):
        backend.load("SequenceClassification", tmp_path, key_mapping={".*": "same"})
    with pytest.raises(CheckpointError, match="no regular expression"):
        backend.load("SequenceClassification", tmp_path, key_mapping={"(": "x"})


def test_a_call_may_ask_for_fewer_layers(backend, checkpoint):
    path = checkpoint("SequenceClassification")
    whole = backend.load("SequenceClassification", path)
    first, info = backend.load("SequenceClassification", path, num_hidden_layers=1, output_loading_info=True)
    batch = tiny_batch(whole.config, "SequenceClassification", labels=False)
    wanted = backend.call(whole, batch, output_hidden_states=True).hidden_states[1]
    found = backend.call(first, batch, output_hidden_states=True).hidden_states[-1]
    np.testing.assert_allclose(backend.numpy(found), backend.numpy(wanted), rtol=1e-6)
    assert first.config.num_hidden_layers == 1
    assert info["unexpected_keys"] and all(".layer.1." in name for name in info["unexpected_keys"])


def test_saving_takes_neutral_keywords_and_refuses_others(backend, tmp_path):
    model = backend.build("Model", tiny_config())
    model.save_pretrained(tmp_path / "one", save_function=print, push_to_hub=False, token=None, variant=None)
    with pytest.raises(ConfigError, match=r"Model.save_pretrained: no such keyword: 'safe_serialisation'"):
        model.save_pretrained(tmp_path / "two", safe_serialisation=True)
    with pytest.raises(CheckpointError, match="leave max_shard_size out"):
        model.save_pretrained(tmp_path / "two", variant="fp16", max_shard_size="1GB")
    with pytest.raises(CheckpointError, match="no place for the variant 'fp16'"):
        model.save_pretrained(tmp_path / "two", variant="fp16", safe_serialization=False)
    for variant in ("a/b", 5):  # a part of a file's name
        with pytest.raises(CheckpointError, match="variant: wanted a part of a file's name"):
            model.save_pretrained(tmp_path / "two", variant=variant)
    for place in ("a\0b", "x" * 300):
        with pytest.raises(MobileBertError):
            model.save_pretrained(place)
    with pytest.raises(ConfigError, match="subfolder must be the path of a directory, got 5"):
        backend.load("Model", tmp_path / "one", subfolder=5)
    assert not (tmp_path / "two").exists()
