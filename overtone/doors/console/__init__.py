"""What this service offers beyond Google's surface, under `/overtone/v1`: rows, messages and servicers of our own."""

from __future__ import annotations

from overtone.config import Settings
from overtone.doors.console.datasets_service import DatasetsService
from overtone.doors.console.rpcs import RPCS
from overtone.service.datasets import Datasets
from overtone.service.models import Models

__all__ = ["RPCS", "build_servicers"]


def build_servicers(models: Models, settings: Settings) -> dict[str, object]:
    """Return one object for each service of the table."""
    return {"Datasets": DatasetsService(Datasets(models, settings.data, settings.base))}
