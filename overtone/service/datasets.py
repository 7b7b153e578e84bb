"""Training data before a job: what `dataset.report` finds in them, for a base model of this service."""

from __future__ import annotations

from pathlib import Path

from overtone.bases.example_tokens import base_facts
from overtone.bases.registry import Card
from overtone.dataset.files import DataSource
from overtone.dataset.report import BaseFacts, CheckReport, check_source
from overtone.domain.sharing import Caller
from overtone.errors import FailedPrecondition, refuse
from overtone.service.models import Models
from overtone.store.speeds import load_speeds_here


class Datasets:
    """The verbs over training data that belong to no job yet. Nothing of them is kept."""

    def __init__(self, models: Models, data: Path, default_base: str):
        """`data` is the folder with the speeds of earlier jobs."""
        self._models = models
        self._data = data
        self._default_base = default_base

    def check(
        self,
        source: DataSource,
        caller: Caller,
        base_model: str = "",
        held_out: DataSource | None = None,
        epoch_count: int = 0,
        batch_size: int = 0,
    ) -> CheckReport:
        """Return what is wrong with training data and what they are like. "" and 0: the service's own choice."""
        for name, value in (("epoch_count", epoch_count), ("batch_size", batch_size)):
            if value < 0:
                raise refuse(name, f"is {value}; it must be at least 1.")
        card = self._models.get_card(base_model or self._default_base, caller)
        return check_source(source, self._facts(card), held_out, epoch_count or None, batch_size or None)

    def _facts(self, card: Card) -> BaseFacts:
        records = load_speeds_here(self._data, card.base_id)
        try:
            return base_facts(card, self._models.chat_of(card), records)
        except FailedPrecondition as error:  # its files are not here
            return base_facts(card, None, records, f"Tokens are not counted: {error}")
