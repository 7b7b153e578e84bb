"""google.longrunning.Operations: the jobs that make tuned models, as clients wait for them."""

from __future__ import annotations

from overtone.domain.sharing import Caller, Question, Role
from overtone.domain.tuning import TunedModel
from overtone.doors.gemini import messages as m
from overtone.doors.gemini import resources
from overtone.doors.gemini.names import parse_operation, parse_tuned_model
from overtone.service.paging import PageRequest
from overtone.service.tuning import TunedModels

LIST_PAGE_SIZE = 50


class OperationsService:
    """An operation belongs to exactly one tuned model and lives as long as it."""

    def __init__(self, tuned_models: TunedModels):
        self.tuned_models = tuned_models

    def get_operation(self, request: m.GetOperationRequest, caller: Caller) -> m.Operation:
        """Return how far a tuning job is, and what came of it once it is done."""
        model = self.tuned_models.get_by_operation(*parse_operation(request.name), caller)
        return resources.to_operation(model, self.tuned_models.list_snapshots(model))

    def list_operations(self, request: m.ListOperationsRequest, caller: Caller) -> m.ListOperationsResponse:
        """Return the operation of one tuned model, or those of all that the caller may read, by pages."""
        if request.name not in ("", "operations"):
            name = request.name.removesuffix("/operations")
            model = self.tuned_models.get(parse_tuned_model(name), caller)
            return m.ListOperationsResponse(operations=[resources.to_operation(model)])
        asked = PageRequest(request.page_size, request.page_token)
        page = self.tuned_models.list(Question(caller.grantee), asked, LIST_PAGE_SIZE)
        found = [resources.to_operation(model) for model in page.items]
        return m.ListOperationsResponse(operations=found, next_page_token=page.next_token)

    def cancel_operation(self, request: m.CancelOperationRequest, caller: Caller) -> m.Empty:
        """Stop a tuning job. The name may be the tuned model's: google-genai's tunings.cancel sends that."""
        self.tuned_models.cancel(self._find(request.name, caller))
        return m.Empty()

    def _find(self, name: str, caller: Caller) -> TunedModel:
        if "/operations/" in name:
            return self.tuned_models.get_by_operation(*parse_operation(name), caller, Role.WRITER)
        return self.tuned_models.get(parse_tuned_model(name), caller, Role.WRITER)
