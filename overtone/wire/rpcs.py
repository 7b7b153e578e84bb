"""The table of methods: one line each, from which both doors are built.

Templates are Google's http rules (google/api/http.proto) after the version. `ours` are paths that Google's
rules lack and its clients send all the same. Adding a method is adding a line here and a method of that
name, in snake_case, to its servicer. A test holds the table against the rules that the installed package
carries.
"""

# ruff: noqa: E501
from __future__ import annotations

import re
from dataclasses import dataclass

from overtone.wire import messages as m

VERSIONS = (
    "v1beta",
    "v1",
    "v1alpha",
    "v1beta2",
    "v1beta3",
)  # every route under each; the newest clients say v1
PACKAGE = "google.ai.generativelanguage.v1beta"  # the only one whose messages the clients know


@dataclass(frozen=True)
class Rpc:
    """One method.

    `body` is the request field that the JSON body fills, "*" for the whole request, "" for none.
    """

    service: str
    method: str
    request: m.MessageType
    reply: m.MessageType
    verb: str
    templates: tuple[str, ...]
    body: str = ""
    ours: tuple[str, ...] = ()
    streams: bool = False

    @property
    def attribute(self) -> str:
        """The servicer's method: GetTunedModel is get_tuned_model."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.method).lower()

    @property
    def full_service(self) -> str:
        return self.service if "." in self.service else f"{PACKAGE}.{self.service}"


MODEL, TUNED, OPERATION = "{name=models/*}", "{name=tunedModels/*}", "{name=tunedModels/*/operations/*}"
PERMISSION, SHARED = "{name=tunedModels/*/permissions/*}", "{parent=tunedModels/*}"
ANY_MODEL = ("{model=models/*}", "{model=tunedModels/*}")
OPERATIONS = "google.longrunning.Operations"


def _each(suffix: str) -> tuple[str, ...]:
    return tuple(model + suffix for model in ANY_MODEL)


RPCS = (
    Rpc("ModelService", "GetModel", m.GetModelRequest, m.Model, "GET", (MODEL,)),
    Rpc("ModelService", "ListModels", m.ListModelsRequest, m.ListModelsResponse, "GET", ("models",)),
    Rpc("ModelService", "GetTunedModel", m.GetTunedModelRequest, m.TunedModel, "GET", (TUNED,)),
    Rpc("ModelService", "ListTunedModels", m.ListTunedModelsRequest, m.ListTunedModelsResponse, "GET", ("tunedModels",)),
    Rpc("ModelService", "CreateTunedModel", m.CreateTunedModelRequest, m.Operation, "POST", ("tunedModels",), body="tuned_model"),
    Rpc("ModelService", "UpdateTunedModel", m.UpdateTunedModelRequest, m.TunedModel, "PATCH", ("{tuned_model.name=tunedModels/*}",), body="tuned_model"),
    Rpc("ModelService", "DeleteTunedModel", m.DeleteTunedModelRequest, m.Empty, "DELETE", (TUNED,)),
    Rpc("GenerativeService", "GenerateContent", m.GenerateContentRequest, m.GenerateContentResponse, "POST", _each(":generateContent"), body="*"),
    Rpc(OPERATIONS, "GetOperation", m.GetOperationRequest, m.Operation, "GET", (OPERATION,)),
    Rpc(OPERATIONS, "ListOperations", m.ListOperationsRequest, m.ListOperationsResponse, "GET", (TUNED + "/operations",), ours=("{name=operations}",)),
    Rpc(OPERATIONS, "CancelOperation", m.CancelOperationRequest, m.Empty, "POST", (OPERATION + ":cancel",), body="*", ours=(TUNED + ":cancel",)),
)  # fmt: skip
