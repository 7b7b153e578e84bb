"""The table against the http rules that the installed package carries."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from overtone.doors.gemini import messages as m
from overtone.doors.gemini.rpcs import RPCS, Rpc

SERVICES = "google.ai.generativelanguage_v1beta.services"
OURS_ALONE = {"google.longrunning.Operations"}  # its rules come with each service, mixed with other resources
NOT_OURS = ("corpora/*", "dynamic/*", "batches/*", "generatedFiles/*")


def google_rules(rpc: Rpc) -> set[tuple[str, str, str]]:
    """Return verb, template and body of each of Google's bindings of a method, for resources that we have."""
    folder = re.sub(r"(?<!^)(?=[A-Z])", "_", rpc.service).lower()
    module = importlib.import_module(f"{SERVICES}.{folder}.transports.rest_base")
    base = getattr(module, f"_Base{rpc.service}RestTransport")
    options = getattr(base, f"_Base{rpc.method}")._get_http_options()
    rules = {(o["method"].upper(), o["uri"].removeprefix("/v1beta/"), o.get("body", "")) for o in options}
    return {rule for rule in rules if not any(other in rule[1] for other in NOT_OURS)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "rpc",
    [rpc for rpc in RPCS if rpc.service not in OURS_ALONE and rpc.templates],
    ids=lambda rpc: rpc.method,
)
def test_a_row_says_what_the_package_says(rpc: Rpc) -> None:
    assert {(rpc.verb, template, rpc.body) for template in rpc.templates} == google_rules(rpc)


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.method)
def test_every_field_that_a_row_names_exists(rpc: Rpc) -> None:
    fields = m.descriptor_of(rpc.request).fields_by_name
    named = {
        match.split(".")[0] for t in (*rpc.templates, *rpc.ours) for match in re.findall(r"\{([a-z_.]+)", t)
    }
    assert rpc.instead or named <= set(fields)
    assert rpc.body in ("", "*") or rpc.body in fields


def test_a_method_is_declared_once() -> None:
    names = [(rpc.service, rpc.method) for rpc in RPCS]
    assert len(names) == len(set(names))
    assert inspect.isclass(RPCS[0].request)
