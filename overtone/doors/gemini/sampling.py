"""How an answer is to be chosen: the request's wishes, over the tuned model's defaults, over the base's."""

from __future__ import annotations

import json
from typing import Any

from overtone.doors.gemini import messages as m
from overtone.doors.gemini.json_schema import to_json_schema
from overtone.doors.gemini.names import shown
from overtone.engine.protocol import SamplingOptions
from overtone.errors import InvalidArgument
from overtone.service.rules import check_range, refuse
from overtone.service.targets import Target

MAX_CANDIDATES = 8
MAX_STOP_SEQUENCES = 5
MAX_LOGPROBS = 20
MAX_PENALTY = 2
CONFIG = "generation_config"
SCHEMA_FIELDS = ("response_schema", "response_json_schema", "response_json_schema_ordered")


def read_options(config: m.GenerationConfig, target: Target, prompt_tokens: int) -> Any:
    """Return the engine's options, as the plain message inside.

    Raises InvalidArgument for values that cannot be, or not with this model.
    """
    bare = m.GenerationConfig.pb(config)
    _check_features(bare, target)
    options = SamplingOptions.pb()(
        max_tokens=_max_tokens(bare, target, prompt_tokens),
        stop=_stop_sequences(bare),
        num_candidates=_bounded(bare, "candidate_count", 1, MAX_CANDIDATES, default=1),
        presence_penalty=_penalty(bare, "presence_penalty"),
        frequency_penalty=_penalty(bare, "frequency_penalty"),
        **_distribution(bare, target),
        **_constraint(bare, target),
    )
    if bare.HasField("seed"):
        options.seed = bare.seed
    if bare.response_logprobs:
        options.logprobs = _bounded(bare, "logprobs", 0, MAX_LOGPROBS, default=0)
    elif bare.HasField("logprobs"):
        raise refuse(f"{CONFIG}.logprobs", f"is {bare.logprobs}, but response_logprobs is not true.")
    return options


def _distribution(bare: Any, target: Target) -> dict[str, float]:
    chosen = {name: _first(name, bare, target) for name in ("temperature", "top_p", "top_k")}
    check_range(f"{CONFIG}.temperature", chosen["temperature"], 0, target.card.max_temperature)
    check_range(f"{CONFIG}.top_p", chosen["top_p"], 0, 1)
    if not bare.HasField("top_k"):
        chosen["top_k"] = max(0, chosen["top_k"])  # cards of older pulls have the publisher's -1: off
    elif chosen["top_k"] < 1:
        raise refuse(f"{CONFIG}.top_k", f"is {chosen['top_k']}; it must be at least 1.")
    if chosen["top_p"] == 0:  # the smallest set of tokens is the likeliest one; to the engine 0 means "off"
        chosen["temperature"] = 0
    return chosen


def _first(name: str, bare: Any, target: Target) -> Any:
    if bare.HasField(name):
        return getattr(bare, name)
    stored = getattr(target.row, name, None)
    return getattr(target.card, name) if stored is None else stored


def _max_tokens(bare: Any, target: Target, prompt_tokens: int) -> int:
    """Return how long the answer may be: as asked, and never beyond the context."""
    limit = target.card.output_token_limit or target.card.context_length
    asked = _bounded(bare, "max_output_tokens", 1, limit, default=limit)
    return min(asked, target.card.context_length - prompt_tokens)


def _stop_sequences(bare: Any) -> list[str]:
    stop = list(bare.stop_sequences)
    if len(stop) > MAX_STOP_SEQUENCES:
        raise refuse(f"{CONFIG}.stop_sequences", f"has {len(stop)} items; the limit is {MAX_STOP_SEQUENCES}.")
    if "" in stop:
        raise refuse(f"{CONFIG}.stop_sequences[{stop.index('')}]", "is empty; it would stop every answer.")
    return stop


def _bounded(bare: Any, name: str, low: int, high: int, default: int) -> int:
    if not bare.HasField(name):
        return default
    value: int = getattr(bare, name)
    if not low <= value <= high:
        raise refuse(f"{CONFIG}.{name}", f"is {value}; it must lie between {low} and {high}.")
    return value


def _penalty(bare: Any, name: str) -> float:
    value: float = getattr(bare, name)
    check_range(f"{CONFIG}.{name}", value, -MAX_PENALTY, MAX_PENALTY)
    return value


def _constraint(bare: Any, target: Target) -> dict[str, Any]:
    """Return the options of JSON mode. The schema, if any, goes to the engine as JSON schema."""
    has_schema = any(bare.HasField(name) for name in SCHEMA_FIELDS)
    mime_type = bare.response_mime_type
    if mime_type in ("", "text/plain"):
        if has_schema:
            raise refuse(
                f"{CONFIG}.response_schema", "needs response_mime_type to be application/json or text/x.enum."
            )
        return {}
    if mime_type not in ("application/json", "text/x.enum"):
        raise refuse(
            f"{CONFIG}.response_mime_type",
            f"is {shown(mime_type)!r}; supported are text/plain, application/json and text/x.enum.",
        )
    if not target.card.json_mode:
        raise InvalidArgument("JSON mode is not enabled for this model")
    schema = to_json_schema(bare) if has_schema else {}
    if mime_type == "text/x.enum":
        return {"choices": _choices(schema)}
    return {"json_mode": True, "response_schema": json.dumps(schema) if has_schema else ""}


def _choices(schema: dict[str, Any]) -> list[str]:
    """Return the texts of which the answer is to be one."""
    choices = schema.get("enum")
    if not isinstance(choices, list) or not choices or not all(isinstance(text, str) for text in choices):
        raise refuse(
            f"{CONFIG}.response_schema.enum", "is no list of texts; text/x.enum needs those to choose from."
        )
    return choices


def _check_features(bare: Any, target: Target) -> None:
    text_only = set(bare.response_modalities) <= {m.GenerationConfig.Modality.TEXT}
    refused = {
        "Output other than text": not text_only
        or bare.HasField("speech_config")
        or bare.HasField("image_config"),
        "Thinking": bare.thinking_config.thinking_budget > 0 or bare.thinking_config.include_thoughts,
    }
    for feature, is_wanted in refused.items():
        if is_wanted:
            raise InvalidArgument(f"{feature} is not enabled for {target.name}")
