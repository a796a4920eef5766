"""A configuration file means one thing, whichever dialect it has and through whichever door it is read."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from mobilebert_core import MobileBertConfig
from mobilebert_core.checkpoints.configurations import ConfigFile, google_json_config
from mobilebert_core.errors import ConfigError

# Google's own files: of the IB-BERT teacher, and of MobileBERT itself.
TEACHER = {
    "vocab_size": 30522, "hidden_size": 512, "embedding_size": 128, "intra_bottleneck_size": 1024,
    "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 4, "hidden_act": "gelu",
    "max_position_embeddings": 512, "type_vocab_size": 2, "trigram_input": True, "use_bottleneck": True,
}  # fmt: skip
STUDENT = {
    **TEACHER, "intra_bottleneck_size": 128, "intermediate_size": 512, "hidden_act": "relu",
    "key_query_shared_bottleneck": True, "num_feedforward_networks": 4, "normalization_type": "no_norm",
    "use_bottleneck_attention": False, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02, "classifier_activation": False,
}  # fmt: skip
BERT = {
    "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "hidden_act": "gelu", "max_position_embeddings": 512, "type_vocab_size": 2,
}  # fmt: skip
DOORS = {
    "file": MobileBertConfig.from_pretrained,
    "directory": lambda path: MobileBertConfig.from_pretrained(path.parent),
    "json": MobileBertConfig.from_json_file,
    "checkpoint": lambda path: ConfigFile(path).configuration(),
    "TF1": lambda path: google_json_config(ConfigFile(path)),
}


@pytest.fixture(params=DOORS)
def read(request, tmp_path):
    def read(values):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(values))
        return DOORS[request.param](path)

    return read


def test_googles_files_mean_what_googles_code_makes_of_them(read):
    teacher = read(TEACHER)
    assert teacher.num_feedforward_networks == 1 and teacher.normalization_type == "layer_norm"
    assert not teacher.key_query_shared_bottleneck and teacher.hidden_act == "gelu_new"
    student = read(STUDENT)
    assert student.num_feedforward_networks == 4 and student.normalization_type == "no_norm"
    assert student.key_query_shared_bottleneck and student.hidden_act == "relu"


def test_files_of_transformers_keep_their_defaults(read):
    for sign in ({"model_type": "mobilebert"}, {"layer_norm_eps": 1e-12}, {"architectures": ["MobileBertModel"]}):
        config = MobileBertConfig.from_dict({**TEACHER, **sign})
        assert config.num_feedforward_networks == 4 and config.hidden_act == "gelu"
        if "model_type" in sign:
            assert read({**TEACHER, **sign}).num_feedforward_networks == 4


def test_a_bert_is_refused(read):
    with pytest.raises(ConfigError, match="configuration of a BERT.*no model_type.*intra_bottleneck_size"):
        read(BERT)
    with pytest.raises(ConfigError, match="configuration of a BERT"):
        read({**BERT, "layer_norm_eps": 1e-12, "pad_token_id": 0})
    assert read({**BERT, "model_type": "mobilebert", "num_attention_heads": 4}).hidden_size == 768


@pytest.mark.parametrize(
    ("values", "model"),
    [
        ({**BERT, "embedding_size": 128, "inner_group_num": 1, "net_structure_type": 0}, "an ALBERT.*inner_group_num"),
        ({"dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072, "vocab_size": 30522}, "a DistilBERT"),
        ({**TEACHER, "architectures": ["BertForMaskedLM"]}, "BertForMaskedLM: it has no model_type"),
    ],
)
def test_other_models_are_refused(read, values, model):
    with pytest.raises(ConfigError, match=f"configuration of {model}"):
        read(values)
    assert read({**values, "model_type": "mobilebert", "num_attention_heads": 4}).num_attention_heads == 4


def test_nearly_a_field_is_named(read, caplog):
    values = {"model_type": "mobilebert", "bottleneck_size": 64, "my_own_key": 1}
    config = read(values)
    assert "no field 'bottleneck_size'" in caplog.text and "Did it mean 'intra_bottleneck_size'?" in caplog.text
    assert "my_own_key" not in caplog.text
    assert config.intra_bottleneck_size == 128 and config.bottleneck_size == 64
    caplog.clear()
    read({**values, "intra_bottleneck_size": 128})  # the field itself is there
    assert not caplog.text


def test_keys_of_the_users_own_may_be_assigned(read, tmp_path):
    config = read({"model_type": "mobilebert", "my_own_key": 1})
    config.my_own_key = 2
    config.update({"my_own_key": config.my_own_key + 1})
    copied = config.copy(my_own_key=4)
    assert (config.my_own_key, copied.my_own_key) == (3, 4)
    copied.save_pretrained(tmp_path / "saved")
    again = MobileBertConfig.from_pretrained(tmp_path / "saved", my_own_key=5)
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["my_own_key"] == 4 and again.my_own_key == 5
    with pytest.raises(ConfigError, match="has no field 'my_own_kex'"):
        config.my_own_kex = 3
    with pytest.raises(ConfigError, match="has no field 'my_own_kex'"):
        config.update({"my_own_kex": 3})
    again = MobileBertConfig(**config.to_dict())
    assert again == config and again.my_own_key == 3
    with pytest.raises(ConfigError, match="has no field 'my_own_key'"):
        MobileBertConfig(my_own_key=3)  # a keyword of a call, not a key of a file
    del config.my_own_key
    assert "my_own_key" not in config.to_dict()
    with pytest.raises(ConfigError, match="got the field 'hidden_size'"):
        del config.hidden_size


class DerivedConfig(MobileBertConfig):
    """As scripts for transformers write one: with a field before and one after the constructor of the library."""

    def __init__(self, depth=3, *, weights=(1, 2), **kwargs):
        self.weights = list(weights)
        super().__init__(**kwargs)
        self.depth = depth


def test_a_derived_class_keeps_what_its_constructor_takes(tmp_path):
    config = DerivedConfig(depth=5, hidden_size=48)
    config.weights = [3]
    config.save_pretrained(tmp_path)
    again = DerivedConfig.from_pretrained(tmp_path, vocab_size=97)
    assert (again.depth, again.weights, again.hidden_size, again.vocab_size) == (5, [3], 48, 97)
    assert copy.deepcopy(config) == pickle.loads(pickle.dumps(config)) == config != DerivedConfig(hidden_size=48)
    assert DerivedConfig.from_pretrained(tmp_path, depth=7).depth == config.copy(depth=7).depth == 7
    assert MobileBertConfig.from_pretrained(tmp_path).depth == 5
    for wrong in (lambda: DerivedConfig(dept=5), lambda: setattr(config, "dept", 5)):
        with pytest.raises(ConfigError, match="has no field 'dept'"):
            wrong()
