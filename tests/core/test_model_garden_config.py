"""The params.yaml that Model Garden wrote for a pretraining run (recorded), and such files as people write."""

from __future__ import annotations

import sys

import pytest

from mobilebert_core.checkpoints.names.model_garden_config import config_from_model_garden
from mobilebert_core.errors import BackendMissingError, CheckpointError, CheckpointNotFoundError, ConfigError
from tests.core.model_garden import GOLDEN


def written(path, encoder: str, before: str = "task:\n model:\n", after: str = ""):
    file = path / "params.yaml"
    file.write_text(f"{before}  encoder:\n   type: mobilebert\n   mobilebert: {{{encoder}}}\n{after}", encoding="utf-8")
    return file


def test_the_recorded_file():
    config = config_from_model_garden(GOLDEN / "params.yaml")
    expected = {
        "vocab_size": 31, "hidden_size": 12, "embedding_size": 5, "intra_bottleneck_size": 8, "intermediate_size": 10,
        "max_position_embeddings": 11, "type_vocab_size": 3, "num_hidden_layers": 3, "num_feedforward_networks": 2,
        "num_attention_heads": 4, "hidden_act": "relu", "hidden_dropout_prob": 0.0, "layer_norm_eps": 1e-12,
        "attention_probs_dropout_prob": 0.1, "normalization_type": "no_norm", "key_query_shared_bottleneck": True,
        "use_bottleneck_attention": False, "classifier_activation": False, "trigram_input": True,
        "use_bottleneck": True, "initializer_range": 0.02,
    }  # fmt: skip
    assert {name: getattr(config, name) for name in expected} == expected
    assert config_from_model_garden(str(GOLDEN / "params.yaml"), num_labels=5).num_labels == 5


def test_what_a_file_leaves_out_is_the_teachers(tmp_path, caplog):
    config = config_from_model_garden(written(tmp_path, "num_blocks: 2", after="  mlm_activation: gelu\n"))
    assert (config.intermediate_size, config.intra_bottleneck_size, config.num_feedforward_networks) == (4096, 1024, 1)
    assert (config.hidden_act, config.normalization_type) == ("gelu", "layer_norm")
    assert config.classifier_activation and not config.key_query_shared_bottleneck
    assert (
        "the masked-language head computes with gelu_new in Model Garden, here with the encoder's gelu" in caplog.text
    )


def test_no_warning_where_the_head_computes_like_the_encoder(tmp_path, caplog):
    for after in ("  mlm_activation: relu\n", ""):
        config_from_model_garden(written(tmp_path, "hidden_activation: relu", after=after))
    assert caplog.text == ""


def test_the_models_of_a_distillation(tmp_path):
    file = written(tmp_path, "num_blocks: 2", "task:\n student_model:\n")
    assert config_from_model_garden(file).num_hidden_layers == 2
    file = written(tmp_path, "num_blocks: 3", "student_model:\n")  # as EdgeTPU's trainer writes it
    assert config_from_model_garden(file).num_hidden_layers == 3
    file = written(tmp_path, "num_blocks: 4", "task:\n model: null\n teacher_model:\n")
    assert config_from_model_garden(file).num_hidden_layers == 4
    assert config_from_model_garden(file, "teacher_model").num_hidden_layers == 4
    with pytest.raises(CheckpointError, match="wanted an encoder of type 'mobilebert' in 'student_model', got None"):
        config_from_model_garden(file, "student_model")


def test_a_bottleneck_that_attention_does_not_use(tmp_path):
    file = written(tmp_path, "use_bottleneck_attention: true, key_query_shared_bottleneck: true")
    assert not config_from_model_garden(file).key_query_shared_bottleneck


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: [", "wanted YAML, got text that is none"),
        ("!!python/object/apply:os.getcwd []", "wanted YAML, got text that is none"),
        ("- 1", "wanted a YAML mapping, got a list"),
        ("task: {model: {encoder: {type: bert, bert: {}}}}", "wanted an encoder of type 'mobilebert', got 'bert'"),
        ("runtime: {}", "wanted an encoder of type 'mobilebert', got None"),
        ("task: {model: {encoder: {mobilebert: {depth: 2, input_mask_dtype: int32}}}}", "mean nothing here: depth."),
    ],
)
def test_files_that_are_no_description(tmp_path, text, message):
    file = tmp_path / "params.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"params.yaml: .*{message}"):
        config_from_model_garden(file)


def test_values_that_describe_no_model(tmp_path):
    with pytest.raises(ConfigError, match="num_hidden_layers"):
        config_from_model_garden(written(tmp_path, "num_blocks: many"))


def test_no_file(tmp_path):
    with pytest.raises(CheckpointNotFoundError, match="params.yaml: cannot be read"):
        config_from_model_garden(tmp_path / "params.yaml")


def test_without_yaml(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(BackendMissingError, match="pip install pyyaml"):
        config_from_model_garden(tmp_path / "params.yaml")
