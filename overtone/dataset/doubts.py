"""What may be a mistake in examples that are sound one by one. Nothing is refused for it."""

from __future__ import annotations

from collections.abc import Iterator

from overtone.dataset.examples import Dataset, Turn

MAX_QUOTED = 40  # characters of an input in a sentence


def describe_doubts(dataset: Dataset) -> list[str]:
    """Return a sentence each for doubled examples, inputs with different outputs, and empty inputs."""
    return [*_doubles(dataset), *_contradictions(dataset), *_empty_inputs(dataset)]


def _doubles(dataset: Dataset) -> Iterator[str]:
    num_doubles = len(dataset) - len(set(dataset.examples))
    if num_doubles:
        yield f"Examples that repeat an earlier one: {num_doubles} of {len(dataset)}."


def _contradictions(dataset: Dataset) -> Iterator[str]:
    """Yield a sentence if the same turns are answered differently."""
    answers: dict[tuple[Turn, ...], set[str]] = {}
    for example in dataset.examples:
        answers.setdefault(example.turns[:-1], set()).add(example.output)
    unclear = [turns for turns, outputs in answers.items() if len(outputs) > 1]
    if unclear:
        quoted = unclear[0][-1].text[:MAX_QUOTED]
        yield f"Inputs with more than one output: {len(unclear)}, such as {quoted!r}."


def _empty_inputs(dataset: Dataset) -> Iterator[str]:
    num_empty = sum(not example.text_input.strip() for example in dataset.examples)
    if num_empty:
        yield f"Empty inputs: {num_empty}."
