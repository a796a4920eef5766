"""Serves a classifier over HTTP with dynamic batching: `python examples/serve_litserve.py MODEL [PORT]`.

MODEL is a checkpoint. Requests that arrive within 10 ms share a batch; `padding_invariant` keeps each answer free of
what shares its batch. Needs `pip install litserve`. A request: POST /predict {"text": "I love this!"}, whose answer has
every label with its score, best first: {"labels": [{"label": "love", "score": 0.99}, ...]}.
"""

from __future__ import annotations

import sys
from typing import Any

import litserve
from fastapi import HTTPException

import mobilebert


class Classifier(litserve.LitAPI):
    def __init__(self, model: str, **options: Any) -> None:
        super().__init__(**options)
        self.model = model

    def setup(self, device: str) -> None:
        self.classify = mobilebert.pipeline("text-classification", self.model, top_k=None, padding_invariant=True)

    def decode_request(self, request: dict[str, str]) -> str:
        if "text" not in request:
            raise HTTPException(422, 'wanted {"text": "..."}, got no text')
        return request["text"]

    def batch(self, texts: list[str]) -> list[str]:
        return list(texts)

    def predict(self, texts: list[str]) -> list[Any]:
        return list(self.classify(texts))

    def unbatch(self, answers: list[Any]) -> list[Any]:
        return answers

    def encode_response(self, answer: Any) -> dict[str, Any]:
        return {"labels": answer}


if __name__ == "__main__":
    model, port = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 8000
    api = Classifier(model, max_batch_size=16, batch_timeout=0.01)
    litserve.LitServer(api, accelerator="cpu").run(port=port, generate_client_file=False)
