from __future__ import annotations

import copy
import json
import pickle

import pytest

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import ACTIVATIONS
from mobilebert_core.configuration.json_dialect import INERT_FIELDS
from mobilebert_core.configuration.presets import PRESETS
from mobilebert_core.errors import CheckpointError, CheckpointNotFoundError, ConfigError
from mobilebert_core.heads import HEADS
from mobilebert_core.weights import parameter_count, weight_table

# config.json of google/mobilebert-uncased, as two independent copies of it agree.
RELEASED = {
    "attention_probs_dropout_prob": 0.1, "classifier_activation": False, "embedding_size": 128, "hidden_act": "relu",
    "hidden_dropout_prob": 0.0, "hidden_size": 512, "initializer_range": 0.02, "intermediate_size": 512,
    "intra_bottleneck_size": 128, "key_query_shared_bottleneck": True, "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512, "model_type": "mobilebert", "normalization_type": "no_norm",
    "num_attention_heads": 4, "num_feedforward_networks": 4, "num_hidden_layers": 24, "pad_token_id": 0,
    "trigram_input": True, "true_hidden_size": 128, "type_vocab_size": 2, "use_bottleneck": True,
    "use_bottleneck_attention": False, "vocab_size": 30522,
}  # fmt: skip


# Of PyTorch's models in transformers 4.37.2, by its table ACT2FN.
ACTIVATIONS_OF_TRANSFORMERS = {
    "gelu", "gelu_10", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh", "gelu_accurate", "laplace",
    "linear", "mish", "quick_gelu", "relu", "relu2", "relu6", "sigmoid", "silu", "swish", "tanh",
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_file_names_an_activation_as_transformers_does(name, tmp_path):
    config = MobileBertConfig(hidden_act=name)
    for use_diff in (False, True):
        config.to_json_file(tmp_path / "config.json", use_diff)
        written = json.loads((tmp_path / "config.json").read_text())["hidden_act"]
        assert written in ACTIVATIONS_OF_TRANSFORMERS and ACTIVATIONS[written] == ACTIVATIONS[name]
        assert written == name or name not in ACTIVATIONS_OF_TRANSFORMERS
    assert MobileBertConfig.from_pretrained(tmp_path) == config


def test_the_released_model_is_the_first_preset():
    assert MobileBertConfig.from_dict(RELEASED) == MobileBertConfig.from_preset("mobilebert")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_their_published_size(name):
    config = MobileBertConfig.from_preset(name)
    assert parameter_count(weight_table(config, HEADS["Model"], pooler=False)) == PRESETS[name].encoder_parameters


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'mobilebert-tiny'"):
        MobileBertConfig.from_preset("mobilebert_tiny")


def test_positional_order_is_that_of_the_documentation():
    config = MobileBertConfig(100, 64, 3, 2, 40)
    assert (config.vocab_size, config.hidden_size, config.num_hidden_layers) == (100, 64, 3)
    assert (config.num_attention_heads, config.intermediate_size) == (2, 40)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"vocab_size": 0}, "vocab_size must be a whole number of at least 1, got 0"),
        ({"hidden_size": 512.0}, "hidden_size must be a whole number"),
        ({"num_feedforward_networks": 0}, "num_feedforward_networks must be a whole number of at least 1"),
        ({"use_bottleneck": False, "hidden_size": 510}, "hidden_size 510 is not divisible by num_attention_heads 4"),
        ({"num_attention_heads": 3}, "intra_bottleneck_size 128 is not divisible by num_attention_heads 3"),
        ({"hidden_act": "swoosh"}, "hidden_act must be one of 'relu'"),
        ({"hidden_act": len}, "hidden_act must be one of"),
        ({"normalization_type": "batch_norm"}, "normalization_type must be one of 'no_norm', 'layer_norm'"),
        ({"problem_type": "ranking"}, "problem_type must be one of"),
        ({"trigram_input": "yes"}, "trigram_input must be True or False, got 'yes'"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob must be a number from 0 up to"),
        ({"pad_token_id": 30522}, "pad_token_id must be None or an id below vocab_size 30522"),
        ({"hidden_sise": 3}, "no field 'hidden_sise' .did you mean 'hidden_size'"),
        ({"num_labels": 5, "id2label": {0: "a", 1: "b", 2: "c"}}, "num_labels is 5 but the label maps name 3 labels"),
        ({"num_labels": 0}, "num_labels must be a whole number of at least 1"),
        ({"id2label": {0: "a"}, "label2id": {"b": 0}}, "label2id .* is not the inverse"),
        ({"model_type": "bert"}, "model_type is 'bert'.*configuration of another model"),
        ({"dtype": "int8"}, "dtype must be one of"),
    ],
)
def test_what_is_wrong_is_said(wrong, message):
    with pytest.raises(ConfigError, match=message):
        MobileBertConfig(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden_size": 0}, "hidden_size must be a whole number of at least 1, got 0"),
        ({"pruned_heads": {30: [0]}}, "pruned_heads names layer 30"),
        ({"pruned_heads": {0: [0, 1, 2, 3]}}, "leaves no attention head in layer 0"),
        ({"pruned_heads": {"first": [0]}}, "pruned_heads maps layers to lists of heads"),
    ],
)
def test_what_no_model_can_be_built_from_is_said(wrong, message):
    """A configuration may hold these while it is filled in; a model may not."""
    with pytest.raises(ConfigError, match=message):
        MobileBertConfig(**wrong).validate()


def test_everything_wrong_is_said_at_once():
    with pytest.raises(ConfigError, match=r"vocab_size.*hidden_act"):
        MobileBertConfig(vocab_size=-1, hidden_act="x")


def test_assignment_is_checked_and_undone():
    config = MobileBertConfig()
    with pytest.raises(ConfigError, match="hidden_size"):
        config.hidden_size = -1
    assert config.hidden_size == 512
    with pytest.raises(ConfigError, match="did you mean 'num_labels'|no field"):
        config.num_label = 3


def test_true_hidden_size_is_never_trusted():
    config = MobileBertConfig.from_dict({**RELEASED, "true_hidden_size": 999})
    assert config.true_hidden_size == 128
    config.use_bottleneck = False
    assert config.true_hidden_size == 512
    assert config.to_dict()["true_hidden_size"] == 512


def test_labels_follow_each_other():
    config = MobileBertConfig(id2label={"0": "no", "1": "yes", "2": "maybe"})
    assert (config.num_labels, config.label2id) == (3, {"no": 0, "yes": 1, "maybe": 2})
    config.num_labels = 2
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert MobileBertConfig(label2id={"no": 0, "yes": 1}).id2label == {0: "no", 1: "yes"}


def test_num_labels_wins_over_a_file(tmp_path):
    MobileBertConfig(id2label={0: "a", 1: "b", 2: "c"}).save_pretrained(tmp_path)
    assert MobileBertConfig.from_pretrained(tmp_path).num_labels == 3
    assert MobileBertConfig.from_pretrained(tmp_path, num_labels=3).id2label[2] == "c"
    assert MobileBertConfig.from_pretrained(tmp_path, num_labels=5).id2label[4] == "LABEL_4"
    assert MobileBertConfig.from_pretrained(tmp_path, id2label={0: "x"}).num_labels == 1


@pytest.mark.parametrize("spelling", ["torch_dtype", "dtype"])
def test_both_spellings_of_dtype(spelling):
    config = MobileBertConfig.from_dict({**RELEASED, spelling: "float16"})
    assert config.dtype == "float16" and str(config.torch_dtype).removeprefix("torch.") == "float16"
    assert config.to_dict()["torch_dtype"] == "float16"


def test_json_survives(tmp_path):
    config = MobileBertConfig(num_labels=3, pruned_heads={1: [0, 2]}, problem_type="regression", finetuning_task="x")
    config.save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text()
    assert text.endswith("}\n") and list(json.loads(text)) == sorted(json.loads(text))
    again = MobileBertConfig.from_pretrained(tmp_path)
    assert again == config and again.pruned_heads == {1: [0, 2]} and again.finetuning_task == "x"


def test_unknown_keys_of_a_file_are_kept(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**RELEASED, "total_flos": 17}))
    config = MobileBertConfig.from_pretrained(tmp_path)
    assert config.total_flos == 17 and config.to_dict()["total_flos"] == 17


def test_unknown_keywords_come_back_when_asked():
    config, unused = MobileBertConfig.from_dict(RELEASED, return_unused_kwargs=True, num_labels=3, colour="red")
    assert unused == {"colour": "red"} and config.num_labels == 3


def test_copies_are_equal_and_apart():
    config = MobileBertConfig(num_labels=4)
    for other in (copy.deepcopy(config), pickle.loads(pickle.dumps(config)), config.copy()):
        assert other == config
        other.id2label[0] = "changed"
        assert config.id2label[0] == "LABEL_0"


def test_update_is_all_or_nothing():
    config = MobileBertConfig()
    with pytest.raises(ConfigError):
        config.update({"hidden_size": 256, "hidden_act": "x"})
    assert config.hidden_size == 512
    config.update({"intra_bottleneck_size": 96, "num_attention_heads": 3})
    assert config.head_size == 32


def test_fields_of_every_model_are_accepted():
    config = MobileBertConfig(**INERT_FIELDS)
    assert all(getattr(config, name) == value for name, value in INERT_FIELDS.items())


@pytest.mark.parametrize(("text", "message"), [("{", "ends or breaks off"), ("[]", "wanted a JSON object")])
def test_a_damaged_file_is_named(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RuntimeError, match=f"config.json.*{message}"):
        MobileBertConfig.from_pretrained(tmp_path)


def test_a_missing_file_says_what_is_there(tmp_path):
    (tmp_path / "model.bin").touch()
    with pytest.raises(CheckpointNotFoundError, match=r"config.json: file not found; the directory holds model.bin"):
        MobileBertConfig.from_pretrained(tmp_path)
    with pytest.raises(OSError, match="no such directory"):
        MobileBertConfig.from_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_labels": 10**9}, "num_labels must be at most 1000000, got 1000000000"),
        ({"id2label": {"0": ["a"], "1": "b"}}, "id2label maps numbers to names, got the name .'a'."),
        ({"id2label": {"0": {}, "1": "b"}}, "id2label maps numbers to names"),
        ({"label2id": {"a": 1e400}}, "id2label maps numbers to names"),
        ({"id2label": ["a", "b"]}, "id2label is a list, pass a dict"),
    ],
)
def test_label_maps_of_damaged_files(fields, message):
    with pytest.raises(ConfigError, match=message):
        MobileBertConfig.from_dict({"model_type": "mobilebert", **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vocab_size": 10**12}, "about .* parameters, wanted at most"),
        ({"vocab_size": 10**400}, "about 1e[+]308 parameters, wanted at most"),
        ({"initializer_range": 10**400}, "initializer_range must be a number"),
        ({"max_position_embeddings": 10**11}, "about .* parameters"),
        ({"intermediate_size": 10**10}, "about .* parameters"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers 1000000000 times"),
        ({"num_feedforward_networks": 10**8}, "num_feedforward_networks 100000000 is above"),
    ],
)
def test_sizes_that_no_model_has_are_found_before_it_is_built(fields, message):
    with pytest.raises(ConfigError, match=message):
        MobileBertConfig(**fields).validate()


@pytest.mark.parametrize("value", [[1], 5, "a", {0: 1}, {0: "a"}, {"a": [0]}, {0: [None]}, {0: [1.5]}])
def test_pruned_heads_that_are_no_mapping_of_heads(value):
    with pytest.raises(ConfigError, match="pruned_heads maps layers to lists of heads"):
        MobileBertConfig(pruned_heads=value)  # before a table of weights is made of it


def test_what_scripts_for_transformers_ask_of_a_configuration():
    config = MobileBertConfig(hidden_size=256)
    assert config.get_text_config(decoder=True) is config and config.to_diff_dict() == config.to_dict()
    assert MobileBertConfig.from_dict(config.to_diff_dict()) == config


def test_update_from_string():
    config = MobileBertConfig()
    config.update_from_string("hidden_dropout_prob=0.3,trigram_input=False,hidden_act=gelu,hidden_size=256")
    assert (config.hidden_dropout_prob, config.trigram_input, config.hidden_act, config.hidden_size) == (
        0.3, False, "gelu", 256,
    )  # fmt: skip
    for text in ("hidden_size=64,hidden_act", "hidden_size=64,trigram_input=maybe", "hidden_size=many", "id2label=x"):
        with pytest.raises(ConfigError, match="update_from_string"):
            config.update_from_string(text)
    assert config.hidden_size == 256


def test_a_key_twice_in_a_file(tmp_path):
    (tmp_path / "config.json").write_text('{"hidden_size": 64, "id2label": {"0": "a", "0": "b"}}')
    with pytest.raises(CheckpointError, match=r"config.json: wanted different keys in a JSON object, got '0' twice"):
        MobileBertConfig.from_pretrained(tmp_path)
