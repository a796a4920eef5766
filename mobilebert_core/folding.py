"""Folding: the norms of a trained MobileBERT are multiplied into the weights around them, in float64.

NoNorm scales and shifts each feature, so it is affine, and so is every place where it stands. Each residual stream is
carried as h = s * x + o: h is the state that the trained model has, x the one that the folded model stores, s and o
are a scale and an offset for each feature.

    reader          W h + b                 = (W diag(s)) x + (b + W o)
    writer          g * (W z + b + h) + e   = s' * (x + diag(1/s) W z) + o'     with s' = g * s, o' = g * (b + o) + e
    kept norm                               = (g * s) * (x + diag(1/s) W z) + o'     and then s = 1, o = 0
    dense and norm  g * (W z + b) + e       = (g * W) z + (g * b + e)

So after a sum nothing is left but the sum, and the bias of a writer is gone too. A block starts its inner stream in
true units, because the norm after its bottleneck folds into the bottleneck. Three bases:

- "block" keeps the norm at the end of every block, one multiplication and addition of H features, so that the stream
  between blocks stays in true units. The weights of a block then hold a product of at most F + 1 gains, and
  quantization has half the error of the model as it was trained.
- "all" keeps none. The stream between blocks is scaled by the product of the gains of all blocks before; `state` of
  each block gives a state its units back where one is returned. Residual, query, key and value become one dense layer.
- "half" is for float16 and bfloat16. A released MobileBERT has states of 2.5e7, beyond float16, and weights that carry
  gains reach from 1e-12 to 1e7. So nothing is carried: every array that is stored (states, inner states, values, the
  middle of a feed-forward network after relu) is divided by 2**k, a power of its own for each feature, which a
  calibration batch chooses (`ranges.powers_of`). Powers of two round nothing. The norm after a sum goes into the writer
  and a gain of the residual, one multiply-add, so that the sum is stored in the units of what comes out alone:

    g * (W z + b + h) + e = s' * (diag(g / s') W z + (g * b + e) / s' + (g * s / s') * x)    with s' = 2**k

  `state` of the embeddings and of each block holds k and gives a state its units back, in float32. Heads compute in
  float32 and read the last state in units of their own, `state` of the encoder, so that their weights fit as well.
  Queries and keys share out a power, so that their scores, computed in float32, need none.

A stream cannot carry a gain that is zero or close to it: where a feature would fall below `SMALLEST_SCALE` of the
largest, the norm is kept and the stream starts again in true units. Layer norm is not affine: such a model stays as it
is. Behind other activations than relu the middle of a feed-forward network stays in true units.

Paper, section 3.4.3 (NoNorm). H hidden, W width inside a block, F feed-forward networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .configuration.config import MobileBertConfig
from .configuration.fields import FOLDINGS
from .errors import ConfigError
from .heads import Head
from .ranges import LARGEST_WEIGHT, Range, Read, feature_ranges, powers_of, shared_out
from .weight_rows import BASE_PREFIX
from .weights import feedforward_networks, weight_table

SMALLEST_SCALE = 1e-6  # of the largest scale of a stream


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

    @classmethod
    def in_powers(cls, exponent: np.ndarray) -> _Stream:
        return cls(np.exp2(exponent), np.zeros(len(exponent)))


@dataclass
class _Dense:
    """y = weight @ x + bias: (out, in) and (out,)."""

    weight: np.ndarray
    bias: np.ndarray

    def reading(self, stream: _Stream) -> _Dense:
        """The same of what the stream stores."""
        return _Dense(self.weight * stream.scale, self.bias + self.weight @ stream.offset)

    def writing(self, stream: _Stream) -> _Dense:
        """The same with an output that the stream stores; the stream has no offset."""
        return _Dense(self.weight / stream.scale[:, None], self.bias / stream.scale)

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
    ranges: Mapping[str, Range] = field(default_factory=dict)  # of the basis "half", by place, as the powers
    powers: dict[str, np.ndarray] = field(default_factory=dict)

    def units(self, place: str, size: int) -> _Stream:
        """What a stream or an array starts with at a place, which is a name of `feature_ranges`."""
        power = self.powers.get(place)
        return _Stream.in_true_units(size) if power is None else _Stream.in_powers(power)

    def fitted(self, place: str, dense: _Dense) -> _Stream:
        """What the output of a dense layer is stored in: larger where its weights or its bias need that."""
        if place in self.powers:
            self.powers[place] = np.maximum(self.powers[place], _exponents(dense) - LARGEST_WEIGHT)
        return self.units(place, len(dense.bias))

    def table(self, name: str, gain: np.ndarray) -> None:
        """Writes a table of embeddings with its features scaled."""
        self._put(f"{name}.weight", gain * self._array(f"{name}.weight"))

    def dense(self, name: str) -> _Dense:
        return _Dense(self._array(f"{name}.weight"), self._array(f"{name}.bias"))

    def norm(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Gain and shift of a NoNorm."""
        return self._array(f"{name}.LayerNorm.weight"), self._array(f"{name}.LayerNorm.bias")

    def dense_norm(self, name: str) -> _Dense:
        """A dense layer with the norm after it, without a residual."""
        dense, (gain, shift) = self.dense(f"{name}.dense"), self.norm(name)
        return _Dense(gain[:, None] * dense.weight, gain * dense.bias + shift)

    def write(self, name: str, dense: _Dense) -> None:
        self._put(f"{name}.weight", dense.weight)
        self._put(f"{name}.bias", dense.bias)

    def join(self, name: str, stream: _Stream, source: _Stream, ends_block: bool = False) -> _Stream:
        """Writes the dense layer that joins a stream, and its norm or gain; returns the stream after it.

        `source` is the stream that the dense layer reads.
        """
        dense, (gain, shift) = self.dense(f"{name}.dense").reading(source), self.norm(name)
        scale, offset = gain * stream.scale, gain * (dense.bias + stream.offset) + shift
        if self.basis == "half":
            summed = _Dense(gain[:, None] * dense.weight, offset)
            behind = self.fitted(name, _Dense(np.column_stack((summed.weight, scale)), offset))
            self.write(f"{name}.dense", summed.writing(behind))
            self._put(f"{name}.LayerNorm.weight", scale / behind.scale)
            return behind
        self._put(f"{name}.dense.weight", dense.weight / stream.scale[:, None])
        size = np.abs(scale)
        always_kept = self.basis == "block" and ends_block
        if not always_kept and size.min() > SMALLEST_SCALE * size.max():
            return _Stream(scale, offset)
        if not always_kept:
            self.kept.append(name)
        self._put(f"{name}.LayerNorm.weight", scale)
        self._put(f"{name}.LayerNorm.bias", offset)
        return _Stream.in_true_units(len(scale))

    def write_state(self, place: str, stream: _Stream) -> None:
        """Writes what gives the states at a place their units back, where something must."""
        if self.basis == "half":
            self._put(f"{place}.state.exponent", np.log2(stream.scale))
        elif self.basis == "all" and place != "embeddings":
            self._put(f"{place}.state.weight", stream.scale)
            self._put(f"{place}.state.bias", stream.offset)

    def share_out(self, attention: str, query: _Dense, key: _Dense) -> None:
        """Chooses the powers of queries and keys."""
        names = f"{attention}.query", f"{attention}.key"
        peaks = self.ranges[names[0]].peak, self.ranges[names[1]].peak
        heads = self.config.heads_of_layer(int(attention.split(".")[2]))
        self.powers |= zip(names, shared_out(peaks, (_exponents(query), _exponents(key)), heads), strict=True)

    def heads(self, full_names: Sequence[str], stream: _Stream) -> None:
        """Writes the matrices of a head that read the stream, their largest weights between 1 and 2."""
        matrices = {name: self.read(name).astype(np.float64) for name in full_names}
        largest = np.max([np.abs(m).max(axis=0) for m in matrices.values()], axis=0) if matrices else stream.offset
        power = np.exp2(np.where(largest > 0, np.floor(np.log2(np.where(largest > 0, largest, 1.0))), 0.0))
        self.replaced.update(matrices)
        self.arrays |= {name: matrix / power for name, matrix in matrices.items()}
        self.write_state("encoder", _Stream(stream.scale * power, stream.offset))

    def _array(self, name: str) -> np.ndarray:
        self.replaced.add(BASE_PREFIX + name)
        return self.read(BASE_PREFIX + name).astype(np.float64)

    def _put(self, name: str, array: np.ndarray) -> None:
        self.arrays[BASE_PREFIX + name] = array


def fold(
    config: MobileBertConfig,
    read: Read,
    basis: str = "block",
    calibration: Mapping[str, np.ndarray] | None = None,
    head: Head | None = None,
    pooler: bool | None = None,
) -> Folded:
    """The folded model of a trained one; its outputs, hidden states included, are those of the trained model.

    Fold after training: dropout is not carried over, and a folded model has fewer weights to train. A model with layer
    norm comes back as it is, without arrays, for "half" as well: `config.folding` is None.

    Args:
        config: of the trained model.
        read: gives an array of the trained model by its full name ("mobilebert.encoder.layer.0...").
        basis: "block", "all" or "half".
        calibration: for "half", inputs as in `feature_ranges`. Some tens of texts of the model's task do.
        head: for "half", whose matrices are among the arrays, too.
        pooler: whether there is one, as in `weight_table`.

    Raises:
        ConfigError: for a model that is folded already, a basis that does not exist, "half" without calibration, or
            weights or states that are not finite.
    """
    if basis not in FOLDINGS:
        raise ConfigError(f"fold: basis must be one of {', '.join(map(repr, FOLDINGS))}, got {basis!r}.")
    if config.folding is not None:
        raise ConfigError(f"fold: wanted a model as it was trained, got one folded by {config.folding!r}.")
    if (calibration is None) == (basis == "half"):
        wanted = (
            "no calibration, which is of 'half'" if basis != "half" else "calibration, such as a tokenizer's output"
        )
        raise ConfigError(f"fold: wanted {wanted}, for basis {basis!r}.")
    if config.normalization_type != "no_norm":
        return Folded(config.copy(), {}, frozenset())
    ranges = {} if calibration is None else feature_ranges(config, read, calibration)
    folder = _Folder(config, basis, read, ranges=ranges, powers=powers_of(config, ranges))
    with np.errstate(all="ignore"):  # what is not finite is named below
        stream = folder.units("embeddings", config.hidden_size)
        _fold_embeddings(folder, stream)
        for layer in range(config.num_hidden_layers):
            stream = _fold_block(folder, f"encoder.layer.{layer}", stream)
        if basis == "half":
            folder.heads([] if head is None else list(_heads_readers(config, head, pooler)), stream)
    for name, array in folder.arrays.items():
        if not np.isfinite(array).all():
            raise ConfigError(
                f"fold: {name} would not be finite; the model has weights that are NaN, infinite or huge."
            )
    return Folded(config.copy(folding=basis, kept_norms=folder.kept), folder.arrays, frozenset(folder.replaced))


def _exponents(dense: _Dense) -> np.ndarray:
    """Of each output the power of two below which its weights and its bias lie."""
    both = np.concatenate((dense.weight, dense.bias[:, None]), axis=1)
    exponents: np.ndarray = np.frexp(np.abs(both).max(axis=1))[1]
    return exponents


def _heads_readers(config: MobileBertConfig, head: Head, pooler: bool | None) -> Iterator[str]:
    """The matrices of the pooler and the head that read the last state, by full name."""
    behind_tanh = config.classifier_activation and head.pooled
    for weight in weight_table(config, head, pooler):
        matrix = weight.group is not None and weight.full_name.endswith(".weight")
        if matrix and (weight.kind == "linear" or (weight.kind == "classifier" and not behind_tanh)):
            yield weight.full_name


def check_plain(model: str, foreign: Sequence[str]) -> None:
    """Raises ConfigError if modules of a model are not what its class has there."""
    if foreign:
        raise ConfigError(
            f"fold: wanted a {model} with its own layers, got others at {foreign[0]} ({len(foreign)} in all). "
            "Merge adapters, and fold before layers are wrapped or quantized."
        )


def _fold_embeddings(folder: _Folder, stream: _Stream) -> None:
    """Folds the norm of the embeddings, which begin the stream."""
    (gain, shift), transforms = folder.norm("embeddings"), folder.config.transforms_embeddings
    if transforms:
        words = folder.dense("embeddings.embedding_transformation")
        norm = _Dense(gain[:, None] * words.weight, gain * words.bias + shift)
        folder.write("embeddings.embedding_transformation", norm.writing(stream))
        for table in ("position_embeddings", "token_type_embeddings"):
            folder.table(f"embeddings.{table}", gain / stream.scale)
    else:
        folder.write("embeddings.LayerNorm", _Dense(gain / stream.scale, shift / stream.scale))
    folder.write_state("embeddings", stream)


def _fold_block(folder: _Folder, block: str, stream: _Stream) -> _Stream:
    """Folds a block that reads the stream; returns the stream after it."""
    config = folder.config
    bottlenecks, units = _bottlenecks(folder, block, stream)
    context = _fold_sources(folder, block, stream, bottlenecks, units)
    inner = units["input"] if bottlenecks else stream
    inner = folder.join(f"{block}.attention.output", inner, context)
    for network in feedforward_networks(config, block):
        middle = _fold_reader(folder, f"{network}.intermediate", inner)
        ends_block = network == block and not config.use_bottleneck
        inner = folder.join(f"{network}.output", inner, middle, ends_block)
    if config.use_bottleneck:
        stream = folder.join(f"{block}.output.bottleneck", stream, inner, ends_block=True)
    else:
        stream = inner
    folder.write_state(block, stream)
    return stream


def _fold_reader(folder: _Folder, name: str, stream: _Stream) -> _Stream:
    """Folds the dense layer into the middle of a feed-forward network; returns the units of the middle."""
    dense = folder.dense(f"{name}.dense").reading(stream)
    middle = folder.fitted(name, dense)
    folder.write(f"{name}.dense", dense.writing(middle))
    return middle


def _bottlenecks(folder: _Folder, block: str, stream: _Stream) -> tuple[dict[str, _Dense], dict[str, _Stream]]:
    """The bottlenecks that read the stream, "input" and perhaps "attention", and what their outputs are stored in."""
    config = folder.config
    names = ("input", "attention") if config.key_query_shared_bottleneck else ("input",)
    places = {name: f"{block}.bottleneck.{name}" for name in names if config.use_bottleneck}
    bottlenecks = {name: folder.dense_norm(place).reading(stream) for name, place in places.items()}
    return bottlenecks, {name: folder.fitted(place, bottlenecks[name]) for name, place in places.items()}


def _fold_sources(
    folder: _Folder, block: str, stream: _Stream, bottlenecks: Mapping[str, _Dense], units: Mapping[str, _Stream]
) -> _Stream:
    """What the attention of a block reads: apart, or in the basis "all" as one dense layer; returns the values' units.

    Its outputs then lie in the order residual (with a bottleneck), query, key, value.
    """
    config, attention = folder.config, f"{block}.attention.self"
    sources: dict[str, str | None] = dict.fromkeys(("query", "key", "value"))  # None: the stream itself
    if config.use_bottleneck and config.use_bottleneck_attention:
        sources = dict.fromkeys(sources, "input")
    elif config.use_bottleneck and config.key_query_shared_bottleneck:
        sources |= {"query": "attention", "key": "attention"}
    readers = {name: folder.dense(f"{attention}.{name}") for name in sources}
    if folder.basis == "all":
        parts = [bottlenecks["input"]] if config.use_bottleneck else []
        for name, reader in readers.items():
            source = sources[name]
            parts.append(reader.reading(stream) if source is None else reader.after(bottlenecks[source]))
        joint = _Dense(np.concatenate([p.weight for p in parts]), np.concatenate([p.bias for p in parts]))
        folder.write(f"{attention}.projection", joint)
        return _Stream.in_true_units(len(readers["value"].bias))
    for name, bottleneck in bottlenecks.items():
        folder.write(f"{block}.bottleneck.{name}.dense", bottleneck.writing(units[name]))
    reading = {
        name: each.reading(stream if (s := sources[name]) is None else units[s]) for name, each in readers.items()
    }
    value = folder.fitted(f"{attention}.value", reading["value"])
    if folder.basis == "half":
        folder.share_out(attention, reading["query"], reading["key"])
    for name, reader in reading.items():
        folder.write(f"{attention}.{name}", reader.writing(folder.units(f"{attention}.{name}", len(reader.bias))))
    return value


def check_blocks(where: str, wanted: int, got: int) -> None:
    """Raises ConfigError for a model folded by "half" that has lost blocks since."""
    if got != wanted:
        raise ConfigError(
            f"{where}: wanted the {wanted} blocks that 'half' folded, got {got}; the heads read the state of the last "
            "one. Leave out blocks before `fold`."
        )


def no_part_inside(wanted: str, around: str, got: str) -> ConfigError:
    """The error for a part of a model that was replaced by something else, where `around` is a layer or a module."""
    return ConfigError(
        f"wanted a {wanted}, or a {around} around one, got {got}. It gives states their units: put others in the place "
        "of its parts, and before `fold`."
    )
