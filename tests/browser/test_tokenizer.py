"""The tokenizer of the page gives the ids of ours."""

from __future__ import annotations

import csv
import os
import random
from pathlib import Path

from mobilebert import AutoTokenizer

from .serving import PAGE

IDS = """async (texts) => {
    const { encode, open } = await import("./classifier.js");
    const { tokenizer } = await open("wasm");
    return texts.map((text) => Array.from(encode(tokenizer, text).inputs.input_ids.data, Number));
}"""
ODD = [
    "", " \t\n", "İstanbul DİYARBAKIR ß ﬁne", "naïve café, a\u0308 o\u0308", "你好\uff0c世界 ㋀ 𠀋", "नमस्ते दुनिया",
    "가나다 각", "👩\u200d👩\u200d👧 🇩🇪 ☃\ufe0f 😀😀", "a\u200bb c\u00add e\ufefff",
    "null\x00 bell\x07 \ufffd tab\tline\r\nend", "x" * 101, "y" * 99 + " z", "[MASK] [CLS]it[SEP] [mask]",
    "$5.99 don't -- e-mail@example.com #tag @user ½ №5", "word " * 300,
]  # fmt: skip
COUNT = 1000


def texts() -> list[str]:
    """A thousand: of people, where there are data, or of words put together."""
    folder = os.environ.get("MOBILEBERT_DATA")
    if folder:
        with (Path(folder) / "goemotions" / "dev.tsv").open(encoding="utf-8", newline="") as file:
            rows = [row[0] for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
        assert len(rows) > COUNT
        return rows[:COUNT]
    words = (PAGE / "model" / "int8" / "vocab.txt").read_text(encoding="utf-8").split()
    chosen = random.Random(0)
    return [
        chosen.choice(("", "  ", "— ")).join(
            f"{chosen.choice((str.upper, str.title, str.lower))(chosen.choice(words).removeprefix('##'))} "
            for _ in range(chosen.randint(1, 40))
        )
        for _ in range(COUNT)
    ]


def test_ids_are_those_of_python(visit, site):
    read = [*texts(), *ODD]
    tokenizer = AutoTokenizer.from_pretrained(PAGE / "model" / "int8")
    expected = tokenizer(read, truncation=True)["input_ids"]
    found = visit(site).evaluate(IDS, read)
    assert len(found) == COUNT + len(ODD) and max(map(len, found)) == 128
    differing = [each for each in zip(read, expected, found, strict=True) if each[1] != each[2]]
    assert not differing, (len(differing), differing[:3])
