"""A load reads the configuration of a checkpoint once, whatever its format."""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from conversion.converting import convert
from conversion.parity.sample import random_checkpoint
from mobilebert_core.checkpoints.loading import prepare_loading
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.heads import HEADS
from tests.core.model_garden import GOLDEN
from tests.golden.model_garden_cases import CASES
from tests.tiny import tiny_config

HEAD = HEADS["PreTraining"]
SMALL = {"vocab_size": 11, "max_position_embeddings": 7, "num_hidden_layers": 1}


class Opened:
    """The names of the files that are opened while it counts; an audit hook sees every way to open one."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.counting = False
        sys.addaudithook(self._note)  # it cannot be removed, only be silent

    def _note(self, event: str, arguments: tuple) -> None:
        if self.counting and event == "open" and isinstance(arguments[0], str | os.PathLike):
            self.names.append(os.path.basename(arguments[0]))

    def during(self, load) -> list[str]:
        self.names, self.counting = [], True
        try:
            load()
        finally:
            self.counting = False
        return self.names


OPENED = Opened()


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return random_checkpoint(tiny_config(**SMALL), HEAD, tmp_path_factory.mktemp("config_reads") / "source")


@pytest.mark.parametrize(
    ("to", "name", "config"),
    [
        ("pytorch", "", "config.json"),
        ("pytorch", "model.safetensors", "config.json"),
        ("tensorflow", "tf_model.h5", "config.json"),
        ("keras-weights", "m.weights.h5", "config.json"),
        ("google", "m.ckpt", "bert_config.json"),
        ("google", "m.ckpt", "config.json"),
    ],
)
def test_a_file_with_a_configuration_is_read_once(source, tmp_path, to, name, config):
    folder = tmp_path / "written"
    convert(source, folder / name if to in ("keras-weights", "google") else folder, to=to, parity="none")
    for other in {"config.json", "bert_config.json"} - {config}:
        (folder / other).unlink(missing_ok=True)  # the TensorFlow 1 format has both
    assert OPENED.during(lambda: prepare_loading(folder / name, HEAD, keywords={})).count(config) == 1


def test_a_keras_archive_is_read_once(source, tmp_path, monkeypatch):
    path = tmp_path / "m.keras"
    convert(source, path, to="keras", parity="none")
    members = []
    opens = zipfile.ZipFile.open

    def noting(archive, member, *arguments, **options):
        members.append(getattr(member, "filename", member))
        return opens(archive, member, *arguments, **options)

    monkeypatch.setattr(zipfile.ZipFile, "open", noting)
    assert OPENED.during(lambda: prepare_loading(path, HEAD, keywords={})).count("config.json") == 0
    assert members.count("config.json") == 1


def test_a_model_garden_checkpoint_is_read_once(tmp_path):
    name = next(name for name in CASES if (GOLDEN / name / "ckpt-1.index").exists())
    folder = Path(shutil.copytree(GOLDEN / name, tmp_path / "saved"))
    MobileBertConfig(**CASES[name].fields).save_pretrained(folder)
    read = OPENED.during(lambda: prepare_loading(folder, HEADS["Model"], pooler=False, keywords={}))
    assert read.count("config.json") == 1
