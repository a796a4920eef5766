"""MobileBERT in PyTorch: the configuration taken apart into bricks, and the bare model.

B batch, S sequence, E embedding, H hidden, W width inside a block, N heads, L layers.
Twin: mobilebert_tf/modeling.py. Source: arXiv 2004.02984, section 3, and the released TF1 code.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import ACTIVATIONS
from mobilebert_core.folding import check_blocks
from mobilebert_core.heads import HEADS
from mobilebert_core.outputs import BaseModelOutputWithPooling, ModelCall, output_options, returned
from mobilebert_core.weight_rows import joint_projection, query_reads_hidden, scaled_by_powers

from . import fast, flat
from .attention import Attention, JointAttention
from .inputs import as_indices, attention_bias, checked_inputs, first_rows, head_masks, input_dict, rows_of, table_in
from .layers import BlockOutput, Bottleneck, FeedForward, Intermediate, NoNorm, Pooler, Powers, make_norm
from .pretrained import MobileBertPreTrainedModel
from .token_selection import TokenSelection
from .watched import inside, is_watched, is_watched_inside
from .wide import wide_dtype, widened


class MobileBertEmbeddings(nn.Module):
    """Words, positions and segments: ids (B, S) -> (B, S, H).

    With `trigram_input` each position sees the embeddings of the next, its own and the previous word, in that
    order, zeros beyond both ends (paper, section 3.1). `padding_invariant` also zeroes masked neighbours.
    """

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.trigram_input = config.trigram_input
        self.padding_invariant = config.padding_invariant
        self.transforms = config.transforms_embeddings
        width = config.embedding_size * (3 if config.trigram_input else 1)
        self.word_embeddings = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.embedding_transformation = nn.Linear(width, config.hidden_size)
        self.LayerNorm = make_norm(config.norm_at("embeddings"), config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        if scaled_by_powers(config):
            self.state = Powers(config.hidden_size)

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        if input_ids is not None:
            input_ids = as_indices(input_ids, rows_of(self.word_embeddings))
        x = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds  # (B, S, E)
        x = x.to(table_in(self.position_embeddings).weight.dtype)
        if self.trigram_input:
            neighbours = x
            if self.padding_invariant and attention_mask is not None:
                neighbours = x * (attention_mask >= 1)[..., None].to(x.dtype)
            padded = F.pad(neighbours, (0, 0, 1, 1))  # (B, S + 2, E)
            x = torch.cat((padded[:, 2:], x, padded[:, :-2]), dim=-1)  # (B, S, 3E)
        if self.transforms:
            x = fast.product(self.embedding_transformation, x)  # (B, S, H)
        if position_ids is None:
            x = x + first_rows(self.position_embeddings, partial(_positions, x), x.shape[1])
        else:
            x = x + self.position_embeddings(as_indices(position_ids, rows_of(self.position_embeddings)))
        if token_type_ids is None:
            x = x + first_rows(self.token_type_embeddings, partial(_segments, x), 1)
        else:
            x = x + self.token_type_embeddings(as_indices(token_type_ids, rows_of(self.token_type_embeddings)))
        return self.dropout(x if self.LayerNorm is None else self.LayerNorm(x))

    def in_units(self, x: Tensor) -> Tensor:
        """What `forward` returns in the units of the trained model."""
        return self.state(x) if hasattr(self, "state") else x


def _positions(x: Tensor) -> Tensor:
    return torch.arange(x.shape[1], device=x.device)[None]  # (1, S)


def _segments(x: Tensor) -> Tensor:
    return torch.zeros(x.shape[:2], dtype=torch.int64, device=x.device)  # (B, S)


class MobileBertLayer(nn.Module):
    """One block: into the bottleneck, attention, stacked feed-forward networks, and out again.

    After attention every token is processed independently, so with `select` the feed-forward networks run on the
    selected tokens only. Returns the state, and the attention probabilities if asked: hooks find tensors alone.
    """

    def __init__(self, config: MobileBertConfig, index: int = 0) -> None:
        super().__init__()
        hidden, width, eps = config.hidden_size, config.true_hidden_size, config.layer_norm_eps
        norm_at = partial(config.norm_in_block, index)
        activation = ACTIVATIONS[config.hidden_act]
        self.use_bottleneck = config.use_bottleneck
        self.attention = _attention(config, config.heads_of_layer(index), norm_at("attention.output"))
        self.intermediate = Intermediate(width, config.intermediate_size, activation)
        self.output = BlockOutput(
            config.intermediate_size,
            width,
            hidden,
            config.use_bottleneck,
            norm_at("output"),
            norm_at("output.bottleneck"),
            eps,
            config.hidden_dropout_prob,
        )
        self.joint = joint_projection(config)
        self.state: NoNorm | Powers
        if self.joint:
            self.state = NoNorm(hidden)
        elif config.use_bottleneck:
            shared, for_all = config.key_query_shared_bottleneck, config.use_bottleneck_attention
            self.bottleneck = Bottleneck(hidden, width, shared, for_all, norm_at("bottleneck.input"), eps)
        if scaled_by_powers(config):
            self.state = Powers(hidden)
        self.ffn = nn.ModuleList(
            FeedForward(width, config.intermediate_size, activation, norm_at(f"ffn.{i}.output"), eps)
            for i in range(config.num_feedforward_networks - 1)
        )

    def forward(
        self,
        x: Tensor,
        attention_bias: Tensor | None = None,
        head_mask: Tensor | None = None,
        need_probs: bool = False,
        select: TokenSelection | None = None,
    ) -> tuple[Tensor, ...]:
        attended, *probs = self.attend(x, attention_bias, head_mask, need_probs)
        if select is not None:
            attended, x = select(attended), select(x)  # (tokens, W), (tokens, H)
        return self.transform(attended, x), *probs

    def attend(
        self, x: Tensor, attention_bias: Tensor | None, head_mask: Tensor | None, need_probs: bool
    ) -> tuple[Tensor, ...]:
        """The first half, where tokens see each other: (B, S, H) -> (B, S, W)."""
        if self.joint:
            return self.attention(x, attention_bias, head_mask, need_probs)
        query, value, residual = self._sources(x)
        return self.attention(query, value, residual, attention_bias, head_mask, need_probs)

    def transform(self, attended: Tensor, block_input: Tensor) -> Tensor:
        """The second half, for each token by itself: (..., W) and the block's input (..., H) -> (..., H)."""
        y = attended
        for ffn in self.ffn:
            y = ffn(y)
        return self.output(self.intermediate(y), y, block_input)

    def in_units(self, x: Tensor) -> Tensor:
        """The state after this block in the units of the trained model; what `forward` returns may be scaled."""
        return self.state(x) if hasattr(self, "state") else x

    def _sources(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The inputs of query and key, of value, and the residual."""
        return self.bottleneck(x) if self.use_bottleneck else (x, x, x)


def _attention(config: MobileBertConfig, num_heads: int, normalization_type: str) -> Attention | JointAttention:
    """The attention of a block; which arrays it reads depends on the bottlenecks."""
    hidden, width, reads_hidden = config.hidden_size, config.true_hidden_size, query_reads_hidden(config)
    dropouts = config.attention_probs_dropout_prob, 0.0 if config.use_bottleneck else config.hidden_dropout_prob
    sizes = (width, num_heads, config.head_size, *dropouts)
    if joint_projection(config):
        return JointAttention(hidden, *sizes, config.use_bottleneck, normalization_type, config.layer_norm_eps)
    query_size, value_size = hidden if reads_hidden else width, width if config.use_bottleneck_attention else hidden
    return Attention(query_size, value_size, *sizes, normalization_type, config.layer_norm_eps)


class MobileBertEncoder(nn.Module):
    """L blocks in a row.

    All states are in the units of the trained model, but the last one as it is stored where powers of two scale it.
    With `select` the last state is (tokens, H). The last block computes only these, unless all states are kept or a
    hook or a user's module is inside, which sees all tokens.
    """

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(MobileBertLayer(config, index) for index in range(config.num_hidden_layers))
        self.joint, self.scaled = joint_projection(config), scaled_by_powers(config)
        if self.scaled:
            self.state = Powers(config.hidden_size)  # of the last state, as heads read it
        self.gradient_checkpointing = config.gradient_checkpointing
        self.checkpoint_options: dict[str, Any] = {"use_reentrant": False}
        self.checkpoint_every, self.checkpoint_offload = 1, False

    def forward(
        self,
        x: Tensor,
        attention_bias: Tensor | None,
        head_mask: list[Tensor | None],
        need_probs: bool,
        keep_states: bool,
        select: TokenSelection | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        if self.layer and self.joint and head_mask[0] is None and not (need_probs or keep_states):
            y = flat.encoded(self.layer, MobileBertLayer, x, attention_bias, select)
            if y is not None:
                return y, (x,), ()
        states, attentions = [x], []
        selections: list[TokenSelection | None] = [None] * len(self.layer)
        if select is not None and self.layer and not (keep_states or is_watched_inside(self.layer[-1])):
            selections[-1], select = select, None
        for index, (layer, layer_head_mask, selection) in enumerate(
            zip(self.layer, head_mask, selections, strict=True)
        ):
            arguments = (x, attention_bias, layer_head_mask, need_probs, selection)
            if self.gradient_checkpointing and self.training and index % self.checkpoint_every == 0:
                x, *probs = self._recomputed(layer, arguments)
            else:
                x, *probs = layer(*arguments)
            if keep_states:
                states.append(self.in_units(layer, x))
            attentions += [each for each in probs if each is not None]
        if self.layer and self.joint:
            x = states[-1] if keep_states else self.in_units(layer, x)
        return x if select is None else select(x), tuple(states), tuple(attentions)

    def in_units(self, layer: nn.Module, x: Tensor) -> Tensor:
        """The state after a block in the units of the trained model; a module may be around the block."""
        return inside(layer, MobileBertLayer).in_units(x) if self.joint or self.scaled else x

    def _recomputed(self, layer: nn.Module, arguments: tuple[Any, ...]) -> tuple[Tensor, ...]:
        if not self.checkpoint_offload:
            return checkpoint(layer, *arguments, **self.checkpoint_options)
        with save_on_cpu(pin_memory=torch.cuda.is_available()):
            return checkpoint(layer, *arguments, **self.checkpoint_options)


class MobileBertModel(MobileBertPreTrainedModel):
    """The bare model: hidden states of every token and the pooled first token.

    `add_pooling_layer=False` leaves the pooler out; then there is no pooler_output.
    """

    head = HEADS["Model"]
    __call__: ModelCall[BaseModelOutputWithPooling]

    def __init__(self, config: MobileBertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = MobileBertEmbeddings(config)
        self.encoder = MobileBertEncoder(config)
        wide = scaled_by_powers(config)
        self.pooler = Pooler(config.hidden_size, config.classifier_activation, wide) if add_pooling_layer else None
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
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
        checked = checked_inputs(self.config, self.head, inputs)
        options = output_options(self.config, output_attentions, output_hidden_states)
        return returned(self.config, self.encode(**checked, **options), return_dict)

    def encode(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        head_mask: Tensor | None,
        inputs_embeds: Tensor | None,
        output_attentions: bool,
        output_hidden_states: bool,
        select: TokenSelection | None = None,
        in_units: bool = True,
    ) -> BaseModelOutputWithPooling:
        """The forward pass on checked inputs.

        `select` selects the tokens whose outputs the head needs, for a pooler the first of each text. Then
        last_hidden_state is (tokens, H). Without `in_units` it, and a pooled state without a dense layer, are in the
        units in which the heads of a model folded by "half" read.
        """
        encoder, late = inside(self.encoder, MobileBertEncoder), None
        if encoder is not self.encoder or any(is_watched(m) for m in (encoder, self.pooler) if m is not None):
            select, late = None, select  # whoever looks sees all tokens
        x = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds, attention_mask)
        dtype = wide_dtype(x)
        bias = None if attention_mask is None else attention_bias(attention_mask, dtype, self.config.mask_value)
        x, states, attentions = self.encoder(
            x,
            bias,
            head_masks(head_mask, len(encoder.layer), x.dtype),
            need_probs=output_attentions or self.config.attn_implementation == "eager",
            keep_states=output_hidden_states,
            select=select,
        )
        pooled_from = x
        if encoder.scaled:
            units, for_heads = self._last_units(), encoder.state(x)
            x = units(x) if in_units else for_heads
            pooled_from = for_heads if self.config.classifier_activation else x
        pooled_from = pooled_from if select is None else pooled_from[:, None]
        return BaseModelOutputWithPooling(
            last_hidden_state=x if late is None else late(x),
            pooler_output=None if self.pooler is None else self.pooler(pooled_from),
            hidden_states=(self._first_state(states[0]), *states[1:]) if output_hidden_states else None,
            attentions=attentions if output_attentions else None,
        )

    def as_heads_read(self, found: BaseModelOutputWithPooling) -> BaseModelOutputWithPooling:
        """Outputs in the units of the trained model in those that the heads of a model folded by "half" read."""
        encoder = inside(self.encoder, MobileBertEncoder)
        if not encoder.scaled:
            return found
        exponent = inside(encoder.state, Powers).exponent - inside(self._last_units(), Powers).exponent
        x, pooled = widened(found.last_hidden_state), found.pooler_output
        changed = {"last_hidden_state": torch.ldexp(x, exponent.to(x.dtype))}
        if pooled is not None and not self.config.classifier_activation:
            changed["pooler_output"] = torch.ldexp(widened(pooled), exponent.to(x.dtype))
        return BaseModelOutputWithPooling(found, **changed)

    def _first_state(self, x: Tensor) -> Tensor:
        return inside(self.embeddings, MobileBertEmbeddings).in_units(x) if scaled_by_powers(self.config) else x

    def _last_units(self) -> nn.Module:
        """What gives the last state its units back, of a model folded by "half"."""
        layers = inside(self.encoder, MobileBertEncoder).layer
        check_blocks(type(self).__name__, self.config.num_hidden_layers, len(layers))
        last = inside(layers[-1], MobileBertLayer) if layers else inside(self.embeddings, MobileBertEmbeddings)
        return last.state
