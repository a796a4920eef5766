"""Lightning: a module around our model trains, checkpoints and continues."""

from __future__ import annotations

import lightning
import torch

import mobilebert_torch
from tests.interop.conftest import rows_for
from tests.tiny import tiny_config


class Classifier(lightning.LightningModule):
    def __init__(self, config: mobilebert_torch.MobileBertConfig | None = None) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.model = mobilebert_torch.MobileBertForSequenceClassification(config or tiny_config())

    def training_step(self, batch, index):
        return self.model(**batch).loss

    def validation_step(self, batch, index):
        self.log("val_loss", self.model(**batch).loss)

    def predict_step(self, batch, index):
        return self.model(**batch).logits

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def trainer(folder, **changed):
    return lightning.Trainer(
        default_root_dir=str(folder), accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, **{"max_epochs": 1, **changed},
    )  # fmt: skip


def test_fits_predicts_and_continues_from_its_checkpoint(tmp_path):
    loader = torch.utils.data.DataLoader(rows_for("SequenceClassification"), batch_size=4)
    torch.manual_seed(0)
    module = Classifier(tiny_config())
    one = trainer(tmp_path)
    one.fit(module, loader, loader)
    assert torch.isfinite(one.callback_metrics["val_loss"])
    one.save_checkpoint(tmp_path / "one.ckpt")
    again = Classifier.load_from_checkpoint(tmp_path / "one.ckpt", weights_only=False)
    assert again.hparams["config"] == module.hparams["config"]
    expected = torch.cat(one.predict(module, loader))
    torch.testing.assert_close(torch.cat(trainer(tmp_path).predict(again, loader)), expected)
    trainer(tmp_path, max_epochs=2).fit(again, loader, ckpt_path=tmp_path / "one.ckpt", weights_only=False)
    again.model.save_pretrained(tmp_path / "saved")
    loaded = mobilebert_torch.MobileBertForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), again.model.parameters(), strict=True))
