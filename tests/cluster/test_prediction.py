"""The examples for Ray and Spark with two workers: their answers are those of one process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

import mobilebert
from conversion.exports.export import export
from mobilebert_torch import MobileBertForSequenceClassification

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]
WORDS = ["I", "love", "hate", "this", "day", "what", "a", "joy", "awful", "thanks", "sorry", "wow"]
ELSEWHERE = """import os, sys
if "pyspark.daemon" in sys.orig_argv or any(each.endswith("default_worker.py") for each in sys.orig_argv):
    os.chdir("/")
"""  # workers of a cluster do not run where the command is given
ROWS = 1400  # so that rows are cut in other places than batches


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A file of texts, a checkpoint whose answers are free of padding, and both kinds of it exported."""
    place = tmp_path_factory.mktemp("cluster")
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 30))) for _ in range(ROWS)]
    pq.write_table(pa.table({"id": range(ROWS), "text": texts}), place / "texts.parquet", row_group_size=180)
    model = MobileBertForSequenceClassification.from_pretrained(mobilebert.DEMO_MODEL, padding_invariant=True)
    model.save_pretrained(place / "invariant")
    mobilebert.AutoTokenizer.from_pretrained(mobilebert.DEMO_MODEL).save_pretrained(place / "invariant")
    export(place / "invariant", place / "onnx", format="onnx")
    shutil.copytree(mobilebert.DEMO_MODEL, place / "checkpoint")
    (place / "python").mkdir()
    (place / "python" / "sitecustomize.py").write_text(ELSEWHERE)
    return place


def run(command: list[str], place: Path) -> None:
    path = f"{place / 'python'}{os.pathsep}{ROOT}"
    variables = {**os.environ, "PYTHONPATH": path, "PYSPARK_PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(command, cwd=place, env=variables, text=True, capture_output=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr


def answered(place: Path, output: str) -> tuple[list[str], list[str], list[float]]:
    found = pyarrow.dataset.dataset(place / output, format="parquet").to_table().sort_by("id")
    assert found["id"].to_pylist() == list(range(ROWS))
    return found["text"].to_pylist(), found["label"].to_pylist(), found["score"].to_pylist()


def alone(model: Path, texts: list[str], **options) -> tuple[list[str], list[float]]:
    found = list(mobilebert.pipeline("text-classification", model, top_k=1, **options)(texts))
    return [each["label"] for each in found], [each["score"] for each in found]


@pytest.mark.parametrize("model", ["checkpoint", "onnx"])
def test_ray_gives_the_answers_of_one_process(place, model):
    run([sys.executable, str(ROOT / "examples" / "predict_ray.py"), model, "texts.parquet", f"ray-{model}"], place)
    files = sorted((place / f"ray-{model}").glob("*.parquet"))
    assert len(files) == 6  # of 256 rows, or the rest; by their names in the order of the rows
    assert [each for file in files for each in pq.read_table(file)["id"].to_pylist()] == list(range(ROWS))
    texts, labels, scores = answered(place, f"ray-{model}")
    expected = alone(place / model, texts)
    assert labels == expected[0]
    np.testing.assert_allclose(scores, expected[1], atol=1e-6)


@pytest.mark.parametrize("model", ["checkpoint", "onnx"])
def test_spark_gives_the_answers_of_one_process(place, model):
    submit = [str(Path(sys.executable).with_name("spark-submit")), "--master", "local[2]", "--driver-memory", "1g"]
    script = str(ROOT / "examples" / "predict_spark.py")
    run([*submit, script, model, "texts.parquet", f"spark-{model}"], place)
    assert len(list((place / f"spark-{model}").glob("part-*.parquet"))) > 2
    texts, labels, scores = answered(place, f"spark-{model}")
    expected = alone(place / model, texts, padding_invariant=True)
    assert labels == expected[0]
    np.testing.assert_allclose(scores, expected[1], atol=1e-6)
