"""Checkpoint directories: which weights a file holds, how they meet a model, and all or nothing.

`plan_loading` settles a load before anything is built or changed: every weight of the model gets its source,
and whatever is missing, unknown or mis-shaped is reported together. Both backends follow the same plan.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .config import MobileBertConfig
from .errors import CheckpointError, CheckpointNotFoundError
from .files import WEIGHTS_FILE, replacing
from .heads import HEADS, Head
from .weights import BASE_PREFIX, Weight, weight_table

logger = logging.getLogger("mobilebert")

# Buffers that older releases stored; they hold 0, 1, 2, ... and carry nothing.
_DERIVED_NAMES = frozenset({"embeddings.position_ids", "mobilebert.embeddings.position_ids"})


@dataclass(frozen=True)
class Stored:
    """A tensor as a file describes it: shape, and dtype in numpy's spelling ("bfloat16" included)."""

    shape: tuple[int, ...]
    dtype: str


_SAFETENSORS_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class SafetensorsFile:
    """A safetensors file: `stored` says what is in it, `read` fetches one array at a time.

    Raises:
        CheckpointNotFoundError: when the file is not there.
        CheckpointError: when it is damaged, or holds TensorFlow names this reader does not know.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            beside = ", ".join(sorted(p.name for p in path.parent.iterdir())[:8]) if path.parent.is_dir() else ""
            seen = f"the directory holds {beside or 'nothing'}" if path.parent.is_dir() else "no such directory"
            raise CheckpointNotFoundError(f"{path}: weights not found; {seen}.")
        try:
            self._file = safe_open(path, framework="np")
        except (SafetensorError, OSError) as e:
            raise CheckpointError(
                f"{path}: not a whole safetensors file ({e}; {path.stat().st_size:,} bytes). Fetch or save it again."
            ) from None
        self.metadata: dict[str, str] = self._file.metadata() or {}
        if self.metadata.get("format") not in (None, "pt", "np", "tf", "flax", "mlx"):
            raise CheckpointError(f"{path}: unknown safetensors format {self.metadata['format']!r}, wanted 'pt'.")
        self.stored: dict[str, Stored] = {}
        for name in self._file.keys():  # noqa: SIM118  (safe_open is no mapping)
            view = self._file.get_slice(name)
            dtype = view.get_dtype()
            self.stored[name] = Stored(tuple(view.get_shape()), _SAFETENSORS_DTYPES.get(dtype, str(dtype)))

    def read(self, name: str) -> np.ndarray:
        """One array. bfloat16, which numpy lacks, comes exactly as float32."""
        if self.stored[name].dtype == "bfloat16":
            return self._read_bfloat16(name)
        try:
            return self._file.get_tensor(name)
        except SafetensorError as e:
            raise CheckpointError(f"{self.path}: {name} cannot be read ({e}).") from None

    def _read_bfloat16(self, name: str) -> np.ndarray:
        import json

        with self.path.open("rb") as f:
            size = int.from_bytes(f.read(8), "little")
            begin, end = json.loads(f.read(size))[name]["data_offsets"]
            f.seek(8 + size + begin)
            halves = np.frombuffer(f.read(end - begin), "<u2")
        return (halves.astype(np.uint32) << 16).view(np.float32).reshape(self.stored[name].shape)


def open_weights(directory: Path) -> SafetensorsFile:
    """The weights of a checkpoint directory."""
    return SafetensorsFile(directory / WEIGHTS_FILE)


@dataclass
class LoadPlan:
    """Where each weight of a model comes from.

    Attributes:
        sources: weight of the model -> name in the file.
        fresh: weights that keep their random start: heads the file does not have, or what the caller allowed.
        mismatched: (weight, shape in the file) left fresh because the caller asked for it.
        unused: names in the file that belong to other heads.
        dtype: the floating dtype that the file stores most of.
    """

    sources: dict[Weight, str] = field(default_factory=dict)
    fresh: list[Weight] = field(default_factory=list)
    mismatched: list[tuple[Weight, tuple[int, ...]]] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    dtype: str = "float32"

    def loading_info(self) -> dict[str, Any]:
        """The `output_loading_info` of transformers."""
        return {
            "missing_keys": [weight.name for weight in self.fresh],
            "unexpected_keys": list(self.unused),
            "mismatched_keys": [(weight.name, shape, weight.shape) for weight, shape in self.mismatched],
            "error_msgs": [],
        }


def plan_loading(
    source: str,
    stored: Mapping[str, Stored],
    config: MobileBertConfig,
    head: Head,
    pooler: bool | None = None,
    ignore_mismatched_sizes: bool = False,
    allow_missing: Iterable[str] = (),
) -> LoadPlan:
    """Matches what a file holds with what a model needs; `source` names the file in messages.

    The base prefix is added or removed as needed. A tied weight may stand under either of its names. A head
    that is wholly absent starts fresh, which is logged as a warning; anything else amiss is an error.

    Raises:
        CheckpointError: listing every missing, unknown and mis-shaped weight with its shape.
    """
    table = weight_table(config, head, pooler)
    with_pooler = config.copy(classifier_activation=True)  # its weights are known also where they are not used
    elsewhere = {w.full_name for other in HEADS.values() for w in weight_table(with_pooler, other)}
    full_names = {full: name for name in stored if (full := _full_name(name, elsewhere)) is not None}
    found = {full: stored[name] for full, name in full_names.items()}
    allowed = set(allow_missing)
    plan = LoadPlan()
    missing: list[Weight] = []
    mismatched: list[tuple[Weight, tuple[int, ...]]] = []
    for weight in table:
        if weight.tied_to is not None:
            continue
        alias = _source_of(weight, found, config)
        if alias is None:
            (plan.fresh if weight.name in allowed else missing).append(weight)
        elif found[alias].shape != weight.shape:
            mismatched.append((weight, found[alias].shape))
        else:
            plan.sources[weight] = full_names[alias]
    needed = {w.full_name for w in table}
    plan.unused = [name for full, name in full_names.items() if full not in needed]
    unknown = [n for n in stored if n not in set(full_names.values()) and n not in _DERIVED_NAMES]
    present_groups = {_group(w) for w in plan.sources} | {_group(w) for w, _ in mismatched}
    for weight in list(missing):
        if _group(weight) is not None and _group(weight) not in present_groups:
            missing.remove(weight)
            plan.fresh.append(weight)
    if ignore_mismatched_sizes:
        plan.mismatched, mismatched = mismatched, []
    if missing or unknown or mismatched:
        foreign = not plan.sources and not mismatched
        raise CheckpointError(_report(source, table, stored, missing, unknown, mismatched, foreign))
    floats = [s.dtype for s in stored.values() if s.dtype in _SAFETENSORS_DTYPES.values()]
    plan.dtype = max(set(floats), key=floats.count) if floats else "float32"
    _log(source, head, plan)
    return plan


def check_ties(source: str, plan: LoadPlan, stored: Mapping[str, Stored], read: Any, config: MobileBertConfig) -> None:
    """Raises CheckpointError when a file holds a trained decoder of its own but the configuration ties it."""
    names = {_full_name(n, {_DECODER, _WORDS}): n for n in stored}
    if not config.tie_word_embeddings or not any(w.full_name.startswith("cls.predictions") for w in plan.sources):
        return
    if _DECODER in names and _WORDS in names and not np.array_equal(read(names[_DECODER]), read(names[_WORDS])):
        raise CheckpointError(
            f"{source}: {_DECODER} {stored[names[_DECODER]].shape} differs from the word embeddings, but the "
            "configuration ties them and one would be lost. Pass tie_word_embeddings=False to load both."
        )


_WORDS = "mobilebert.embeddings.word_embeddings.weight"
_DECODER = "cls.predictions.decoder.weight"
_DECODER_BIAS = "cls.predictions.decoder.bias"
_PREDICTIONS_BIAS = "cls.predictions.bias"


def _full_name(name: str, known: set[str]) -> str | None:
    if name in known:
        return name
    return BASE_PREFIX + name if BASE_PREFIX + name in known else None


def _source_of(weight: Weight, found: Mapping[str, Stored], config: MobileBertConfig) -> str | None:
    """The name under which a file holds a weight. The decoder's bias is the one the released models use."""
    if weight.full_name == _PREDICTIONS_BIAS and _DECODER_BIAS in found:
        return _DECODER_BIAS
    if weight.full_name in found:
        return weight.full_name
    if weight.full_name == _WORDS and config.tie_word_embeddings and _DECODER in found:
        return _DECODER
    if weight.full_name == _DECODER and _WORDS in found:
        return _WORDS  # untying a tied checkpoint: the decoder starts as a copy
    return None


def _group(weight: Weight) -> str | None:
    """Weights that come or stay away together; None for the encoder, which must be there."""
    if weight.full_name.startswith(f"{BASE_PREFIX}pooler."):
        return "pooler"
    return ".".join(weight.full_name.split(".")[:2]) if weight.in_head else None


_SHOWN = 12  # rows of each kind in a message


def _report(
    source: str,
    table: Iterable[Weight],
    stored: Mapping[str, Stored],
    missing: list[Weight],
    unknown: list[str],
    mismatched: list[tuple[Weight, tuple[int, ...]]],
    foreign: bool,
) -> str:
    total = sum(1 for weight in table if weight.tied_to is None)
    lines = [
        f"{source}: {len(missing)} of {total} weights missing, {len(unknown)} unknown, {len(mismatched)} with another "
        "shape; nothing was loaded."
    ]
    for rows in (
        [f"  missing  {w.name} {w.shape}" for w in missing],
        [f"  unknown  {name} {stored[name].shape}" for name in unknown],
        [f"  shape    {w.name} wanted {w.shape}, the file has {shape}" for w, shape in mismatched],
    ):
        lines += rows[:_SHOWN] + ([f"  ... and {len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else [])
    advice = []
    if mismatched:
        advice.append("Pass ignore_mismatched_sizes=True to start mis-shaped weights fresh, or correct the config.")
    if foreign:
        advice.append("None of the names is MobileBERT's: this looks like the checkpoint of another model.")
    elif missing:
        advice.append("Pass allow_missing=[...] to start missing weights fresh.")
    return "\n".join(lines + advice)


def _log(source: str, head: Head, plan: LoadPlan) -> None:
    fresh = [w.name for w in plan.fresh] + [w.name for w, _ in plan.mismatched]
    if fresh:
        logger.warning(
            "%s: %d weights of %s are not in the checkpoint and start fresh; train them before use: %s",
            source, len(fresh), head.class_name, ", ".join(fresh[:8]) + (", ..." if len(fresh) > 8 else ""),
        )  # fmt: skip
    if plan.unused:
        logger.info("%s: %d weights of other heads were not used: %s", source, len(plan.unused), plan.unused)


def save_weights(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a safetensors file in PyTorch's layout, whole or not at all.

    Arrays are made contiguous first: the format's numpy writer would store a transposed view wrongly.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with replacing(path) as temporary:
        save_file(contiguous, temporary, metadata={"format": "pt"})
