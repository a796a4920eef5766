"""What holds after a head was added: TokenScoring."""

from __future__ import annotations

import numpy as np

from mobilebert.cli import main
from tests.backends.backend import BACKENDS
from tests.tiny import tiny_batch, tiny_config

HEAD = "TokenScoring"


def test_keras_computes_what_torch_saved(tmp_path):
    torch, keras = BACKENDS["torch"](), BACKENDS["keras"]()
    config = tiny_config(num_labels=3)
    torch.build(HEAD, config).save_pretrained(tmp_path / "saved")
    batch = tiny_batch(config, HEAD, labels=False)
    first, second = (
        backend.numpy(backend.call(backend.load(HEAD, tmp_path / "saved", dtype="float64"), batch)["logits"])
        for backend in (torch, keras)
    )
    assert first.shape == (3, 11, 3)
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-10 * np.abs(first).max())


def test_each_backend_exports_its_class():
    import mobilebert_tf
    import mobilebert_torch

    assert mobilebert_torch.MobileBertForTokenScoring is mobilebert_torch.MODEL_CLASSES[HEAD]
    assert mobilebert_tf.TFMobileBertForTokenScoring is mobilebert_tf.MODEL_CLASSES[HEAD]


def test_it_converts_and_is_inspected(checkpoint, tmp_path, capsys):
    path, out = checkpoint(HEAD), tmp_path / "out"
    assert main(["convert", str(path), str(out), "--head", HEAD]) == 0
    capsys.readouterr()
    assert main(["inspect", str(out)]) == 0
    assert HEAD in capsys.readouterr().out
