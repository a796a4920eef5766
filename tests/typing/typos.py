"""A user's file with one mistake on each line that ends in `# error`."""

from __future__ import annotations

import mobilebert
from mobilebert_core.outputs import SequenceClassifierOutput

config = mobilebert.MobileBertConfig.from_preset("mobilebert")
tokenizer = mobilebert.MobileBertTokenizerFast.from_pretrained(mobilebert.DEMO_MODEL)
output = SequenceClassifierOutput(logits=[[0.5]])

print(config.hiden_size)  # error
print(tokenizer.decod([2, 3]))  # error
print(output.logit)  # error
mobilebert.pipeline("text-classification", bakend="keras")  # error
mobilebert.pipelin("text-classification")  # error
