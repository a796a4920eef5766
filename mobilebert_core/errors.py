"""The errors this package raises for what a user can get wrong.

Each says where it happened, what was wanted, what it got and what to do. Each is also the built-in
exception that users of transformers, Keras and PyTorch already catch in the same situation.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class MobileBertError(Exception):
    """Base of every error raised on purpose by this package."""

    if not TYPE_CHECKING:  # a type checker takes a class with such a constructor for Any
        # TensorFlow re-raises errors of a function it records; it keeps the type of those with this constructor alone.
        __init__ = Exception.__init__


class ConfigError(MobileBertError, ValueError):
    """A configuration that describes no MobileBERT: an impossible size, an unknown name, a conflict."""


class InputError(MobileBertError, ValueError):
    """Model inputs or labels with a wrong rank, shape, dtype or value."""


class DataError(MobileBertError, ValueError):
    """A data file, or a row of it, that cannot be trained on or scored."""


class TokenizerError(MobileBertError, ValueError):
    """Text, options or files that a tokenizer cannot honour."""


class CheckpointError(MobileBertError, RuntimeError):
    """A checkpoint that does not fit the model: missing, unknown, mis-shaped or damaged weights."""


class CheckpointNotFoundError(CheckpointError, OSError):
    """A path at which no checkpoint, or no complete one, was found."""


class SaveError(CheckpointError, OSError):
    """Files that could not be written: the disk is full, or the place does not let them. The old ones are kept."""


class BackendMissingError(MobileBertError, ImportError):
    """A framework or optional package that this call needs is not installed."""


class TrainingError(MobileBertError, RuntimeError):
    """A training that cannot go on: its loss is no longer a number."""


class ExportError(MobileBertError, ValueError):
    """A model that cannot be exported as asked, or an exported file that does not compute what its source does."""


def first_line(error: BaseException) -> str:
    """The first line of what another library says, which may be nothing: then the name of its error."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


def what_to_do(error: OSError, unknown: int | None = None) -> str:
    """What a user does about a file or directory that the system refuses to read or write, in one sentence.

    Args:
        unknown: the number of what is to be supposed where a library passed none on.
    """
    number = unknown if error.errno is None else error.errno
    if number in _FULL:
        return "Free some space, or choose another place."
    if number in _FORBIDDEN:
        return "Choose another place, or see to it that this user may read and write there."
    return "Choose another place."


def interruption_in(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C of which another library made an error of its own; None where it made it of something else."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is of memory that is not there, as Python, numpy, PyTorch or TensorFlow say it."""
    said = type(error).__name__ in ("OutOfMemoryError", "ResourceExhaustedError")
    return isinstance(error, MemoryError) or said or "can't allocate memory" in str(error)
