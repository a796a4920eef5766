"""`map` of Hugging Face's datasets with our tokenizers: computed once, found again in the cache."""

from __future__ import annotations

import pytest
from datasets import Dataset
from datasets.fingerprint import Hasher

from mobilebert_core import DEMO_MODEL, AutoTokenizer


def disk_dataset(folder) -> Dataset:
    """Rows in a file: only such datasets have a cache."""
    Dataset.from_dict({"text": ["one", "two or three", "a longer text of seven words"] * 3}).save_to_disk(str(folder))
    return Dataset.load_from_disk(str(folder))


@pytest.mark.parametrize("use_fast", [True, False])
def test_map_is_cached_although_the_tokenizer_was_used_in_between(tmp_path, use_fast):
    tokenizer = AutoTokenizer.from_pretrained(DEMO_MODEL, use_fast=use_fast)
    rows = disk_dataset(tmp_path / "rows")
    length = 6

    def mapped():
        return rows.map(
            lambda batch: tokenizer(batch["text"], padding="max_length", truncation=True, max_length=length),
            batched=True,
        )

    first = mapped()
    tokenizer("another call " * 100, padding="longest")
    again = mapped()
    assert first.cache_files == again.cache_files and first.cache_files
    assert again[0]["input_ids"] == tokenizer("one", padding="max_length", max_length=length)["input_ids"]


@pytest.mark.parametrize("use_fast", [True, False])
def test_a_fingerprint_changes_with_the_tokenizer_alone(use_fast):
    tokenizer = AutoTokenizer.from_pretrained(DEMO_MODEL, use_fast=use_fast)
    before = Hasher.hash(tokenizer)
    tokenizer(["a text", "and one more " * 200], padding=True)
    assert Hasher.hash(tokenizer) == before == Hasher.hash(AutoTokenizer.from_pretrained(DEMO_MODEL, use_fast=use_fast))
    tokenizer.add_tokens(["mobilebertish"])
    assert Hasher.hash(tokenizer) != before
