"""The protobuf messages that cross the wire, imported without the clients that come along with them.

`import google.ai.generativelanguage_v1beta` pulls in every generated client and their network libraries:
0.65 s. Its `types` alone take 0.15 s, so while they load a bare module stands in for the package's own
`__init__`. Whoever imports the whole package afterwards gets it, with these same message classes.

Most messages are proto-plus; the long-running operations are plain protobuf. `to_pb` makes the difference
go away.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any, TypeAlias

import proto
from google.longrunning.operations_proto_pb2 import (
    CancelOperationRequest,
    GetOperationRequest,
    ListOperationsRequest,
    ListOperationsResponse,
    Operation,
)
from google.protobuf.descriptor import Descriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message as PbMessage

PACKAGE = "google.ai.generativelanguage_v1beta"


@contextmanager
def _bare_package() -> Iterator[None]:
    if PACKAGE in sys.modules:
        yield
        return
    parent = find_spec("google.ai")
    assert parent is not None and parent.submodule_search_locations is not None
    bare = ModuleType(PACKAGE)
    bare.__path__ = [f"{folder}/{PACKAGE.rpartition('.')[2]}" for folder in parent.submodule_search_locations]
    sys.modules[PACKAGE] = bare
    try:
        yield
    finally:
        del sys.modules[PACKAGE]


with _bare_package():
    from google.ai.generativelanguage_v1beta.types import (
        Candidate,
        Content,
        CountTokensRequest,
        CountTokensResponse,
        CreatePermissionRequest,
        CreateTunedModelMetadata,
        CreateTunedModelRequest,
        DeletePermissionRequest,
        DeleteTunedModelRequest,
        GenerateContentRequest,
        GenerateContentResponse,
        GenerateTextRequest,
        GenerateTextResponse,
        GenerationConfig,
        GetModelRequest,
        GetPermissionRequest,
        GetTunedModelRequest,
        Hyperparameters,
        ListModelsRequest,
        ListModelsResponse,
        ListPermissionsRequest,
        ListPermissionsResponse,
        ListTunedModelsRequest,
        ListTunedModelsResponse,
        LogprobsResult,
        Model,
        Part,
        Permission,
        Schema,
        TextCompletion,
        TransferOwnershipRequest,
        TransferOwnershipResponse,
        TunedModel,
        TunedModelSource,
        TuningSnapshot,
        TuningTask,
        UpdatePermissionRequest,
        UpdateTunedModelRequest,
    )

Message: TypeAlias = Any  # a proto.Message or a protobuf Message; the first comes without types
MessageType: TypeAlias = Any  # the class of such a message


def to_pb(message: Message) -> PbMessage:
    """Return the plain protobuf message inside, sharing its content: a change of one is a change of both."""
    return type(message).pb(message) if isinstance(message, proto.Message) else message


def descriptor_of(kind: MessageType) -> Descriptor:
    """Return the protobuf description of a message class of either family."""
    return kind.pb().DESCRIPTOR if issubclass(kind, proto.Message) else kind.DESCRIPTOR


def encode(message: Message) -> bytes:
    """Return the message's bytes on the wire."""
    return to_pb(message).SerializeToString()


def decoder_of(kind: MessageType) -> Any:
    """Return the function that makes a message of this class from its bytes on the wire."""
    return kind.deserialize if issubclass(kind, proto.Message) else kind.FromString


__all__ = [
    "CancelOperationRequest",
    "Candidate",
    "Content",
    "CountTokensRequest",
    "CountTokensResponse",
    "CreatePermissionRequest",
    "CreateTunedModelMetadata",
    "CreateTunedModelRequest",
    "DeletePermissionRequest",
    "DeleteTunedModelRequest",
    "Empty",
    "FieldMask",
    "GenerateContentRequest",
    "GenerateContentResponse",
    "GenerateTextRequest",
    "GenerateTextResponse",
    "GenerationConfig",
    "GetModelRequest",
    "GetOperationRequest",
    "GetPermissionRequest",
    "GetTunedModelRequest",
    "Hyperparameters",
    "ListModelsRequest",
    "ListModelsResponse",
    "ListOperationsRequest",
    "ListOperationsResponse",
    "ListPermissionsRequest",
    "ListPermissionsResponse",
    "ListTunedModelsRequest",
    "ListTunedModelsResponse",
    "LogprobsResult",
    "Message",
    "MessageType",
    "Model",
    "Operation",
    "Part",
    "Permission",
    "Schema",
    "TextCompletion",
    "TransferOwnershipRequest",
    "TransferOwnershipResponse",
    "TunedModel",
    "TunedModelSource",
    "TuningSnapshot",
    "TuningTask",
    "UpdatePermissionRequest",
    "UpdateTunedModelRequest",
    "decoder_of",
    "descriptor_of",
    "encode",
    "to_pb",
]
