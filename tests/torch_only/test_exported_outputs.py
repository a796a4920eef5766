"""The order in which exported graphs return what a model returns: that of the fields, as in the tuple."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch

from mobilebert_core.exports import ExportSpec
from mobilebert_core.heads import HEADS
from mobilebert_core.inputs import TEXT_INPUTS
from mobilebert_core.outputs import field_names
from mobilebert_torch import MODEL_CLASSES
from mobilebert_torch.export import write_onnx, write_torch_export
from tests.tiny import tiny_batch, tiny_config

STATES = {"output_hidden_states": True, "output_attentions": True}


def model_and_inputs(name, labels=False, **overrides):
    config = tiny_config(num_hidden_layers=1, initializer_range=0.3, **overrides)
    torch.manual_seed(0)
    batch = {n: torch.as_tensor(v) for n, v in tiny_batch(config, name, labels=labels).items()}
    return MODEL_CLASSES[name](config).eval(), {n: v.long() if v.dtype == torch.int32 else v for n, v in batch.items()}


def leaves_of(output):
    """The arrays of an output in the order of its fields, states one by one."""
    return [leaf for value in output.to_tuple() for leaf in (value if isinstance(value, tuple) else (value,))]


@pytest.mark.parametrize("name", HEADS)
def test_an_exported_program_returns_the_fields_in_their_order(name):
    model, inputs = model_and_inputs(name, labels=True, **STATES)
    program = torch.export.export(model, (), inputs)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    program = torch.export.load(buffer)
    expected = leaves_of(model(**inputs))
    assert program.call_spec.out_spec.num_leaves == len(expected)
    flat = torch.utils._pytree.tree_leaves(program.module()(**inputs))
    lowered = program.graph_module(*program._graph_module_flat_inputs((), inputs))  # what other runtimes run
    for got in (flat, lowered):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
def test_onnx_outputs_carry_the_names_of_the_fields(tmp_path):
    import onnxruntime

    model, inputs = model_and_inputs("QuestionAnswering")
    expected = model(**inputs)
    names = [field for field in field_names(type(expected)) if field in expected]
    program = torch.onnx.export(
        model, (), kwargs=inputs, input_names=list(inputs), output_names=names, dynamo=True, verbose=False
    )
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    got = session.run(names, {n: v.numpy() for n, v in inputs.items()})
    for field, array in zip(names, got, strict=True):
        torch.testing.assert_close(torch.as_tensor(array), expected[field], rtol=1e-4, atol=1e-4, msg=field)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADS)
def test_written_graphs_are_sound_and_take_any_batch_and_length(name, tmp_path):
    import onnx
    import onnxruntime

    model, _ = model_and_inputs(name)
    spec = ExportSpec(HEADS[name], model.config, precision="fp16" if name == "TokenClassification" else "fp32")
    write_onnx(model, spec, tmp_path / "model.onnx")
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert [(each.name, each.type) for each in session.get_inputs()] == [(n, "tensor(int32)") for n in TEXT_INPUTS]
    assert [(each.name, each.type) for each in session.get_outputs()] == [(n, "tensor(float)") for n in spec.outputs]
    graph = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "model.onnx")).graph
    kinds = {each.name: each.type.tensor_type.elem_type for each in graph.value_info}
    softmaxes = [node for node in graph.node if node.op_type == "Softmax"]
    assert softmaxes and all(kinds[node.input[0]] == onnx.TensorProto.FLOAT for node in softmaxes)  # in fp16 as well
    near = 3e-2 if spec.precision == "fp16" else 1e-4
    for rows, length in ((1, 5), (4, 37)):
        batch = tiny_batch(model.config, name, rows, length, labels=False)
        expected = model(**{n: torch.as_tensor(v) for n, v in batch.items()})
        for field, array in zip(spec.outputs, session.run(None, batch), strict=True):
            torch.testing.assert_close(torch.as_tensor(array), expected[field], rtol=near, atol=near, msg=field)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", HEADS)
def test_traces_of_default_outputs_are_dicts(name):
    model, inputs = model_and_inputs(name)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    traced = torch.jit.trace(model, (ids, mask), strict=False)
    short = (ids[:1, ..., :5], mask[:1, ..., :5])
    expected, got = model(*short), traced(*short)
    assert list(got) == list(expected)
    for key in expected:
        torch.testing.assert_close(got[key], expected[key])
    with pytest.raises(RuntimeError, match="Encountering a dict at the output of the tracer"):
        torch.jit.trace(model, (ids, mask))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", HEADS)
def test_traces_of_flat_outputs_take_any_batch_and_length(name):
    model, inputs = model_and_inputs(name, torchscript=True, **STATES)
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(model, tuple(inputs.values())), buffer)
    buffer.seek(0)
    traced = torch.jit.load(buffer)
    for rows, length in ((1, 1), (2, 5), (5, 37)):
        batch = tiny_batch(model.config, name, rows, max(length, 4), labels=False)
        other = [torch.as_tensor(batch[n][..., :length]).long() for n in inputs]
        expected, got = model(*other), traced(*other)
        assert isinstance(expected, tuple) and len(got) == len(expected)
        for one, two in zip(
            torch.utils._pytree.tree_leaves(got), torch.utils._pytree.tree_leaves(expected), strict=True
        ):
            torch.testing.assert_close(one, two)
    ids, mask, types = other
    longer = [torch.nn.functional.pad(each, (0, 1), value=1) for each in other]
    for wrong in (longer, (ids - ids.max() - 1, mask, types), (ids, mask, types + 3)):
        with pytest.raises(RuntimeError, match="index out of range|must match the size"):
            traced(*wrong)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.*is deprecated:DeprecationWarning")
def test_a_trace_made_in_training_drops_as_pytorch_does(monkeypatch):
    model, inputs = model_and_inputs("SequenceClassification", torchscript=True, attention_probs_dropout_prob=0.5)
    traced = torch.jit.trace(model.train(), tuple(inputs.values()), check_trace=False)
    batch = [value[:2, :7] for value in inputs.values()]
    torch.manual_seed(3)
    (got,) = traced(*batch)
    assert not torch.equal(got, traced(*batch)[0])
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # no way of our own through dropout
    torch.manual_seed(3)
    torch.testing.assert_close(got, model(*batch)[0])


def test_a_full_disk_does_not_end_the_process():
    """PyTorch's own writer of files aborts there."""
    model = MODEL_CLASSES["SequenceClassification"](tiny_config(num_hidden_layers=1)).eval()
    with pytest.raises(OSError, match="No space left"):
        write_torch_export(model, ExportSpec(HEADS["SequenceClassification"], model.config), Path("/dev/full"))
