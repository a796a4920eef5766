"""The seven task models in PyTorch: one signature each, everything else from the table of heads.

B batch, S sequence, H hidden, V vocabulary, C labels, N tokens with a word label. Twin: mobilebert_tf/heads.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import ACTIVATIONS
from mobilebert_core.errors import ConfigError
from mobilebert_core.heads import HEADS
from mobilebert_core.inputs import check_no_text
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
from mobilebert_core.weight_rows import scaled_by_powers

from .inputs import check_tensors, checked_inputs, checking, fold_choices, input_dict
from .layers import LMPredictionHead
from .losses import head_loss
from .modeling import MobileBertModel
from .pretrained import MobileBertPreTrainedModel
from .signatures import labels_under_one_name
from .token_selection import TokenSelection, first_token, labelled_tokens
from .watched import inside, is_watched
from .wide import make_dense


class TaskModel(MobileBertPreTrainedModel):
    """A MobileBERT with one head. Subclasses add their head's modules and `logits`."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__(config)
        self.mobilebert = MobileBertModel(config, add_pooling_layer=self.head.pooled)
        self.build_head(config)
        self.post_init()

    def build_head(self, config: MobileBertConfig) -> None:
        raise TypeError(f"{type(self).__name__} has no head of its own; use one of the MobileBertFor... classes.")

    def logits(self, encoded: BaseModelOutputWithPooling) -> dict[str, Tensor]:
        """The head's outputs by field name."""
        raise TypeError(f"{type(self).__name__} has no head of its own; use one of the MobileBertFor... classes.")

    def run(
        self,
        inputs: dict[str, Any],
        labels: dict[str, Any],
        output_attentions: bool | None,
        output_hidden_states: bool | None,
        return_dict: bool | None,
    ) -> Any:
        """Checks, encodes, scores and, with labels, computes the loss."""
        inputs = checked_inputs(self.config, self.head, inputs)
        if checking():
            check_no_text(self.config, self.head, labels)
            check_tensors(self.head, labels)
        if self.head.per_choice:
            inputs, choices = fold_choices(inputs)
        labelled, labels = labelled_tokens(self.config, self.head, inputs, labels)
        select = labelled if not self.head.pooled else first_token if self.head.words is None else None
        options = output_options(self.config, output_attentions, output_hidden_states)
        encoded = self._encoded(inputs, options, select)
        if labelled is not None and self.head.pooled:  # pretraining reads the first token as well
            encoded = BaseModelOutputWithPooling(encoded, last_hidden_state=labelled(encoded.last_hidden_state))
        scores = self.logits(encoded)
        if self.head.per_choice:
            scores = {name: score.reshape(-1, choices) for name, score in scores.items()}
        output = self.head.output(
            **scores,
            loss=head_loss(self.config, self.head, scores, labels),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return returned(self.config, output, return_dict)

    def _encoded(
        self, inputs: dict[str, Any], options: dict[str, Any], select: TokenSelection | None
    ) -> BaseModelOutputWithPooling:
        """What the head reads; by a call of the bare model where that is seen from outside or a module is around it."""
        base = self.mobilebert
        if type(base) is MobileBertModel and not is_watched(base) and base._compiled_call_impl is None:
            return base.encode(**inputs, **options, select=select, in_units=False)
        found = base(**inputs, **options, return_dict=True)
        if not isinstance(found, Mapping):
            raise ConfigError(
                f"{type(self).__name__}: wanted a BaseModelOutputWithPooling of `mobilebert` ({type(base).__name__}) "
                f"and its hooks, got {type(found).__name__}."
            )
        found = inside(base, MobileBertModel).as_heads_read(BaseModelOutputWithPooling(found))
        if select is not None and not self.head.pooled:
            found = BaseModelOutputWithPooling(found, last_hidden_state=select(found.last_hidden_state))
        return found


class PreTrainingHeads(nn.Module):
    """The heads of pretraining under the name `cls`, of which a model has one or both: then one reads `pooled`."""

    def __init__(self, config: MobileBertConfig, modules: tuple[str, ...]) -> None:
        super().__init__()
        if "predictions" in modules:
            self.predictions = LMPredictionHead(
                config.vocab_size,
                config.embedding_size,
                config.hidden_size,
                ACTIVATIONS[config.hidden_act],
                config.layer_norm_eps,
                scaled_by_powers(config),
            )
        if "seq_relationship" in modules:
            self.seq_relationship = make_dense(config.hidden_size, 2, scaled_by_powers(config))

    def forward(self, x: Tensor, pooled: Tensor | None = None) -> Any:
        first = self.predictions if hasattr(self, "predictions") else self.seq_relationship
        return first(x) if pooled is None else (first(x), self.seq_relationship(pooled))


class MobileBertForPreTraining(TaskModel):
    """Masked-language modelling and next-sentence prediction together (both losses summed)."""

    head = HEADS["PreTraining"]
    __call__: ModelCall[MobileBertForPreTrainingOutput]

    def build_head(self, config: MobileBertConfig) -> None:
        self.cls = PreTrainingHeads(config, self.head.modules)

    def logits(self, encoded: BaseModelOutputWithPooling) -> dict[str, Tensor]:
        words, next_sentence = self.cls(encoded.last_hidden_state, encoded.pooler_output)
        return {"prediction_logits": words, "seq_relationship_logits": next_sentence}  # (B, S, V) or (N, V), (B, 2)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MobileBertForPreTrainingOutput | tuple[Any, ...]:
        """`labels` (B, S) of word ids, -100 ignored; `next_sentence_label` (B,): 0 follows, 1 is random.

        The loss needs both. prediction_logits are (B, S, V); with `sparse_prediction` and labels (N, V) as in
        `MobileBertForMaskedLM.forward`. Inputs as in `MobileBertModel.forward`.
        """
        inputs = input_dict(input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        targets = {"labels": labels, "next_sentence_label": next_sentence_label}
        return self.run(inputs, targets, output_attentions, output_hidden_states, return_dict)


class MobileBertForMaskedLM(TaskModel):
    """Scores for every word at every position."""

    head = HEADS["MaskedLM"]
    __call__: ModelCall[MaskedLMOutput]

    def build_head(self, config: MobileBertConfig) -> None:
        self.cls = PreTrainingHeads(config, self.head.modules)

    def logits(self, encoded: BaseModelOutputWithPooling) -> dict[str, Tensor]:
        return {"logits": self.cls(encoded.last_hidden_state)}  # (B, S, V) or (N, V)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MaskedLMOutput | tuple[Any, ...]:
        """`labels` (B, S) of word ids, -100 where nothing is to be predicted; logits are (B, S, V).

        With `sparse_prediction` in the configuration and labels passed, logits are (N, V) of the N tokens whose label
        is not -100, text by text in their order. The loss is the same.
        """
        inputs = input_dict(input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        return self.run(inputs, {"labels": labels}, output_attentions, output_hidden_states, return_dict)


class MobileBertForNextSentencePrediction(TaskModel):
    """Does the second sentence follow the first?"""

    head = HEADS["NextSentencePrediction"]
    __call__: ModelCall[NextSentencePredictorOutput]

    def build_head(self, config: MobileBertConfig) -> None:
        self.cls = PreTrainingHeads(config, self.head.modules)

    def logits(self, encoded: BaseModelOutputWithPooling) -> dict[str, Tensor]:
        return {"logits": self.cls(encoded.pooler_output)}  # (B, 2)

    @labels_under_one_name
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        next_sentence_label: Tensor | None = None,
    ) -> NextSentencePredictorOutput | tuple[Any, ...]:
        """`labels` (B,), or `next_sentence_label`: 0 where the second sentence follows, 1 where it is random."""
        inputs = input_dict(input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        targets = {"labels": labels, "next_sentence_label": next_sentence_label}
        return self.run(inputs, targets, output_attentions, output_hidden_states, return_dict)


class MobileBertForSequenceClassification(TaskModel):
    """One or several labels, or a number, for a text or a pair of texts."""

    head = HEADS["SequenceClassification"]
    __call__: ModelCall[SequenceClassifierOutput]

    def build_head(self, config: MobileBertConfig) -> None:
        self.num_labels = config.num_labels
        self.dropout = nn.Dropout(config.head_dropout_prob)
        self.classifier = make_dense(config.hidden_size, config.num_labels, scaled_by_powers(config))

    def logits(self, encoded: BaseModelOutputWithPooling) -> dict[str, Tensor]:
        return {"logits": self.classifier(self.dropout(encoded.pooler_output))}  # (B, C)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """`labels` (B,) of classes, (B, C) of 0 and 1, or (B,) of numbers, as `problem_type` says.

        Without it one label means regression, whole numbers a single label, anything else several labels.
        """
        inputs = input_dict(input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        return self.run(inputs, {"labels": labels}, output_attentions, output_hidden_states, return_dict)


class MobileBertForQuestionAnswering(TaskModel):
    """Where an answer starts and ends in the text."""

    head = HEADS["QuestionAnswering"]
    __call__: ModelCall[QuestionAnsweringModelOutput]

    def build_head(self, config: MobileBertConfig) -> None:
        self.num_labels = config.num_labels
        self.qa_outputs = make_dense(config.hidden_size, config.num_labels, scaled_by_powers(config))

    def logits(self, encoded: BaseModelOutputWithPooling) -> dict[str, Tensor]:
        scores = self.qa_outputs(encoded.last_hidden_state)  # (B, S, 2)
        return {"start_logits": scores[..., 0].contiguous(), "end_logits": scores[..., 1].contiguous()}  # (B, S)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> QuestionAnsweringModelOutput | tuple[Any, ...]:
        """`start_positions` and `end_positions` (B,); beyond the sequence means that nothing is learned."""
        inputs = input_dict(input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        targets = {"start_positions": start_positions, "end_positions": end_positions}
        return self.run(inputs, targets, output_attentions, output_hidden_states, return_dict)


class MobileBertForMultipleChoice(TaskModel):
    """Which of several continuations fits; inputs are (B, choices, S)."""

    head = HEADS["MultipleChoice"]
    __call__: ModelCall[MultipleChoiceModelOutput]

    def build_head(self, config: MobileBertConfig) -> None:
        self.dropout = nn.Dropout(config.head_dropout_prob)
        self.classifier = make_dense(config.hidden_size, 1, scaled_by_powers(config))

    def logits(self, encoded: BaseModelOutputWithPooling) -> dict[str, Tensor]:
        return {"logits": self.classifier(self.dropout(encoded.pooler_output))}  # (B * choices, 1)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MultipleChoiceModelOutput | tuple[Any, ...]:
        """`labels` (B,): the number of the right choice."""
        inputs = input_dict(input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        return self.run(inputs, {"labels": labels}, output_attentions, output_hidden_states, return_dict)


class MobileBertForTokenClassification(TaskModel):
    """A label for every token, as in named-entity recognition."""

    head = HEADS["TokenClassification"]
    __call__: ModelCall[TokenClassifierOutput]

    def build_head(self, config: MobileBertConfig) -> None:
        self.num_labels = config.num_labels
        self.dropout = nn.Dropout(config.head_dropout_prob)
        self.classifier = make_dense(config.hidden_size, config.num_labels, scaled_by_powers(config))

    def logits(self, encoded: BaseModelOutputWithPooling) -> dict[str, Tensor]:
        return {"logits": self.classifier(self.dropout(encoded.last_hidden_state))}  # (B, S, C)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> TokenClassifierOutput | tuple[Any, ...]:
        """`labels` (B, S) of classes, -100 where nothing is to be learned."""
        inputs = input_dict(input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        return self.run(inputs, {"labels": labels}, output_attentions, output_hidden_states, return_dict)


MODEL_CLASSES: dict[str, type[MobileBertPreTrainedModel]] = {
    cls.head.name: cls
    for cls in (
        MobileBertModel,
        MobileBertForPreTraining,
        MobileBertForMaskedLM,
        MobileBertForNextSentencePrediction,
        MobileBertForSequenceClassification,
        MobileBertForQuestionAnswering,
        MobileBertForMultipleChoice,
        MobileBertForTokenClassification,
    )
}
