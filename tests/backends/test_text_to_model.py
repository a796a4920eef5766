"""From text to scores with the names and calls of transformers, in both backends."""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert_core import AutoTokenizer, MobileBertTokenizer, MobileBertTokenizerFast
from mobilebert_core.demo_model import DEMO_VOCABULARY

VOCABULARY = str(DEMO_VOCABULARY)
TENSORS = {"torch": "pt", "keras": "tf"}


@pytest.mark.parametrize("cls", [MobileBertTokenizer, MobileBertTokenizerFast])
def test_an_encoding_is_what_a_model_takes(backend, checkpoint, cls):
    path = checkpoint("NextSentencePrediction", vocab_size=8000)
    cls(VOCABULARY).save_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = backend.load("NextSentencePrediction", path)
    encoding = tokenizer(
        ["Who keeps the bees?", "It rained."], ["Mary does.", "All day long."],
        padding=True, return_tensors=TENSORS[backend.name],
    )  # fmt: skip
    output = model(**encoding)
    assert tuple(output.logits.shape) == (2, 2)
    assert tokenizer.decode(encoding.input_ids[0], skip_special_tokens=True) == "who keeps the bees? mary does."
    if backend.name == "keras":
        packed = model(encoding)
        assert np.array_equal(backend.numpy(packed[0]), backend.numpy(output[0]))
        model.compile()
        assert model.predict(dict(encoding), verbose=0).logits.shape == (2, 2)
