"""Python that runs an exported file in its runtime without this package, for the card beside the file."""

from __future__ import annotations

import json

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import MULTI_LABEL, REGRESSION
from mobilebert_core.exports import SIGNATURE

from .record import ExportRecord

# By format: what is installed and imported, how the file is opened, and how `inputs` become arrays by name.
_RUNTIMES = {
    "litert": (
        "ai-edge-litert",
        "from ai_edge_litert.interpreter import Interpreter",
        'model = Interpreter("{file}").get_signature_runner()',
        "outputs = model(**inputs)",
    ),
    "onnx": (
        "onnxruntime",
        "import onnxruntime",
        'model = onnxruntime.InferenceSession("{file}")',
        "names = {outputs}\noutputs = dict(zip(names, model.run(names, inputs)))",
    ),
    "torch-export": (
        "torch",
        "import torch",
        'model = torch.export.load("{file}").module()',
        "names = {outputs}\n"
        "found = model(*(torch.from_numpy(rows) for rows in inputs.values()))\n"
        "outputs = {{name: rows.detach().numpy() for name, rows in zip(names, found)}}",
    ),
    "saved-model": (
        "tensorflow",
        "import tensorflow as tf",
        'model = tf.saved_model.load("{file}")',
        f'found = model.signatures["{SIGNATURE}"](**{{{{name: tf.constant(rows) for name, rows in inputs.items()}}}})\n'
        "outputs = {{name: rows.numpy() for name, rows in found.items()}}",
    ),
}
_FIELDS = ("ids", "attention_mask", "type_ids")  # of a text that `tokenizers` encoded, in the order of our inputs


def snippet(record: ExportRecord, config: MobileBertConfig) -> list[str]:
    """A program to be run in the exported directory; nothing for ExecuTorch, which runs in apps, and for choices."""
    if record.format not in _RUNTIMES or record.head_row.per_choice:
        return []
    package, imported, opened, computed = _RUNTIMES[record.format]
    named = {"file": record.file, "outputs": list(record.outputs)}
    read, shown = _task(record.head, config)
    limit = record.length or config.max_position_embeddings
    only = ', strategy="only_second"' if record.head == "QuestionAnswering" else ""
    rows = "" if record.batch in (None, 1) else f" * {record.batch}"
    names = zip(record.inputs.values(), _FIELDS, strict=True)
    return [
        f"# pip install {package} numpy tokenizers",
        *(["import json", "from pathlib import Path", ""] if _LABELS in shown else []),
        "import numpy as np",
        imported,
        "from tokenizers import Tokenizer",
        "",
        'tokenizer = Tokenizer.from_file("tokenizer.json")',
        f"tokenizer.enable_truncation({limit}{only})",
        *([f"tokenizer.enable_padding(length={limit}, pad_id={config.pad_token_id or 0})"] if record.length else []),
        opened.format(**named),
        "",
        *read,
        "inputs = {",
        *(f'    "{name}": np.array([text.{field}]{rows}, "{record.input_dtype}"),' for name, field in names),
        "}",
        *computed.format(**named).splitlines(),
        *shown,
    ]


def _task(head: str, config: MobileBertConfig) -> tuple[list[str], list[str]]:
    """Lines that read a text, and lines that show the answer to it."""
    labels = _labels(config)
    text = ['text = tokenizer.encode("I love this!")  # of two texts: tokenizer.encode(first, second)']
    match head:
        case "SequenceClassification" if config.problem_type == REGRESSION or config.num_labels == 1:
            return text, ['print(outputs["logits"][0])']
        case "SequenceClassification" if config.problem_type == MULTI_LABEL:
            each = 'enumerate(outputs["logits"][0])'
            return text, [labels, f"print([labels[str(number)] for number, score in {each} if score > 0])"]
        case "SequenceClassification":
            return text, [labels, 'print(labels[str(outputs["logits"][0].argmax())])']
        case "TokenClassification":
            each = 'for piece, special, scores in zip(text.tokens, text.special_tokens_mask, outputs["logits"][0]):'
            return text, [labels, each, "    if not special:", "        print(piece, labels[str(scores.argmax())])"]
        case "QuestionAnswering":
            return _QUESTION, _SPAN
        case "MaskedLM":
            word = 'outputs["logits"][0][text.tokens.index("[MASK]")].argmax()'
            return ['text = tokenizer.encode("I [MASK] it.")'], [f"print(tokenizer.id_to_token(int({word})))"]
    return text, ["print({name: rows.shape for name, rows in outputs.items()})"]


def _labels(config: MobileBertConfig) -> str:
    """The line that reads the names of labels; LABEL_0 and LABEL_1 are not written to config.json."""
    names = {str(number): name for number, name in (config.id2label or {}).items()}
    return _LABELS if "id2label" in config.to_dict() else f"labels = {json.dumps(names)}"


_LABELS = 'labels = json.loads(Path("config.json").read_text(encoding="utf-8"))["id2label"]'
_QUESTION = [
    'passage = "The old bridge was built by Anna Weber."',
    'text = tokenizer.encode("Who built the bridge?", passage)',
]
_SPAN = [
    "places = [place for place, number in enumerate(text.sequence_ids) if number == 1]  # of the passage",
    'start = max(places, key=lambda place: outputs["start_logits"][0][place])',
    'end = max((place for place in places if place >= start), key=lambda place: outputs["end_logits"][0][place])',
    "print(passage[text.offsets[start][0] : text.offsets[end][1]])",
]
