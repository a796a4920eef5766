"""Google's TF1 checkpoints: names, extras that no model has, and the configurations they come with."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from conversion.parity.sample import random_checkpoint
from mobilebert_core.checkpoints.containers.tensor_bundle.bundle_writer import write_bundle
from mobilebert_core.checkpoints.detect_heads import natural_head
from mobilebert_core.checkpoints.names.google import google_config, google_fields, google_names
from mobilebert_core.checkpoints.opening import open_checkpoint
from mobilebert_core.checkpoints.plan import plan_loading
from mobilebert_core.checkpoints.tensor_info import TensorInfo
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import CheckpointError, CheckpointNotFoundError, ConfigError
from mobilebert_core.heads import HEADS
from mobilebert_core.weights import every_weight, weight_table
from tests.tiny import BRANCHES, tiny_config

FACTS = Path(os.environ.get("MOBILEBERT_DATA", "absent")) / "checkpoint_facts"
needs_facts = pytest.mark.skipif(
    not FACTS.is_dir(), reason="needs checkpoint_facts in the folder that MOBILEBERT_DATA names"
)


class Listed:
    """A file of which only names and shapes are known."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stored = {}
        for line in path.read_text().splitlines():
            name, shape, *_ = line.split("\t")
            sizes = () if shape == "-" else tuple(int(size) for size in shape.split("x"))
            self.stored[name] = TensorInfo(sizes, "float32")

    def read(self, name: str) -> np.ndarray:
        raise AssertionError("nothing is to be read")


def drawn(config, head, directory):
    """Random weights of a model: under our names, and as TF1 stores them."""
    file = open_checkpoint(random_checkpoint(config, HEADS[head], directory)).weights(config)
    table = weight_table(config, HEADS[head])
    ours = {weight.name: file.read(weight.full_name) for weight in table if weight.tied_to is None}
    stored = [(weight, file.read(weight.full_name)) for weight in table if weight.tf1 is not None]
    return ours, {weight.tf1: array.T if "tf1" in weight.transposed else array for weight, array in stored}


def arrays_of(config, head="PreTraining", directory=None):
    return drawn(config, head, directory)[1]


@needs_facts
@pytest.mark.parametrize(("kind", "dropped"), [("float", 1), ("qat", 1 + 3168)])
def test_googles_real_checkpoints_are_covered(kind, dropped):
    """1,113 weights of the released SQuAD models, each in its place with its shape, and every other name explained."""
    config = MobileBertConfig.from_preset("mobilebert")
    file = google_names(Listed(FACTS / kind / "tensors.tsv"), every_weight(config))
    assert len(file.stored) == 1113 and not file.unknown and len(file.dropped) == dropped
    head = natural_head(file, config)
    plan = plan_loading(file, config, head)
    assert (
        head.name == "QuestionAnswering"
        and len(plan.sources) == 1113
        and not plan.newly_initialized
        and not plan.unused
    )
    assert file.dropped["global_step"] == "training step"
    reasons = {reason for name, reason in file.dropped.items() if name != "global_step"}
    assert reasons == ({"range of quantization-aware training"} if kind == "qat" else set())


@needs_facts
def test_a_published_architecture_needs_no_json(tmp_path):
    index = tmp_path / "variables.index"
    index.write_bytes((FACTS / "float/variables.index").read_bytes())
    assert open_checkpoint(tmp_path).config() == MobileBertConfig.from_preset("mobilebert")
    assert open_checkpoint(tmp_path / "variables").config(num_hidden_layers=24).hidden_act == "relu"


@pytest.mark.parametrize("head", ["PreTraining", "SequenceClassification", "QuestionAnswering"])
@pytest.mark.parametrize("branch", ["released", "pooler", "bottleneck_attention", "teacher", "layer_norm", "one_ffn",
                                    "six_ffn", "no_bottleneck", "no_trigram"])  # fmt: skip
def test_every_layout_loads(backend, tmp_path, head, branch):
    config = tiny_config(**{"num_labels": 5, **BRANCHES[branch]} if head[0] == "S" else BRANCHES[branch])
    ours, arrays = drawn(config, head, tmp_path / "ours")
    extras = {
        "global_step": np.int64(7),
        "bert/encoder/layer_0/output/dense/kernel/adam_m": np.zeros((3, 2), np.float32),
        "bert/encoder/layer_0/output/dense/kernel/adam_v": np.zeros((3, 2), np.float32),
        "teacher/bert/embeddings/word_embeddings": np.zeros((3, 2), np.float32),
        "beta1_power": np.float32(0.9),
    }
    write_bundle(tmp_path / "theirs/model.ckpt-7", {**arrays, **extras})
    values = config.to_dict()
    for field in ("model_type", "true_hidden_size", "id2label", "label2id", "layer_norm_eps", "tie_word_embeddings"):
        values.pop(field, None)
    (tmp_path / "theirs/uncased.json").write_text(json.dumps(values))
    found = backend.load(head, tmp_path / "theirs")
    assert found.config.num_labels == config.num_labels
    theirs = backend.parameters(found)
    assert ours.keys() == theirs.keys() and all(np.array_equal(ours[n], theirs[n]) for n in ours)
    for name in ("model.ckpt-7", "model.ckpt-7.index"):  # both are the checkpoint that the directory is
        one, other = open_checkpoint(tmp_path / "theirs"), open_checkpoint(tmp_path / "theirs" / name)
        assert one.file.path == other.file.path and one.config() == other.config()


def test_every_extra_is_named_with_its_reason(tmp_path):
    config = tiny_config()
    kernel = "bert/encoder/layer_1/attention/self/key/kernel"
    extras = {
        "global_step": "training step",
        f"{kernel}/adam_v": "optimizer slot",
        f"{kernel}/LAMBOptimizer_1": "optimizer slot",
        "teacher/bert/pooler/dense/bias": "weight of the teacher",
        "bert/encoder/layer_1/attention/self/MobileBertActFakeQuantWithMinMaxVars_3/max": (
            "range of quantization-aware training"
        ),
    }
    file = Listed(_written(tmp_path, [*extras, kernel, "bert/encoder/layer_1/strange"]))
    seen = google_names(file, every_weight(config))
    assert seen.dropped == extras
    assert seen.unknown == ["bert/encoder/layer_1/strange"]


def _written(folder, names):
    path = folder / "tensors.tsv"
    path.write_text("".join(f"{name}\t2x3\n" for name in names))
    return path


def test_equal_values_are_not_taken_for_one_weight(backend, tmp_path):
    """In the released model attention/output/dense/bias and bottleneck/input/FakeLayerNorm/beta are equal."""
    config = tiny_config()
    arrays = arrays_of(config, "MaskedLM", tmp_path / "drawn")
    for layer in range(config.num_hidden_layers):
        place = f"bert/encoder/layer_{layer}/"
        arrays[f"{place}attention/output/dense/bias"] = arrays[f"{place}bottleneck/input/FakeLayerNorm/beta"]
    write_bundle(tmp_path / "theirs/m.ckpt", arrays)
    model = backend.load("MaskedLM", tmp_path / "theirs", config=config)
    model.save_pretrained(tmp_path / "again")
    found = backend.parameters(backend.load("MaskedLM", tmp_path / "again"))
    for layer in range(config.num_hidden_layers):
        place = f"mobilebert.encoder.layer.{layer}."
        bias, beta = f"{place}attention.output.dense.bias", f"{place}bottleneck.input.LayerNorm.bias"
        assert np.array_equal(found[bias], found[beta]) and np.array_equal(
            found[bias], arrays[f"bert/encoder/layer_{layer}/attention/output/dense/bias"]
        )


def test_what_googles_json_leaves_out_has_googles_defaults():
    teacher = google_config(
        {"vocab_size": 97, "hidden_size": 48, "hidden_act": "gelu", "num_attention_heads": 4, "num_hidden_layers": 2,
         "embedding_size": 20, "trigram_input": True, "use_bottleneck": True, "intra_bottleneck_size": 64}
    )  # fmt: skip
    assert teacher.hidden_act == "gelu_new" and teacher.normalization_type == "layer_norm"
    assert not teacher.key_query_shared_bottleneck and teacher.num_feedforward_networks == 1
    assert teacher.classifier_activation and teacher.type_vocab_size == 16 and teacher.intermediate_size == 3072
    spelled_out = google_config({"vocab_size": 97, "normalization_type": "manual_layer_norm"})
    assert (spelled_out.normalization_type, spelled_out.layer_norm_eps) == ("layer_norm", 1e-6)
    assert spelled_out.embedding_size == spelled_out.intra_bottleneck_size == spelled_out.hidden_size == 768


@pytest.mark.parametrize("branch", ["released", "teacher", "bottleneck_attention", "no_bottleneck", "relu6"])
def test_our_json_means_the_same_to_google(branch):
    config = tiny_config(**BRANCHES[branch])
    again = google_config(google_fields(config)).to_dict()
    assert {n: v for n, v in again.items() if n in google_fields(config)} == {
        n: v for n, v in config.to_dict().items() if n in google_fields(config)
    }


@pytest.mark.parametrize("name", ["gelu_new", "gelu_pytorch_tanh", "gelu_tanh"])
def test_every_name_of_one_function_is_googles(name):
    assert google_fields(tiny_config(hidden_act=name))["hidden_act"] == "gelu"


@pytest.mark.parametrize("fields", [{"hidden_act": "silu"}, {"hidden_act": "gelu"}, {"pruned_heads": {0: [1]}}])
def test_what_googles_code_cannot_build(fields):
    with pytest.raises(CheckpointError, match="Google's TF1 code has no"):
        google_fields(tiny_config(**fields))


def test_no_configuration_and_no_published_architecture(tmp_path):
    write_bundle(tmp_path / "m.ckpt", arrays_of(tiny_config(), "Model", tmp_path / "drawn"))
    (tmp_path / "drawn").rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointNotFoundError, match="no configuration beside the checkpoint"):
        open_checkpoint(tmp_path).config()


def test_two_configurations_beside_it(tmp_path):
    write_bundle(tmp_path / "m.ckpt", {"global_step": np.int64(1)})
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text('{"vocab_size": 97, "hidden_size": 48}')
    with pytest.raises(CheckpointNotFoundError, match=r"got 2: a.json, b.json. Name one by config="):
        open_checkpoint(tmp_path).config()
    assert open_checkpoint(tmp_path).config(tmp_path / "a.json").hidden_size == 48
    (tmp_path / "a.json").write_text('{"vocab_size": 97, "hidden_size": -1}')
    with pytest.raises(ConfigError, match="a.json: .*hidden_size"):
        open_checkpoint(tmp_path).config(tmp_path / "a.json")
