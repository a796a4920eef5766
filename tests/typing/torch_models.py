"""A user's file on PyTorch models, for the type checker alone: correct but for a mistake in each line that says so."""

from __future__ import annotations

from typing import Any, assert_type

from mobilebert_core import outputs
from mobilebert_torch import (
    MobileBertConfig,
    MobileBertForMaskedLM,
    MobileBertForMultipleChoice,
    MobileBertForNextSentencePrediction,
    MobileBertForPreTraining,
    MobileBertForQuestionAnswering,
    MobileBertForSequenceClassification,
    MobileBertForTokenClassification,
    MobileBertModel,
)

model = MobileBertForSequenceClassification.from_pretrained("a-model", num_labels=3)
assert_type(model, MobileBertForSequenceClassification)
assert_type(MobileBertModel.from_pretrained("a-model"), MobileBertModel)
assert_type(model.config, MobileBertConfig)
print(model.config.num_labls)  # error

config = MobileBertConfig()
inputs: dict[str, Any] = {}
assert_type(MobileBertModel(config)(**inputs), outputs.BaseModelOutputWithPooling)
assert_type(MobileBertForPreTraining(config)(**inputs), outputs.MobileBertForPreTrainingOutput)
assert_type(MobileBertForMaskedLM(config)(**inputs), outputs.MaskedLMOutput)
assert_type(MobileBertForNextSentencePrediction(config)(**inputs), outputs.NextSentencePredictorOutput)
assert_type(MobileBertForSequenceClassification(config)(**inputs), outputs.SequenceClassifierOutput)
assert_type(MobileBertForQuestionAnswering(config)(**inputs), outputs.QuestionAnsweringModelOutput)
assert_type(MobileBertForMultipleChoice(config)(**inputs), outputs.MultipleChoiceModelOutput)
assert_type(MobileBertForTokenClassification(config)(**inputs), outputs.TokenClassifierOutput)

output = model(**inputs, labels=inputs["labels"], output_hidden_states=True)
print(output.loss, output.logits[0], output["logits"], output[0])
loss, logits = model(inputs, return_dict=False)
print(loss.mean(), logits.argmax(-1))
print(output.logit)  # error
print(model(**inputs).logit)  # error
