"""The options of pipelines, for type checkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict


class PipelineOptions(TypedDict, total=False):
    """Options of the tasks, and where files are; a test compares them with the tables.

    Each option is described by the task that has it: `mobilebert predict TASK --help`.
    """

    aggregation_strategy: str
    align_to_words: bool
    candidate_labels: Sequence[str] | str
    doc_stride: int
    function_to_apply: str | None
    hypothesis_template: str
    ignore_labels: Sequence[str] | str
    max_answer_length: int
    max_length: int | None
    max_question_length: int
    multi_label: bool
    n_best: int
    normalize: bool
    on_long: str
    pooling: str
    stride: int
    targets: Sequence[str] | str
    threshold: float | None
    top_k: int | None
    words: str | None
    # Of the hub, as in mobilebert_core.hub.resolve.
    cache_dir: str | Path | None
    force_download: bool
    local_files_only: bool
    proxies: Mapping[str, str] | None
    revision: str | None
    subfolder: str
    token: str | bool | None
    use_auth_token: str | bool | None
