"""Records what transformers 4.37.2 does with a small vocabulary, for tests/core/test_tokenization_golden.py.

Run with an interpreter that has transformers 4.37.2 and tokenizers 0.15:

    python tests/golden/record_tokenization.py

It writes tokenization.json beside this file. The vocabulary and the texts are made here.
"""
# ruff: noqa: RUF001 - texts of many scripts are the point

from __future__ import annotations

import itertools
import json
import string
import tempfile
from pathlib import Path

TARGET = Path(__file__).with_name("tokenization.json")

WORDS = (
    "the a of un run low lower fox jump over dog do not can don naive cafe hello world new york is am we ve re it"
    " want mask ab abc 19 20 hallo straße İ σ ς é ü å"
)
PIECES = "ing ed s er est ning nd ll t ve aff able é wert 9 0 σ"
LETTERS = string.ascii_lowercase + string.digits + "µßəα"
SIGNS = string.punctuation + "“”‘’–—…。、«»€°²½"
OTHER = "的人有漢一ᄒ ᅡ ᆫ ᄀ ᅳ ᆯ あ カ क र א ع ไ ท".replace(" ", "")
VOCABULARY = list(
    dict.fromkeys(
        [
            "[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
            *WORDS.split(), *LETTERS, *(f"##{letter}" for letter in LETTERS + OTHER),
            *(f"##{piece}" for piece in PIECES.split()), *SIGNS, *OTHER,
        ]
    )
)  # fmt: skip

TEXTS = [
    "", " ", "\t\r\n", "The quick FOX jumps over the lazy dog.", "A, naïve [MASK] AllenNLP sentence.",
    "[CLS] the [SEP] [mask] [MASK][MASK] [PAD]x", "don't can't we've they're I'm it's do not . ! ? ,",
    "unwantedX running UNwant\u00e9d,running", " \tHäLLo!how  \n Are yoU?  ", "New-York, 1920–2019 … «x» €5 ½ 10²",
    "的人有 漢字ab的c", "한글 한그", "あカ क्र אע ไท", "ΣΊΣΥΦΟΣ Σς", "İstanbul ısı STRASSE straße ẞ", "ﬁne ﬀ ①",
    "e\u0301 cafe\u0301 nai\u0308ve n\u0303\u0323", "\u212b \u2126 A\u030a", "zero\u200bwidth so\u00adft \u200d\u200c",
    "nul\x00l \ufffd \x07bell \x85 \x0b", "\u00a0non\u2003breaking\u3000space\u2028line\u2029par", "\ufeffbom",
    "👨‍👩‍👧 🇩🇪 ❤️", "z" * 100, "z" * 101, "xyz" * 40 + " ok", "a" * 30 + "é" * 5, "##ing s##s # #",
    "U.S.A. e-mail@x.com",
    "$^`~|<>=+ _under_score_", "\u1112\u1161\u11ab", "\u0344\u0345", "𝒜𝓑 ＡＢＣ", "\U000e0001tag",
    "\ue000private", "1,234.56",
    "\u0958\u0f73 \ufb1d", "\U0001d15e\U0001d160", "ŉ ǅ ᾳ", "Hello 'world' “quoted” the… end",
]  # fmt: skip

OPTIONS = [
    {},
    {"do_lower_case": False},
    {"strip_accents": False},
    {"do_lower_case": False, "strip_accents": True},
    {"tokenize_chinese_chars": False},
    {"tokenize_chinese_chars": False, "strip_accents": False},
]

FIRST = ["the fox jumps", "a dog", "run low lower the running fox over a naive world, do not jump", "of"]
SECOND = ["over the lazy dog", "is it new york? it is not. hello world", "ab", "we want the low cafe"]
SPLIT = [["New", "York's", "running"], ["a", "unaffable,", "", "[MASK]", "的人"], ["fox"], ["don't", "x" * 101]]


def calls():
    """Name of the way in, and the options of one call."""
    for padding, truncation, length in itertools.product(
        (False, True, "max_length"), (None, True, "only_first", "only_second"), (None, 5, 24)
    ):
        for inputs in ("one", "pair", "batch", "pairs"):
            yield inputs, {"padding": padding, "truncation": truncation, "max_length": length}
    for inputs, padding, multiple in itertools.product(("one", "batch", "pairs"), (True, "max_length"), (4, 8)):
        yield inputs, {"padding": padding, "max_length": 13, "pad_to_multiple_of": multiple}
    for truncation, length, stride, side in itertools.product(
        ("only_first", "only_second", "longest_first"), (9, 14), (0, 2), ("right", "left")
    ):
        for inputs in ("one", "batch", "pairs"):
            yield (
                inputs,
                {
                    "truncation": truncation,
                    "max_length": length,
                    "stride": stride,
                    "return_overflowing_tokens": True,
                    "padding": "max_length",
                    "truncation_side": side,
                },
            )
    extras = (
        {},
        {"add_special_tokens": False},
        {"return_token_type_ids": False},
        {"return_attention_mask": False},
        {"return_special_tokens_mask": True, "return_length": True},
        {"padding": True, "return_special_tokens_mask": True, "return_length": True},
        {"padding": True, "padding_side": "left", "return_special_tokens_mask": True},
        {"truncation": True, "max_length": 6, "truncation_side": "left"},
        {"return_tensors": "np", "padding": True},
    )
    for inputs, extra in itertools.product(
        ("one", "pair", "batch", "pairs", "words", "word pair", "word batch", "word pairs"), extras
    ):
        yield inputs, extra


def arguments(inputs):
    """What is tokenized under a name of `calls`."""
    return {
        "one": (FIRST[2],),
        "pair": (FIRST[0], SECOND[1]),
        "batch": (FIRST,),
        "pairs": (FIRST, SECOND),
        "words": (SPLIT[1],),
        "word pair": (SPLIT[0], SPLIT[1]),
        "word batch": (SPLIT,),
        "word pairs": (SPLIT, SPLIT[::-1]),
    }[inputs]


def run(tokenizer, inputs, options):
    """The columns of one call, and the places of its tokens from the fast tokenizer; None when it fails."""
    options = dict(options)
    tokenizer.padding_side = options.pop("padding_side", "right")
    tokenizer.truncation_side = options.pop("truncation_side", "right")
    if tokenizer.is_fast:
        options["return_offsets_mapping"] = True
    try:
        encoding = tokenizer(*arguments(inputs), is_split_into_words="word" in inputs, verbose=False, **options)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return None
    result = {key: value.tolist() if hasattr(value, "tolist") else value for key, value in encoding.items()}
    if tokenizer.is_fast:
        rows = range(len(encoding.encodings))
        result["word_ids"] = [encoding.word_ids(row) for row in rows]
        result["sequence_ids"] = [encoding.sequence_ids(row) for row in rows]
    return result


def main():
    """Writes the fixture."""
    import tokenizers
    import transformers
    from transformers import MobileBertTokenizer, MobileBertTokenizerFast

    assert transformers.__version__ == "4.37.2", transformers.__version__
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder, "vocab.txt")
        vocabulary.write_text("".join(f"{token}\n" for token in VOCABULARY), encoding="utf-8")
        texts = []
        for options in OPTIONS:
            fast = MobileBertTokenizerFast(str(vocabulary), **options)
            slow = MobileBertTokenizer(str(vocabulary), **options)
            encoding = fast(TEXTS, return_offsets_mapping=True)
            texts.append(
                {
                    "options": options,
                    "ids": encoding["input_ids"],
                    "offsets": encoding["offset_mapping"],
                    "words": [encoding.word_ids(row) for row in range(len(TEXTS))],
                    "tokens": [encoding.tokens(row) for row in range(len(TEXTS))],
                    "slow_differs": [
                        row for row, ids in enumerate(slow(TEXTS)["input_ids"]) if ids != encoding["input_ids"][row]
                    ],
                    "decoded": {
                        f"{name} {skip} {clean}": [
                            tokenizer.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=clean)
                            for ids in encoding["input_ids"]
                        ]
                        for name, tokenizer in (("fast", fast), ("slow", slow))
                        for skip in (False, True)
                        for clean in (None, False)
                    },
                }
            )
        fast, slow = MobileBertTokenizerFast(str(vocabulary)), MobileBertTokenizer(str(vocabulary))
        recorded = []
        for inputs, options in calls():
            ours, theirs = run(fast, inputs, options), run(slow, inputs, options)
            same = ours is not None and theirs is not None and all(ours.get(key) == theirs[key] for key in theirs)
            recorded.append({"inputs": inputs, "options": options, "fast": ours, "slow": "as fast" if same else theirs})
    content = {
        "recorded with": {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__},
        "texts": texts,
        "calls": recorded,
    }
    TARGET.write_text(json.dumps(content, ensure_ascii=True, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
