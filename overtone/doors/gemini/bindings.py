"""The table unrolled: a binding for each path of each method, with what documents about the API say of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from overtone.doors.gemini.messages import descriptor_of
from overtone.doors.gemini.path_templates import VARIABLE
from overtone.doors.method import Method

STANDARD_METHODS = {"Get": "get", "List": "list", "Create": "create", "Update": "patch", "Delete": "delete"}


@dataclass(frozen=True)
class Binding:
    """One path of one method."""

    rpc: Method
    template: str
    description: str

    @property
    def variable(self) -> re.Match[str] | None:
        return VARIABLE.search(self.template)

    @property
    def path(self) -> str:
        """The path under the first version of its family, with a parameter for each star."""
        return f"/{self.rpc.family.paths[0]}/{self.flat_path}"

    @property
    def pattern(self) -> str:
        """The path with its variable spelled out: tunedModels/*:generateContent."""
        return VARIABLE.sub(lambda found: found[2], self.template)

    @property
    def collections(self) -> list[str]:
        """The resources that lead to the method: tunedModels, then permissions."""
        return [part for part in self.pattern.partition(":")[0].split("/") if part != "*"]

    @property
    def short_name(self) -> str:
        """The method's name within its collection: get, list, generateContent."""
        custom = self.pattern.partition(":")[2]
        method = self.rpc.method
        standard = (name for verb, name in STANDARD_METHODS.items() if method.startswith(verb))
        return custom or next(standard, method[0].lower() + method[1:])

    @property
    def flat_path(self) -> str:
        """The path with a parameter for each star: tunedModels/{tunedModelsId}."""
        return re.sub(r"(\w+)/\*", r"\1/{\1Id}", self.pattern)

    @property
    def query_fields(self) -> list[FieldDescriptor]:
        """The fields of the request that neither path nor body fills."""
        taken = {self.rpc.body, self.variable[1].split(".")[0] if self.variable else ""}
        fields = descriptor_of(self.rpc.request).fields if self.rpc.body != "*" else []
        return [spec for spec in fields if spec.name not in taken]

    @property
    def body(self) -> Descriptor | None:
        """The message that the request's body is, if it has one."""
        request = descriptor_of(self.rpc.request)
        if self.rpc.body in ("", "*"):
            return request if self.rpc.body else None
        return request.fields_by_name[self.rpc.body].message_type


def list_bindings(rpcs: Sequence[Method], servicers: Mapping[str, object]) -> list[Binding]:
    """Return every path of every supported method, described as its servicer's docstring does."""
    return [
        Binding(rpc, template, _description(rpc, servicers))
        for rpc in rpcs
        if not rpc.instead
        for template in (*rpc.templates, *rpc.ours)
    ]


def _description(rpc: Method, servicers: Mapping[str, object]) -> str:
    text = inspect.getdoc(getattr(servicers[rpc.service], rpc.attribute)) or ""
    return " ".join(text.partition("\n\n")[0].split())
