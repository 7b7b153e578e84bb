"""The servicers by the names that the table gives their services."""

from __future__ import annotations

from overtone.config import Settings
from overtone.doors.gemini.generative_service import GenerativeService
from overtone.doors.gemini.model_service import ModelService
from overtone.doors.gemini.operations_service import OperationsService
from overtone.doors.gemini.permission_service import PermissionService
from overtone.doors.gemini.rpcs import OPERATIONS
from overtone.doors.gemini.text_service import TextService
from overtone.jobs.queue import Queue
from overtone.service.access import Access
from overtone.service.generation import AnswerEngines, Generation
from overtone.service.models import Models
from overtone.service.sharing import Sharing
from overtone.service.tuning import TunedModels
from overtone.store.store import Store


def build_servicers(
    store: Store, queue: Queue, models: Models, access: Access, engines: AnswerEngines, settings: Settings
) -> dict[str, object]:
    """Return one object for each service of the table."""
    tuned_models = TunedModels(store, queue, models, access)
    generation = Generation(store, models, engines, settings)
    return {
        "ModelService": ModelService(models, tuned_models),
        "GenerativeService": GenerativeService(models, generation),
        "TextService": TextService(models, generation),
        "PermissionService": PermissionService(Sharing(store, access)),
        OPERATIONS: OperationsService(tuned_models),
    }
