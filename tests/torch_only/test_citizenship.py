"""What users of PyTorch expect of a module: compile, export, autocast, copies, distributed training."""

from __future__ import annotations

import copy
import io
import pickle
import time

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch.autograd import forward_ad
from torch.export import Dim

from conversion.parity.deviation import relative_deviation
from mobilebert_core.errors import CheckpointError
from mobilebert_core.heads import HEADS
from mobilebert_torch import MODEL_CLASSES
from mobilebert_torch.attention import SelfAttention
from tests.tiny import tiny_batch, tiny_config


def model_and_batch(name="SequenceClassification", **overrides):
    config = tiny_config(**overrides)
    torch.manual_seed(0)
    batch = {n: torch.as_tensor(v) for n, v in tiny_batch(config, name).items()}
    return MODEL_CLASSES[name](config).eval(), {n: v.long() if v.dtype == torch.int32 else v for n, v in batch.items()}


@pytest.mark.parametrize("name", HEADS)
def test_compiles_without_a_break(name):
    model, batch = model_and_batch(name, num_hidden_layers=1)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    expected, found = model(**batch), compiled(**batch)
    assert type(found) is type(expected)
    for key in expected:
        torch.testing.assert_close(found[key], expected[key])


@pytest.mark.slow
def test_compiles_in_training_with_states():
    model, batch = model_and_batch("MaskedLM", attention_probs_dropout_prob=0.0, num_hidden_layers=1)
    model.train()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=True)
    output = compiled(**batch, output_hidden_states=True, output_attentions=True)
    output.loss.backward()
    gradient = model.mobilebert.embeddings.word_embeddings.weight.grad.clone()
    model.zero_grad()
    model(**batch).loss.backward()
    torch.testing.assert_close(gradient, model.mobilebert.embeddings.word_embeddings.weight.grad)


@pytest.mark.parametrize("name", HEADS)
def test_exports_with_any_batch_and_length(name):
    model, batch = model_and_batch(name, num_hidden_layers=1)
    inputs = {n: batch[n] for n in ("input_ids", "attention_mask", "token_type_ids")}
    sequence = Dim("sequence", min=1, max=37)
    sizes = {0: Dim("batch", min=1, max=64), 1: sequence}
    if HEADS[name].per_choice:
        sizes = {0: sizes[0], 2: sequence}
    program = torch.export.export(model, (), inputs, dynamic_shapes=dict.fromkeys(inputs, sizes))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    run = torch.export.load(buffer).module()
    for rows, length in ((3, 11), (2, 1), (5, 2), (1, 37)):
        shape = (rows, 4, length) if HEADS[name].per_choice else (rows, length)
        changed = {n: torch.ones(shape, dtype=torch.long) for n in inputs}
        expected, found = model(**changed), run(**changed)
        for key in expected:
            torch.testing.assert_close(found[key], expected[key])


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 3e-2), (torch.float16, 4e-3)])  # 8 and 11 bits
def test_autocast_is_finite_and_near(dtype, bound):
    model, batch = model_and_batch("PreTraining")
    expected = model(**batch)
    with torch.autocast("cpu", dtype=dtype):
        found = model(**batch)
        found.loss.backward()
    assert found.loss.dtype == torch.float32
    one, other = (each.prediction_logits.detach().float().numpy() for each in (expected, found))
    assert relative_deviation(one, other) < bound
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_copies_keep_values_and_ties():
    model, batch = model_and_batch("MaskedLM")
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(**batch).logits, model(**batch).logits)
        assert other.cls.predictions.decoder.weight is other.mobilebert.embeddings.word_embeddings.weight
        assert other.cls.predictions.decoder.bias is other.cls.predictions.bias
        assert other.config == model.config and other.config is not model.config


def test_state_dict_loads_strictly_both_ways():
    model, _ = model_and_batch("PreTraining")
    other, _ = model_and_batch("PreTraining", initializer_range=0.5)
    other.load_state_dict(model.state_dict(), strict=True)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


def test_gradient_checkpointing_changes_no_gradient():
    model, batch = model_and_batch("SequenceClassification", attention_probs_dropout_prob=0.5)
    model.train()
    gradients, calls = [], []
    for enabled in (False, True):
        if enabled:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        count: list[int] = []
        hook = model.mobilebert.encoder.layer[1].register_forward_pre_hook(lambda *_, count=count: count.append(1))
        torch.manual_seed(1)
        model(**batch).loss.backward()
        hook.remove()
        calls.append(len(count))
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert calls == [1, 2] and len(gradients[0]) == len(gradients[1])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)


@pytest.mark.filterwarnings("ignore:There is a performance drop because:UserWarning")
@pytest.mark.parametrize("name", ["SequenceClassification", "MaskedLM", "QuestionAnswering"])
def test_gradients_per_sample(name):
    model, batch = model_and_batch(name, num_hidden_layers=1, attention_probs_dropout_prob=0.0)

    def loss(parameters, row):
        return torch.func.functional_call(model, parameters, (), {n: v[None] for n, v in row.items()}).loss

    parameters = {n: p.detach() for n, p in model.named_parameters()}
    got = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, batch)
    for row in range(3):
        model.zero_grad()
        model(**{n: v[row : row + 1] for n, v in batch.items()}).loss.backward()
        for n, parameter in model.named_parameters():
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(got[n][row], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # by PyTorch's own use
@pytest.mark.parametrize("name", ["MaskedLM", "SequenceClassification"])
@pytest.mark.parametrize("training", [True, False])
def test_derivatives_in_forward_mode(name, training):
    """Along a direction they are the gradients' product with it."""
    model, batch = model_and_batch(name, num_hidden_layers=1, attention_probs_dropout_prob=0.0)
    parameters = {n: p.detach() for n, p in model.double().train(training).named_parameters()}
    direction = {n: torch.randn_like(p) for n, p in parameters.items()}
    direction["mobilebert.embeddings.word_embeddings.weight"][0] = 0  # padding, whose row has no gradient

    def loss(parameters):
        return torch.func.functional_call(model, parameters, (), batch).loss

    def dual_of(values, tangents):
        return {n: forward_ad.make_dual(value, tangents[n]) for n, value in values.items()}

    _, along = torch.func.jvp(loss, (parameters,), (direction,))
    gradients = torch.func.grad(loss)(parameters)
    expected = sum((gradients[n] * direction[n]).sum() for n in parameters)
    torch.testing.assert_close(along, expected, rtol=1e-6, atol=1e-6)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(loss(dual_of(parameters, direction))).tangent
    torch.testing.assert_close(tangent, expected, rtol=1e-6, atol=1e-6)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    with forward_ad.dual_level():  # with dropout
        assert forward_ad.unpack_dual(loss(dual_of(parameters, direction))).tangent.isfinite()


def test_dropout_works_in_training_and_only_there():
    model, batch = model_and_batch("SequenceClassification", hidden_dropout_prob=0.5, use_bottleneck=False)
    assert torch.equal(model(**batch).logits, model(**batch).logits)
    model.train()
    assert not torch.equal(model(**batch).logits, model(**batch).logits)


def test_unused_gradients_are_only_those_without_a_use():
    """DDP needs every parameter to take part; a shared bottleneck beside bottleneck attention does not."""
    for name in HEADS:
        model, batch = model_and_batch(name)
        output = model(**batch)
        sum(value.sum() for value in output.values()).backward()
        assert [n for n, p in model.named_parameters() if p.grad is None] == [], name


def test_loading_a_state_dict_shares_no_memory():
    model, _ = model_and_batch("MaskedLM")
    other = type(model).from_pretrained(None, config=model.config, state_dict=model.state_dict())
    assert torch.equal(other.cls.predictions.bias, model.cls.predictions.bias)
    assert other.cls.predictions.bias.data_ptr() != model.cls.predictions.bias.data_ptr()


@pytest.mark.parametrize("need_probs", [False, True])
def test_scores_beyond_half_precision_stay_finite(need_probs):
    attention = SelfAttention(32, 32, num_heads=4, head_size=8, dropout=0.0).half()
    with torch.no_grad():
        for dense in (attention.query, attention.key):
            dense.weight.copy_(torch.eye(32))
    x = (torch.randn(1, 5, 32) * 150).half()
    assert torch.isfinite(attention(x, x, None, None, need_probs)[0]).all()


def test_replaced_embeddings_stay_tied():
    model, _ = model_and_batch("MaskedLM")
    model.set_input_embeddings(torch.nn.Embedding(97, 20))
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    decoder = torch.nn.Linear(20, 97)
    model.set_output_embeddings(decoder)
    assert model.get_output_embeddings() is decoder and model.cls.predictions.bias is decoder.bias


def _train_in_process(rank: int, size: int, store: str, results: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    model, batch = model_and_batch("SequenceClassification", attention_probs_dropout_prob=0.0)
    batch = {n: torch.cat([v, v.roll(1, 0)])[:4] for n, v in batch.items()}
    parallel = torch.nn.parallel.DistributedDataParallel(model.train())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        parallel(**{n: v[rank * 2 : rank * 2 + 2] for n, v in batch.items()}).loss.backward()
        optimizer.step()
    if rank == 0:
        np.savez(results, **{n: p.detach().numpy() for n, p in model.named_parameters()})
    time.sleep(0.1)  # else the group's thread may wait for the interpreter, and the end of the group for that thread
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    mp.spawn(_train_in_process, (2, str(tmp_path / "store"), str(tmp_path / "found.npz")), nprocs=2)
    model, batch = model_and_batch("SequenceClassification", attention_probs_dropout_prob=0.0)
    batch = {n: torch.cat([v, v.roll(1, 0)])[:4] for n, v in batch.items()}
    optimizer = torch.optim.SGD(model.train().parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    found = np.load(tmp_path / "found.npz")
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(found[name], parameter.detach().numpy(), rtol=1e-4, atol=1e-6, err_msg=name)


def test_whole_numbers_are_no_weights(tmp_path):
    model = MODEL_CLASSES["Model"](tiny_config())
    state = {name: (tensor * 100).to(torch.int8) for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"wanted weights in floating point, got \d+ others, the first .* .int8."):
        model.save_pretrained(tmp_path / "saved", state_dict=state)
    assert not (tmp_path / "saved").exists()
