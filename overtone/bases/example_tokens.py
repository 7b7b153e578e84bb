"""How many tokens a training example has on a base."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from overtone.bases.chat import Chat
from overtone.dataset.examples import Example

SEAM_TOKENS = 16  # by which a pair's texts counted alone may differ from texts within the template


def count_example_tokens(chat: Chat, context_length: int) -> Callable[[Example], int]:
    """Return a function that counts the tokens of examples, of each example once.

    A pair's texts are counted alone, which is faster, and within the template only where the difference could decide
    whether they fit. The function raises InvalidArgument for a conversation that the base's template cannot render.
    """
    template_tokens = len(chat.encode_example(Example.pair("", ""))[0])

    @cache
    def count(example: Example) -> int:
        if example.is_pair:
            estimate = template_tokens + chat.count(example.text_input) + chat.count(example.output)
            if estimate < context_length - SEAM_TOKENS:
                return estimate
        return len(chat.encode_example(example)[0])

    return count
