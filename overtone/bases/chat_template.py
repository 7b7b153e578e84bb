"""Compiles chat templates as transformers does, in jinja2's sandbox, because a template is untrusted code."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from overtone.errors import OvertoneError


class GenerationTag(Extension):
    """`{% generation %} … {% endgeneration %}` marks answers for trainers; the content is rendered unchanged."""

    tags = {"generation"}  # noqa: RUF012  jinja2 declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(
            line
        )


def compile_chat_template(source: str, today: datetime) -> Template:
    """Compile a chat template. Raises OvertoneError if it has a syntax error.

    A template that prints the date always prints `today`. If the date changed, the prompt would differ from the one
    that was trained.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = today.strftime
    try:
        return environment.from_string(source)
    except TemplateError as error:
        raise OvertoneError(f"The chat template of the base model is damaged: {error}.") from error


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)  # jinja2's own would escape HTML


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)
