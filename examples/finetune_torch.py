"""Fine-tunes MobileBERT with a plain PyTorch loop: `python examples/finetune_torch.py CHECKPOINT OUTPUT`.

Larger learning rates than BERT's, 10 % warm-up, gradients clipped at 1 (arXiv 2004.02984, section 4.3).
"""

import sys

import torch
from torch.utils.data import DataLoader

from mobilebert_core import AutoTokenizer
from mobilebert_torch import MobileBertForSequenceClassification, get_linear_schedule_with_warmup

texts = ["I love this!", "What a joy.", "This is awful.", "I hate it."] * 8
labels = [1, 1, 0, 0] * 8
names = {0: "bad", 1: "good"}
checkpoint, output = sys.argv[1:3]

device = "cuda" if torch.cuda.is_available() else "cpu"
tokenizer = AutoTokenizer.from_pretrained(checkpoint)
model = MobileBertForSequenceClassification.from_pretrained(
    checkpoint,
    id2label=names,
    problem_type="single_label_classification",
    ignore_mismatched_sizes=True,  # a new classifier where that of the checkpoint has other labels
    classifier_dropout=0.1,
)
model.to(device).train()


def batch_of(rows):
    batch = tokenizer([text for text, _ in rows], padding=True, truncation=True, return_tensors="pt")
    return {**batch, "labels": torch.tensor([label for _, label in rows])}


loader = DataLoader(list(zip(texts, labels, strict=True)), batch_size=8, shuffle=True, collate_fn=batch_of)
epochs = 5
steps = epochs * len(loader)
optimizer = torch.optim.AdamW(model.parameters(), lr=8e-5, weight_decay=0.01, fused=True)
schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
for epoch in range(epochs):
    for batch in loader:
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = model(**{name: value.to(device) for name, value in batch.items()}).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    print(f"epoch {epoch + 1}: loss {loss.item():.4f}")
model.save_pretrained(output)
tokenizer.save_pretrained(output)
