"""accelerate: prepared models, saving through it, models without values, and placing."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator, dispatch_model, init_empty_weights

import mobilebert_torch
from mobilebert_core.errors import ConfigError
from mobilebert_core.heads import HEADS
from tests.interop.conftest import NO_DROPOUT, rows_for
from tests.tiny import tiny_config


@pytest.fixture
def accelerator():
    from accelerate.state import AcceleratorState

    yield Accelerator(cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("head", HEADS)
def test_a_prepared_model_trains_and_is_saved(accelerator, checkpoint, tmp_path, head):
    cls = getattr(mobilebert_torch, HEADS[head].class_name)
    model = cls.from_pretrained(checkpoint(head, **NO_DROPOUT))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loader = torch.utils.data.DataLoader(rows_for(head), batch_size=4)
    model, optimizer, loader = accelerator.prepare(model.train(), optimizer, loader)
    for batch in loader:
        output = model(**batch)
        loss = output["loss"] if "loss" in output else output.pooler_output.pow(2).mean()
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
    whole = accelerator.unwrap_model(model)
    whole.save_pretrained(
        tmp_path / "saved",
        is_main_process=accelerator.is_main_process,
        save_function=accelerator.save,
        state_dict=accelerator.get_state_dict(model),
    )
    again = cls.from_pretrained(tmp_path / "saved")
    for (name, one), other in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    accelerator.save_model(model, str(tmp_path / "by_accelerate"))
    third = cls.from_pretrained(tmp_path / "by_accelerate", config=whole.config)
    for (name, one), other in zip(whole.state_dict().items(), third.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    accelerator.save_state(str(tmp_path / "state"))
    with torch.no_grad():
        next(iter(whole.parameters())).zero_()
    accelerator.load_state(str(tmp_path / "state"))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_no_model_without_values_is_loaded(checkpoint):
    cls = mobilebert_torch.MobileBertForMaskedLM
    path = checkpoint("MaskedLM")
    with init_empty_weights():
        empty = cls(tiny_config())
        with pytest.raises(ConfigError, match="init_empty_weights"):
            cls.from_pretrained(path)
    assert all(parameter.is_meta for parameter in empty.parameters())


def test_dispatching_to_a_device_works(checkpoint):
    model = mobilebert_torch.MobileBertForSequenceClassification.from_pretrained(checkpoint("SequenceClassification"))
    ids = torch.ones((2, 5), dtype=torch.long)
    expected = model(ids).logits
    dispatched = dispatch_model(model, {"": "cpu"}, force_hooks=True)
    torch.testing.assert_close(dispatched(ids).logits, expected)
