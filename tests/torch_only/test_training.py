"""Training in PyTorch: dropout of attention on a CPU, sparse prediction in compiled and half-precision steps, and the
output matrix that is never joined.
"""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils._python_dispatch import TorchDispatchMode

from mobilebert_core.heads import HEADS
from mobilebert_core.training.recipe import Recipe
from mobilebert_torch import fast
from mobilebert_torch.attention import SelfAttention
from mobilebert_torch.fast import is_plain
from mobilebert_torch.gradients import DenseNoNorm, DroppedProduct, dropped_product
from mobilebert_torch.layers import DenseNorm, Intermediate
from mobilebert_torch.trainer import Trainer
from tests.tiny import BRANCHES, tiny_batch, tiny_config
from tests.torch_only.test_citizenship import model_and_batch


def attention(dropout, dtype=torch.float32, **options):
    torch.manual_seed(0)
    return SelfAttention(32, 32, num_heads=4, head_size=8, dropout=dropout, **options).to(dtype)


# ------------------------------------------------------------------------------------ dropout of attention


def test_dropped_product_is_that_of_autograd():
    torch.manual_seed(0)
    probs = torch.rand(2, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    value = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    dropped = torch.rand(2, 3, 5, 5) < 0.3
    assert torch.autograd.gradcheck(lambda p, v: DroppedProduct.apply(p, dropped, v), (probs, value))
    assert torch.autograd.gradgradcheck(lambda p, v: DroppedProduct.apply(p, dropped, v), (probs, value))


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_keeps_its_share_and_the_mean(rate):
    torch.manual_seed(0)
    probs, value = torch.full((40, 4, 50, 50), 1 / 50), torch.eye(50).expand(40, 4, 50, 50)
    dropped = dropped_product(probs, value, rate) * 50  # 0 or 1 / (1 - rate), as the value is the unit matrix
    kept = dropped > 0
    entries = probs.numel()
    assert kept.float().mean().item() == pytest.approx(1 - rate, abs=4 * (rate * (1 - rate) / entries) ** 0.5)
    torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 1 / (1 - rate)), rtol=2e-5, atol=0)
    for axis in range(4):  # no axis shares its draws
        means = kept.float().mean([a for a in range(4) if a != axis])
        share = (rate * (1 - rate) / (entries / means.numel())) ** 0.5
        assert (means - (1 - rate)).abs().max() < 5 * share
    assert not torch.equal(kept[0], kept[1])


def test_dropout_follows_the_seed_and_the_mode():
    module, x = attention(0.5), torch.randn(2, 7, 32)
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(module(x, x, None, None, False)[0])
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    module.eval()
    assert torch.equal(module(x, x, None, None, False)[0], module(x, x, None, None, False)[0])


def test_dropout_has_the_mean_of_none():
    module, x = attention(0.5, torch.float64), torch.randn(2, 7, 32, dtype=torch.float64)
    head_mask = torch.tensor([1.0, 0.0, 1.0, 0.5])[None, :, None, None]
    mean = torch.stack([module(x, x, None, head_mask, False)[0] for _ in range(4000)]).mean(0)
    expected = module.eval()(x, x, None, head_mask, True)[0]
    assert (mean - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.parametrize(
    ("device", "rate", "own"), [("cpu", 0.1, 1), ("meta", 0.1, 0), ("cpu", 0.0, 0), ("cpu", 1.0, 0)]
)
def test_only_a_cpu_takes_the_own_product(monkeypatch, device, rate, own):
    """Other devices, of which "meta" stands for all, have kernels that drop out themselves."""
    calls = []
    monkeypatch.setattr(fast, "dropped_product", lambda p, v, r: calls.append(r) or dropped_product(p, v, r))
    module = attention(rate).to(device)
    x = torch.randn(2, 7, 32, device=device)
    assert module(x, x, None, None, False)[0].shape == (2, 7, 32)
    assert calls == [rate] * own


def test_dropout_keeps_a_byte_an_entry():
    module, x = attention(0.1), torch.randn(2, 64, 32)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        module(x, x, None, None, False)
    squares = {t.data_ptr(): t for t in kept if t.shape[-2:] == (64, 64)}.values()
    assert sorted(t.element_size() for t in squares) == [1, 4]


# ---------------------------------------------------------------------------------- dense layers and NoNorm


@pytest.mark.parametrize("residual", [False, True])
def test_dense_no_norm_is_that_of_autograd(residual):
    torch.manual_seed(0)
    shapes = [(5, 3), (4, 3), (4,), (4,), (4,), *([(5, 4)] if residual else [])]
    arrays = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def fused(*arrays):
        return DenseNoNorm.apply(*arrays, *([] if residual else [None]))

    def plain(x, weight, bias, gain, shift, rest=0.0):
        return (x @ weight.T + bias + rest) * gain + shift

    torch.testing.assert_close(fused(*arrays), plain(*arrays), rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(fused, arrays) and torch.autograd.gradgradcheck(fused, arrays)
    passed = torch.randn(5, 4, dtype=torch.float64)
    for one, other in zip(
        torch.autograd.grad(fused(*arrays), arrays, passed),
        torch.autograd.grad(plain(*arrays), arrays, passed),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    arrays[0].requires_grad_(False)  # as of frozen layers below
    fused(*arrays).sum().backward()
    assert arrays[0].grad is None and arrays[1].grad is not None


def test_second_derivatives():
    """As a gradient penalty takes them; PyTorch's fused attention has none, so that attention must be "eager"."""
    model, _ = model_and_batch(
        num_hidden_layers=1, initializer_range=0.3, attn_implementation="eager", attention_probs_dropout_prob=0.0
    )
    model.double().train()
    embeds = torch.randn((1, 3, 20), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: model(inputs_embeds=x).logits, (embeds,), atol=1e-5)


@pytest.mark.parametrize("branch", BRANCHES)
def test_fused_layers_change_no_gradient(branch, monkeypatch):
    overrides = {**BRANCHES[branch], "attention_probs_dropout_prob": 0.0}
    model, batch = model_and_batch("SequenceClassification", **overrides)
    model.double().train()
    found = []
    for plain in (is_plain, lambda module, kind: False):
        monkeypatch.setattr(fast, "is_plain", plain)
        model.zero_grad()
        output = model(**batch)
        output.loss.backward()
        found.append([output.logits, *(p.grad for p in model.parameters() if p.grad is not None)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


class Wrapped(nn.Linear):
    """Stands for LoRA and quantization, which put a class of their own in the place of a dense layer."""

    def forward(self, x):
        return super().forward(x) * 2


def dense_norm(kind="no_norm", dropout=0.0):
    torch.manual_seed(0)
    return DenseNorm(6, 4, kind, 1e-12, dropout)


def with_forward_of_its_own(module):
    run = module.dense.forward
    module.dense.forward = lambda x: run(x) * 2


def with_a_wrapper(module):
    module.dense = Wrapped(6, 4)


@pytest.mark.parametrize(
    ("change", "fused"),
    [
        (lambda module: None, True),
        (lambda module: module.dense.register_forward_hook(lambda m, args, out: out * 2), False),
        (lambda module: module.dense.register_forward_pre_hook(lambda m, args: (args[0] * 2,)), False),
        (lambda module: module.LayerNorm.register_forward_hook(lambda m, args, out: out * 2), False),
        (lambda module: module.dense.register_full_backward_hook(lambda m, grad_in, grad_out: None), False),
        (lambda module: parametrizations.weight_norm(module.dense), False),
        (with_forward_of_its_own, False),
        (with_a_wrapper, False),
        (lambda module: module.eval(), False),
    ],
)
def test_a_changed_layer_is_called(monkeypatch, change, fused):
    module = dense_norm()
    change(module)
    x, rest = torch.randn(2, 3, 6), torch.randn(2, 3, 4)
    calls = []
    monkeypatch.setattr(fast, "DenseNoNorm", Counted(calls))
    found = module(x, rest)
    assert len(calls) == fused
    torch.testing.assert_close(found, module.LayerNorm(module.dense(x) + rest))


class Counted:
    def __init__(self, calls):
        self.calls = calls

    def apply(self, *args):
        self.calls.append(args)
        return DenseNoNorm.apply(*args)


@pytest.mark.parametrize(("options", "context"), [
    ({"kind": "layer_norm"}, contextlib.nullcontext), ({"dropout": 0.1}, contextlib.nullcontext),
    ({}, torch.no_grad), ({}, lambda: torch.autocast("cpu", dtype=torch.bfloat16)),
])  # fmt: skip
def test_what_is_not_fused(monkeypatch, options, context):
    monkeypatch.setattr(fast, "DenseNoNorm", None)  # would fail if it were asked
    with context():
        assert dense_norm(**options)(torch.randn(2, 3, 6), torch.randn(2, 3, 4)).isfinite().all()


def test_a_block_trains_on_a_device_without_autocast():
    """Such as meta, where shapes are computed without numbers."""
    module = DenseNorm(6, 4, "no_norm", 1e-7).to("meta").train()
    assert module(torch.empty(2, 3, 6, device="meta")).shape == (2, 3, 4)


def test_activations_in_place_leave_a_hooked_layer_alone():
    module = Intermediate(6, 4, "relu")
    seen = []
    module.dense.register_forward_hook(lambda m, args, out: seen.append(out))
    module(torch.randn(2, 3, 6))
    assert (seen[0] < 0).any()


def test_a_block_keeps_no_sum_and_one_activation():
    """What a feed-forward network of TINY keeps of its 33 tokens: its input and the activation, each once."""
    model, _ = model_and_batch("SequenceClassification", attention_probs_dropout_prob=0.0)
    network, x = model.train().mobilebert.encoder.layer[0].ffn[0], torch.randn(3, 11, 32)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        network(x)
    arrays = {t.data_ptr(): t.numel() for t in kept if t.numel() in (33 * 32, 33 * 40)}
    assert sorted(arrays.values()) == [33 * 32, 33 * 40]


# --------------------------------------------------------------------------------------- sparse prediction


@pytest.mark.parametrize(
    ("name", "dropout"), [pytest.param("MaskedLM", 0.1, marks=pytest.mark.slow), ("PreTraining", 0.0)]
)
def test_a_compiled_step_takes_any_number_of_labels(name, dropout):
    changes = {"sparse_prediction": True, "attention_probs_dropout_prob": dropout, "num_hidden_layers": 1}
    model, batch = model_and_batch(name, **changes)
    model.train()
    compiled = torch.compile(copy.deepcopy(model), backend="aot_eager")
    for labelled in (0.5, 0.1, 0.0):
        batch["labels"] = torch.where(torch.rand(3, 11) < labelled, 5, -100)
        for one in (model, compiled):
            one.zero_grad()
        torch.manual_seed(1)
        expected = model(**batch)
        expected.loss.backward()
        torch.manual_seed(1)
        found = compiled(**batch)
        found.loss.backward()
        assert found[1].shape == expected[1].shape == ((batch["labels"] != -100).sum(), 97)
        for one, other in zip(model.parameters(), compiled.parameters(), strict=True):
            if dropout == 0:
                torch.testing.assert_close(one.grad, other.grad)
            assert torch.isfinite(other.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("sparse", [True, False])
def test_a_step_under_autocast(dtype, sparse):
    model, batch = model_and_batch("PreTraining", sparse_prediction=sparse, attention_probs_dropout_prob=0.1)
    model.train()
    with torch.autocast("cpu", dtype=dtype):
        output = model(**batch)
    output.loss.backward()
    assert output.loss.dtype == torch.float32 and output.prediction_logits.dtype == dtype
    assert all(torch.isfinite(p.grad).all() and p.grad.dtype == torch.float32 for p in model.parameters())
    assert (model.cls.predictions.dense.weight.grad != 0).any()


class Largest(TorchDispatchMode):
    """Names the operations that give an array of at least `size` numbers that is no view of another."""

    def __init__(self, size):
        super().__init__()
        self.size, self.found = size, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.numel() >= self.size and not func.is_view:
            self.found.append(func.overloadpacket._qualified_op_name)
        return result


def test_the_output_matrix_is_not_joined():
    """Of one text of two tokens the logits are small; the joined matrix would be the largest array by far."""
    model, _ = model_and_batch("MaskedLM", vocab_size=3001)
    ids = torch.tensor([[5, 7]])
    with Largest(3001 * 20) as seen:
        model(ids)
    assert not seen.found
    with Largest(3001 * 2) as seen:
        model(ids)
    assert seen.found == ["aten::addmm", "aten::addmm_"]  # the one array of logits, made and then added to


LONGER = ("MaskedLM", "MultipleChoice", "NextSentencePrediction", "QuestionAnswering", "TokenClassification")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in LONGER else ()) for n, head in HEADS.items() if head.tasks],
)
def test_every_head_learns_64_examples_by_heart(name):
    config = tiny_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.1)
    batch = tiny_batch(config, name, batch=64, length=11)
    trainer = Trainer.start(name, None, Recipe(clip_norm=1.0, classifier_dropout=0.0), config=config)
    losses = [trainer.step([batch], 5e-3) for _ in range(200)]
    assert losses[-1] < 0.02 * losses[0], (losses[0], losses[-1])


def test_a_rate_just_below_one_still_keeps_some():
    product = dropped_product(torch.ones(1, 1, 4, 4), torch.eye(4).expand(1, 1, 4, 4), 1 - 2**-18)
    assert torch.isfinite(product).all()
