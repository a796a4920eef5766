"""Configurations and tokenizers by a name on the hub, of which tests/hub_stand_in.py is a stand-in."""

from __future__ import annotations

import json

import pytest

from mobilebert_core import AutoTokenizer, MobileBertConfig, MobileBertTokenizer, MobileBertTokenizerFast
from mobilebert_core.errors import CheckpointNotFoundError, ConfigError
from tests.core.test_hub import CONFIG, NAME, VOCAB, names, weights
from tests.tiny import tiny_config


def test_a_configuration_from_the_hub(hub):
    hub.publish(NAME, {"config.json": CONFIG, **weights("model.safetensors")})
    config = MobileBertConfig.from_pretrained(NAME, resume_download=True, hidden_dropout_prob=0.5)
    assert config.name_or_path == NAME and config.hidden_dropout_prob == 0.5
    assert config == tiny_config(num_labels=3, hidden_dropout_prob=0.5)
    values, rest = MobileBertConfig.get_config_dict(NAME, revision="main", hidden_act="gelu")
    assert values == json.loads(CONFIG) and rest == {"hidden_act": "gelu"}
    assert hub.fetched() == ["config.json"]
    hub.publish(NAME, {"config.json": b'{"model_type": "bert"}'})
    with pytest.raises(ConfigError, match=f"{NAME}: .*another model"):
        MobileBertConfig.from_pretrained(NAME)


@pytest.mark.parametrize("made", [MobileBertTokenizer, MobileBertTokenizerFast, AutoTokenizer])
@pytest.mark.parametrize("generation", [4, 5])
def test_a_tokenizer_from_the_hub(hub, tmp_path, made, generation):
    (tmp_path / "vocab.txt").write_bytes(VOCAB)
    saved = tmp_path / "saved"
    local = MobileBertTokenizerFast(tmp_path / "vocab.txt", do_lower_case=False)
    local.save_pretrained(saved, legacy_format=generation == 4)
    MobileBertConfig().save_pretrained(saved)
    hub.publish(NAME, saved, branch="cased")
    tokenizer = made.from_pretrained(NAME, revision="cased", model_max_length=9)
    assert tokenizer.name_or_path == NAME and tokenizer.model_max_length == 9
    assert tokenizer("Emile Zola")["input_ids"] == local("Emile Zola")["input_ids"]
    assert set(hub.fetched()) == names(saved) - {"config.json"}
    with pytest.raises(CheckpointNotFoundError, match="it has no revision 'main'"):
        made.from_pretrained(NAME)


def test_a_tokenizer_without_its_vocabulary(hub):
    hub.publish(NAME, {"tokenizer_config.json": b"{}"})
    with pytest.raises(
        CheckpointNotFoundError, match=r"wanted vocab\.txt or tokenizer\.json in the directory, found tok"
    ):
        AutoTokenizer.from_pretrained(NAME)
