"""Our classes registered with the Auto classes of transformers, whose pipelines then run our models.

Each test is a process of its own, since a registration lasts until the process ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PIPELINES = {
    "text-classification": ("SequenceClassification", "a text"),
    "token-classification": ("TokenClassification", "a text"),
    "fill-mask": ("MaskedLM", "a [MASK]"),
    "feature-extraction": ("Model", "a text"),
}


def said_by(code: str) -> list:
    """What a program prints in its last line, as JSON."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_ours_imports_nothing_of_transformers():
    assert said_by("import sys, mobilebert_torch; print(int('transformers' in sys.modules))") == 0


def test_every_auto_class_gives_ours(checkpoint):
    path = checkpoint("PreTraining")
    found = said_by(f"""
import json, transformers, mobilebert_torch as m
from mobilebert_core.auto_classes import auto_name
transformers.AutoConfig.register("mobilebert", m.MobileBertConfig, exist_ok=True)
found = []
for cls in m.MODEL_CLASSES.values():
    auto = getattr(transformers, auto_name(cls))
    auto.register(m.MobileBertConfig, cls, exist_ok=True)
    found += [type(auto.from_pretrained({str(path)!r})) is cls]
    config = transformers.AutoConfig.from_pretrained({str(path)!r})
    found += [type(config) is m.MobileBertConfig, type(auto.from_config(config)) is cls]
    found += [type(auto.from_pretrained({str(path)!r}, config=config, dtype="auto", device_map="auto")) is cls]
print(json.dumps(found))
""")
    assert all(found) and len(found) == 32


def test_pipelines_of_transformers_run_ours(tmp_path):
    """By the path of a checkpoint and with models and tokenizers that are passed: the same answers."""
    found = said_by(f"""
import json, transformers, mobilebert_torch as m
from mobilebert_core import DEMO_MODEL
m.register_with_transformers()
tokenizer = m.AutoTokenizer.from_pretrained(DEMO_MODEL)
config = m.MobileBertConfig.from_pretrained(DEMO_MODEL, num_labels=3, problem_type=None)
found = []
for task, (head, text) in {PIPELINES!r}.items():
    folder = {str(tmp_path)!r} + "/" + head
    m.MODEL_CLASSES[head](config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    pipe = transformers.pipeline(task, model=folder)
    given = transformers.pipeline(task, model=pipe.model, tokenizer=tokenizer)
    found += [type(pipe.model) is m.MODEL_CLASSES[head], type(pipe.tokenizer) is m.MobileBertTokenizerFast]
    found += [pipe(text) == given(text) != [], len(pipe([text, text], batch_size=2)) == 2]
print(json.dumps(found))
""")
    assert all(found) and len(found) == 4 * len(PIPELINES), found
