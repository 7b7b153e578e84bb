"""Examples for the tests of training, and a chat whose tokens are bytes."""

from __future__ import annotations

from overtone.dataset.examples import Dataset, Example
from overtone.train.data import Document, encode_examples

END = 1
TEMPLATE = [60, 61, 62, 63, 64, 65]  # what every prompt begins with
PAIRS = [("one", "two"), ("three", "four"), ("a", "b"), ("seventeen", "eighteen"), ("x y", "z")]


class ByteChat:
    """A template of six tokens, then letters as tokens."""

    def encode_example(self, example: Example) -> tuple[list[int], list[tuple[int, int]]]:
        ids = list(TEMPLATE)
        spans = []
        for turn in example.turns:
            start = len(ids)
            ids += [*encode(turn.text), END if turn.role == "assistant" else 59]
            if turn.role == "assistant":
                spans.append((start, len(ids)))
        return ids, spans


def encode(text: str) -> list[int]:
    return [2 + byte % 56 for byte in text.encode()]


def documents() -> list[Document]:
    return encode_examples(ByteChat(), Dataset.of_pairs(PAIRS).examples)
