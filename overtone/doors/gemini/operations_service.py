"""google.longrunning.Operations: the jobs that make tuned models, as clients wait for them."""

from __future__ import annotations

from overtone.doors.gemini import messages as m
from overtone.doors.gemini import resources
from overtone.doors.gemini.names import format_operation, no_operation, parse_operation, parse_tuned_model
from overtone.jobs.queue import Queue
from overtone.service import filters, rules
from overtone.service.access import Access, Caller, Role
from overtone.store.store import Store
from overtone.store.tables import TunedModelRow

LIST_PAGE_SIZE = 50


class OperationsService:
    """An operation belongs to exactly one tuned model and lives as long as it."""

    def __init__(self, store: Store, queue: Queue, access: Access):
        self.store = store
        self.queue = queue
        self.access = access

    def get_operation(self, request: m.GetOperationRequest, caller: Caller) -> m.Operation:
        """Return how far a tuning job is, and what came of it once it is done."""
        row = self._find(request.name, caller, Role.READER)
        return resources.to_operation(row, self.store.list_snapshots(row.operation_id))

    def list_operations(self, request: m.ListOperationsRequest, caller: Caller) -> m.ListOperationsResponse:
        """Return the operation of one tuned model, or those of all that the caller may read, by pages."""
        if request.name not in ("", "operations"):
            name = request.name.removesuffix("/operations")
            row = self.store.get_tuned_model(parse_tuned_model(name))
            self.access.require(caller, Role.READER, row)
            return m.ListOperationsResponse(operations=[resources.to_operation(row)])
        size = rules.page_size(request.page_size, LIST_PAGE_SIZE)
        pager = self.store.pager("operations", caller.email)
        question = filters.parse("", caller.grantee)
        found = self.store.list_tuned_models(question, pager.position(request.page_token), size + 1)
        token = pager.token(found[size - 1].uid) if len(found) > size else ""
        page = [resources.to_operation(row) for row in found[:size]]
        return m.ListOperationsResponse(operations=page, next_page_token=token)

    def cancel_operation(self, request: m.CancelOperationRequest, caller: Caller) -> m.Empty:
        """Stop a tuning job. The name may be the tuned model's: google-genai's tunings.cancel sends that."""
        if "/operations/" in request.name:
            row = self._find(request.name, caller, Role.WRITER)
        else:
            row = self.store.get_tuned_model(parse_tuned_model(request.name))
            self.access.require(caller, Role.WRITER, row)
        self.queue.cancel(row.operation_id)
        return m.Empty()

    def _find(self, name: str, caller: Caller, role: Role) -> TunedModelRow:
        tuned_model_id, operation_id = parse_operation(name)
        row = self.store.find_tuned_model(tuned_model_id)
        if row is None or row.operation_id != operation_id:
            raise no_operation(format_operation(tuned_model_id, operation_id))
        self.access.require(caller, role, row)
        return row
