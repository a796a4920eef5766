"""A checkpoint from one format into another, with every weight accounted for and the result measured.

The source is read one array at a time. The destination is written beside its place, read back bit by bit, run against
the source, and only then put there: what fails on the way leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from mobilebert_core.checkpoints.containers import hdf5
from mobilebert_core.checkpoints.detect_heads import detect_heads, natural_head
from mobilebert_core.checkpoints.dtypes import widest
from mobilebert_core.checkpoints.formats import output_format_for
from mobilebert_core.checkpoints.opening import open_checkpoint, open_watched
from mobilebert_core.checkpoints.plan import DECODER, DECODER_BIAS, POOLER, PREDICTIONS_BIAS, WORDS, plan_loading
from mobilebert_core.checkpoints.targets import ModelToWrite
from mobilebert_core.checkpoints.tensor_info import MappedCheckpoint, TensorInfo
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import DTYPES
from mobilebert_core.errors import CheckpointError, ConfigError
from mobilebert_core.heads import HEADS, Head
from mobilebert_core.hub.resolve import resolve
from mobilebert_core.saves import saving
from mobilebert_core.weights import parameter_count

from .parity.deviation import ParityError, Report, check_tolerance
from .provenance import check_unchanged, file_hashes, write_provenance
from .record import Conversion
from .staging import check_free, settle
from .verification import Verifier


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    to: str | None = None,
    dtype: str = "auto",
    head: str | None = None,
    config: MobileBertConfig | str | Path | None = None,
    max_shard_size: int | str | None = None,
    drop: Sequence[str] = (),
    parity: str = "same",
    tolerance: float | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Conversion:
    """Converts a checkpoint; see the `mobilebert convert` command for the options.

    Args:
        source: whatever `open_checkpoint` takes, or a name on the Hugging Face hub.
        destination: a directory, or a file whose ending names its format.
        to: key of OUTPUT_FORMATS; by default what the ending of `destination` says.
        dtype: of the destination; "auto" keeps the source's, of several the widest.
        head: key of HEADS; by default the one the source was saved from.
        config: of the source, where it has none of its own.
        drop: names in the source that are no weights of a MobileBERT and may be left behind.
        parity: "same" runs both checkpoints in one framework, "cross" the destination in Keras, "none" neither.
        tolerance: largest relative deviation allowed; by default that of the dtype.
        overwrite: replace what is at the destination.
        progress: called with the name of each step and weight.

    Raises:
        CheckpointError: for a source that does not fit, a destination that exists, or one that does not hold what
            was written or compute what the source computes. Nothing is left behind.
    """
    say = progress or (lambda step: None)
    if not str(destination):
        raise ConfigError("convert: wanted a place to write to, got an empty name. For this directory pass '.'.")
    path = Path(destination)
    output_format = output_format_for(path, to)
    _check_numbers(dtype, tolerance)
    with ExitStack() as stack:
        verifier = None if parity == "none" else stack.enter_context(Verifier(parity))
        checkpoint, check_source = open_watched(resolve(source, config=config is None, weights=True, tokenizer=True))
        check_free(path, output_format, checkpoint, overwrite)
        file = checkpoint.weights(described := checkpoint.config(config))
        chosen = _named_head(head) if head else natural_head(file, described)
        done = Conversion(checkpoint.path, checkpoint.description, path, output_format, described, chosen, dtype)
        done.notes.extend(check_unchanged(checkpoint))
        model = _settle(done, file, dtype, drop, head is not None, say)
        if verifier is not None:
            verifier.run_source(checkpoint.path, model, drop)
        in_file = bool(output_format.written.ending)
        save = stack.enter_context(saving(path.parent if in_file else path))
        staged = save.stage / path.name if in_file else save.stage
        written: dict[str, bytes] = {}
        _check_space(save.stage, path, model)
        output_format.written.write(staged, _noting(model, written), max_shard_size)
        if verifier is not None:
            verifier.run_destination(staged, tolerance)
        say("read back")  # while the destination is run
        _read_back(staged, model, written)
        hashes = file_hashes(staged, checkpoint)
        if verifier is not None:
            done.report = _held(verifier, path, checkpoint.path, say)
        say("publish")
        write_provenance(staged, done, checkpoint, hashes)
        done.files = settle(save, path, output_format, checkpoint, overwrite)
        check_source()
    return done


def _check_numbers(dtype: str, tolerance: float | None) -> None:
    check_tolerance(tolerance)
    if dtype not in ("auto", *DTYPES):
        raise ConfigError(f"dtype must be 'auto' or one of {', '.join(DTYPES)}, got {dtype!r}.")


def _held(verifier: Verifier, path: Path, source: Path, say: Callable[[str], None]) -> Report:
    """The measurement. Raises ParityError when something deviates too far, or nothing could be measured."""
    say("parity")
    try:
        report = verifier.report()
    except ParityError as e:
        raise ParityError(f"{path}: {e}. Nothing was written.") from None
    if (worst := report.first_divergence) is not None:
        raise ParityError(
            f"{path}: {worst.name} deviates by {worst.deviation:.1e} from {source}, allowed are "
            f"{report.tolerance:.0e}; nothing was written."
        )
    return report


def _named_head(name: str) -> Head:
    if name not in HEADS:
        raise CheckpointError(f"convert: no head {name!r}; there are {', '.join(HEADS)}.")
    return HEADS[name]


def _settle(
    done: Conversion, file: MappedCheckpoint, dtype: str, drop: Sequence[str], asked: bool, say: Callable[[str], None]
) -> ModelToWrite:
    """Where every weight of the destination comes from, and what becomes of every name in the source."""
    file.leave_out(drop)
    done.dropped |= file.dropped
    head, config = done.head, done.config
    if head.words is not None and config.tie_word_embeddings and _apart(file, DECODER, WORDS):
        config = config.copy(tie_word_embeddings=False)
        done.notes.append("the decoder differs from the word embeddings: both are kept, tie_word_embeddings is False")
    if head not in detect_heads(file, config):
        held = ", ".join(h.name for h in detect_heads(file, config))
        raise CheckpointError(f"{file.path}: the weights of {head.name} are not all there; it holds {held}.")
    bare = head.bare and POOLER not in file.stored and config.classifier_activation
    if bare:
        done.notes.append("the source has no pooler, nor has the destination (add_pooling_layer=False)")
    plan = plan_loading(file, config, head, pooler=False if bare else None)
    if plan.newly_initialized:
        raise CheckpointError(
            f"{file.path}: {', '.join(w.name for w in plan.newly_initialized)} are not in it; "
            "a conversion initializes no weights."
        )
    if plan.unused and not asked:
        raise CheckpointError(
            f"{file.path}: holds {len(plan.unused)} weights that {head.class_name} has no place for, such as "
            f"{plan.unused[0]} {file.stored[plan.unused[0]].shape}. Correct the configuration, or leave them out by "
            f"naming the head: --head {head.name}."
        )
    done.dropped |= {file.places[name]: f"{head.class_name} has no place for it" for name in plan.unused}
    sources = {weight.full_name: name for weight, name in plan.sources.items()}
    for weight in plan.sources:
        done.mapped.append((file.places[sources[weight.full_name]], str(done.output_format.naming.of_weight(weight))))
    if head.words is not None:
        _account_for_aliases(done, file, sources)
    held = widest(file.stored[name].dtype for name in plan.sources.values())
    done.config, done.dtype = config, held if dtype == "auto" else dtype
    done.parameters = parameter_count(tuple(plan.sources))

    def read(full_name: str) -> np.ndarray:
        say(full_name)
        return file.read(sources[full_name])

    return ModelToWrite(config, head, done.dtype, read, pooler=False if bare else None)


def _account_for_aliases(done: Conversion, file: MappedCheckpoint, sources: dict[str, str]) -> None:
    """A source may hold a tied weight twice. Equal copies are stored once; of two biases the scores read one."""
    for alias, original in ((DECODER, WORDS), (PREDICTIONS_BIAS, DECODER_BIAS)):
        if alias not in file.stored or original not in file.stored or alias in sources.values():
            continue
        if _apart(file, alias, original):
            done.dropped[file.places[alias]] = f"differs from {original}, which the scores are computed with"
        else:
            done.tied.append((file.places[alias], original))


def _apart(file: MappedCheckpoint, first: str, second: str) -> bool:
    there = first in file.stored and second in file.stored
    return there and not np.array_equal(file.read(first), file.read(second))


def _check_space(stage: Path, path: Path, model: ModelToWrite) -> None:
    """Raises CheckpointError where the disk has no room, which HDF5 would not survive."""
    needed = sum(TensorInfo(w.shape, model.dtype).nbytes for w in model.weights) + hdf5.OVERHEAD * len(model.weights)
    if (free := shutil.disk_usage(stage).free) < needed:
        raise CheckpointError(f"{path}: about {needed:,} bytes are needed, the disk has {free:,}. Nothing was written.")


def _noting(model: ModelToWrite, digests: dict[str, bytes]) -> ModelToWrite:
    """The same model, which leaves a digest of every array it gives away."""

    def source(full_name: str) -> np.ndarray:
        array = model.read(full_name)
        digests[full_name] = _digest(array)
        return array

    return replace(model, source=source)


def _digest(array: np.ndarray) -> bytes:
    digest = hashlib.sha256(f"{array.dtype}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def _read_back(path: Path, model: ModelToWrite, written: dict[str, bytes]) -> None:
    """Raises CheckpointError unless the checkpoint says what was to be said, and holds every weight bit by bit."""
    checkpoint = open_checkpoint(path)
    config = checkpoint.config()
    file = checkpoint.weights(config)
    plan = plan_loading(file, config, model.head, model.pooler)
    wrong = [w.name for w, name in plan.sources.items() if _digest(file.read(name)) != written[w.full_name]]
    wrong += [w.name for w in plan.newly_initialized]
    expected = model.config.copy(architectures=[model.head.class_name], dtype=model.dtype)
    fields = {f for f, v in expected.to_dict().items() if f != "torch_dtype" and config.to_dict().get(f) != v}
    if wrong or fields or plan.dtype != model.dtype:
        raise CheckpointError(
            f"{path}: what was written does not read back: {', '.join([*wrong, *sorted(fields)][:6])} in {plan.dtype}, "
            f"wanted {model.dtype}. Nothing was published; this is a fault of this package, or of the disk."
        )
