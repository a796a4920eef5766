"""MobileBERT in Keras 3: the configuration taken apart into bricks, and the bare model.

B batch, S sequence, E embedding, H hidden, W width inside a block, N heads, L layers.
Twin: mobilebert_torch/modeling.py. Source: arXiv 2004.02984, section 3, and the released TF1 code.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
from keras import ops

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import ACTIVATIONS
from mobilebert_core.folding import check_blocks
from mobilebert_core.heads import HEADS
from mobilebert_core.outputs import BaseModelOutputWithPooling, ModelCall, output_options, returned
from mobilebert_core.weight_rows import joint_projection, query_reads_hidden, scaled_by_powers

from . import policies
from .attention import Attention, JointAttention
from .brick import Brick
from .initializers import padded_initializer, weight_initializer
from .inputs import attention_bias, head_masks, input_dict
from .layer_paths import inside
from .layers import BlockOutput, Bottleneck, FeedForward, Intermediate, NoNorm, Pooler, Powers, make_norm
from .lookup import rows_of
from .pretrained import TFMobileBertPreTrainedModel
from .rematerialization import rematerialized
from .serialization import serializable
from .token_selection import TokenSelection


@serializable
class TFMobileBertEmbeddings(Brick):
    """Words, positions and segments: ids (B, S) -> (B, S, H).

    With `trigram_input` each position sees the embeddings of the next, its own and the previous word, in that
    order, zeros beyond both ends (paper, section 3.1). `padding_invariant` also zeroes masked neighbours. With
    `training`, as in PyTorch, looking up the padding token sends no gradient to its row.
    """

    def __init__(self, config: MobileBertConfig, *, initializer: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        initializer = initializer or weight_initializer(config.initializer_range)
        self.trigram_input = config.trigram_input
        self.padding_invariant = config.padding_invariant
        self.pad_token_id = None if config.pad_token_id is None else config.pad_token_id % config.vocab_size
        self.transforms = config.transforms_embeddings
        for name, rows, size in (
            ("word_embeddings", config.vocab_size, config.embedding_size),
            ("position_embeddings", config.max_position_embeddings, config.hidden_size),
            ("token_type_embeddings", config.type_vocab_size, config.hidden_size),
        ):
            start = padded_initializer(initializer, self.pad_token_id) if name == "word_embeddings" else initializer
            table = keras.layers.Embedding(rows, size, embeddings_initializer=start, dtype=self.dtype_policy, name=name)
            self.part(name, table, size)
        width = config.embedding_size * (3 if config.trigram_input else 1)
        self.dense_part("embedding_transformation", width, config.hidden_size, initializer)
        norm = make_norm(config.norm_at("embeddings"), config.layer_norm_eps, self.dtype_policy)
        self.part("LayerNorm", norm, config.hidden_size)
        self.dropout = keras.layers.Dropout(config.hidden_dropout_prob, dtype=self.dtype_policy)
        if scaled_by_powers(config):
            self.part("state", Powers(dtype=policies.wide(self.dtype_policy), name="state"), config.hidden_size)

    def call(
        self,
        input_ids: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        inputs_embeds: Any = None,
        attention_mask: Any = None,
        training: bool = False,
    ) -> Any:
        x = inputs_embeds if input_ids is None else rows_of(self.word_embeddings, input_ids)  # (B, S, E)
        x = ops.cast(x, self.compute_dtype)
        if input_ids is not None and self.pad_token_id is not None and training:
            x = ops.where(ops.equal(input_ids, self.pad_token_id)[..., None], ops.stop_gradient(x), x)
        if self.trigram_input:
            neighbours = x
            if self.padding_invariant and attention_mask is not None:
                neighbours = x * ops.cast(ops.cast(attention_mask, "int32") >= 1, x.dtype)[..., None]
            padded = ops.pad(neighbours, ((0, 0), (1, 1), (0, 0)))  # (B, S + 2, E)
            x = ops.concatenate((padded[:, 2:], x, padded[:, :-2]), axis=-1)  # (B, S, 3E)
        if self.transforms:
            x = self.embedding_transformation(x)  # (B, S, H)
        if position_ids is None:
            positions = self.position_embeddings(ops.arange(ops.shape(x)[1], dtype="int32"))
        else:
            positions = rows_of(self.position_embeddings, position_ids)
        x = x + ops.cast(positions, x.dtype)  # an int4 table gives float32
        if token_type_ids is None:
            segments = self.token_type_embeddings(ops.zeros((1,), dtype="int32"))
        else:
            segments = rows_of(self.token_type_embeddings, token_type_ids)
        x = x + ops.cast(segments, x.dtype)
        return self.dropout(x if self.LayerNorm is None else self.LayerNorm(x), training=training)

    def in_units(self, x: Any) -> Any:
        """What `call` returns in the units of the trained model."""
        return self.state(x) if hasattr(self, "state") else x


@serializable
class TFMobileBertLayer(Brick):
    """One block: into the bottleneck, attention, stacked feed-forward networks, and out again.

    After attention every token is processed independently, so with `select` the feed-forward networks run on the
    selected tokens only. Takes states of (T, H) and the length S, or of (B, S, H), and returns the like and
    the attention probabilities (B, N, S, S).
    """

    lists = ("ffn",)

    def __init__(self, config: MobileBertConfig, index: int = 0, *, initializer: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        initializer = initializer or weight_initializer(config.initializer_range)
        hidden, width, eps = config.hidden_size, config.true_hidden_size, config.layer_norm_eps
        norm_at = partial(config.norm_in_block, index)
        activation = ACTIVATIONS[config.hidden_act]
        made = {"initializer": initializer, "dtype": self.dtype_policy}
        self.use_bottleneck = config.use_bottleneck
        attention = _attention(config, config.heads_of_layer(index), norm_at("attention.output"), made)
        self.part("attention", attention)
        self.part(
            "intermediate", Intermediate(width, config.intermediate_size, activation, name="intermediate", **made)
        )
        output = BlockOutput(
            config.intermediate_size,
            width,
            hidden,
            config.use_bottleneck,
            norm_at("output"),
            norm_at("output.bottleneck"),
            eps,
            config.hidden_dropout_prob,
            name="output",
            **made,
        )
        self.part("output_", output)
        self.joint = joint_projection(config)
        if self.joint:
            self.part("state", NoNorm(dtype=self.dtype_policy, name="state"), hidden)
        elif config.use_bottleneck:
            sizes = (hidden, width, config.key_query_shared_bottleneck, config.use_bottleneck_attention)
            bottleneck = Bottleneck(*sizes, norm_at("bottleneck.input"), eps, name="bottleneck", **made)
            self.part("bottleneck", bottleneck)
        if scaled_by_powers(config):
            self.part("state", Powers(dtype=policies.wide(self.dtype_policy), name="state"), hidden)
        self.ffn = [
            FeedForward(
                width, config.intermediate_size, activation, norm_at(f"ffn.{i}.output"), eps, name=f"ffn_{i}", **made
            )
            for i in range(config.num_feedforward_networks - 1)
        ]

    def call(
        self,
        x: Any,
        attention_bias: Any = None,
        head_mask: Any = None,
        length: Any = -1,
        select: TokenSelection | None = None,
        training: bool = False,
    ) -> Any:
        if len(x.shape) == 3:  # from a model of the user's own
            tokens = ops.cast(ops.reshape(x, (-1, x.shape[-1])), self.compute_dtype)
            y, probs = self.call(tokens, attention_bias, head_mask, ops.shape(x)[1], select, training)
            return (y if select is not None else ops.reshape(y, ops.shape(x))), probs
        attended, probs = self.attend(x, attention_bias, head_mask, length, training)
        if select is not None:
            attended, x = select(attended, length), select(x, length)  # (tokens, W), (tokens, H)
        return self.transform(attended, x, training), probs

    def attend(self, x: Any, attention_bias: Any, head_mask: Any, length: Any, training: bool) -> Any:
        """The first half, where tokens see each other: (T, H) -> (T, W)."""
        if self.joint:
            return self.attention(x, attention_bias, head_mask, length=length, training=training)
        query, value, residual = self._sources(x)
        return self.attention(query, value, residual, attention_bias, head_mask, length=length, training=training)

    def transform(self, attended: Any, block_input: Any, training: bool) -> Any:
        """The second half, for each token by itself: (..., W) and the block's input (..., H) -> (..., H)."""
        y = attended
        for ffn in self.ffn:
            y = ffn(y)
        return self.output_(self.intermediate(y), y, block_input, training=training)

    def in_units(self, x: Any) -> Any:
        """The state after this block in the units of the trained model; what `call` returns may be scaled."""
        return self.state(x) if hasattr(self, "state") else x

    def _sources(self, x: Any) -> tuple[Any, Any, Any]:
        """The inputs of query and key, of value, and the residual."""
        return self.bottleneck(x) if self.use_bottleneck else (x, x, x)


def _attention(
    config: MobileBertConfig, num_heads: int, normalization_type: str, made: dict[str, Any]
) -> Attention | JointAttention:
    """The attention of a block; which arrays it reads depends on the bottlenecks."""
    hidden, width, reads_hidden = config.hidden_size, config.true_hidden_size, query_reads_hidden(config)
    dropouts = config.attention_probs_dropout_prob, 0.0 if config.use_bottleneck else config.hidden_dropout_prob
    sizes = (width, num_heads, config.head_size, *dropouts)
    norm = (normalization_type, config.layer_norm_eps)
    if joint_projection(config):
        return JointAttention(hidden, *sizes, config.use_bottleneck, *norm, name="attention", **made)
    query_size, value_size = hidden if reads_hidden else width, width if config.use_bottleneck_attention else hidden
    return Attention(query_size, value_size, *sizes, *norm, name="attention", **made)


@serializable
class TFMobileBertEncoder(Brick):
    """L blocks in a row: (B, S, H) -> (B, S, H). Inside, all tokens lie in one axis, T = B * S.

    All states are in the units of the trained model, but the last one as it is stored where powers of two scale it.
    With `select` the last state is (tokens, H). The last block computes only these, unless all states are kept.
    """

    lists = ("layer",)

    def __init__(self, config: MobileBertConfig, *, initializer: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        initializer = initializer or weight_initializer(config.initializer_range)
        self.layer = [
            TFMobileBertLayer(config, i, initializer=initializer, dtype=self.dtype_policy, name=f"layer_{i}")
            for i in range(config.num_hidden_layers)
        ]
        self.joint, self.scaled = joint_projection(config), scaled_by_powers(config)
        if self.scaled:  # of the last state, as heads read it
            self.part("state", Powers(dtype=policies.wide(self.dtype_policy), name="state"), config.hidden_size)
        self.gradient_checkpointing = config.gradient_checkpointing

    def call(
        self,
        x: Any,
        attention_bias: Any = None,
        head_mask: Any = None,
        keep_states: bool = False,
        select: TokenSelection | None = None,
        training: bool = False,
    ) -> Any:
        length, hidden = ops.shape(x)[1], x.shape[-1]
        states, attentions = [x], []
        x = ops.reshape(x, (-1, hidden))  # (T, H)
        selections: list[TokenSelection | None] = [None] * len(self.layer)
        if self.layer and not keep_states:
            selections[-1] = select
        head_mask = head_mask or [None] * len(self.layer)
        for layer, layer_head_mask, selection in zip(self.layer, head_mask, selections, strict=True):
            options = {"length": length, "select": selection, "training": training}
            if self.gradient_checkpointing and training:
                x, probs = rematerialized(layer, options, x, attention_bias, layer_head_mask)
            else:
                x, probs = layer(x, attention_bias, layer_head_mask, **options)
            attentions.append(probs)
            if keep_states:
                states.append(ops.reshape(self.in_units(layer, x), (-1, length, hidden)))
        if self.layer and self.joint:
            x = ops.reshape(states[-1], (-1, hidden)) if keep_states else self.in_units(self.layer[-1], x)
        if select is None:
            x = ops.reshape(x, (-1, length, hidden))
        elif keep_states or not self.layer:
            x = select(x, length)
        return x, tuple(states), tuple(attentions)

    def in_units(self, layer: keras.layers.Layer, x: Any) -> Any:
        """The state after a block in the units of the trained model; a layer may be around the block."""
        return inside(layer, TFMobileBertLayer).in_units(x) if self.joint or self.scaled else x


@serializable
class TFMobileBertMainLayer(Brick):
    """Embeddings, encoder and pooler: what the bare model is, and what a task model holds as `mobilebert`."""

    def __init__(
        self, config: MobileBertConfig, add_pooling_layer: bool = True, *, initializer: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.config = config  # of the model, whose `mask_value` may change
        made = {"initializer": initializer or weight_initializer(config.initializer_range), "dtype": self.dtype_policy}
        self.part("embeddings", TFMobileBertEmbeddings(config, name="embeddings", **made))
        self.part("encoder", TFMobileBertEncoder(config, name="encoder", **made))
        self.pooler = None
        if add_pooling_layer:
            made |= {"dtype": policies.of_heads(config, self.dtype_policy)}
            self.part("pooler", Pooler(config.hidden_size, config.classifier_activation, name="pooler", **made))

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        head_mask: Any = None,
        inputs_embeds: Any = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        select: TokenSelection | None = None,
        in_units: bool = True,
        training: bool = False,
    ) -> BaseModelOutputWithPooling:
        """The forward pass on checked inputs.

        `select` selects the tokens whose outputs the head needs, for a pooler the first of each text. Then
        last_hidden_state is (tokens, H). Without `in_units` it, and a pooled state without a dense layer, are in the
        units in which the heads of a model folded by "half" read.
        """
        x = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds, attention_mask, training=training)
        dtype = policies.wide_dtype(x)
        bias = None if attention_mask is None else attention_bias(attention_mask, dtype, self.config.mask_value)
        encoder = inside(self.encoder, TFMobileBertEncoder)
        masks = None if head_mask is None else head_masks(head_mask, len(encoder.layer), x.dtype)
        x, states, attentions = self.encoder(
            x, bias, masks, keep_states=output_hidden_states, select=select, training=training
        )
        pooled_from = x
        if encoder.scaled:
            units, for_heads = self._last_units(), encoder.state(x)
            x = units(x) if in_units else for_heads
            pooled_from = for_heads if self.config.classifier_activation else x
        pooled_from = pooled_from if select is None else pooled_from[:, None]
        return BaseModelOutputWithPooling(
            last_hidden_state=x,
            pooler_output=None if self.pooler is None else self.pooler(pooled_from),
            hidden_states=(self._first_state(states[0]), *states[1:]) if output_hidden_states else None,
            attentions=attentions if output_attentions else None,
        )

    def _first_state(self, x: Any) -> Any:
        return inside(self.embeddings, TFMobileBertEmbeddings).in_units(x) if scaled_by_powers(self.config) else x

    def _last_units(self) -> Any:
        """What gives the last state its units back, of a model folded by "half"."""
        layers = inside(self.encoder, TFMobileBertEncoder).layer
        check_blocks(type(self).__name__, self.config.num_hidden_layers, len(layers))
        last = inside(layers[-1], TFMobileBertLayer) if layers else inside(self.embeddings, TFMobileBertEmbeddings)
        return last.state


@serializable
class TFMobileBertModel(TFMobileBertPreTrainedModel):
    """The bare model: hidden states of every token and the pooled first token.

    `add_pooling_layer=False` leaves the pooler out; then there is no pooler_output.
    """

    head = HEADS["Model"]
    __call__: ModelCall[BaseModelOutputWithPooling]

    def __init__(self, config: MobileBertConfig, add_pooling_layer: bool = True, **kwargs: Any) -> None:
        self._add_pooling_layer = add_pooling_layer
        super().__init__(config, **kwargs)

    def build_parts(self, config: MobileBertConfig, *, initializer: Any, dtype: Any) -> None:
        self.mobilebert = TFMobileBertMainLayer(
            config, self._add_pooling_layer, initializer=initializer, dtype=dtype, name="mobilebert"
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "add_pooling_layer": self._add_pooling_layer}

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
        training: bool = False,
    ) -> Any:
        """Returns last_hidden_state (B, S, H), pooler_output (B, H) and, when asked, states and attentions.

        States are float32 where "half" folded a model in half precision, whose range may not hold them.

        Args:
            input_ids: (B, S) whole numbers below vocab_size; or else `inputs_embeds` (B, S, E).
            attention_mask: (B, S), (B, S, S) or (B, 1 or N, S, S), 1 for tokens that are seen. A 4-D mask of
                floats is added to the scores instead.
            token_type_ids: (B, S) segments, default 0.
            position_ids: (B, S) or (S,), default 0, 1, 2, ...
            head_mask: (N,) or (L, N), 1 for heads that are kept.

        Raises:
            InputError: for a wrong rank, shape, dtype or value.
        """
        inputs = input_dict(input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        options = output_options(self.config, output_attentions, output_hidden_states)
        return returned(self.config, self.mobilebert(**inputs, **options, training=training), return_dict)
