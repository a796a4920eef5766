"""Hooks on modules, and modules around them, are called and count, in folded models as in those that were trained."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from mobilebert_core.errors import ConfigError
from mobilebert_torch import MODEL_CLASSES, fold
from mobilebert_torch.fake_quantization import FakeQuantization
from mobilebert_torch.watched import is_watched_inside
from tests.tiny import tiny_batch, tiny_config

BASES = (None, "block", "all", "half")


class Doubled(nn.Module):
    """What a user may put around a module."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, *arguments, **options):
        self.calls += 1
        return doubled(self.inner(*arguments, **options))


def doubled(value):
    if isinstance(value, dict):
        return type(value)({name: doubled(each) for name, each in value.items()})
    return tuple(map(doubled, value)) if isinstance(value, tuple) else None if value is None else value * 2


def watched_model(checkpoint, head, basis, dtype="float64", **changes):
    model = MODEL_CLASSES[head].from_pretrained(checkpoint(head, hidden_scale=1e4, **changes), dtype=dtype)
    batch = tiny_batch(model.config, head, labels=False)
    if basis is not None:
        model = fold(model, basis, batch if basis == "half" else None)
    return model.eval(), {name: torch.as_tensor(array) for name, array in batch.items()}


def logits(model, batch):
    with torch.no_grad():
        return model(**batch).logits


def replaced(model, name, module):
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("head", ["MaskedLM", "SequenceClassification"])
def test_every_module_is_called(checkpoint, head, basis):
    model, batch = watched_model(checkpoint, head, basis, classifier_activation=head == "SequenceClassification")
    before, seen = logits(model, batch), []
    for name, module in list(model.named_modules()):
        if not name or isinstance(module, nn.ModuleList) or (name.endswith("state") and "encoder.state" not in name):
            continue
        handle = module.register_forward_hook(lambda module, inputs, output: seen.append(1) or doubled(output))
        hooked = logits(model, batch)
        handle.remove()
        assert seen and not torch.equal(hooked, before), name
        around = Doubled(module)
        replaced(model, name, around)
        assert (logits(model, batch) - hooked).abs().max() < 1e-9 * hooked.abs().max() and around.calls, name
        replaced(model, name, module)
        seen.clear()
    assert torch.equal(logits(model, batch), before)


@pytest.mark.parametrize("basis", BASES)
def test_hooks_see_all_tokens_in_the_units_of_the_trained_model(checkpoint, basis):
    model, batch = watched_model(checkpoint, "SequenceClassification", basis)
    states, seen = model(**batch, output_hidden_states=True).hidden_states, {}
    places = {"base": model.mobilebert, "block": model.mobilebert.encoder.layer[-1].output}
    for name, module in places.items():
        module.register_forward_hook(lambda module, inputs, output, name=name: seen.update({name: output}))
    logits(model, batch)
    assert seen["block"].shape == states[-1].shape
    assert (seen["base"].last_hidden_state - states[-1]).abs().max() < 1e-12 * states[-1].abs().max()


def test_a_block_in_the_place_of_another_counts(checkpoint):
    """After the blocks were computed as one function."""
    model, batch = watched_model(checkpoint, "TokenClassification", "all")
    whole, layers = logits(model, batch), model.mobilebert.encoder.layer
    layers[1] = around = Doubled(layers[1])
    assert not torch.equal(logits(model, batch), whole) and around.calls == 1
    layers[1] = around.inner
    model.mobilebert.encoder.layer = layers[:1]
    shorter, _ = watched_model(checkpoint, "TokenClassification", None)
    shorter.mobilebert.encoder.layer = shorter.mobilebert.encoder.layer[:1]
    wanted = logits(shorter, batch)
    assert (logits(model, batch) - wanted).abs().max() < 1e-9 * wanted.abs().max()


def test_what_a_folded_model_cannot_do_is_said(checkpoint):
    model, batch = watched_model(checkpoint, "TokenClassification", "half")
    place, layers = model.mobilebert.encoder.layer[0].output, model.mobilebert.encoder.layer
    norm, place.LayerNorm = place.LayerNorm, nn.Tanh()
    with pytest.raises(ConfigError, match=r"Tanh in the place of a LayerNorm: wanted forward\(x, residual\), got"):
        model(**batch)
    place.LayerNorm = norm
    model.mobilebert.encoder.layer = layers[:1]
    with pytest.raises(ConfigError, match="wanted the 2 blocks that 'half' folded, got 1"):
        model(**batch)
    layers[1] = nn.Identity()
    model.mobilebert.encoder.layer = layers
    model.mobilebert.encoder.layer[1].forward = lambda x, *rest: (x, None)
    with pytest.raises(ConfigError, match="wanted a MobileBertLayer, or a module around one, got Identity"):
        model(**batch)


def test_hooks_on_every_module_and_kept_outputs(checkpoint):
    model, batch = watched_model(checkpoint, "MaskedLM", "block")
    seen, kept = set(), []
    for training in (False, True):
        handle = register_module_forward_hook(lambda module, inputs, output: seen.add(module))
        model.train(training)(**batch)
        handle.remove()
        missed = [name for name, module in model.named_modules() if module not in seen]
        assert all(isinstance(model.get_submodule(name), nn.ModuleList) for name in missed)
        seen.clear()
    decoder = model.cls.predictions.decoder
    decoder.register_forward_hook(lambda module, inputs, output: kept.append((output, output.clone())))
    logits(model, batch)
    assert torch.equal(*kept[0])


def test_what_rounds_calibrates_or_gathers_leaves_out_what_the_head_does_not_read(checkpoint):
    """The last block computes the first token alone, and its ranges are of that, as in Keras."""
    model, _ = watched_model(checkpoint, "SequenceClassification", None)
    last = model.mobilebert.encoder.layer[-1]
    assert not is_watched_inside(last)
    handle = last.output.dense.register_forward_hook(lambda *_: None)
    assert is_watched_inside(last)
    handle.remove()
    FakeQuantization(model)

    def gather(*_):
        """As FSDP's hooks, which look at no value."""

    gather.__module__ = "torch.distributed.fsdp._fully_shard._fsdp_state"
    last.register_forward_pre_hook(gather)
    assert not is_watched_inside(last)
    last.output.dense.forward = lambda x: x
    assert is_watched_inside(last)


@pytest.mark.slow
def test_compiled_hooks_in_the_last_block_see_all_tokens():
    model, seen = MODEL_CLASSES["SequenceClassification"](tiny_config(num_hidden_layers=1)).eval(), []
    dense = model.mobilebert.encoder.layer[-1].output.dense
    dense.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape)))
    compiled, ids = torch.compile(model, backend="eager", fullgraph=True), torch.full((2, 11), 7)
    with torch.no_grad():
        compiled(input_ids=ids)
        model(input_ids=ids)
    assert seen == [(2, 11, 32), (2, 11, 32)]
