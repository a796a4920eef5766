"""The options of pipelines, for type checkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict


class TransformersOptions(TypedDict, total=False):
    """Keywords of transformers' pipelines that are taken; `pipeline_keywords` and the tasks say what they mean here.

    Those without effect are there too, so that a script passes its type checker unchanged.
    """

    args_parser: Any
    binary_output: Any
    code_revision: Any
    config: Any
    device_map: Any
    feature_extractor: Any
    framework: str | None
    grouped_entities: bool | None
    handle_impossible_answer: bool | None
    ignore_subwords: bool | None
    image_processor: Any
    max_answer_len: int
    max_question_len: int
    max_seq_len: int | None
    model_kwargs: Mapping[str, Any] | None
    modelcard: Any
    multi_class: bool
    num_workers: Any
    padding: bool | str | None
    pipeline_class: Any
    processor: Any
    return_all_scores: bool | None
    return_tensors: bool | None
    tokenize_kwargs: Mapping[str, Any] | None
    tokenizer_kwargs: Mapping[str, Any] | None
    topk: int
    torch_dtype: Any
    truncation: bool | str | None
    trust_remote_code: Any
    use_fast: Any


class PipelineOptions(TransformersOptions, total=False):
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
