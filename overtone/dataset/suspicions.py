"""What may be a mistake in examples that are sound one by one. No tuning is refused for it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence

from overtone.dataset.examples import Dataset, Example, Problem, ProblemKind, Turn
from overtone.dataset.mojibake import repair

MAX_QUOTED = 40  # characters of a text in a sentence
LEAST_ROWS = 8  # below which nothing is said of a dataset as a whole
LOST = "\ufffd"  # what a reader writes for bytes that it could not read
LEFT_OUT = "The row is left out."


def check_blanks(dataset: Dataset) -> Iterator[Problem]:
    """Yield the questions that are empty, and the texts that hold white space alone."""
    for row, example in enumerate(dataset.examples):
        for index, turn in enumerate(example.turns):
            if turn.text.strip():
                continue
            is_answer = turn.role == "assistant"
            if turn.text or not is_answer:  # an empty answer is refused
                text = "holds white space alone." if turn.text else "is empty."
                yield Problem(
                    row, example.field(index), text, ProblemKind.BLANK, LEFT_OUT if is_answer else ""
                )


def check_doubles(dataset: Dataset, places: Sequence[str]) -> Iterator[Problem]:
    """Yield the examples that repeat an earlier one. `places` says where each stands."""
    first: dict[Example, int] = {}
    for row, example in enumerate(dataset.examples):
        earlier = first.setdefault(example, row)
        if earlier != row:
            yield Problem(row, "", f"is the same as {places[earlier]}.", ProblemKind.DOUBLED, LEFT_OUT)


def check_contradictions(dataset: Dataset, places: Sequence[str]) -> Iterator[Problem]:
    """Yield the examples that answer the same question differently than an earlier one."""
    first: dict[tuple[Turn, ...], tuple[int, str]] = {}
    for row, example in enumerate(dataset.examples):
        if not example.turns or example.turns[-1].role != "assistant":
            continue
        earlier, output = first.setdefault(example.turns[:-1], (row, example.output))
        if output != example.output:
            text = f"is {quoted(example.output)}; {places[earlier]} answers the same question with {quoted(output)}."
            yield Problem(row, example.field(len(example.turns) - 1), text, ProblemKind.CONTRADICTORY)


def check_held_out(dataset: Dataset, held_out: Dataset, places: Sequence[str]) -> Iterator[Problem]:
    """Yield the examples whose question is in the held-out set too: what is learned by heart proves nothing there.

    `places` says where each held-out example stands.
    """
    asked: dict[tuple[Turn, ...], int] = {}
    for index, example in enumerate(held_out.examples):
        asked.setdefault(example.turns[:-1], index)
    for row, example in enumerate(dataset.examples):
        found = asked.get(example.turns[:-1])
        if found is not None:
            text = f"is in the held-out set too, at {places[found]}."
            yield Problem(
                row, example.field(max(0, len(example.turns) - 2)), text, ProblemKind.HELD_OUT, LEFT_OUT
            )


def check_swapped(dataset: Dataset) -> Iterator[Problem]:
    """Yield rows, or the whole dataset, in which question and answer probably changed places."""
    pairs = [(row, example) for row, example in enumerate(dataset.examples) if example.is_pair]
    if len(pairs) < LEAST_ROWS:
        return
    whole = _whole_is_swapped([example for _, example in pairs])
    if whole:
        yield Problem(
            None, "", whole, ProblemKind.SWAPPED, "Name them the other way round with --input and --output."
        )
        return
    labels = _labels(example for _, example in pairs)
    for row, example in pairs:
        if is_swapped(example, labels):
            text = f"is {quoted(example.text_input)}, which is the output of {labels[example.text_input]} other rows."
            yield Problem(row, "text_input", text, ProblemKind.SWAPPED, "Input and output change places.")


def is_swapped(example: Example, labels: Mapping[str, int]) -> bool:
    """Whether a pair asks a label and answers none."""
    return example.is_pair and example.text_input in labels and example.output not in labels


def find_labels(dataset: Dataset) -> dict[str, int]:
    """Return the outputs of a classification, each with its number of rows; none for any other dataset."""
    return _labels(example for example in dataset.examples if example.is_pair)


def check_mojibake(dataset: Dataset) -> Iterator[Problem]:
    """Yield the texts that were read in a wrong encoding once."""
    for row, example in enumerate(dataset.examples):
        for index, turn in enumerate(example.turns):
            if turn.text.isascii():
                continue
            found = _find_changed(turn.text, repair(turn.text))
            if found:
                text = (
                    f"was once read in a wrong encoding: {quoted(found[0])} was probably {quoted(found[1])}."
                )
                yield Problem(row, example.field(index), text, ProblemKind.MOJIBAKE, "The text is repaired.")
            elif LOST in turn.text:
                text = f"has lost characters: {turn.text.count(LOST)} times U+FFFD stands for one."
                yield Problem(row, example.field(index), text, ProblemKind.MOJIBAKE)


def check_control_tokens(
    dataset: Dataset, in_questions: Sequence[str], in_answers: Sequence[str]
) -> Iterator[Problem]:
    """Yield the texts that spell a control token of the base: it is learned as those characters, not as the token."""
    patterns = {"assistant": any_of(in_answers)}
    other = any_of(in_questions)
    for row, example in enumerate(dataset.examples):
        for index, turn in enumerate(example.turns):
            found = patterns.get(turn.role, other).search(turn.text)
            if found:
                is_last = turn.role == "assistant" and without_end(turn.text, in_answers) != turn.text
                text = f"holds {found.group()!r}, a control token of the base; it is trained as these characters."
                fix = "It is taken from the end." if is_last else ""
                yield Problem(row, example.field(index), text, ProblemKind.CONTROL_TOKEN, fix)


def without_end(text: str, control_tokens: Sequence[str]) -> str:
    """Return an answer without the control tokens that end it."""
    while True:
        stripped = text.rstrip()
        token = next((each for each in control_tokens if stripped.endswith(each)), None)
        if token is None:
            return text
        text = stripped.removesuffix(token)


def any_of(texts: Sequence[str]) -> re.Pattern[str]:
    """Return the pattern of any of the texts; of none, the pattern that is found nowhere."""
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def quoted(text: str) -> str:
    """Return a text as a sentence may repeat it."""
    return repr(text if len(text) <= MAX_QUOTED else f"{text[: MAX_QUOTED - 1]}…")


def _labels(examples: Iterator[Example]) -> dict[str, int]:
    counts = Counter(example.output for example in examples)
    total = sum(counts.values())
    kept = {text: count for text, count in counts.items() if count > 1}
    covered = sum(kept.values())
    is_classification = (
        total >= LEAST_ROWS
        and len(kept) <= max(2, total // 4)
        and covered >= 0.8 * total
        and all(len(text) <= MAX_QUOTED and "\n" not in text for text in kept)
    )
    return dict(sorted(kept.items(), key=lambda item: -item[1])) if is_classification else {}


def _whole_is_swapped(examples: Sequence[Example]) -> str:
    """Return why all inputs are probably outputs: few different ones for many outputs, or the outputs are questions."""
    total = len(examples)
    inputs = {example.text_input for example in examples}
    outputs = {example.output for example in examples}
    if len(inputs) <= max(2, total // 4) and len(outputs) >= 0.8 * total:
        return (
            f"asks only {len(inputs)} different inputs and answers {len(outputs)} different outputs: input and output "
            "are probably swapped."
        )
    asked = sum(_is_question(example.text_input) for example in examples)
    answered = sum(_is_question(example.output) for example in examples)
    if answered >= 0.6 * total and asked <= 0.1 * total:
        return f"has questions as {answered} of {total} outputs: input and output are probably swapped."
    return ""


def _is_question(text: str) -> bool:
    return text.rstrip().endswith(("?", "？", "؟"))


def _find_changed(before: str, after: str) -> tuple[str, str] | None:
    """Return the first word that differs, before and after."""
    if before == after:
        return None
    words = zip(before.split(), after.split(), strict=False)
    return next(((old, new) for old, new in words if old != new), (before, after))


def count_by_kind(
    problems: Sequence[Problem], kinds: Container[ProblemKind] = tuple(ProblemKind)
) -> dict[ProblemKind, int]:
    """Return how many problems there are of each kind, in the order of the kinds."""
    counts = Counter(problem.kind for problem in problems)
    return {kind: counts[kind] for kind in ProblemKind if kind in kinds and counts[kind]}
