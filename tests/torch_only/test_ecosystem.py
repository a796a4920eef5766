"""Facts that libraries around PyTorch's models rely on: instances, pickles, wrappers, learning rates, devices."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import transformers
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    apply_activation_checkpointing,
    checkpoint_wrapper,
)
from torch.nn.utils import parametrizations, prune

import mobilebert_torch
from mobilebert_core import DEMO_MODEL, AutoTokenizer
from mobilebert_core.errors import CheckpointError, ConfigError, InputError
from mobilebert_torch import MobileBertForSequenceClassification, MobileBertLayer, fold
from mobilebert_torch.inference import device_of
from tests.tiny import tiny_config

pytestmark = pytest.mark.filterwarnings(r"ignore::Warning:transformers(\.|$)")


def tiny_model():
    return MobileBertForSequenceClassification(tiny_config(num_hidden_layers=1)).eval()


def test_instances_are_those_of_transformers_too_and_nothing_else_changes():
    model, tokenizer = tiny_model(), AutoTokenizer.from_pretrained(DEMO_MODEL)
    output = model(torch.ones((1, 3), dtype=torch.long)).copy()
    output["logits"] = output["logits"].detach()
    for ours, theirs in (
        (model, transformers.PreTrainedModel),
        (model.config, transformers.PretrainedConfig),
        (tokenizer, transformers.PreTrainedTokenizerBase),
        (output, transformers.utils.ModelOutput),
    ):
        assert isinstance(ours, theirs) and isinstance(ours, type(ours)) and not isinstance(ours, torch.nn.Linear)
        assert type(ours).__mro__.count(theirs) == 0 and ours.__class__.__name__ == type(ours).__name__
        for other in (copy.copy(ours), copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
            assert type(other) is type(ours)
    assert type(model.__class__(model.config)) is MobileBertForSequenceClassification
    assert type(model.config.__class__(**tiny_config().to_dict())) is type(model.config)


def test_a_wrapped_block_changes_no_name_in_files(tmp_path):
    model = tiny_model()
    expected = model.state_dict()
    apply_activation_checkpointing(
        model, checkpoint_wrapper_fn=checkpoint_wrapper, check_fn=lambda module: isinstance(module, MobileBertLayer)
    )
    model.save_pretrained(tmp_path)
    wrapped = {name.replace("layer.0.", "layer.0._checkpoint_wrapped_module."): t for name, t in expected.items()}
    model.save_pretrained(tmp_path / "passed", state_dict=wrapped)
    loaded = MobileBertForSequenceClassification.from_pretrained(None, config=model.config, state_dict=wrapped)
    for other in (MobileBertForSequenceClassification.from_pretrained(p) for p in (tmp_path, tmp_path / "passed")):
        for name, value in expected.items():
            assert torch.equal(other.state_dict()[name], value) and torch.equal(loaded.state_dict()[name], value)


@pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), r"lacks 1 weights.*prune\.remove\(module, name\)"),
        (parametrizations.orthogonal, r"lacks 1 weights.*remove_parametrizations\(module, name\)"),
        (parametrizations.weight_norm, r"lacks 1 weights.*remove_parametrizations\(module, name\)"),
        (torch.nn.utils.spectral_norm, r"lacks 1 weights.*remove_spectral_norm\(module, name\)"),
        (torch.nn.utils.weight_norm, r"lacks 1 weights.*remove_weight_norm\(module, name\)"),
    ],
)
def test_a_reparametrized_weight_is_named_as_the_cause(tmp_path, change, message):
    model = tiny_model()
    change(model.classifier)
    with pytest.raises(CheckpointError, match=message):
        model.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_no_model_without_values_comes_from_a_file(checkpoint, tmp_path):
    path = checkpoint("SequenceClassification")
    with torch.device("meta"):
        with pytest.raises(ConfigError, match="wanted weights with values, got a model on the meta device"):
            MobileBertForSequenceClassification.from_pretrained(path)
        empty = tiny_model()
    with pytest.raises(CheckpointError, match="is on the meta device and has no values"):
        empty.save_pretrained(tmp_path / "saved")
    with pytest.raises(ConfigError, match="fold: wanted weights with values, got a .* on the meta device"):
        fold(empty)
    with pytest.raises(CheckpointError, match="is on the meta device and has no values"):
        MobileBertForSequenceClassification.from_pretrained(None, config=empty.config, state_dict=empty.state_dict())


@pytest.mark.parametrize("device", ["foo", "hpu", 99, [1]])
def test_a_device_that_is_not_here_is_said_in_one_sentence(device):
    with pytest.raises(InputError, match=r"^device: wanted one that PyTorch has here, such as cpu, got .{,350}$"):
        device_of(device)


@pytest.mark.parametrize("name", ["linear", "cosine", "constant"])
def test_learning_rates_are_those_of_transformers(name):
    name = f"get_{name}_schedule_with_warmup"
    arguments = (3,) if "constant" in name else (3, 11)
    found = []
    for library in (mobilebert_torch, transformers):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        schedule = getattr(library, name)(optimizer, *arguments)
        rates = []
        for _ in range(13):
            rates.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
        found.append(rates)
    assert found[0] == pytest.approx(found[1])


def test_masks_are_those_of_transformers():
    model = tiny_model()
    mask = torch.tensor([[1, 1, 0]])
    lowest = torch.finfo(torch.float32).min
    extended = model.get_extended_attention_mask(mask, mask.shape)
    assert extended.shape == (1, 1, 1, 3) and extended.flatten().tolist() == [0, 0, lowest]
    assert model.get_extended_attention_mask(mask[:, None].expand(1, 3, 3), None).shape == (1, 1, 3, 3)
    assert torch.equal(model.invert_attention_mask(mask), extended)
    assert model.get_extended_attention_mask(mask, dtype=torch.float16).dtype == torch.float16
    assert model.get_head_mask(None, 2) == [None, None]
    assert model.get_head_mask(torch.ones(4), 2).shape == (2, 1, 4, 1, 1)


def test_frozen_embeddings_let_gradients_through_when_asked():
    model = tiny_model()
    model.requires_grad_(False)
    ids = torch.ones((1, 3), dtype=torch.long)
    assert not model(ids).logits.requires_grad
    model.enable_input_require_grads()
    assert model(ids).logits.requires_grad
    model.disable_input_require_grads()
    assert not model(ids).logits.requires_grad


def test_symbolic_tracing_is_pointed_to_what_works():
    model, ids = tiny_model(), torch.ones((2, 3), dtype=torch.long)
    with pytest.raises(InputError, match=r"torch\.fx\.symbolic_trace.*torch\.export\.export\(model.*GraphModule"):
        torch.fx.symbolic_trace(model)

    class ProxyOfAnother(torch.fx.Proxy):  # as the tracers of transformers 4 and Optimum have
        pass

    with pytest.raises(InputError, match=r"torch\.fx\.symbolic_trace"):
        model(ProxyOfAnother(torch.fx.Graph().placeholder("input_ids")))
    graph = torch.export.export(model, (), {"input_ids": ids}).module()
    assert isinstance(graph, torch.fx.GraphModule)
    torch.testing.assert_close(graph(input_ids=ids)["logits"], model(ids).logits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m, "classifier", torch.nn.Sequential(torch.nn.Linear(48, 2))), "which was replaced or re"),
        (lambda m: setattr(m, "classifier", torch.nn.Linear(48, 7)), r"wanted \(2, 48\), got \(7, 48\).*num_labels"),
        (lambda m: m.mobilebert.encoder.layer.pop(0), "such as num_hidden_layers"),
    ],
)
def test_a_module_that_was_replaced_is_named_as_the_cause(tmp_path, change, message):
    model = tiny_model()
    change(model)
    with pytest.raises(CheckpointError, match=message):
        model.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_that_are_computed_are_not_resized():
    model = tiny_model()
    parametrizations.weight_norm(model.get_input_embeddings())
    with pytest.raises(ConfigError, match="resize_token_embeddings: .*ParametrizedEmbedding.*remove_parametrizations"):
        model.resize_token_embeddings(100)
    attention = model.mobilebert.encoder.layer[0].attention
    prune.l1_unstructured(attention.output.dense, "weight", 0.5)
    with pytest.raises(ConfigError, match="prune_heads: wanted modules that hold their weight"):
        model.prune_heads({0: [1]})
    assert model.config.vocab_size == 97 and attention.self.query.weight.shape == (32, 32)
    with pytest.raises(ConfigError, match="parameters, wanted at most"):
        tiny_model().resize_token_embeddings(10**12)


@pytest.mark.parametrize("options", [{"gradient_checkpointing_kwargs": {"reentrant": True}}, {"every_n_layers": 0},
                                     {"gradient_checkpointing_kwargs": 5}])  # fmt: skip
def test_options_of_checkpointing_are_checked_when_they_are_passed(options):
    model = tiny_model()
    with pytest.raises(ConfigError, match="gradient_checkpointing_enable: "):
        model.gradient_checkpointing_enable(**options)
    assert not model.is_gradient_checkpointing
    model.gradient_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": False, "debug": False})


def test_another_prefix_is_refused(checkpoint):
    """Its weights would be taken for the class's own, and none of the checkpoint's be loaded."""

    class Renamed(mobilebert_torch.MobileBertPreTrainedModel):
        base_model_prefix = "bert"

        def __init__(self, config):
            super().__init__(config)
            self.bert = mobilebert_torch.MobileBertModel(config)
            self.post_init()

    with pytest.raises(ConfigError, match="under the name `mobilebert`.*no base_model_prefix of its own"):
        Renamed.from_pretrained(checkpoint("Model"))


class Adapted(torch.nn.Module):
    """What PEFT puts around a module: the module, and something beside it."""

    def __init__(self, base_layer):
        super().__init__()
        self.base_layer, self.added = base_layer, torch.nn.Parameter(torch.ones(()))

    @property
    def weight(self):
        return self.base_layer.weight

    def forward(self, x):
        return self.base_layer(x) + self.added


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_adapters_around_embeddings_and_decoder_count(dtype):
    model = mobilebert_torch.MobileBertForMaskedLM(tiny_config(num_hidden_layers=1)).to(dtype).eval()
    ids = torch.ones((1, 3), dtype=torch.long)
    before = model(ids).logits
    tables = model.mobilebert.embeddings
    for owner, name in (
        (tables, "word_embeddings"), (tables, "position_embeddings"), (tables, "token_type_embeddings"),
        (model.cls.predictions, "decoder"),
    ):  # fmt: skip
        setattr(owner, name, Adapted(getattr(owner, name)))
        after = model(ids).logits
        assert not torch.equal(before, after), name
        before = after


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_table_of_another_kind_is_named_with_its_module():
    """It said that an Embedding was wanted and an Embedding came."""
    model = tiny_model()
    model.mobilebert.embeddings.word_embeddings = torch.ao.nn.quantized.Embedding(97, 20)
    with pytest.raises(ConfigError, match=r"wanted a torch.nn.Embedding, .* got torch.ao.nn.quantized.*\.Embedding"):
        model(torch.ones((1, 3), dtype=torch.long))
