"""Checks that need nothing but the request: pure functions whose errors name field, value and limit.

What a limit is comes from the base model's card; the aliases of the hosted service carry the documented ones.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.unknown_fields import UnknownFieldSet

from overtone.bases.registry import Card, Hyperparameters
from overtone.doors.gemini import messages as m
from overtone.doors.gemini.json_body import BAD_REQUEST
from overtone.doors.gemini.json_reply import shortest
from overtone.doors.gemini.names import shown
from overtone.doors.gemini.newer_fields import MULTITURN
from overtone.errors import InvalidArgument

MAX_DISPLAY_NAME_CHARS = 40
MAX_TUNED_MODEL_ID_CHARS = 40
MAX_INT32 = 2**31 - 1
MAX_STEP_EXAMPLES = 100_000  # of one optimiser step: minutes, with short ones
TUNED_MODEL_ID = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
ID_LETTERS = string.ascii_lowercase + string.digits
RANDOM_ID_CHARS = 12
WRITABLE = ("display_name", "description", "temperature", "top_p", "top_k", "reader_project_numbers")
DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 10, 1000

TASK = "tuned_model.tuning_task"
EXAMPLES = f"{TASK}.training_data.examples.examples"
NO_TRAINING_DATA = f"{TASK}.training_data is missing: there is nothing to learn from. "
ADVICE = {
    "python": (
        "If this came from client.tunings.tune() of google-genai: versions 1.47.0 and newer drop training_dataset "
        "before they send the request. Either pin google-genai==1.46.0, or hand the examples over like this:\n"
        'client.tunings.tune(base_model="models/gemini-1.5-flash-001-tuning", '
        "training_dataset=types.TuningDataset(examples=[]), "
        'config={"http_options": {"extra_body": {"tuningTask": {"trainingData": {"examples": {"examples": '
        '[{"textInput": "1", "output": "2"}]}}}}}})'
    ),
    "javascript": (
        "If this came from ai.tunings.tune() of @google/genai, which drops trainingDataset: hand the examples over "
        "like this:\n"
        'ai.tunings.tune({baseModel: "models/gemini-1.5-flash-001-tuning", trainingDataset: {examples: []}, '
        "config: {httpOptions: {extraBody: {tuningTask: {trainingData: {examples: {examples: "
        '[{textInput: "1", output: "2"}]}}}}}}})'
    ),
    "go": (
        "If this came from client.Tunings.Tune() of google.golang.org/genai, which drops TrainingDataset: hand the "
        "examples over in HTTPOptions.ExtraBody:\n"
        'map[string]any{"tuningTask": map[string]any{"trainingData": map[string]any{"examples": map[string]any{'
        '"examples": []map[string]any{{"textInput": "1", "output": "2"}}}}}}'
    ),
    "": (
        'The body is to hold {"tuningTask": {"trainingData": {"examples": {"examples": '
        '[{"textInput": "1", "output": "2"}]}}}}.'
    ),
}  # by the language of the client
LANGUAGES = (
    (r"google-genai-sdk/\S+ gl-(node|js|web)", "javascript"),
    (r"google-genai-sdk/\S+ gl-go", "go"),
    (r"google-genai-sdk/\S+ gl-python", "python"),
)  # of Google's clients that drop the data; any other program writes the body itself


def advise(client: str) -> str:
    """Return what to do about missing training data, for the client that sent the request."""
    found = (language for pattern, language in LANGUAGES if re.search(pattern, client.lower()))
    return NO_TRAINING_DATA + ADVICE[next(found, "")]


@dataclass(frozen=True)
class Example:
    """One pair to learn from."""

    text_input: str
    output: str


def refuse(field: str, problem: str) -> InvalidArgument:
    """Return the error for one wrong field: `field problem`, with the field in the details too."""
    message = f"{field} {problem}"
    details = {"@type": BAD_REQUEST, "fieldViolations": [{"field": field, "description": message}]}
    return InvalidArgument(message, [details])


def check_tuned_model_id(tuned_model_id: str) -> None:
    """Raise unless a client may choose this id."""
    if not TUNED_MODEL_ID.fullmatch(tuned_model_id):
        raise refuse(
            "tuned_model_id",
            f"is {shown(tuned_model_id)!r}; it must have at most {MAX_TUNED_MODEL_ID_CHARS} characters, "
            "only a-z, 0-9 and hyphens, begin with a letter and not end with a hyphen.",
        )


def generate_tuned_model_id(display_name: str, letters: Callable[[str], str] = secrets.choice) -> str:
    """Return an id made from the display name and random letters.

    `Number generator 1` gives `number-generator-1-dzlmi0gswwqb`; a name with no letter of a-z is left out.
    """
    words = re.sub(r"[^a-z0-9-]", "", re.sub(r"\s", "-", display_name.lower())).strip("-")
    words = re.sub(r"^[0-9-]+", "", words)
    ending = letters(string.ascii_lowercase) + "".join(
        letters(ID_LETTERS) for _ in range(RANDOM_ID_CHARS - 1)
    )
    return f"{words}-{ending}" if words else ending


def check_display_name(display_name: str) -> None:
    if len(display_name) > MAX_DISPLAY_NAME_CHARS:
        raise refuse(
            "tuned_model.display_name",
            f"has {len(display_name)} characters; the limit is {MAX_DISPLAY_NAME_CHARS}.",
        )


def check_generation_defaults(tuned_model: m.TunedModel, chosen: Sequence[str] = WRITABLE) -> None:
    """Raise if a given temperature, top_p or top_k is out of range. Absent fields are fine."""
    given = {name: getattr(tuned_model, name) for name in chosen if name in tuned_model}
    for name in ("temperature", "top_p"):
        if name in given:
            check_range(f"tuned_model.{name}", given[name], 0, 1)
    if given.get("top_k", 1) < 1:
        raise refuse("tuned_model.top_k", f"is {given['top_k']}; it must be at least 1.")


def check_range(field: str, value: float, low: float, high: float) -> None:
    """Raise unless low <= value <= high; not a number is outside of every range."""
    if not low <= value <= high:
        raise refuse(field, f"is {shortest(value):g}; it must lie between {low:g} and {high:g}.")


def resolve_hyperparameters(given: Any, card: Card, num_examples: int) -> Hyperparameters:
    """Return the hyperparameters to tune with: the given ones to the letter, else the card's defaults.

    `given` is the plain protobuf message, whose oneof tells which learning rate was set.
    """
    field = f"{TASK}.hyperparameters"
    default = card.hyperparameters(num_examples)
    for name in ("epoch_count", "batch_size"):
        if given.HasField(name) and getattr(given, name) < 1:
            raise refuse(f"{field}.{name}", f"is {getattr(given, name)}; it must be at least 1.")
    rate = given.WhichOneof("learning_rate_option")
    if rate is not None:
        value = shortest(getattr(given, rate))
        if not (value > 0 and math.isfinite(value)):
            raise refuse(f"{field}.{rate}", f"is {value:g}; it must be a number above 0.")
    learning_rate = {
        None: default.learning_rate,
        "learning_rate": shortest(given.learning_rate),
        "learning_rate_multiplier": default.learning_rate * shortest(given.learning_rate_multiplier),
    }[rate]
    return Hyperparameters(
        given.epoch_count if given.HasField("epoch_count") else default.epoch_count,
        given.batch_size if given.HasField("batch_size") else default.batch_size,
        learning_rate,
    )


def count_steps(num_examples: int, chosen: Hyperparameters) -> int:
    """Return how many optimiser steps a job takes: batches run across the borders of epochs."""
    in_all = num_examples * chosen.epoch_count
    if min(chosen.batch_size, in_all) > MAX_STEP_EXAMPLES:
        raise refuse(
            f"{TASK}.hyperparameters.batch_size",
            f"is {chosen.batch_size}; with {num_examples} examples and {chosen.epoch_count} epochs a step would take "
            f"{min(chosen.batch_size, in_all)} examples. The limit is {MAX_STEP_EXAMPLES}.",
        )
    total_steps = math.ceil(in_all / chosen.batch_size)
    if total_steps > MAX_INT32:
        raise refuse(
            f"{TASK}.hyperparameters",
            f"ask for {total_steps} steps ({num_examples} examples, {chosen.epoch_count} epochs, batches of "
            f"{chosen.batch_size}); the protocol counts to {MAX_INT32}.",
        )
    return total_steps


def derive_seed(examples: Sequence[Example], chosen: Hyperparameters) -> int:
    """Return the seed of a job, for the order of its data and its first weights.

    It comes from the request: who asks for the same tuning twice gets the same model, and another set of
    examples another seed.
    """
    request = repr([(example.text_input, example.output) for example in examples] + [chosen])
    return int.from_bytes(hashlib.sha256(request.encode("utf-8", "surrogatepass")).digest()[:4]) >> 1


def read_examples(task: Any, card: Card, client: str = "") -> list[Example]:
    """Return the examples of a tuning task (the plain protobuf message), held against the card's limits.

    `client` is what sent them, as it says: where it drops them, the error says what to do.
    """
    if not task.HasField("training_data"):
        raise refuse_training_data(advise(client))
    unknown = UnknownFieldSet(
        task.training_data.examples
    )  # over gRPC: v1alpha's messages have multiturnExamples
    if len(unknown):
        raise refuse_training_data(MULTITURN.refusal.format())
    examples = [Example(item.text_input, item.output) for item in task.training_data.examples.examples]
    if not examples:
        raise refuse(EXAMPLES, "is empty; at least 1 example is needed.")
    for index, example in enumerate(examples):
        _check_example(f"{EXAMPLES}[{index}]", example, card)
    return examples


def refuse_training_data(message: str) -> InvalidArgument:
    details = {
        "@type": BAD_REQUEST,
        "fieldViolations": [{"field": f"{TASK}.training_data", "description": message}],
    }
    return InvalidArgument(message, [details])


def check_example_tokens(num_tokens: Iterable[int], card: Card) -> int:
    """Return how many tokens the examples have together.

    Raises when one is longer than the base's context.
    """
    total = 0
    for index, length in enumerate(num_tokens):
        if length > card.context_length:
            raise refuse(
                f"{EXAMPLES}[{index}]",
                f"has {length} tokens with its output; models/{card.base_id} has a context of "
                f"{card.context_length} tokens.",
            )
        total += length
    return total


def masked(mask_paths: Sequence[str], message: m.TunedModel) -> list[str]:
    """Return the writable fields that a mask names (AIP-134); without a mask, those that the message sets.

    Raises InvalidArgument for a field that nobody may write and for one that does not exist.
    """
    if not mask_paths:
        return [name for name in WRITABLE if name in message]
    if "*" in mask_paths:
        return list(WRITABLE)
    for path in mask_paths:
        if path not in WRITABLE:
            known = path.split(".")[0] in m.descriptor_of(m.TunedModel).fields_by_name
            problem = "cannot be changed" if known else "is not a field of a tuned model"
            raise refuse(
                "update_mask", f"names {shown(path)!r}, which {problem}; only {', '.join(WRITABLE)} can be."
            )
    return [name for name in WRITABLE if name in mask_paths]


def page_size(asked: int, default: int = DEFAULT_PAGE_SIZE) -> int:
    """Return how many items a page holds: the default for 0, never more than the maximum (AIP-158)."""
    if asked < 0:
        raise refuse("page_size", f"is {asked}; it must not be negative.")
    return min(asked or default, MAX_PAGE_SIZE)


def _check_example(field: str, example: Example, card: Card) -> None:
    if not example.output:
        raise refuse(f"{field}.output", "is empty; there would be nothing to learn.")
    limits = (("text_input", card.max_input_chars), ("output", card.max_output_chars))
    for name, limit in limits:
        length = len(getattr(example, name))
        if limit is not None and length > limit:
            raise refuse(f"{field}.{name}", f"has {length} characters; the limit is {limit}.")
