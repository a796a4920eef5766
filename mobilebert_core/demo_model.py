"""The trained model that ships with the package: small, for 28 emotions, the default of commands that need a model."""

from __future__ import annotations

from pathlib import Path

# A checkpoint like any other; its README.md says from what and how it was trained, and how well it does.
DEMO_MODEL = Path(__file__).parent / "data" / "demo_model"
DEMO_TASK = "text-classification"  # what it answers
DEMO_VOCABULARY = DEMO_MODEL / "vocab.txt"  # 8,000 lower-cased English tokens
