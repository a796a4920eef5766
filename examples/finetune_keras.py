"""Fine-tunes MobileBERT with Keras on raw strings: `python examples/finetune_keras.py CHECKPOINT OUTPUT`."""

import sys

import keras

from mobilebert_core import AutoTokenizer
from mobilebert_tf import TFMobileBertForSequenceClassification, text_dataset

texts = ["I love this!", "What a joy.", "This is awful.", "I hate it."] * 8
labels = [1, 1, 0, 0] * 8
names = {0: "bad", 1: "good"}
checkpoint, output = sys.argv[1:3]

tokenizer = AutoTokenizer.from_pretrained(checkpoint)
model = TFMobileBertForSequenceClassification.from_pretrained(
    checkpoint,
    id2label=names,
    problem_type="single_label_classification",
    ignore_mismatched_sizes=True,  # a new classifier where that of the checkpoint has other labels
    classifier_dropout=0.1,
)
rows = text_dataset(texts, labels, tokenizer=tokenizer, batch_size=8, max_length=32, shuffle=True, seed=0)
rate = keras.optimizers.schedules.PolynomialDecay(8e-5, decay_steps=5 * 4)
model.compile(keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=1.0), metrics=["accuracy"])
model.fit(rows, epochs=5)
model.save_pretrained(output)
tokenizer.save_pretrained(output)
