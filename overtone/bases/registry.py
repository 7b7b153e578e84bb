"""The model names that clients may use, and the base models behind them.

A card describes a base model. The card of an open model lies beside its weights (bases/ID/card.json, written by
`fetch`). The hosted service's names are aliases of the default base. They carry the limits that were documented
for them, so that clients see the values they expect. No torch, no network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overtone.domain.tuning import Hyperparameters
from overtone.errors import OvertoneError

if TYPE_CHECKING:
    from overtone.bases.chat import Chat

CARD_FILE = "card.json"


# The first row whose number of examples is not exceeded applies. The values are the hosted service's. Their
# boundaries were not documented; ours come from a sweep (docs/log.md).
HYPERPARAMETERS = (
    (63, Hyperparameters(epoch_count=5, batch_size=4, learning_rate=0.001)),
    (499, Hyperparameters(epoch_count=5, batch_size=16, learning_rate=0.001)),
    (None, Hyperparameters(epoch_count=5, batch_size=16, learning_rate=0.0002)),
)

TUNABLE = ("generateContent", "countTokens", "createTunedModel")


@dataclass(frozen=True)
class Card:
    """A base model as `models.get` shows it, with the limits that requests are checked against."""

    id: str
    display_name: str
    description: str
    base_id: str  # the open model that runs: the id itself, or for an alias the model behind it
    version: str = ""
    source: str = ""
    revision: str = ""  # identifies the exact files; recorded with every tuned model
    licence: str = ""
    input_token_limit: int = 0  # only reported; context_length is what is enforced
    output_token_limit: int = 0
    context_length: int = 0  # tokens of prompt and answer together
    max_input_chars: int | None = None  # per example and per request; None: limited by the context only
    max_output_chars: int | None = None
    json_mode: bool = True
    system_instruction: bool = True
    temperature: float = 1.0
    max_temperature: float = 2.0
    top_p: float = 0.95
    top_k: int = 64
    supported_generation_methods: tuple[str, ...] = TUNABLE
    size_bytes: int = 0
    num_parameters: int = 0
    pulled_on: str = ""  # YYYY-MM-DD; chat templates that print a date print this one

    @property
    def is_alias(self) -> bool:
        return self.id != self.base_id

    @property
    def is_tunable(self) -> bool:
        return "createTunedModel" in self.supported_generation_methods

    def hyperparameters(self, num_examples: int) -> Hyperparameters:
        """Return the default hyperparameters for this many examples."""
        return next(chosen for limit, chosen in HYPERPARAMETERS if limit is None or num_examples <= limit)

    @classmethod
    def load(cls, folder: Path) -> Card:
        """Read a base folder's card. Raises OvertoneError if it is damaged."""
        path = folder / CARD_FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            known = {spec.name for spec in fields(cls)}
            return cls.from_json({name: value for name, value in values.items() if name in known})
        except (ValueError, TypeError, KeyError) as error:
            raise OvertoneError(
                f"{path} is damaged ({error}); delete {folder} and pull the model again."
            ) from error

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Card:
        methods = tuple(values.get("supported_generation_methods", TUNABLE))
        return cls(**{**values, "supported_generation_methods": methods})

    def save(self, folder: Path) -> None:
        (folder / CARD_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def _alias(model_id: str, display_name: str, description: str, **values: Any) -> Card:
    """A card with the limits that were documented for tuned models: characters, text only, no JSON mode, no
    system instruction.
    """
    limits = {
        "max_input_chars": 40_000,
        "max_output_chars": 5_000,
        "json_mode": False,
        "system_instruction": False,
    }
    return Card(model_id, display_name, description, base_id="", version="001", **{**limits, **values})


ALIASES = (
    _alias(
        "gemini-1.5-flash-001-tuning",
        "Gemini 1.5 Flash 001 Tuning",
        "The name that tuning code was written against; an open model answers to it here.",
        input_token_limit=16_384,
        output_token_limit=8_192,
    ),
    _alias(
        "gemini-1.5-flash-001",
        "Gemini 1.5 Flash 001",
        "An older name; the same open model answers to it.",
        input_token_limit=1_000_000,
        output_token_limit=8_192,
    ),
    _alias(
        "gemini-1.0-pro-001",
        "Gemini 1.0 Pro 001 (Tuning)",
        "An older name; the same open model answers to it.",
        input_token_limit=30_720,
        output_token_limit=2_048,
        temperature=0.9,
        top_p=1.0,
        max_temperature=1.0,
    ),
    _alias(
        "text-bison-001",
        "PaLM 2 (Legacy)",
        "The oldest tunable name; the same open model answers to it.",
        input_token_limit=8_196,
        output_token_limit=1_024,
        temperature=0.7,
        top_k=40,
        max_temperature=1.0,
        supported_generation_methods=(*TUNABLE, "generateText", "createTunedTextModel"),
    ),
)


class Registry:
    """The base models in one data folder. A model appears as soon as its pull has finished."""

    def __init__(self, bases_folder: Path, default_base: str):
        self._folder = bases_folder
        self._default_base = default_base

    def list_cards(self) -> list[Card]:
        """Return the aliases, then the pulled open models, sorted by id."""
        return [*map(self._behind, ALIASES), *self.list_bases()]

    def list_bases(self) -> list[Card]:
        """Return the pulled open models, sorted by id."""
        return [Card.load(path.parent) for path in sorted(self._folder.glob(f"[!.]*/{CARD_FILE}"))]

    def find_card(self, model_id: str) -> Card | None:
        """Return the card for a name without its `models/`, or None."""
        alias = next((card for card in ALIASES if card.id == model_id), None)
        return self._behind(alias) if alias else self._find_base(model_id)

    def base_folder(self, base_id: str) -> Path:
        """Return the folder of a base, whether it exists or not."""
        return self._folder / base_id

    def has_base(self, base_id: str) -> bool:
        """Whether the base is complete: its card is written last."""
        return (self.base_folder(base_id) / CARD_FILE).is_file()

    def load_chat(self, base_id: str) -> Chat:
        """Return a pulled base's chat format, read from its folder. Raises OvertoneError if it is damaged."""
        from overtone.bases.chat import Chat  # slow to import, and most verbs do not need it

        return Chat(self.base_folder(base_id))

    def _find_base(self, base_id: str) -> Card | None:
        known = is_base_id(base_id) and self.has_base(base_id)
        return Card.load(self.base_folder(base_id)) if known else None

    def _behind(self, alias: Card) -> Card:
        base = self._find_base(self._default_base)
        if base is None:
            return replace(alias, base_id=self._default_base)
        inherited = ("source", "revision", "licence", "context_length", "size_bytes", "num_parameters")
        return replace(alias, base_id=base.id, **{name: getattr(base, name) for name in inherited})


def is_base_id(text: str) -> bool:
    """Whether the text is a valid base id: one path segment that Google's clients accept, and no hidden folder."""
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789.-_")
    return 0 < len(text) <= 64 and text[0].isalnum() and ".." not in text and set(text) <= allowed
