"""The servicers by the names that the table gives their services."""

from __future__ import annotations

from overtone.bases.registry import Registry
from overtone.config import Settings
from overtone.doors.gemini.generative_service import Engines, GenerativeService
from overtone.doors.gemini.model_service import ModelService
from overtone.doors.gemini.operations_service import OperationsService
from overtone.doors.gemini.permission_service import PermissionService
from overtone.doors.gemini.rpcs import OPERATIONS
from overtone.doors.gemini.text_service import TextService
from overtone.jobs.queue import Queue
from overtone.service.access import Access
from overtone.service.chats import Chats
from overtone.service.targets import Targets
from overtone.store.store import Store


def build_servicers(
    store: Store,
    queue: Queue,
    registry: Registry,
    chats: Chats,
    engines: Engines,
    settings: Settings,
) -> dict[str, object]:
    """Return one object for each service of the table."""
    access = Access(store, settings)
    targets = Targets(store, registry, access, only_base="" if settings.extra_bases > 0 else settings.base)
    generative = GenerativeService(targets, chats, engines, settings)
    return {
        "ModelService": ModelService(targets, chats),
        "GenerativeService": generative,
        "TextService": TextService(generative),
        "PermissionService": PermissionService(store, access),
        OPERATIONS: OperationsService(store, queue, access),
    }
