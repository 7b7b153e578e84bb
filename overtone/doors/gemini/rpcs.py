"""The table of methods: one line each, from which both doors are built.

Adding a method is adding a line here and a method of that name, in snake_case, to its servicer. A test holds the
table against the http rules that the installed package carries.
"""

# ruff: noqa: E501
from __future__ import annotations

from dataclasses import dataclass

from overtone.doors.gemini import messages as m
from overtone.doors.method import Method, MethodFamily

VERSIONS = (
    "v1beta",
    "v1",
    "v1alpha",
    "v1beta2",
    "v1beta3",
)  # every route under each; the newest clients say v1
GEMINI = MethodFamily("google.ai.generativelanguage.{version}", VERSIONS)


@dataclass(frozen=True)
class Rpc(Method):
    """A method of the Gemini API."""

    family: MethodFamily = GEMINI


MODEL, TUNED, OPERATION = "{name=models/*}", "{name=tunedModels/*}", "{name=tunedModels/*/operations/*}"
PERMISSION, SHARED = "{name=tunedModels/*/permissions/*}", "{parent=tunedModels/*}"
ANY_MODEL = ("{model=models/*}", "{model=tunedModels/*}")
OPERATIONS = "google.longrunning.Operations"
NO_EMBEDDINGS = "Embeddings are not supported; this service tunes and generates text."


def _each(suffix: str) -> tuple[str, ...]:
    return tuple(model + suffix for model in ANY_MODEL)


PREFIXED = "models/{model=tunedModels/*}"  # several clients always write models/ before a name


RPCS = (
    Rpc("ModelService", "GetModel", m.GetModelRequest, m.Model, "GET", (MODEL,)),
    Rpc("ModelService", "ListModels", m.ListModelsRequest, m.ListModelsResponse, "GET", ("models",)),
    Rpc("ModelService", "GetTunedModel", m.GetTunedModelRequest, m.TunedModel, "GET", (TUNED,), ours=("models/{name=tunedModels/*}",)),
    Rpc("ModelService", "ListTunedModels", m.ListTunedModelsRequest, m.ListTunedModelsResponse, "GET", ("tunedModels",)),
    Rpc("ModelService", "CreateTunedModel", m.CreateTunedModelRequest, m.Operation, "POST", ("tunedModels",), body="tuned_model"),
    Rpc("ModelService", "UpdateTunedModel", m.UpdateTunedModelRequest, m.TunedModel, "PATCH", ("{tuned_model.name=tunedModels/*}",), body="tuned_model"),
    Rpc("ModelService", "DeleteTunedModel", m.DeleteTunedModelRequest, m.Empty, "DELETE", (TUNED,)),
    Rpc("GenerativeService", "GenerateContent", m.GenerateContentRequest, m.GenerateContentResponse, "POST", _each(":generateContent"), body="*", ours=(PREFIXED + ":generateContent",)),
    Rpc("GenerativeService", "StreamGenerateContent", m.GenerateContentRequest, m.GenerateContentResponse, "POST", _each(":streamGenerateContent"), body="*", ours=(PREFIXED + ":streamGenerateContent",), streams=True),
    Rpc("GenerativeService", "CountTokens", m.CountTokensRequest, m.CountTokensResponse, "POST", ("{model=models/*}:countTokens",), body="*", ours=("{model=tunedModels/*}:countTokens", PREFIXED + ":countTokens"), measures=True),
    Rpc("TextService", "GenerateText", m.GenerateTextRequest, m.GenerateTextResponse, "POST", _each(":generateText"), body="*"),
    Rpc("PermissionService", "CreatePermission", m.CreatePermissionRequest, m.Permission, "POST", (SHARED + "/permissions",), body="permission"),
    Rpc("PermissionService", "GetPermission", m.GetPermissionRequest, m.Permission, "GET", (PERMISSION,)),
    Rpc("PermissionService", "ListPermissions", m.ListPermissionsRequest, m.ListPermissionsResponse, "GET", (SHARED + "/permissions",)),
    Rpc("PermissionService", "UpdatePermission", m.UpdatePermissionRequest, m.Permission, "PATCH", ("{permission.name=tunedModels/*/permissions/*}",), body="permission"),
    Rpc("PermissionService", "DeletePermission", m.DeletePermissionRequest, m.Empty, "DELETE", (PERMISSION,)),
    Rpc("PermissionService", "TransferOwnership", m.TransferOwnershipRequest, m.TransferOwnershipResponse, "POST", (TUNED + ":transferOwnership",), body="*"),
    Rpc(OPERATIONS, "GetOperation", m.GetOperationRequest, m.Operation, "GET", (OPERATION,)),
    Rpc(OPERATIONS, "ListOperations", m.ListOperationsRequest, m.ListOperationsResponse, "GET", (TUNED + "/operations",), ours=("{name=operations}",)),
    Rpc(OPERATIONS, "CancelOperation", m.CancelOperationRequest, m.Empty, "POST", (OPERATION + ":cancel",), body="*", ours=(TUNED + ":cancel",)),

    # What the Gemini API has and this service does not: the answer says what to do instead.
    Rpc("GenerativeService", "GenerateAnswer", m.Empty, m.Empty, "POST", ("{model=models/*}:generateAnswer",), body="*", instead="generateAnswer is not supported; put the passages into the prompt of generateContent."),
    Rpc("GenerativeService", "EmbedContent", m.Empty, m.Empty, "POST", ("{model=models/*}:embedContent",), body="*", instead=NO_EMBEDDINGS),
    Rpc("GenerativeService", "BatchEmbedContents", m.Empty, m.Empty, "POST", ("{model=models/*}:batchEmbedContents",), body="*", instead=NO_EMBEDDINGS),
    Rpc("GenerativeService", "AsyncBatchEmbedContent", m.Empty, m.Empty, "POST", (), body="*", ours=_each(":asyncBatchEmbedContent"), instead=NO_EMBEDDINGS),
    Rpc("GenerativeService", "BatchGenerateContent", m.Empty, m.Empty, "POST", (), body="*", ours=_each(":batchGenerateContent"), instead="batchGenerateContent is not supported; call generateContent for each request, many at a time: they are answered in one batch."),
    Rpc(OPERATIONS, "DeleteOperation", m.Empty, m.Empty, "DELETE", (), ours=(OPERATION,), instead="An operation cannot be deleted; it goes with its tuned model: delete that."),
    Rpc(OPERATIONS, "WaitOperation", m.Empty, m.Empty, "POST", (), body="*", ours=(OPERATION + ":wait",), instead="operations.wait is not supported; get the operation until it says done."),
)  # fmt: skip
