"""What the check of training data must know of a base: the tokens of an example, the limits, the template's words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

from overtone.bases.chat import Chat
from overtone.bases.registry import Card
from overtone.dataset.checks import ExampleLimits
from overtone.dataset.estimate import SpeedRecord
from overtone.dataset.examples import Example
from overtone.dataset.report import BaseFacts, Measured
from overtone.dataset.statistics import TokenCount
from overtone.errors import InvalidArgument

SEAM_TOKENS = 16  # by which a pair's texts counted alone may differ from texts within the template


def count_template_tokens(chat: Chat) -> int:
    """Return the tokens of a pair of empty texts: what the template adds to any."""
    return len(chat.encode_example(Example.pair("", ""))[0])


def count_example_tokens(chat: Chat, context_length: int) -> Callable[[Example], int]:
    """Return a function that counts the tokens of examples, of each example once.

    A pair's texts are counted alone, which is faster, and within the template only where the difference could decide
    whether they fit. The function raises InvalidArgument for a conversation that the base's template cannot render.
    """
    template_tokens = count_template_tokens(chat)

    @cache
    def count(example: Example) -> int:
        if example.is_pair:
            estimate = template_tokens + chat.count(example.text_input) + chat.count(example.output)
            if estimate < context_length - SEAM_TOKENS:
                return estimate
        return len(chat.encode_example(example)[0])

    return count


def measure_examples(chat: Chat, context_length: int) -> Callable[[Sequence[Example]], list[Measured]]:
    """Return a function that counts the tokens of many examples as `count_example_tokens` does, and those trained.

    All texts are tokenised in one go. What the template cannot render is an InvalidArgument in its place.
    """
    template_tokens = count_template_tokens(chat)

    def measure(examples: Sequence[Example]) -> list[Measured]:
        counts = _count_texts(chat, examples)

        def of_one(example: Example) -> Measured:
            if example.is_pair:
                trained = counts[example.output] + 1  # the end of the turn is learned too
                total = template_tokens + counts[example.text_input] + trained - 1
                if total < context_length - SEAM_TOKENS:
                    return TokenCount(total, trained)
            return _encoded(chat, example)

        return [of_one(example) for example in examples]

    return measure


def base_facts(
    card: Card, chat: Chat | None, records: Iterable[SpeedRecord], unmeasured: str = ""
) -> BaseFacts:
    """Return what a check is told of a base. Without its chat, `unmeasured` says why tokens are not counted."""
    limits = ExampleLimits(
        f"models/{card.base_id}", card.context_length, card.max_input_chars, card.max_output_chars
    )

    def defaults(num_examples: int) -> tuple[int, int]:
        chosen = card.hyperparameters(num_examples)
        return chosen.epoch_count, chosen.batch_size

    if chat is None:
        return BaseFacts(card.base_id, limits, defaults, unmeasured=unmeasured, records=tuple(records))
    return BaseFacts(
        card.base_id,
        limits,
        defaults,
        measure_examples(chat, card.context_length),
        count_template_tokens(chat),
        roles=chat.roles,
        control_tokens=chat.control_tokens,
        control_tokens_in_answers=chat.special_tokens,
        records=tuple(records),
    )


def _count_texts(chat: Chat, examples: Iterable[Example]) -> dict[str, int]:
    texts = {turn.text: None for example in examples if example.is_pair for turn in example.turns}
    return dict(zip(texts, chat.count_all(list(texts)), strict=True))


def _encoded(chat: Chat, example: Example) -> Measured:
    try:
        ids, spans = chat.encode_example(example)
    except InvalidArgument as error:
        return error
    return TokenCount(len(ids), sum(end - start for start, end in spans))
