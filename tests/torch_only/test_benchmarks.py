"""The benchmarks run, at a size at which their numbers mean nothing, so that they do when somebody asks."""

from __future__ import annotations

import json
import re

import pytest
import torch

from tests.benchmarks import bench_devices, bench_gpu, bench_transfer


def test_the_gpu_benchmark_says_that_there_is_none(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench_gpu.main([]) == 2
    assert "wanted a GPU, PyTorch finds none here" in capsys.readouterr().err


@pytest.mark.slow
def test_the_gpu_benchmark_runs_on_a_cpu(tmp_path, capsys):
    path = tmp_path / "numbers.json"
    size = ["--blocks", "1", "--shapes", "1x4", "--rounds", "1", "--repeats", "1"]
    # The eager backend records as every other and compiles nothing, which would take a minute.
    assert bench_gpu.main(["--device", "cpu", "--backend", "eager", *size, "--json", str(path)]) == 0
    numbers = json.loads(path.read_text())["seconds"]
    assert set(numbers) == {"bfloat16 1x4", "float16 1x4"}
    for rows in numbers.values():
        assert rows["transformers sdpa"]["ratio"] == 1 and set(rows) == {
            "ours", "ours folded", "transformers eager", "transformers sdpa", "ours, compiled", "ours folded, compiled",
            "transformers sdpa, compiled",
        }  # fmt: skip
    assert "ours folded, compiled" in capsys.readouterr().out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("models")
    bench_devices.prepare(made, ["PyTorch"], blocks=1)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("form", [name for name, each in bench_devices.FORMS.items() if each.reads == "ours"])
def test_each_form_that_needs_no_export_is_timed(form, folder, capsys, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model, **options: model)
    monkeypatch.setattr("sys.stdin", ["2 5 1\n"])
    bench_devices.serve(form, folder)
    ready, seconds = capsys.readouterr().out.split()
    assert ready == "ready" and float(seconds) > 0


def test_a_form_whose_environment_is_missing_is_named_and_left_out(tmp_path, capsys, monkeypatch):
    asked = ["--only", "OpenVINO", "executorch", "--environments", str(tmp_path), "--keep", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["bench_devices", *asked])
    timed = []
    monkeypatch.setattr(bench_devices, "prepare", lambda folder, forms, *rest: timed.extend(forms))
    monkeypatch.setattr(bench_devices, "started", lambda *rest: {})
    monkeypatch.setattr(bench_devices, "measured", lambda *rest: {})
    bench_devices.main()
    shown = capsys.readouterr().out
    assert timed == [bench_devices.BASE]
    assert "OpenVINO fp32 is left out" in shown and "executorch fp32 is left out" in shown
    assert "make environments" in shown


def test_the_table_and_the_picture(tmp_path, capsys):
    found = {"1x16": {"PyTorch": [0.2, 0.1, 0.4], bench_devices.BASE: [0.1, 0.1, 0.1]}}
    numbers = bench_devices.report(found, bench_devices.BASE)
    assert numbers["1x16"]["PyTorch"] == {"median": 0.2, "low": 0.1, "high": 0.4, "ratio": 2.0}
    assert "200.0" in capsys.readouterr().out
    bench_devices.plot(numbers, bench_devices.BASE, tmp_path / "numbers.svg")
    assert (tmp_path / "numbers.svg").stat().st_size


@pytest.mark.slow
def test_the_benchmark_of_the_stages_runs(capsys):
    bench_transfer.main(["--pair", "4x256", "--batch", "1", "--length", "8", "--repetitions", "1"])
    shown = capsys.readouterr().out
    assert all(f"block {number} of 4" in shown for number in (1, 2, 3, 4))
    assert re.search(r"both models whole .* ratio 1\.000", shown)
