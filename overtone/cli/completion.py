"""Shell completion of the names of tuned models."""

from __future__ import annotations

import click

from overtone.cli.names import short
from overtone.errors import OvertoneError


def tuned_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the tuned models whose names start with `incomplete`; none if the service does not answer."""
    from overtone.cli.client import connect

    try:
        found = connect(context.params.get("url"), context.params.get("key")).list_tuned_models()
        names = [short(tuned_model["name"]) for tuned_model in found]
    except OvertoneError:
        return []
    return [name for name in names if name.startswith(short(incomplete))]
