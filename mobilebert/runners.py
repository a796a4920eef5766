"""What pipelines and evaluations run: a model of a framework or an exported directory, opened by its name."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from conversion.backends import Backend
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import InputError
from mobilebert_core.heads import HEADS, heads_named
from mobilebert_core.tasks.runner import Runner

logger = logging.getLogger(__name__)


def open_runner(
    caller: str,
    backend: Backend,
    head: str,
    path: str | Path,
    *,
    dtype: Any = None,
    device: str | None = None,
    threads: int | None = None,
    **options: Any,
) -> Runner:
    """The model of a head on its backend; `caller` begins the message of an error.

    Args:
        backend: as `conversion.backends.backend_for` finds it.
        threads: of the runtime of an exported directory, for one batch; None leaves it to the runtime.
        options: where the files are, and fields of the configuration in place of the model's.

    Raises:
        BackendMissingError: when the framework is not installed.
        InputError: for an option that the backend does not have.
        CheckpointError, ConfigError: for files that do not serve.
    """
    runner_class = backend.runner(caller)
    if threads is not None and backend.models:
        raise InputError(
            f"{caller}: threads is for exported models; {backend.name} has one number of threads for the whole "
            "process. Set it there, or by OMP_NUM_THREADS in the environment."
        )
    session = {} if threads is None else {"threads": threads}
    runner: Runner = runner_class.from_pretrained(head, path, **session, dtype=dtype, device=device, **options)
    if backend.models:
        _say_other_head(head, path, runner.config)
    return runner


def _say_other_head(head: str, path: str | Path, config: MobileBertConfig) -> None:
    """Warns where the weights are those of another head, which has the same names."""
    saved = heads_named(config.architectures)
    if any(each.name == head for each in saved):
        return
    if other := [each.class_name for each in saved if each.modules == HEADS[head].modules and each.modules]:
        logger.warning(
            "%s: was saved as %s and is read as %s, whose weights have the same names. Its answers mean nothing unless "
            "it was trained for that.",
            path,
            other[0],
            HEADS[head].class_name,
        )
