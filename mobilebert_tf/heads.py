"""The seven task models in Keras 3: one signature each, everything else from the table of heads.

B batch, S sequence, T tokens, H hidden, V vocabulary, C labels, N labelled tokens. Twin: mobilebert_torch/heads.py.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import ACTIVATIONS
from mobilebert_core.heads import HEADS
from mobilebert_core.outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    MobileBertForPreTrainingOutput,
    ModelCall,
    MultipleChoiceModelOutput,
    NextSentencePredictorOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
    output_options,
    returned,
)

from . import policies
from .brick import Brick
from .inputs import fold_choices, input_dict
from .layers import LMPredictionHead
from .losses import head_loss
from .modeling import TFMobileBertMainLayer, TFMobileBertModel
from .pretrained import TFMobileBertPreTrainedModel
from .serialization import serializable
from .token_selection import first_token, labelled_tokens


class TFTaskModel(TFMobileBertPreTrainedModel):
    """A MobileBERT with one head. Subclasses add their head's modules and `logits`."""

    def build_parts(self, config: MobileBertConfig, *, initializer: Any, dtype: Any) -> None:
        self.mobilebert = TFMobileBertMainLayer(
            config, self.head.pooled, initializer=initializer, dtype=dtype, name="mobilebert"
        )
        self.build_head(config, initializer=initializer, dtype=policies.of_heads(config, dtype))

    def build_head(self, config: MobileBertConfig, *, initializer: Any, dtype: Any) -> None:
        raise TypeError(f"{type(self).__name__} has no head of its own; use one of the TFMobileBertFor... classes.")

    def build(self, input_shape: Any = None) -> None:
        for layer in self.layers:
            if isinstance(layer, keras.layers.Dense) and not layer.built:  # the head's own, which read hidden states
                layer.build((None, self.config.hidden_size))
        super().build()

    def logits(self, encoded: BaseModelOutputWithPooling, training: bool) -> dict[str, Any]:
        """The head's outputs by field name."""
        raise TypeError(f"{type(self).__name__} has no head of its own; use one of the TFMobileBertFor... classes.")

    def run(
        self,
        inputs: dict[str, Any],
        labels: dict[str, Any],
        output_attentions: bool | None,
        output_hidden_states: bool | None,
        return_dict: bool | None,
        training: bool,
    ) -> Any:
        """Encodes, scores and, with labels, computes the loss."""
        if self.head.per_choice:
            inputs, choices = fold_choices(inputs)
        labelled, labels = labelled_tokens(self.config, self.head, inputs, labels)
        select = labelled if not self.head.pooled else first_token if self.head.words is None else None
        inputs |= output_options(self.config, output_attentions, output_hidden_states)
        encoded = self.mobilebert(**inputs, select=select, in_units=False, training=training)
        if labelled is not None and self.head.pooled:  # pretraining reads the first token as well
            states = ops.reshape(encoded.last_hidden_state, (-1, self.config.hidden_size))  # (T, H)
            encoded = BaseModelOutputWithPooling(encoded, last_hidden_state=labelled(states, None))
        scores = self.logits(encoded, training)
        if self.head.per_choice:
            scores = {name: ops.reshape(score, (-1, choices)) for name, score in scores.items()}
        output = self.head.output(
            **scores,
            loss=head_loss(self.config, self.head, scores, labels),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return returned(self.config, output, return_dict)


class PreTrainingHeads(Brick):
    """The heads of pretraining under the name `cls`, of which a model has one or both: then one reads `pooled`."""

    def __init__(
        self,
        config: MobileBertConfig,
        modules: tuple[str, ...],
        word_embeddings: keras.layers.Embedding,
        *,
        initializer: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if "predictions" in modules:
            predictions = LMPredictionHead(
                config.vocab_size,
                config.embedding_size,
                config.hidden_size,
                ACTIVATIONS[config.hidden_act],
                config.layer_norm_eps,
                decoder=word_embeddings if config.tie_word_embeddings else None,
                initializer=initializer,
                dtype=self.dtype_policy,
                name="predictions",
            )
            self.part("predictions", predictions)
        if "seq_relationship" in modules:
            self.dense_part("seq_relationship", config.hidden_size, 2, initializer)

    def call(self, x: Any, pooled: Any = None) -> Any:
        first = self.predictions if hasattr(self, "predictions") else self.seq_relationship
        return first(x) if pooled is None else (first(x), self.seq_relationship(pooled))


@serializable
class TFMobileBertForPreTraining(TFTaskModel):
    """Masked-language modelling and next-sentence prediction together (both losses summed)."""

    head = HEADS["PreTraining"]
    __call__: ModelCall[MobileBertForPreTrainingOutput]

    def build_head(self, config: MobileBertConfig, *, initializer: Any, dtype: Any) -> None:
        words = self.mobilebert.embeddings.word_embeddings
        self.cls = PreTrainingHeads(config, self.head.modules, words, initializer=initializer, dtype=dtype, name="cls")

    def logits(self, encoded: BaseModelOutputWithPooling, training: bool) -> dict[str, Any]:
        words, next_sentence = self.cls(encoded.last_hidden_state, encoded.pooler_output)
        return {"prediction_logits": words, "seq_relationship_logits": next_sentence}  # (B, S, V) or (N, V), (B, 2)

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        head_mask: Any = None,
        inputs_embeds: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: Any = None,
        next_sentence_label: Any = None,
        training: bool = False,
    ) -> Any:
        """`labels` (B, S) of word ids, -100 ignored; `next_sentence_label` (B,): 0 follows, 1 is random.

        The loss needs both. prediction_logits are (B, S, V); with `sparse_prediction` and labels (N, V) as in
        `TFMobileBertForMaskedLM.call`. Inputs as in `TFMobileBertModel.call`.
        """
        inputs = input_dict(input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        targets = {"labels": labels, "next_sentence_label": next_sentence_label}
        return self.run(inputs, targets, output_attentions, output_hidden_states, return_dict, training)


@serializable
class TFMobileBertForMaskedLM(TFTaskModel):
    """Scores for every word at every position."""

    head = HEADS["MaskedLM"]
    __call__: ModelCall[MaskedLMOutput]

    def build_head(self, config: MobileBertConfig, *, initializer: Any, dtype: Any) -> None:
        words = self.mobilebert.embeddings.word_embeddings
        self.cls = PreTrainingHeads(config, self.head.modules, words, initializer=initializer, dtype=dtype, name="cls")

    def logits(self, encoded: BaseModelOutputWithPooling, training: bool) -> dict[str, Any]:
        return {"logits": self.cls(encoded.last_hidden_state)}  # (B, S, V) or (N, V)

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        head_mask: Any = None,
        inputs_embeds: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: Any = None,
        training: bool = False,
    ) -> Any:
        """`labels` (B, S) of word ids, -100 where nothing is to be predicted; logits are (B, S, V).

        With `sparse_prediction` in the configuration and labels passed, logits are (N, V) of the N tokens whose label
        is not -100, text by text in their order. The loss is the same. On JAX all tokens are scored.
        """
        inputs = input_dict(input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        return self.run(inputs, {"labels": labels}, output_attentions, output_hidden_states, return_dict, training)


@serializable
class TFMobileBertForNextSentencePrediction(TFTaskModel):
    """Does the second sentence follow the first?"""

    head = HEADS["NextSentencePrediction"]
    __call__: ModelCall[NextSentencePredictorOutput]

    def build_head(self, config: MobileBertConfig, *, initializer: Any, dtype: Any) -> None:
        words = self.mobilebert.embeddings.word_embeddings
        self.cls = PreTrainingHeads(config, self.head.modules, words, initializer=initializer, dtype=dtype, name="cls")

    def logits(self, encoded: BaseModelOutputWithPooling, training: bool) -> dict[str, Any]:
        return {"logits": self.cls(encoded.pooler_output)}  # (B, 2)

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        head_mask: Any = None,
        inputs_embeds: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        next_sentence_label: Any = None,
        training: bool = False,
        labels: Any = None,
    ) -> Any:
        """`next_sentence_label` (B,), or `labels`: 0 where the second sentence follows, 1 where it is random."""
        inputs = input_dict(input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        targets = {"labels": labels, "next_sentence_label": next_sentence_label}
        return self.run(inputs, targets, output_attentions, output_hidden_states, return_dict, training)


@serializable
class TFMobileBertForSequenceClassification(TFTaskModel):
    """One or several labels, or a number, for a text or a pair of texts."""

    head = HEADS["SequenceClassification"]
    __call__: ModelCall[SequenceClassifierOutput]

    def build_head(self, config: MobileBertConfig, *, initializer: Any, dtype: Any) -> None:
        self.num_labels = config.num_labels
        self.dropout = keras.layers.Dropout(config.head_dropout_prob, dtype=dtype)
        self.classifier = _classifier(config.num_labels, initializer, dtype)

    def logits(self, encoded: BaseModelOutputWithPooling, training: bool) -> dict[str, Any]:
        return {"logits": self.classifier(self.dropout(encoded.pooler_output, training=training))}  # (B, C)

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        head_mask: Any = None,
        inputs_embeds: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: Any = None,
        training: bool = False,
    ) -> Any:
        """`labels` (B,) of classes, (B, C) of 0 and 1, or (B,) of numbers, as `problem_type` says.

        Without it one label means regression, whole numbers a single label, anything else several labels.
        """
        inputs = input_dict(input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        return self.run(inputs, {"labels": labels}, output_attentions, output_hidden_states, return_dict, training)


@serializable
class TFMobileBertForQuestionAnswering(TFTaskModel):
    """Where an answer starts and ends in the text."""

    head = HEADS["QuestionAnswering"]
    __call__: ModelCall[QuestionAnsweringModelOutput]

    def build_head(self, config: MobileBertConfig, *, initializer: Any, dtype: Any) -> None:
        self.num_labels = config.num_labels
        self.qa_outputs = _classifier(config.num_labels, initializer, dtype, name="qa_outputs")

    def logits(self, encoded: BaseModelOutputWithPooling, training: bool) -> dict[str, Any]:
        scores = self.qa_outputs(encoded.last_hidden_state)  # (B, S, 2)
        return {"start_logits": scores[..., 0], "end_logits": scores[..., 1]}  # (B, S)

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        head_mask: Any = None,
        inputs_embeds: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        start_positions: Any = None,
        end_positions: Any = None,
        training: bool = False,
    ) -> Any:
        """`start_positions` and `end_positions` (B,); beyond the sequence means that nothing is learned."""
        inputs = input_dict(input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        targets = {"start_positions": start_positions, "end_positions": end_positions}
        return self.run(inputs, targets, output_attentions, output_hidden_states, return_dict, training)


@serializable
class TFMobileBertForMultipleChoice(TFTaskModel):
    """Which of several continuations fits; inputs are (B, choices, S)."""

    head = HEADS["MultipleChoice"]
    __call__: ModelCall[MultipleChoiceModelOutput]

    def build_head(self, config: MobileBertConfig, *, initializer: Any, dtype: Any) -> None:
        self.dropout = keras.layers.Dropout(config.head_dropout_prob, dtype=dtype)
        self.classifier = _classifier(1, initializer, dtype)

    def logits(self, encoded: BaseModelOutputWithPooling, training: bool) -> dict[str, Any]:
        return {"logits": self.classifier(self.dropout(encoded.pooler_output, training=training))}  # (B * choices, 1)

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        head_mask: Any = None,
        inputs_embeds: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: Any = None,
        training: bool = False,
    ) -> Any:
        """`labels` (B,): the number of the right choice."""
        inputs = input_dict(input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        return self.run(inputs, {"labels": labels}, output_attentions, output_hidden_states, return_dict, training)


@serializable
class TFMobileBertForTokenClassification(TFTaskModel):
    """A label for every token, as in named-entity recognition."""

    head = HEADS["TokenClassification"]
    __call__: ModelCall[TokenClassifierOutput]

    def build_head(self, config: MobileBertConfig, *, initializer: Any, dtype: Any) -> None:
        self.num_labels = config.num_labels
        self.dropout = keras.layers.Dropout(config.head_dropout_prob, dtype=dtype)
        self.classifier = _classifier(config.num_labels, initializer, dtype)

    def logits(self, encoded: BaseModelOutputWithPooling, training: bool) -> dict[str, Any]:
        return {"logits": self.classifier(self.dropout(encoded.last_hidden_state, training=training))}  # (B, S, C)

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        head_mask: Any = None,
        inputs_embeds: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: Any = None,
        training: bool = False,
    ) -> Any:
        """`labels` (B, S) of classes, -100 where nothing is to be learned."""
        inputs = input_dict(input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        return self.run(inputs, {"labels": labels}, output_attentions, output_hidden_states, return_dict, training)


def _classifier(size: int, initializer: Any, dtype: Any, name: str = "classifier") -> keras.layers.Dense:
    return keras.layers.Dense(size, kernel_initializer=initializer, dtype=dtype, name=name)


MODEL_CLASSES: dict[str, type[TFMobileBertPreTrainedModel]] = {
    cls.head.name: cls
    for cls in (
        TFMobileBertModel,
        TFMobileBertForPreTraining,
        TFMobileBertForMaskedLM,
        TFMobileBertForNextSentencePrediction,
        TFMobileBertForSequenceClassification,
        TFMobileBertForQuestionAnswering,
        TFMobileBertForMultipleChoice,
        TFMobileBertForTokenClassification,
    )
}
