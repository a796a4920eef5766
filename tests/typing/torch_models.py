"""A user's file on PyTorch models, for the type checker alone: correct but for one mistake."""

from __future__ import annotations

from typing import assert_type

from mobilebert_torch import MobileBertConfig, MobileBertForSequenceClassification, MobileBertModel

model = MobileBertForSequenceClassification.from_pretrained("a-model", num_labels=3)
assert_type(model, MobileBertForSequenceClassification)
assert_type(MobileBertModel.from_pretrained("a-model"), MobileBertModel)
assert_type(model.config, MobileBertConfig)
print(model.config.num_labls)  # error
