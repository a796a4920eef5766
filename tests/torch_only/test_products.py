"""Products by oneDNN give what PyTorch's own give, and only where nobody records or changes what is computed."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from mobilebert_torch import MODEL_CLASSES, fold, products
from tests.tiny import tiny_batch

pytestmark = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this PyTorch has no oneDNN: only MKL's way is taken"
)


@pytest.fixture
def calls(monkeypatch):
    """Products of any size by oneDNN, as on a processor on which it is quicker; one entry for each."""
    found = []
    onednn = products._onednn

    def counted(x, weight, bias):
        found.append((tuple(x.shape), tuple(weight.shape)))
        return onednn(x, weight, bias)

    monkeypatch.setattr(products, "_onednn", counted)
    monkeypatch.setattr(products, "onednn_is_quicker", lambda: True)
    monkeypatch.setattr(products, "_FEWEST_MULTIPLICATIONS", 1)
    monkeypatch.setattr(products, "_LENGTHS", (*products._LENGTHS, 32))  # as many rows as a tiny batch has
    return found


def close(got, wanted, bound=1e-6):
    return ((got.double() - wanted.double()).abs().max() / wanted.double().abs().max()).item() < bound


def operands(rows=(6, 15), inner=40, outer=48):
    rng = torch.Generator().manual_seed(0)
    return tuple(torch.randn(*shape, generator=rng) for shape in ((*rows, inner), (outer, inner), (outer,)))


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize(("rows", "pieces"), [((32,), 1), ((33,), 1), ((6, 50), 2), ((2, 3, 80), 3), ((5000,), 3)])
def test_products_are_those_of_pytorch(calls, rows, pieces, has_bias):
    x, weight, bias = operands(rows)
    bias = bias if has_bias else None
    with torch.no_grad():
        for each in (x, x.transpose(0, -2).contiguous().transpose(0, -2)):
            wide = torch.cat([weight, weight], 1)[:, : weight.shape[1]]  # rows with a gap between them
            for matrix in (weight, wide):
                assert close(products.linear(each, matrix, bias), F.linear(x, weight, bias))
    assert len(calls) == 4 * pieces


def test_kernels_are_few(calls):
    """oneDNN keeps one for every shape: texts come in all lengths."""
    weight = torch.randn(48, 40)
    with torch.no_grad():
        for rows in range(1, 3000, 7):
            products.linear(torch.zeros(rows, 40), weight)
            products.weight_gradient(torch.zeros(rows, 48), torch.zeros(rows, 40))
    assert 0 < len(set(calls)) <= 2 * len(products._LENGTHS)


def test_a_product_is_added_to_a_total(calls):
    x, weight, _ = operands((300,))
    total = torch.randn(300, 48)
    wanted, before = torch.addmm(total, x, weight.t()), total.clone()
    with torch.no_grad():
        assert close(products.add_product(total, x, weight), wanted) and torch.equal(total, before)
        assert products.add_product_(total, x, weight) is total and close(total, wanted)
    assert len(calls) == 4


@pytest.mark.parametrize("outer", [40, 80])
@pytest.mark.parametrize("asked", [(True, True, True), (True, False, False), (False, True, False)])
def test_gradients_are_those_of_pytorch(calls, outer, asked):
    """Those of the first and of the second order, beside PyTorch's in float64."""

    def derivatives(function, given):
        leaves = [each.clone().requires_grad_(needed) for each, needed in zip(given, asked, strict=True)]
        needing = [leaf for leaf in leaves if leaf.requires_grad]
        first = torch.autograd.grad(function(*leaves).tanh().square().sum(), needing, create_graph=True)
        return [*first, *torch.autograd.grad(sum(each.square().sum() for each in first), needing)]

    given = operands(outer=outer)
    wanted = derivatives(F.linear, [each.double() for each in given])
    assert not calls
    for got, value in zip(derivatives(products.linear, given), wanted, strict=True):
        assert close(got, value, 1e-5)
    assert calls


def run_traced(function, x, weight, bias):
    return torch.jit.trace(function, (x, weight, bias), check_trace=False)(x, weight, bias)


def run_exported(function, x, weight, bias):
    class Module(torch.nn.Module):
        def forward(self, x):
            return function(x, weight, bias)

    return torch.export.export(Module(), (x,)).module()(x)


def run_mapped(function, x, weight, bias):
    return torch.func.vmap(function, (0, None, None))(x, weight, bias)


def run_mapped_weights(function, x, weight, bias):
    return torch.func.vmap(function, (None, 0, None))(x, weight[None], bias)[0]


def run_mapped_biases(function, x, weight, bias):
    return torch.func.vmap(function, (None, None, 0))(x, weight, bias[None])[0]


def run_differentiated_by_bias(function, x, weight, bias):
    gradient, result = torch.func.grad_and_value(lambda b: function(x, weight, b).sum())(bias)
    assert close(gradient, torch.full_like(bias, x[..., 0].numel())) and close(result, F.linear(x, weight, bias).sum())
    return function(x.double(), weight.double(), bias.double()).float()


def run_with_tangents(function, x, weight, bias):
    with forward_ad.dual_level():
        dual = function(forward_ad.make_dual(x, torch.ones_like(x)), weight, bias)
        value, tangent = forward_ad.unpack_dual(dual)
    assert close(tangent, F.linear(torch.ones_like(x), weight))
    return value


def run_counted(function, x, weight, bias):
    with FlopCounterMode(display=False) as counter:
        result = function(x, weight, bias)
    assert counter.get_total_flops() == 2 * x.numel() * weight.shape[0]
    return result


def run_switched_off(function, x, weight, bias):
    with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):
        return function(x, weight, bias)


def run_under_autocast(function, x, weight, bias):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = function(x, weight, bias)
    assert result.dtype == torch.bfloat16
    return result.float()


def run_in_float64(function, x, weight, bias):
    return function(x.double(), weight.double(), bias.double()).float()


WAYS = [each for name, each in sorted(globals().items()) if name.startswith("run_")]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_where_pytorch_multiplies_by_itself(calls, way):
    x, weight, bias = operands()
    with torch.no_grad():
        got = way(products.linear, x, weight, bias)
    assert not calls and close(got, F.linear(x, weight, bias), 1e-2 if way is run_under_autocast else 1e-6)


def test_tensors_without_values(calls):
    with torch.no_grad():
        assert products.linear(*(each.to("meta") for each in operands())).shape == (6, 15, 48)
    assert not calls


def test_small_products_stay(calls, monkeypatch):
    x, weight, bias = operands()
    monkeypatch.setattr(products, "_FEWEST_MULTIPLICATIONS", x.numel() * 48 + 1)
    with torch.no_grad():
        products.linear(x, weight, bias)
    assert not calls


def test_a_bias_of_another_precision_is_an_error_of_pytorch(calls):
    x, weight, bias = operands()
    with torch.no_grad(), pytest.raises(RuntimeError, match="dtype"):
        products.linear(x, weight, bias.double())


def test_sums_with_mapped_totals(calls):
    x, weight, _ = operands((90,))
    totals = torch.randn(3, 90, 48)
    got = torch.func.vmap(lambda total: products.add_product(total, x, weight))(totals)
    assert not calls and close(got, totals + x @ weight.T)


def test_wrong_sizes_are_an_error_of_pytorch(calls):
    x, weight, bias = operands()
    with torch.no_grad(), pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        products.linear(x[..., :-1], weight, bias)


@pytest.mark.parametrize("basis", [None, "block", "all"])
def test_a_model_answers_alike_by_both_libraries(checkpoint, calls, basis):
    model = MODEL_CLASSES["TokenClassification"].from_pretrained(checkpoint("TokenClassification")).eval()
    model = model if basis is None else fold(model, basis)
    batch = {n: torch.as_tensor(a) for n, a in tiny_batch(model.config, model.head, labels=False).items()}
    with torch.inference_mode():
        got = model(**batch).logits
        made = len(calls)
        with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):
            wanted = model(**batch).logits
    blocks = model.config.num_hidden_layers
    assert made >= 7 * blocks and len(calls) == made and close(got, wanted, 1e-5)


def test_a_training_step_is_alike_by_both_libraries(checkpoint, calls):
    model = MODEL_CLASSES["MaskedLM"].from_pretrained(checkpoint("MaskedLM"), attention_probs_dropout_prob=0.0)
    model = model.train()
    model.config.hidden_dropout_prob = 0.0
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch = {n: torch.as_tensor(a) for n, a in tiny_batch(model.config, model.head).items()}

    def gradients():
        model.zero_grad()
        model(**batch).loss.backward()
        return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}

    got = gradients()
    made = len(calls)
    with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):
        wanted = gradients()
    assert made >= 3 * 8 * model.config.num_hidden_layers and len(calls) == made and got.keys() == wanted.keys()
    largest = max(each.abs().max() for each in wanted.values())
    assert all((got[name] - each).abs().max() < 1e-5 * largest for name, each in wanted.items())
