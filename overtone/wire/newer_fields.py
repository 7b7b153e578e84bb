"""Fields that the Gemini API has and the installed messages lack, as Google takes them.

A value that changes nothing here passes; any other is answered with the sentence of the feature, not with "Unknown
name". What Google itself does not know stays unknown. Source: the v1beta discovery document.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NO_CONVERSATIONS = (
    "multiturnExamples are not supported: a tuning learns pairs. Send each answer with what was asked last as "
    "examples: {examples: [{textInput, output}]}."
)


@dataclass(frozen=True)
class NewerField:
    """A field by its JSON name; `means` is the field of ours that it is another spelling of."""

    sentence: str = ""
    is_harmless: Callable[[Any], bool] = lambda value: False
    means: str = ""


def _one_of(*values: Any) -> Callable[[Any], bool]:
    return lambda value: value in values


def _off(feature: str, *harmless: Any) -> NewerField:
    return NewerField(f"{feature} is not enabled for this model", _one_of(False, "", *harmless))


ANYTHING = NewerField(is_harmless=lambda value: True)

NEWER_FIELDS: dict[str, dict[str, NewerField]] = {
    "GenerateContentRequest": {
        "store": _off("Storing of answers"),
        "serviceTier": _off(
            "A service tier", "standard", "SERVICE_TIER_STANDARD", "unspecified", "auto", "default"
        ),
        "labels": ANYTHING,
        "continuationToken": _off("Continuing an answer"),
    },
    "GenerationConfig": {
        "_responseJsonSchema": NewerField(means="responseJsonSchema"),
        "enableAffectiveDialog": _off("Affective dialog"),
        "responseFormat": _off("Response format"),
        "audioTranscriptionConfig": _off("Audio transcription"),
        "translationConfig": _off("Translation"),
    },
    "ThinkingConfig": {
        "thinkingLevel": _off("Thinking", "minimal", "MINIMAL", "none", "THINKING_LEVEL_UNSPECIFIED")
    },
    "ImageConfig": {
        "imageSize": _off("Output other than text"),
        "personGeneration": _off("Output other than text"),
    },
    "Part": {
        "mediaResolution": _off("Media resolution"),
        "toolCall": _off("Function calling"),
        "toolResponse": _off("Function calling"),
        "audioTranscription": _off("Audio input"),
        "audioMetadata": _off("Audio input"),
        "speechMetadata": _off("Audio input"),
        "mediaProcessing": _off("Media input"),
        "documentMetadata": _off("Document input"),
        "spreadsheetMetadata": _off("Document input"),
    },
    "Tool": {"mcpServers": _off("Tool use")},
    "ToolConfig": {"includeServerSideToolInvocations": _off("Tool use")},
    "GoogleSearch": {"searchTypes": _off("Tool use")},
    "ExecutableCode": {"id": ANYTHING},
    "CodeExecutionResult": {"id": ANYTHING},
    "FunctionCall": {"partialArgs": _off("Function calling"), "willContinue": _off("Function calling")},
    "Candidate": {"continuationToken": ANYTHING},
    "TunedModel": {"defaultCheckpointId": _off("A choice of checkpoints")},
    "TuningExamples": {"multiturnExamples": NewerField(NO_CONVERSATIONS)},
}


def find(kind: str, key: str) -> NewerField | None:
    """Return what is known of a field of a message (its full name) that the installed messages lack."""
    fields = NEWER_FIELDS.get(kind.rpartition(".")[2], {})
    head, *rest = key.lstrip("_").split("_")
    camel = ("_" if key.startswith("_") else "") + head + "".join(word.capitalize() for word in rest)
    return fields.get(camel)
