"""One method of a protocol that is described by protobuf messages: what a row of a door's table says.

Both doors, REST and gRPC, are built from rows; a row says which family it belongs to, so one REST door and one gRPC
door answer for several.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class MethodFamily:
    """Methods that share a protobuf package and a beginning of their paths; `{version}` stands for each version."""

    package: str
    versions: tuple[str, ...]
    path: str = "{version}"

    @property
    def packages(self) -> list[str]:
        """The package under every version: the messages are the same on the wire."""
        return [self.package.format(version=version) for version in self.versions]

    @property
    def paths(self) -> list[str]:
        """What stands before a method's template in an address, under every version."""
        return [self.path.format(version=version) for version in self.versions]


@dataclass(frozen=True)
class Method:
    """One method. Templates are Google's http rules (google/api/http.proto), after the family's path.

    `ours` are paths that the protocol's rules lack and its clients send all the same. `body` is the request field that
    the JSON body fills, "*" for the whole request, "" for none. A method that `measures` a prompt does not refuse what
    only an answer could not do. `instead` is what to use instead of a method that is not supported.
    """

    service: str
    method: str
    request: Any  # the class of a protobuf message, plain or proto-plus
    reply: Any
    verb: str
    templates: tuple[str, ...]
    body: str = ""
    ours: tuple[str, ...] = ()
    streams: bool = False
    measures: bool = False
    instead: str = ""
    family: MethodFamily = MethodFamily("", ())

    @property
    def attribute(self) -> str:
        """The servicer's method: GetTunedModel is get_tuned_model."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.method).lower()

    @property
    def full_services(self) -> list[str]:
        """The service's names on gRPC; one that is written with its package has no others."""
        if "." in self.service:
            return [self.service]
        return [f"{package}.{self.service}" for package in self.family.packages]
