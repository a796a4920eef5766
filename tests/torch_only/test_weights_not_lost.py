"""What a model holds beside what its configuration says: a file would lose it, so that saving refuses."""

from __future__ import annotations

import copy

import pytest
import torch

from mobilebert_core.errors import CheckpointError, ConfigError
from mobilebert_torch import MODEL_CLASSES, fold
from tests.tiny import tiny_config


def tiny_model(name, **fields):
    return MODEL_CLASSES[name](tiny_config(num_hidden_layers=1, **fields)).eval()


def another_layer(model):
    model.mobilebert.encoder.layer.append(copy.deepcopy(model.mobilebert.encoder.layer[0]))


def another_part(model):
    model.classifier.scale = torch.nn.Parameter(torch.ones(2))


def sparse(model):
    model.classifier.weight = torch.nn.Parameter(model.classifier.weight.detach().to_sparse())


class Held(torch.Tensor):
    """A tensor that holds its values in another one, as those of torchao and of FSDP2 do."""

    @staticmethod
    def __new__(cls, values):
        return torch.Tensor._make_wrapper_subclass(cls, values.shape, dtype=values.dtype)

    def __init__(self, values):
        self.values_held = values

    def __tensor_flatten__(self):
        return ["values_held"], None

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        """Copies and detached ones are itself."""
        return args[0]


class Spread(Held):
    def full_tensor(self):
        return self.values_held


def held(model, kind=Held):
    weight = kind(model.classifier.weight.detach())
    model.classifier.weight = torch.nn.Parameter(weight, requires_grad=False)


def spread(model):
    held(model, Spread)


def packed(model):
    linear = {torch.nn.Linear}
    torch.ao.quantization.quantize_dynamic(model, linear, dtype=torch.qint8, inplace=True)


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor, :UserWarning")
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True to a scalar:UserWarning")
@pytest.mark.parametrize("safe_serialization", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (another_layer, r"holds \d+ weights that its class and configuration do not have, the first .*layer\.1\."),
        (another_part, r"holds 1 weights .* the first classifier\.scale.* derived from it"),
        (sparse, r"wanted dense tensors, got classifier\.weight with the layout torch\.sparse_coo.*to_dense"),
        (held, r"wanted dense tensors, got classifier\.weight as Held.*before it is quantized.*dequantize\(\)"),
        (spread, r"wanted dense tensors, got classifier\.weight as Spread.*several processes.*get_model_state_dict"),
        (packed, r"_packed_params.* to a .*quantized hold packed integers: save the model before it is quantized"),
    ],
)
def test_what_a_file_would_not_hold_is_named(tmp_path, change, message, safe_serialization):
    model = tiny_model("TokenClassification")
    change(model)
    with pytest.raises(CheckpointError, match=message):
        model.save_pretrained(tmp_path / "saved", safe_serialization=safe_serialization)
    assert not (tmp_path / "saved").exists()


def test_a_model_whose_values_numpy_cannot_read_is_not_folded():
    for change in (sparse, held):
        model = tiny_model("TokenClassification")
        change(model)
        with pytest.raises(ConfigError, match=r"wanted dense tensors, got classifier\.weight as a .* Fold the model"):
            fold(model)


def test_a_tied_decoder_that_was_trained_apart(tmp_path):
    """`load_state_dict(assign=True)` unties the decoder, as PyTorch documents."""
    model = tiny_model("MaskedLM")
    model.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()}, assign=True)
    model.save_pretrained(tmp_path / "equal")  # apart, with the same values
    with torch.no_grad():
        model.cls.predictions.decoder.weight.mul_(2)
    for state in (None, model.state_dict()):
        with pytest.raises(CheckpointError, match=r"decoder\.weight is tied to .*word_embeddings\.weight.*tie_weights"):
            model.save_pretrained(tmp_path / "saved", state_dict=state)
    assert not (tmp_path / "saved").exists()
    ids = torch.ones((1, 5), dtype=torch.long)
    expected = model(ids).logits
    model.config.tie_word_embeddings = False
    model.save_pretrained(tmp_path / "both")
    assert torch.equal(type(model).from_pretrained(tmp_path / "both")(ids).logits, expected)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(tmp_path / "tied")
    assert torch.equal(type(model).from_pretrained(tmp_path / "tied")(ids).logits, model(ids).logits)
