"""`overtone list`, `show`, `cancel` and `delete`: the tuned models that there are."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from typing import Any

import click

from overtone.cli import completion
from overtone.cli.names import short, tuned_model_name
from overtone.cli.options import client_options, json_option
from overtone.cli.table import format_table

BARS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 60


@click.command("list")
@click.option("--filter", "filter_", help="Words of the name or the description; owner:me, readers:everyone.")
@json_option
@client_options
def list_(filter_: str | None, as_json: bool, url: str | None, key: str | None) -> None:
    """List the tuned models that you may use."""
    from overtone.cli.client import connect

    found = list(connect(url, key).list_tuned_models(filter_=filter_))
    if as_json:
        click.echo(json.dumps({"tunedModels": found}, indent=2, ensure_ascii=False))
    elif not found:
        click.echo("There is no tuned model yet. Make one with: overtone tune FILE")
    else:
        click.echo(format_table(("model", "state", "made", "base", "name"), [_row(each) for each in found]))


@click.command()
@click.argument("model", shell_complete=completion.tuned_models)
@json_option
@client_options
def show(model: str, as_json: bool, url: str | None, key: str | None) -> None:
    """Show one tuned model: its state, its settings, the course of its loss."""
    from overtone.cli.client import connect

    tuned_model = connect(url, key).get(f"/v1beta/{tuned_model_name(model)}")
    if as_json:
        click.echo(json.dumps(tuned_model, indent=2, ensure_ascii=False))
        return
    facts = _facts(tuned_model)
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name:<{width}}  {value}")


@click.command()
@click.argument("model", shell_complete=completion.tuned_models)
@client_options
def cancel(model: str, url: str | None, key: str | None) -> None:
    """Stop a tuning. What it has learned so far stays and can be asked, if it has made a step."""
    from overtone.cli.client import connect

    name = tuned_model_name(model)
    connect(url, key).post(f"/v1beta/{name}:cancel", {})
    click.echo(f"{name} is being stopped.")


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", shell_complete=completion.tuned_models)
@click.option("--yes", is_flag=True, help="Do not ask.")
@client_options
def delete(models: tuple[str, ...], yes: bool, url: str | None, key: str | None) -> None:
    """Delete tuned models for good. One that is still being tuned is stopped."""
    from overtone.cli.client import connect

    client = connect(url, key)
    for model in models:
        name = tuned_model_name(model)
        if yes or not sys.stdin.isatty() or click.confirm(f"Delete {name} and its weights?"):
            client.delete(f"/v1beta/{name}")
            click.echo(f"Deleted {name}.")


def _row(tuned_model: dict[str, Any]) -> tuple[str, ...]:
    return (
        short(tuned_model["name"]),
        tuned_model["state"].lower(),
        tuned_model["createTime"][:16].replace("T", " "),
        _source(tuned_model),
        tuned_model.get("displayName", ""),
    )


def _source(tuned_model: dict[str, Any]) -> str:
    parent = tuned_model.get("tunedModelSource", {}).get("tunedModel")
    return str(parent or tuned_model.get("baseModel", ""))


def _facts(tuned_model: dict[str, Any]) -> dict[str, Any]:
    task = tuned_model.get("tuningTask", {})
    settings = task.get("hyperparameters", {})
    losses = [snapshot.get("meanLoss", 0.0) for snapshot in task.get("snapshots", [])]
    facts = {
        "model": tuned_model["name"],
        "name": tuned_model.get("displayName"),
        "description": tuned_model.get("description"),
        "state": tuned_model["state"].lower(),
        "base": _source(tuned_model),
        "made": tuned_model["createTime"],
        "tuned": _span(task),
        "settings": ", ".join(f"{name} {value}" for name, value in settings.items()),
        "loss": f"{curve(losses)} {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} steps"
        if losses
        else None,
    }
    return {name: value for name, value in facts.items() if value}


def _span(task: dict[str, Any]) -> str | None:
    started, completed = task.get("startTime"), task.get("completeTime")
    return f"{started} to {completed}" if started and completed else started


def curve(values: list[float], width: int = CURVE_WIDTH) -> str:
    """Return values as a row of bars, the means of equal stretches where there are more than fit."""
    stretches = min(width, len(values))
    cuts = [len(values) * n // stretches for n in range(stretches + 1)] if stretches else []
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]
    low, span = min(means, default=0.0), max(means, default=0.0) - min(means, default=0.0)
    return "".join(BARS[round((mean - low) / span * (len(BARS) - 1)) if span else 0] for mean in means)
