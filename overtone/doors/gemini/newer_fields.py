"""Fields and enum values that the API has and the pinned messages lack, as a table.

A value that asks for nothing passes and is left out. Any other gets the sentence of its feature. What Google's
own service refuses is not here: it stays unknown. A test compares the newest published client with the
messages and this table, so that the next field is noticed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EMPTY: tuple[Any, ...] = (None, False, 0, "", [], {})


@dataclass(frozen=True)
class Newer:
    """One such field. Without a `refusal`, every value is harmless."""

    refusal: str = ""  # the sentence; {model} is the name that the request is for
    harmless: tuple[str, ...] = ()  # texts that ask for nothing, in upper case

    def refuses(self, value: Any) -> bool:
        """Tell whether the value asks for what this service does not do."""
        if isinstance(value, str) and value.upper() in self.harmless:
            return False
        return bool(self.refusal) and value not in EMPTY


IGNORED = Newer()
TOOLS = Newer("Tool use is not enabled for {model}")
THINKING = Newer("Thinking is not enabled for {model}", ("MINIMAL", "NONE", "THINKING_LEVEL_UNSPECIFIED"))
NOT_TEXT = Newer("Output other than text is not enabled for {model}")
TIERS = Newer(
    "A service tier is not enabled for {model}; every call here has the standard one.",
    ("AUTO", "DEFAULT", "STANDARD", "SERVICE_TIER_STANDARD", "UNSPECIFIED", "SERVICE_TIER_UNSPECIFIED"),
)
FORMAT = Newer(
    "Response format is not enabled for {model}; use responseMimeType with responseSchema or responseJsonSchema."
)
TRANSCRIPTION = Newer("Audio transcription is not enabled for {model}")
MULTITURN = Newer(
    "multiturnExamples are not supported yet: a tuning learns pairs. Send each answer with what was asked last as "
    "examples: {{examples: [{{textInput, output}}]}}."
)


def _ignored(*names: str) -> dict[str, Newer]:
    return dict.fromkeys(names, IGNORED)


MEDIA = ("mediaProcessing", "mediaResolution", "audioMetadata", "documentMetadata", "spreadsheetMetadata")
FIELDS: Mapping[str, Mapping[str, Newer]] = {
    "GenerateContentRequest": {
        "continuationToken": Newer("Continuing an answer is not enabled for {model}"),
        "labels": IGNORED,
        "serviceTier": TIERS,
        "store": Newer("Storing of answers is not enabled for {model}"),
    },
    "GenerationConfig": {
        "audioTranscriptionConfig": TRANSCRIPTION,
        "enableAffectiveDialog": Newer("Affective dialog is not enabled for {model}"),
        "responseFormat": FORMAT,
        "translationConfig": Newer("Translation is not enabled for {model}"),
    },
    "ThinkingConfig": {"thinkingLevel": THINKING},
    "ImageConfig": {"imageSize": NOT_TEXT},
    "Part": {
        "audioTranscription": TRANSCRIPTION,
        "toolCall": TOOLS,
        "toolResponse": TOOLS,
        **_ignored(*MEDIA, "speechMetadata"),
    },
    "Tool": {"mcpServers": TOOLS},
    "ToolConfig": {"includeServerSideToolInvocations": TOOLS},
    "TunedModel": {"defaultCheckpointId": Newer("A choice of checkpoints is not enabled for {model}")},
    "TuningExamples": {"multiturnExamples": MULTITURN},
    # inside of what is refused as a whole, which then says so
    "Blob": _ignored("displayName"),
    "CodeExecutionResult": _ignored("id"),
    "ComputerUse": _ignored("enablePromptInjectionDetection", "disabledSafetyPolicies"),
    "ExecutableCode": _ignored("id"),
    "FileData": _ignored("displayName"),
    "FileSearch": _ignored("fileSearchStoreNames", "metadataFilter", "topK"),
    "FunctionResponseBlob": _ignored("displayName"),
    "FunctionResponsePart": _ignored(*MEDIA, "fileData", "videoMetadata"),
    "GoogleSearch": _ignored("searchTypes"),
    "VideoMetadata": _ignored("contentLayers"),
    "VoiceConfig": _ignored("replicatedVoiceConfig", "voice"),
}  # a message → its field → what becomes of it

ENUM_VALUES: Mapping[str, Mapping[str, Newer]] = {
    "HarmCategory": {"HARM_CATEGORY_JAILBREAK": IGNORED},
    "Environment": _ignored("ENVIRONMENT_DESKTOP", "ENVIRONMENT_MOBILE"),
    "Modality": {"VIDEO": NOT_TEXT},
}  # an enum → its value → the same


def find_newer(kind: str, key: str) -> Newer | None:
    """Return what the table says of a field, in either spelling; None for one that nobody knows."""
    return FIELDS.get(kind, {}).get(re.sub(r"_([a-z])", lambda match: match[1].upper(), key))
