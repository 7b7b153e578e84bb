"""Contents as clients send them, turned into the messages of a chat; what a model cannot take is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from overtone.doors.gemini import messages as m
from overtone.errors import InvalidArgument
from overtone.service.rules import refuse
from overtone.service.targets import Target

ROLES = {"": "user", "user": "user", "model": "assistant"}
NOT_TEXT = {
    "inline_data": "Image input modality",
    "file_data": "File input",
    "function_call": "Function calling",
    "function_response": "Function calling",
    "executable_code": "Code execution",
    "code_execution_result": "Code execution",
}


MODALITIES = {
    "image": "Image",
    "audio": "Audio",
    "video": "Video",
    "application": "Document",
    "text": "Document",
}


@dataclass(frozen=True)
class Prompt:
    """A conversation, and the instruction before it if there is one."""

    messages: list[dict[str, str]]
    system: str | None = None


def read_prompt(request: m.GenerateContentRequest, target: Target) -> Prompt:
    """Return the conversation of a request, held against what the model's card allows."""
    bare = m.GenerateContentRequest.pb(request)
    _check_features(bare, target)
    if not bare.contents:
        raise refuse("contents", "is empty; say something to the model.")
    messages = [_read_content(f"contents[{i}]", content, target) for i, content in enumerate(bare.contents)]
    if messages[-1]["role"] != "user":
        raise InvalidArgument("Please ensure that multiturn requests end with a user role.")
    system = _read_system(bare, target)
    _check_length(messages, system, target)
    return Prompt(messages, system)


def read_countable(request: m.GenerateContentRequest) -> Prompt:
    """Return the text of a request, to be counted: whatever generation would refuse, and no more than its text."""
    bare = m.GenerateContentRequest.pb(request)
    if not bare.contents:
        raise refuse("contents", "is empty; there is nothing to count.")
    messages = [
        {"role": ROLES.get(content.role, "user"), "content": "".join(part.text for part in content.parts)}
        for content in bare.contents
    ]
    system = "".join(part.text for part in bare.system_instruction.parts)
    return Prompt(messages, system or None)


def _read_content(field: str, content: Any, target: Target) -> dict[str, str]:
    if content.role not in ROLES:
        raise InvalidArgument(f"Please use a valid role: user, model. {field}.role is {content.role!r}.")
    if not content.parts:
        raise refuse(f"{field}.parts", "must not be empty.")
    text = "".join(_read_part(f"{field}.parts[{i}]", part, target) for i, part in enumerate(content.parts))
    return {"role": ROLES[content.role], "content": text}


def _read_part(field: str, part: Any, target: Target) -> str:
    kind = part.WhichOneof("data")
    if kind == "text":
        return part.text
    if kind is None:
        raise refuse(
            f"{field}.data", "is missing: required oneof field 'data' must have one initialized field."
        )
    feature = NOT_TEXT.get(kind, kind)
    if kind in ("inline_data", "file_data"):
        family = getattr(part, kind).mime_type.partition("/")[0]
        feature = f"{MODALITIES[family]} input modality" if family in MODALITIES else feature
    raise InvalidArgument(f"{feature} is not enabled for {target.name}")


def _read_system(bare: Any, target: Target) -> str | None:
    if not any(part.text or part.WhichOneof("data") != "text" for part in bare.system_instruction.parts):
        return None  # none, or one that says nothing
    if not target.card.system_instruction:
        raise InvalidArgument(f"Developer instruction is not enabled for {target.name}")
    parts = enumerate(bare.system_instruction.parts)
    return "".join(_read_part(f"system_instruction.parts[{i}]", part, target) for i, part in parts)


def _check_features(bare: Any, target: Target) -> None:
    if bare.tools:
        calls = any(tool.function_declarations for tool in bare.tools)
        feature = "Function calling" if calls else "Tool use"
        raise InvalidArgument(f"{feature} is not enabled for {target.name}")
    if bare.cached_content:
        raise InvalidArgument(
            f"Cached content is not enabled for {target.name}; send the contents themselves."
        )


def _check_length(messages: Sequence[dict[str, str]], system: str | None, target: Target) -> None:
    limit = target.card.max_input_chars
    length = sum(len(message["content"]) for message in messages) + len(system or "")
    if limit is not None and length > limit:
        raise refuse("contents", f"has {length} characters; the limit of {target.name} is {limit}.")
