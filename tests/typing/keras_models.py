"""A user's file on Keras models, for the type checker alone: correct but for one mistake."""

from __future__ import annotations

from typing import assert_type

from mobilebert_tf import MobileBertConfig, TFMobileBertForSequenceClassification, TFMobileBertModel

model = TFMobileBertForSequenceClassification.from_pretrained("a-model", num_labels=3)
assert_type(model, TFMobileBertForSequenceClassification)
assert_type(TFMobileBertModel.from_pretrained("a-model"), TFMobileBertModel)
assert_type(model.config, MobileBertConfig)
print(model.config.num_labls)  # error
