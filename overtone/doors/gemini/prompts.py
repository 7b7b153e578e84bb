"""Contents as clients send them, turned into a conversation; what is not text is refused by the feature's name."""

from __future__ import annotations

from typing import Any

from overtone.dataset.examples import Role, Turn
from overtone.domain.generation import Conversation
from overtone.doors.gemini import messages as m
from overtone.errors import InvalidArgument, refuse
from overtone.service.models import Target

ROLES: dict[str, Role] = {"": "user", "user": "user", "model": "assistant"}
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


def read_prompt(request: m.GenerateContentRequest, target: Target) -> Conversation:
    """Return the conversation of a request. Raises InvalidArgument for what is missing and what is not text."""
    bare = m.GenerateContentRequest.pb(request)
    _check_features(bare, target)
    if not bare.contents:
        raise refuse("contents", "is empty; say something to the model.")
    turns = [_read_content(f"contents[{i}]", content, target) for i, content in enumerate(bare.contents)]
    return Conversation(tuple(turns), _read_system(bare, target))


def read_countable(request: m.GenerateContentRequest) -> Conversation:
    """Return the text of a request, to be counted: whatever generation would refuse, and no more than its text."""
    bare = m.GenerateContentRequest.pb(request)
    if not bare.contents:
        raise refuse("contents", "is empty; there is nothing to count.")
    turns = [
        Turn(ROLES.get(content.role, "user"), "".join(part.text for part in content.parts))
        for content in bare.contents
    ]
    system = "".join(part.text for part in bare.system_instruction.parts)
    return Conversation(tuple(turns), system or None)


def _read_content(field: str, content: Any, target: Target) -> Turn:
    if content.role not in ROLES:
        raise InvalidArgument(f"Please use a valid role: user, model. {field}.role is {content.role!r}.")
    if not content.parts:
        raise refuse(f"{field}.parts", "must not be empty.")
    text = "".join(_read_part(f"{field}.parts[{i}]", part, target) for i, part in enumerate(content.parts))
    return Turn(ROLES[content.role], text)


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
    raise InvalidArgument(f"{feature} is not enabled for {{model}}", model=target.ref)


def _read_system(bare: Any, target: Target) -> str | None:
    if not any(part.text or part.WhichOneof("data") != "text" for part in bare.system_instruction.parts):
        return None  # none, or one that says nothing
    parts = enumerate(bare.system_instruction.parts)
    return "".join(_read_part(f"system_instruction.parts[{i}]", part, target) for i, part in parts)


def _check_features(bare: Any, target: Target) -> None:
    if bare.tools:
        calls = any(tool.function_declarations for tool in bare.tools)
        feature = "Function calling" if calls else "Tool use"
        raise InvalidArgument(f"{feature} is not enabled for {{model}}", model=target.ref)
    if bare.cached_content:
        raise InvalidArgument(
            "Cached content is not enabled for {model}; send the contents themselves.", model=target.ref
        )
