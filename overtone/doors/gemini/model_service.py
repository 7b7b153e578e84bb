"""google.ai.generativelanguage.v1beta.ModelService:

base models, and tuned models from creation to deletion.
"""

from __future__ import annotations

from overtone.domain.sharing import Caller, Role
from overtone.doors.gemini import filters, models_by_name, resources
from overtone.doors.gemini import messages as m
from overtone.doors.gemini.names import format_model, parse_tuned_model, without_prefix
from overtone.doors.gemini.training_advice import advise
from overtone.doors.gemini.tuning_requests import read_changes, read_tuning_request
from overtone.errors import InvalidArgument
from overtone.service.models import Models, UnknownBase
from overtone.service.paging import PageRequest
from overtone.service.rules import NoExamples
from overtone.service.tuning import NotTunable, TunedModels


class ModelService:
    """Translates; the rules are those of service.tuning."""

    def __init__(self, models: Models, tuned_models: TunedModels):
        self.models = models
        self.tuned_models = tuned_models

    def get_model(self, request: m.GetModelRequest, caller: Caller) -> m.Model:
        """Return a base model or an alias of one."""
        return resources.to_model(models_by_name.get_card(self.models, request.name, "getModel", caller))

    def list_models(self, request: m.ListModelsRequest, caller: Caller) -> m.ListModelsResponse:
        """Return the base models by pages: aliases first, then the open models."""
        page = self.models.list_cards(PageRequest(request.page_size, request.page_token))
        found = [resources.to_model(card) for card in page.items]
        return m.ListModelsResponse(models=found, next_page_token=page.next_token)

    def get_tuned_model(self, request: m.GetTunedModelRequest, caller: Caller) -> m.TunedModel:
        """Return a tuned model with the losses of its tuning so far."""
        model = self.tuned_models.get(parse_tuned_model(without_prefix(request.name)), caller)
        return resources.to_tuned_model(model, self.tuned_models.list_snapshots(model))

    def list_tuned_models(
        self, request: m.ListTunedModelsRequest, caller: Caller
    ) -> m.ListTunedModelsResponse:
        """Return the caller's tuned models by pages, oldest first; the filter says which."""
        question = filters.parse(request.filter, caller.grantee)
        page = self.tuned_models.list(question, PageRequest(request.page_size, request.page_token))
        found = [resources.to_tuned_model(model) for model in page.items]
        return m.ListTunedModelsResponse(tuned_models=found, next_page_token=page.next_token)

    def create_tuned_model(self, request: m.CreateTunedModelRequest, caller: Caller) -> m.Operation:
        """Check everything, then create a tuned model in state CREATING and the job that will tune it."""
        asked = read_tuning_request(request)
        try:
            return resources.to_operation(self.tuned_models.create(asked, caller))
        except NoExamples as error:
            raise InvalidArgument(advise(caller.client), field=error.field) from None
        except UnknownBase as error:
            raise models_by_name.no_model(format_model(asked.base_model), "createTunedModel", error) from None
        except NotTunable:
            raise models_by_name.no_model(format_model(asked.base_model), "createTunedModel") from None

    def update_tuned_model(self, request: m.UpdateTunedModelRequest, caller: Caller) -> m.TunedModel:
        """Change the writable fields that the mask names (AIP-134); without a mask, those that are set."""
        model = self.tuned_models.get(parse_tuned_model(request.tuned_model.name), caller, Role.WRITER)
        model = self.tuned_models.update(model, read_changes(request))
        return resources.to_tuned_model(model, self.tuned_models.list_snapshots(model))

    def delete_tuned_model(self, request: m.DeleteTunedModelRequest, caller: Caller) -> m.Empty:
        """Delete a tuned model with all that belongs to it; a job that still tunes it is stopped."""
        self.tuned_models.delete(parse_tuned_model(request.name), caller)
        return m.Empty()
