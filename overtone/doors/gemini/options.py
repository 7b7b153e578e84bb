"""How an answer is to be chosen, from a GenerationConfig into our own options."""

from __future__ import annotations

from typing import Any

from overtone.domain.generation import GenerationOptions
from overtone.doors.gemini import messages as m
from overtone.doors.gemini.json_schema import to_json_schema
from overtone.errors import InvalidArgument, refuse, shown
from overtone.float32 import shortest
from overtone.service.models import Target

CONFIG = "generation_config"
SCHEMA_FIELDS = ("response_schema", "response_json_schema", "response_json_schema_ordered")
JSON_TYPES = ("application/json", "text/x.enum")


def read_options(config: m.GenerationConfig, target: Target) -> GenerationOptions:
    """Return the options of a request. Raises InvalidArgument for what this service does not do."""
    bare = m.GenerationConfig.pb(config)
    _check_features(bare, target)
    return GenerationOptions(
        temperature=_float("temperature", bare),
        top_p=_float("top_p", bare),
        top_k=_integer("top_k", bare),
        max_tokens=_integer("max_output_tokens", bare),
        stop=tuple(bare.stop_sequences),
        num_candidates=_integer("candidate_count", bare),
        presence_penalty=bare.presence_penalty,
        frequency_penalty=bare.frequency_penalty,
        seed=_integer("seed", bare),
        logprobs=_logprobs(bare),
        **_constraint(bare),
    )


def _float(name: str, bare: Any) -> float | None:
    return shortest(getattr(bare, name)) if bare.HasField(name) else None


def _integer(name: str, bare: Any) -> int | None:
    return getattr(bare, name) if bare.HasField(name) else None


def _logprobs(bare: Any) -> int | None:
    if bare.response_logprobs:
        count: int = bare.logprobs
        return count
    if bare.HasField("logprobs"):
        raise refuse(f"{CONFIG}.logprobs", f"is {bare.logprobs}, but response_logprobs is not true.")
    return None


def _constraint(bare: Any) -> dict[str, Any]:
    """Return the options of JSON mode."""
    has_schema = any(bare.HasField(name) for name in SCHEMA_FIELDS)
    mime_type = bare.response_mime_type
    if mime_type in ("", "text/plain"):
        if has_schema:
            raise refuse(
                f"{CONFIG}.response_schema", "needs response_mime_type to be application/json or text/x.enum."
            )
        return {}
    if mime_type not in JSON_TYPES:
        raise refuse(
            f"{CONFIG}.response_mime_type",
            f"is {shown(mime_type)!r}; supported are text/plain, application/json and text/x.enum.",
        )
    schema = to_json_schema(bare) if has_schema else None
    if mime_type == "text/x.enum":
        return {"choices": tuple(_choices(schema or {}))}
    return {"json_mode": True, "schema": schema}


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
            raise InvalidArgument(f"{feature} is not enabled for {{model}}", model=target.ref)
