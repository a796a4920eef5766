"""The blocks of a folded model as one function give what its modules give, and only where nobody could tell."""

from __future__ import annotations

import pytest
import torch

from mobilebert_torch import MODEL_CLASSES, flat, fold
from tests.tiny import BRANCHES, tiny_batch


@pytest.fixture
def taken(monkeypatch):
    """How often the function was taken, and how often not."""
    found = []
    encoded = flat.encoded

    def watched(*arguments):
        result = encoded(*arguments)
        found.append(result is not None)
        return result

    monkeypatch.setattr(flat, "encoded", watched)
    return found


def folded_model(checkpoint, head="SequenceClassification", branch="released"):
    path = checkpoint(head, hidden_scale=1e4, **BRANCHES[branch])
    return fold(MODEL_CLASSES[head].from_pretrained(path, dtype="float64"), "all")


def difference(model, batch):
    """Of the function's scores from those of the modules, which run where gradients are recorded."""
    with torch.inference_mode():
        got = model(**batch).to_tuple()[0]
    wanted = model(**batch).to_tuple()[0]
    return ((got - wanted).abs().max() / wanted.abs().max()).item()


def tensors(model, **options):
    return {n: torch.as_tensor(a) for n, a in tiny_batch(model.config, model.head, labels=False, **options).items()}


@pytest.mark.parametrize("branch", ["released", "no_bottleneck", "unshared", "pruned", "one_ffn"])
@pytest.mark.parametrize("head", ["SequenceClassification", "TokenClassification"])
def test_it_gives_what_the_modules_give(checkpoint, taken, head, branch):
    model = folded_model(checkpoint, head, branch)
    for batch in (tensors(model), tensors(model, batch=1, length=7), {"input_ids": tensors(model)["input_ids"]}):
        assert difference(model, batch) < 1e-12
    assert taken == [True, False] * 3


def test_norms_that_are_kept(checkpoint, taken):
    model = MODEL_CLASSES["Model"].from_pretrained(checkpoint("Model"), dtype="float64")
    for norm in (model.encoder.layer[0].attention.output, model.encoder.layer[0].output.bottleneck):
        norm.LayerNorm.weight.data[3] = 0
    model = fold(model, "all")
    assert len(model.config.kept_norms) == 2 and difference(model, tensors(model)) < 1e-12 and taken == [True, False]


def test_states_that_were_returned_stay(checkpoint):
    """Sums are made in place, but not in what a caller holds."""
    model = folded_model(checkpoint, "Model", "no_bottleneck")
    embedded = torch.randn(2, 5, model.config.embedding_size, dtype=torch.float64)
    before = embedded.clone()
    kept = []
    model.embeddings.register_forward_hook(lambda module, arguments, output: kept.append((output, output.clone())))
    with torch.inference_mode():
        model(inputs_embeds=embedded)
    assert torch.equal(embedded, before) and torch.equal(*kept[0])


def test_weights_that_change_are_seen(checkpoint, taken):
    model = folded_model(checkpoint)
    batch = tensors(model)
    assert difference(model, batch) < 1e-12
    model.load_state_dict({n: t * 1.01 for n, t in model.state_dict().items()})
    assert difference(model, batch) < 1e-12
    model.load_state_dict({n: t / 1.01 for n, t in model.state_dict().items()}, assign=True)
    assert difference(model, batch) < 1e-12
    model.mobilebert.encoder.layer[1].output.dense = torch.nn.Linear(40, 32, bias=False)
    model.double().eval()
    assert difference(model, batch) < 1e-12
    model.float()
    assert difference(model, batch) < 1e-5
    assert taken == [True, False] * 5


def test_where_it_is_not_taken(checkpoint, taken):
    model = folded_model(checkpoint)
    batch, layer = tensors(model), model.mobilebert.encoder.layer[1]
    calls = []
    handle = layer.intermediate.register_forward_hook(lambda *arguments: calls.append(1))
    with torch.no_grad():
        model(**batch)
        handle.remove()
        model(**batch)
        model.train()(**batch)
        model.eval()
        model(**batch, head_mask=torch.ones(model.config.num_attention_heads))
        model(**batch, output_hidden_states=True)
        model(**batch, output_attentions=True)
        with torch.autocast("cpu"):
            model(**batch)
        layer.intermediate.forward = type(layer.intermediate).forward.__get__(layer.intermediate)
        model(**batch)
    assert calls == [1] and taken == [False, True, False, False, False]
