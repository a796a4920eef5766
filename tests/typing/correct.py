"""A user's file, for the type checker alone: correct, and nothing that it uses is Any."""

from __future__ import annotations

from typing import assert_type

import conversion
import mobilebert
import mobilebert_core
from mobilebert_core.outputs import ModelOutput, SequenceClassifierOutput
from mobilebert_core.text.tokenization_base import TokenizerBase

classify = mobilebert.pipeline("text-classification", backend="keras", top_k=3)
assert_type(classify, mobilebert.MobileBertPipeline)
assert_type(
    mobilebert.pipeline(
        "ner", "a-model", framework="pt", device_map="auto", torch_dtype="auto", model_kwargs={}, grouped_entities=True
    ),
    mobilebert.MobileBertPipeline,
)
mobilebert.pipeline("question-answering", "a-model", max_seq_len=64, handle_impossible_answer=True, topk=2)
mobilebert.pipeline("sentiment-analysis", "a-model", return_all_scores=True, truncation=True, padding=True)
assert_type(mobilebert.MobileBertPipeline.from_pretrained("ner", "a-model"), mobilebert.MobileBertPipeline)
assert_type(classify.batch_size, int)
assert_type(mobilebert.__version__, str)

config = mobilebert.MobileBertConfig.from_preset("mobilebert", num_labels=3)
assert_type(config, mobilebert.MobileBertConfig)
assert_type(mobilebert.MobileBertConfig.from_pretrained("a-model"), mobilebert.MobileBertConfig)
assert_type(mobilebert.MobileBertConfig.from_dict({"hidden_size": 128}), mobilebert.MobileBertConfig)
assert_type(config.copy(num_labels=4), mobilebert.MobileBertConfig)
assert_type(config.hidden_size, int)
assert_type(config.num_labels, int)

tokenizer = mobilebert.MobileBertTokenizerFast.from_pretrained(mobilebert.DEMO_MODEL)
assert_type(tokenizer, mobilebert.MobileBertTokenizerFast)
assert_type(mobilebert.MobileBertTokenizer.from_pretrained("a-model"), mobilebert.MobileBertTokenizer)
assert_type(mobilebert.AutoTokenizer.from_pretrained("a-model"), TokenizerBase)
assert_type(tokenizer(["It rained."]), mobilebert_core.BatchEncoding)
assert_type(tokenizer.decode([2, 3]), str)

head = mobilebert_core.HEADS["SequenceClassification"]
assert_type(mobilebert_core.HEADS, dict[str, mobilebert_core.Head])
assert_type(head, mobilebert_core.Head)
assert_type(mobilebert_core.weight_table(config, head), tuple[mobilebert_core.Weight, ...])
assert_type(head.output, type[ModelOutput])
output = SequenceClassifierOutput(logits=[[0.5]])
assert_type(output.copy(), ModelOutput)

training = mobilebert.Training(task="fill-mask", data=mobilebert.DEMO_MODEL, model="a", output=mobilebert.DEMO_MODEL)
assert_type(training.task, str)
assert_type(conversion.inspect_checkpoint("a-model"), conversion.Inspection)
try:
    print(conversion.compare(None, None, {}).worst.deviation)
except mobilebert.MobileBertError as error:
    assert_type(error, mobilebert_core.MobileBertError)
