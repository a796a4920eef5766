"""A user's file on Keras models, for the type checker alone: correct but for a mistake in each line that says so."""

from __future__ import annotations

from typing import Any, assert_type

from mobilebert_core import outputs
from mobilebert_tf import (
    MobileBertConfig,
    TFMobileBertForMaskedLM,
    TFMobileBertForMultipleChoice,
    TFMobileBertForNextSentencePrediction,
    TFMobileBertForPreTraining,
    TFMobileBertForQuestionAnswering,
    TFMobileBertForSequenceClassification,
    TFMobileBertForTokenClassification,
    TFMobileBertModel,
)

model = TFMobileBertForSequenceClassification.from_pretrained("a-model", num_labels=3)
assert_type(model, TFMobileBertForSequenceClassification)
assert_type(TFMobileBertModel.from_pretrained("a-model"), TFMobileBertModel)
assert_type(model.config, MobileBertConfig)
print(model.config.num_labls)  # error

config = MobileBertConfig()
inputs: dict[str, Any] = {}
assert_type(TFMobileBertModel(config)(**inputs), outputs.BaseModelOutputWithPooling)
assert_type(TFMobileBertForPreTraining(config)(**inputs), outputs.MobileBertForPreTrainingOutput)
assert_type(TFMobileBertForMaskedLM(config)(**inputs), outputs.MaskedLMOutput)
assert_type(TFMobileBertForNextSentencePrediction(config)(**inputs), outputs.NextSentencePredictorOutput)
assert_type(TFMobileBertForSequenceClassification(config)(**inputs), outputs.SequenceClassifierOutput)
assert_type(TFMobileBertForQuestionAnswering(config)(**inputs), outputs.QuestionAnsweringModelOutput)
assert_type(TFMobileBertForMultipleChoice(config)(**inputs), outputs.MultipleChoiceModelOutput)
assert_type(TFMobileBertForTokenClassification(config)(**inputs), outputs.TokenClassifierOutput)

output = model(**inputs, labels=inputs["labels"], output_hidden_states=True)
print(output.loss, output.logits[0], output["logits"], output[0])
loss, logits = model(inputs, return_dict=False)
print(loss.mean(), logits.argmax(-1))
print(output.logit)  # error
print(model(**inputs).logit)  # error
