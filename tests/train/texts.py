"""Examples for the tests of training, and a chat whose tokens are bytes."""

from __future__ import annotations

from overtone.train.data import Document, encode_examples

END = 1
TEMPLATE = [60, 61, 62, 63, 64, 65]  # what every prompt begins with
PAIRS = [("one", "two"), ("three", "four"), ("a", "b"), ("seventeen", "eighteen"), ("x y", "z")]


class ByteChat:
    """A template of six tokens, then letters as tokens."""

    def example_ids(self, text_input: str, output: str) -> tuple[list[int], int]:
        prompt = [*TEMPLATE, *encode(text_input), 59]
        return [*prompt, *encode(output), END], len(prompt)


def encode(text: str) -> list[int]:
    return [2 + byte % 56 for byte in text.encode()]


def documents() -> list[Document]:
    return encode_examples(ByteChat(), PAIRS)
