"""The Trainer of transformers with our models, beside the same with its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from transformers import Trainer, TrainingArguments

import mobilebert_torch
from mobilebert_core.heads import HEADS
from tests.interop.conftest import NO_DROPOUT, rows_for

TRAINED = [name for name, head in HEADS.items() if head.tasks]


def arguments(folder, **changed) -> TrainingArguments:
    values = {
        "per_device_train_batch_size": 4, "per_device_eval_batch_size": 3, "max_steps": 4, "learning_rate": 1e-3,
        "logging_steps": 1, "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2,
        "report_to": [], "disable_tqdm": True, "use_cpu": True, "label_names": None, "seed": 3,
    }  # fmt: skip
    return TrainingArguments(output_dir=str(folder), **{**values, **changed})


def trainer(library, head, checkpoint, folder, **changed) -> Trainer:
    model = getattr(library, HEADS[head].class_name).from_pretrained(checkpoint)
    rows = rows_for(head)
    return Trainer(model=model, args=arguments(folder, **changed), train_dataset=rows, eval_dataset=rows[:5])


@pytest.mark.parametrize("head", TRAINED)
def test_trains_evaluates_and_predicts_as_transformers_own(checkpoint, tmp_path, head):
    path = checkpoint(head, **NO_DROPOUT)
    ours = trainer(mobilebert_torch, head, path, tmp_path / "ours", load_best_model_at_end=True)
    theirs = trainer(transformers, head, path, tmp_path / "theirs", load_best_model_at_end=True)
    for each in (ours, theirs):
        each.train()
    assert ours.state.total_flos == theirs.state.total_flos > 0
    for one, other in zip(ours.state.log_history, theirs.state.log_history, strict=True):
        for name in ("loss", "eval_loss", "grad_norm"):
            assert (name in one) == (name in other)
            if name in one:
                assert one[name] == pytest.approx(other[name], rel=1e-3), one
    assert ours.evaluate()["eval_loss"] == pytest.approx(theirs.evaluate()["eval_loss"], rel=1e-3)
    found, wanted = ours.predict(rows_for(head)), theirs.predict(rows_for(head))
    for one, other in zip(_arrays(found.predictions), _arrays(wanted.predictions), strict=True):
        if head == "MultipleChoice":  # the loss does not depend on the bias: Adam makes steps of rounding errors there
            one, other = (scores - scores.mean(axis=-1, keepdims=True) for scores in (one, other))
        np.testing.assert_allclose(one, other, rtol=0.01, atol=0.01 * np.abs(other).max())


def _arrays(predictions) -> list[np.ndarray]:
    return list(predictions) if isinstance(predictions, tuple) else [predictions]


@pytest.mark.parametrize("head", TRAINED)
def test_what_it_saves_loads_in_both_libraries(checkpoint, tmp_path, head):
    one = trainer(mobilebert_torch, head, checkpoint(head), tmp_path / "run", max_steps=1, eval_strategy="no")
    one.train()
    one.save_model(tmp_path / "saved")
    assert (tmp_path / "saved" / "config.json").is_file()
    assert (tmp_path / "run" / "checkpoint-1" / "config.json").is_file()
    batch = {n: torch.as_tensor(v)[None] for n, v in rows_for(head, 1)[0].items()}
    expected = one.model.eval()(**batch)
    for library in (mobilebert_torch, transformers):
        cls = getattr(library, HEADS[head].class_name)
        model, info = cls.from_pretrained(tmp_path / "saved", output_loading_info=True)
        assert not any(info.values()), info
        torch.testing.assert_close(model.eval()(**batch).loss, expected.loss, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("head", TRAINED)
def test_a_run_that_was_interrupted_ends_like_one_that_was_not(checkpoint, tmp_path, head):
    path = checkpoint(head, **NO_DROPOUT)
    whole = trainer(mobilebert_torch, head, path, tmp_path / "whole")
    whole.train()
    again = trainer(mobilebert_torch, head, path, tmp_path / "again")
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    for (name, one), other in zip(whole.model.state_dict().items(), again.model.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, msg=name)


@pytest.mark.parametrize("kwargs", [None, {"use_reentrant": True}, {"every_n_layers": 2, "offload": True}])
def test_gradient_checkpointing_changes_no_loss(checkpoint, tmp_path, kwargs):
    path = checkpoint("SequenceClassification", **NO_DROPOUT)
    losses, calls = [], []
    for changed in ({}, {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": kwargs}):
        run = trainer(mobilebert_torch, "SequenceClassification", path, tmp_path / str(len(losses)), **changed)
        count: list[int] = []
        run.model.mobilebert.encoder.layer[0].register_forward_pre_hook(lambda *_, count=count: count.append(1))
        run.train()
        losses.append([entry["loss"] for entry in run.state.log_history if "loss" in entry])
        calls.append(len(count))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert calls[1] == calls[0] + 4  # once more in each step


def test_the_bare_model_predicts_and_has_nothing_to_learn(checkpoint, tmp_path):
    found = []
    for library in (mobilebert_torch, transformers):
        run = trainer(library, "Model", checkpoint("Model"), tmp_path, label_names=None)
        found.append(run.predict(rows_for("Model")).predictions)
        with pytest.raises(ValueError, match="did not return a loss"):
            run.train()
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


def test_a_tokenizer_of_ours_goes_with_the_model(tmp_path):
    """Rows of several lengths are padded by it, and it is saved beside the weights."""
    from mobilebert_core import DEMO_MODEL, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(DEMO_MODEL)
    rows = [{**tokenizer(text), "label": i % 2} for i, text in enumerate(["one", "two or three", "four, five and six"])]
    model = mobilebert_torch.MobileBertForSequenceClassification.from_pretrained(
        DEMO_MODEL, num_labels=2, ignore_mismatched_sizes=True, problem_type="single_label_classification"
    )
    run = Trainer(
        model=model,
        args=arguments(tmp_path / "run", eval_strategy="no", max_steps=1, save_strategy="no"),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    run.train()
    run.save_model(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved")("one") == tokenizer("one")
