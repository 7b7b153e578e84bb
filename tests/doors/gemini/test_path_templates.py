"""Google's path templates as Starlette's."""

from __future__ import annotations

import pytest

from overtone.doors.gemini.path_templates import bind, to_path


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("models", "/models"),
        ("{name=operations}", "/operations"),
        ("{name=tunedModels/*}:cancel", "/tunedModels/{name__0:id}:cancel"),
        ("{name=tunedModels/*/operations/*}", "/tunedModels/{name__0:id}/operations/{name__1:id}"),
        ("{tuned_model.name=tunedModels/*}", "/tunedModels/{tuned_model__name__0:id}"),
        ("{parent=tunedModels/*}/permissions", "/tunedModels/{parent__0:id}/permissions"),
    ],
)
def test_a_template_becomes_a_path(template: str, path: str) -> None:
    assert to_path(template) == path


def test_what_the_stars_caught_comes_back_as_a_name() -> None:
    caught = {"name__0": "a", "name__1": "b"}
    assert bind("{name=tunedModels/*/operations/*}:cancel", caught) == {"name": "tunedModels/a/operations/b"}
    assert bind("{name=operations}", {}) == {"name": "operations"}
