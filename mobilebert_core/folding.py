"""Folding: the norms of a trained MobileBERT are multiplied into the weights around them, in float64.

NoNorm scales and shifts each feature, so it is affine, and so is every place where it stands. Each residual stream is
carried as h = s * x + o: h is the state that the trained model has, x the one that the folded model stores, s and o
are a scale and an offset for each feature.

    reader          W h + b                 = (W diag(s)) x + (b + W o)
    writer          g * (W z + b + h) + e   = s' * (x + diag(1/s) W z) + o'     with s' = g * s, o' = g * (b + o) + e
    kept norm                               = (g * s) * (x + diag(1/s) W z) + o'     and then s = 1, o = 0
    dense and norm  g * (W z + b) + e       = (g * W) z + (g * b + e)

So behind a sum nothing is left but the sum, and the bias of a writer is gone too. A block starts its inner stream in
true units, because the norm behind its bottleneck folds into the bottleneck. Two bases:

- "block" keeps the norm at the end of every block, one multiplication and addition of H features, so that the stream
  between blocks stays in true units. The weights of a block then hold a product of at most F + 1 gains, and
  quantization has half the error of the model as it was trained.
- "all" keeps none. The stream between blocks is scaled by the product of the gains of all blocks before; `state` of
  each block gives a state its units back where one is returned. Residual, query, key and value become one dense layer.

A stream cannot carry a gain that is zero or close to it: where a feature would fall below `SMALLEST_SCALE` of the
largest, the norm is kept and the stream starts again in true units. Layer norm is not affine and does not fold.

Paper, section 3.4.3 (NoNorm). H hidden, W width inside a block, F feed-forward networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from .configuration.config import MobileBertConfig
from .configuration.fields import FOLDINGS
from .errors import ConfigError

SMALLEST_SCALE = 1e-6  # of the largest scale of a stream

Read = Callable[[str], np.ndarray]


@dataclass(frozen=True)
class Folded:
    """A folded model: its configuration, and its arrays by full name as `weight_table` has them.

    Attributes:
        arrays: in float64, what folding writes: the weights of the blocks, and of the embeddings but for the words.
        replaced: full names of weights of the trained model that these arrays take the place of.
    """

    config: MobileBertConfig
    arrays: dict[str, np.ndarray]
    replaced: frozenset[str]


@dataclass
class _Stream:
    """A residual stream, h = scale * x + offset; both (size,)."""

    scale: np.ndarray
    offset: np.ndarray

    @classmethod
    def in_true_units(cls, size: int) -> _Stream:
        return cls(np.ones(size), np.zeros(size))


@dataclass
class _Dense:
    """y = weight @ x + bias: (out, in) and (out,)."""

    weight: np.ndarray
    bias: np.ndarray

    def reading(self, stream: _Stream) -> _Dense:
        """The same of what the stream stores."""
        return _Dense(self.weight * stream.scale, self.bias + self.weight @ stream.offset)

    def after(self, first: _Dense) -> _Dense:
        """Both in a row as one."""
        return _Dense(self.weight @ first.weight, self.bias + self.weight @ first.bias)


@dataclass
class _Folder:
    """Reads the weights of a trained model and collects those of the folded one."""

    config: MobileBertConfig
    basis: str
    read: Read
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    kept: list[str] = field(default_factory=list)

    def table(self, name: str, gain: np.ndarray) -> None:
        """Writes a table of embeddings with its features scaled."""
        self._put(f"{name}.weight", gain * self._array(f"{name}.weight"))

    def dense(self, name: str) -> _Dense:
        return _Dense(self._array(f"{name}.weight"), self._array(f"{name}.bias"))

    def norm(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Gain and shift of a NoNorm."""
        return self._array(f"{name}.LayerNorm.weight"), self._array(f"{name}.LayerNorm.bias")

    def dense_norm(self, name: str) -> _Dense:
        """A dense layer with the norm behind it, without a residual."""
        dense, (gain, shift) = self.dense(f"{name}.dense"), self.norm(name)
        return _Dense(gain[:, None] * dense.weight, gain * dense.bias + shift)

    def write(self, name: str, dense: _Dense) -> None:
        self._put(f"{name}.weight", dense.weight)
        self._put(f"{name}.bias", dense.bias)

    def join(self, name: str, stream: _Stream, source: _Stream | None = None, always_kept: bool = False) -> _Stream:
        """Writes the dense layer that joins a stream, and its norm if it is kept; returns the stream behind it.

        `source` is the stream that the dense layer reads, if it reads one.
        """
        dense, (gain, shift) = self.dense(f"{name}.dense"), self.norm(name)
        dense = dense if source is None else dense.reading(source)
        scale, offset = gain * stream.scale, gain * (dense.bias + stream.offset) + shift
        self._put(f"{name}.dense.weight", dense.weight / stream.scale[:, None])
        size = np.abs(scale)
        if not always_kept and size.min() > SMALLEST_SCALE * size.max():
            return _Stream(scale, offset)
        if not always_kept:
            self.kept.append(name)
        self._put(f"{name}.LayerNorm.weight", scale)
        self._put(f"{name}.LayerNorm.bias", offset)
        return _Stream.in_true_units(len(scale))

    def write_state(self, block: str, stream: _Stream) -> None:
        self._put(f"{block}.state.weight", stream.scale)
        self._put(f"{block}.state.bias", stream.offset)

    def _array(self, name: str) -> np.ndarray:
        self.replaced.add(f"mobilebert.{name}")
        return self.read(f"mobilebert.{name}").astype(np.float64)

    def _put(self, name: str, array: np.ndarray) -> None:
        self.arrays[f"mobilebert.{name}"] = array


def fold(config: MobileBertConfig, read: Read, basis: str = "block") -> Folded:
    """The folded model of a trained one; its outputs, hidden states included, are those of the trained model.

    Fold after training: dropout is not carried over, and a folded model has fewer weights to train.

    Args:
        config: of the trained model, with normalization_type "no_norm".
        read: gives an array of the trained model by its full name ("mobilebert.encoder.layer.0...").
        basis: "block" or "all".

    Raises:
        ConfigError: for layer norm, a model that is folded already, a basis that does not exist, or weights that are
            not finite.
    """
    if basis not in FOLDINGS:
        raise ConfigError(f"fold: basis must be one of {', '.join(map(repr, FOLDINGS))}, got {basis!r}.")
    if config.folding is not None:
        raise ConfigError(f"fold: wanted a model as it was trained, got one folded by {config.folding!r}.")
    if config.normalization_type != "no_norm":
        raise ConfigError(
            f"fold: wanted normalization_type 'no_norm', got {config.normalization_type!r}, which depends on the "
            "values of each token and is part of no weight. Use the model as it is."
        )
    folder = _Folder(config, basis, read)
    with np.errstate(all="ignore"):  # what is not finite is named below
        if config.transforms_embeddings:
            _fold_embeddings(folder)
        stream = _Stream.in_true_units(config.hidden_size)
        for layer in range(config.num_hidden_layers):
            stream = _fold_block(folder, f"encoder.layer.{layer}", stream)
    for name, array in folder.arrays.items():
        if not np.isfinite(array).all():
            raise ConfigError(
                f"fold: {name} would not be finite; the model has weights that are NaN, infinite or huge."
            )
    return Folded(config.copy(folding=basis, kept_norms=folder.kept), folder.arrays, frozenset(folder.replaced))


def check_plain(model: str, foreign: Sequence[str]) -> None:
    """Raises ConfigError if modules of a model are not what its class has there."""
    if foreign:
        raise ConfigError(
            f"fold: wanted a {model} with its own layers, got others at {foreign[0]} ({len(foreign)} in all). "
            "Merge adapters, and fold before layers are wrapped or quantized."
        )


def _fold_embeddings(folder: _Folder) -> None:
    gain, shift = folder.norm("embeddings")
    words = folder.dense("embeddings.embedding_transformation")
    folder.write("embeddings.embedding_transformation", _Dense(gain[:, None] * words.weight, gain * words.bias + shift))
    for table in ("position_embeddings", "token_type_embeddings"):
        folder.table(f"embeddings.{table}", gain)


def _fold_block(folder: _Folder, block: str, stream: _Stream) -> _Stream:
    """Folds a block that reads the stream; returns the stream behind it."""
    config, ends_kept = folder.config, folder.basis == "block"
    inner = _Stream.in_true_units(config.true_hidden_size) if config.use_bottleneck else stream
    _fold_sources(folder, block, stream)
    inner = folder.join(f"{block}.attention.output", inner)
    for network in _networks(config, block):
        folder.write(f"{network}.intermediate.dense", folder.dense(f"{network}.intermediate.dense").reading(inner))
        inner = folder.join(f"{network}.output", inner)
    folder.write(f"{block}.intermediate.dense", folder.dense(f"{block}.intermediate.dense").reading(inner))
    inner = folder.join(f"{block}.output", inner, always_kept=ends_kept and not config.use_bottleneck)
    if config.use_bottleneck:
        stream = folder.join(f"{block}.output.bottleneck", stream, source=inner, always_kept=ends_kept)
    else:
        stream = inner
    if folder.basis == "all":
        folder.write_state(block, stream)
    return stream


def _networks(config: MobileBertConfig, block: str) -> Iterator[str]:
    """The stacked feed-forward networks before the last."""
    return (f"{block}.ffn.{i}" for i in range(config.num_feedforward_networks - 1))


def _fold_sources(folder: _Folder, block: str, stream: _Stream) -> None:
    """What the attention of a block reads: apart, or in the basis "all" as one dense layer.

    Its outputs then lie in the order residual (with a bottleneck), query, key, value.
    """
    config, attention = folder.config, f"{block}.attention.self"
    bottlenecks = {}
    if config.use_bottleneck:
        names = ("input", "attention") if config.key_query_shared_bottleneck else ("input",)
        bottlenecks = {name: folder.dense_norm(f"{block}.bottleneck.{name}").reading(stream) for name in names}
    sources: dict[str, _Dense | None] = dict.fromkeys(("query", "key", "value"))  # None: the stream itself
    if config.use_bottleneck and config.use_bottleneck_attention:
        sources = dict.fromkeys(sources, bottlenecks["input"])
    elif config.use_bottleneck and config.key_query_shared_bottleneck:
        sources |= {"query": bottlenecks["attention"], "key": bottlenecks["attention"]}
    readers = {name: folder.dense(f"{attention}.{name}") for name in sources}
    if folder.basis == "block":
        for name, bottleneck in bottlenecks.items():
            folder.write(f"{block}.bottleneck.{name}.dense", bottleneck)
        for name, reader in readers.items():
            folder.write(f"{attention}.{name}", reader if sources[name] else reader.reading(stream))
        return
    parts = [bottlenecks["input"]] if config.use_bottleneck else []
    for name, reader in readers.items():
        source = sources[name]
        parts.append(reader.reading(stream) if source is None else reader.after(source))
    joint = _Dense(np.concatenate([p.weight for p in parts]), np.concatenate([p.bias for p in parts]))
    folder.write(f"{attention}.projection", joint)
