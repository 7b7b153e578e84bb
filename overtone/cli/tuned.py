"""`overtone list`, `show`, `watch`, `cancel` and `delete`: work with tuned models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import click

from overtone.cli import completion
from overtone.cli.find import did_you_mean, find_tuned_model
from overtone.cli.names import short, tuned_model_name
from overtone.cli.options import as_typed, client_options, json_option, program, require_consent
from overtone.cli.state import describe_ended, describe_state
from overtone.cli.table import format_facts, format_table
from overtone.errors import OvertoneError

if TYPE_CHECKING:
    from overtone.cli.client import Client

BARS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 40


@click.command("list")
@click.option("--filter", "filter_", help="Words in the name or description; owner:me, readers:everyone.")
@json_option
@client_options
def list_(filter_: str | None, as_json: bool, url: str | None, key: str | None) -> None:
    """List the tuned models that you may use."""
    from overtone.cli.client import connect

    client = connect(url, key)
    found = list(client.list_tuned_models(filter_=filter_))
    if as_json:
        click.echo(json.dumps({"tunedModels": found}, indent=2, ensure_ascii=False))
    elif not found:
        click.echo(as_typed(_none_found(filter_, key)))
    else:
        operations = client.operations()
        rows = [_row(each, operations.get(each["name"])) for each in found]
        click.echo(format_table(("model", "state", "made (UTC)", "base", "name"), rows, droppable=["base"]))


def _none_found(filter_: str | None, key: str | None) -> str:
    if filter_:
        return f"No tuned model matches {filter_!r}."
    if key:
        return "This key can see no tuned model. Make one with: overtone tune FILE"
    return "There is no tuned model yet. Make one with: overtone tune FILE"


@click.command()
@click.argument("model", shell_complete=completion.tuned_models)
@json_option
@client_options
def show(model: str, as_json: bool, url: str | None, key: str | None) -> None:
    """Show one tuned model: its state with reason or progress, its hyperparameters, its loss curve.

    MODEL is its id, a unique start of its id, its name, or @latest.
    """
    from overtone.cli.client import connect

    client = connect(url, key)
    tuned_model = find_tuned_model(client, model)
    if as_json:
        click.echo(json.dumps(tuned_model, indent=2, ensure_ascii=False))
        return
    if "snapshots" not in tuned_model.get("tuningTask", {}):  # it came from a list, which omits the losses
        tuned_model = client.get(f"/v1beta/{tuned_model['name']}")
    facts = _facts(tuned_model, client.operation_of(tuned_model["name"]))
    click.echo(format_facts(facts))


@click.command()
@click.argument("model", shell_complete=completion.tuned_models)
@client_options
def cancel(model: str, url: str | None, key: str | None) -> None:
    """Stop a tuning job. If it has finished a step, what it learned so far is kept and can be asked."""
    from overtone.cli.client import connect

    client = connect(url, key)
    name = find_tuned_model(client, model)["name"]
    operation = client.operation_of(name)
    ended = describe_ended(operation) if operation else ""
    if ended:
        click.echo(f"{name} {ended}; there is nothing to stop.")
        return
    client.post(f"/v1beta/{name}:cancel", {})
    click.echo(f"{name} is being stopped.")


@click.command()
@click.argument("model", required=False, shell_complete=completion.tuned_models)
@client_options
def watch(model: str | None, url: str | None, key: str | None) -> None:
    """Watch a tuning job, from any terminal and as often as you like. Default: the newest unfinished one.

    Exits with status 0 if the model is ready, and 1 if its tuning failed or was cancelled.
    """
    from overtone.cli.client import connect
    from overtone.cli.progress import follow

    client = connect(url, key)
    name = find_tuned_model(client, model)["name"] if model else _newest_in_tuning(client)
    operation = client.operation_of(name)
    if operation is None:
        raise OvertoneError(f"{name} has no operation to watch.")
    with leaving_is_fine(name):
        follow(client, operation)
    click.echo(f"{name} is ready. Ask it:\n  {program()} generate {short(name)} 'your text'")


def _newest_in_tuning(client: Client) -> str:
    waiting = [each for each in client.list_tuned_models() if each["state"] == "CREATING"]
    if not waiting:
        raise OvertoneError("Nothing is being tuned. See all tuned models: overtone list")
    return str(max(waiting, key=lambda each: str(each["createTime"]))["name"])


@contextmanager
def leaving_is_fine(name: str) -> Iterator[None]:
    """Print a hint on Ctrl-C: the tuning runs in the service, not in this command."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(
            f"\nThe tuning of {name} continues. Watch it again, or stop it:\n"
            f"  {program()} watch {short(name)}\n  {program()} cancel {short(name)}"
        )
        raise


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", shell_complete=completion.tuned_models)
@click.option("--yes", is_flag=True, help="Do not ask.")
@client_options
def delete(models: tuple[str, ...], yes: bool, url: str | None, key: str | None) -> None:
    """Delete tuned models for good, by their full ids. Tuning jobs that still run are stopped.

    If one of the models does not exist, none is deleted. Without a terminal, --yes is required.
    """
    from overtone.cli.client import NotThere, connect

    client = connect(url, key)
    names = [tuned_model_name(model) for model in dict.fromkeys(models)]
    for name in names:
        try:
            client.get(f"/v1beta/{name}")
        except NotThere as error:
            hint = did_you_mean(name, list(client.list_tuned_models()))
            raise OvertoneError(f"{error} Nothing was deleted.{hint}") from None
    what = names[0] if len(names) == 1 else f"{len(names)} tuned models ({', '.join(map(short, names))})"
    require_consent(yes, f"Delete {what} with weights and examples?")
    for name in names:
        client.delete(f"/v1beta/{name}")
        click.echo(f"Deleted {name}.")


def _row(tuned_model: dict[str, Any], operation: dict[str, Any] | None) -> tuple[str, ...]:
    return (
        short(tuned_model["name"]),
        describe_state(tuned_model, operation),
        tuned_model["createTime"][:16].replace("T", " "),
        _source(tuned_model),
        tuned_model.get("displayName", ""),
    )


def _source(tuned_model: dict[str, Any]) -> str:
    parent = tuned_model.get("tunedModelSource", {}).get("tunedModel")
    return str(parent or tuned_model.get("baseModel", ""))


def _facts(tuned_model: dict[str, Any], operation: dict[str, Any] | None) -> dict[str, str]:
    task = tuned_model.get("tuningTask", {})
    settings = task.get("hyperparameters", {})
    losses = [snapshot.get("meanLoss", 0.0) for snapshot in task.get("snapshots", [])]
    facts: dict[str, str | None] = {
        "model": tuned_model["name"],
        "name": tuned_model.get("displayName"),
        "description": tuned_model.get("description"),
        "state": describe_state(tuned_model, operation),
        "base": _source(tuned_model),
        "made": _moment(tuned_model["createTime"]),
        "tuned": _span(task),
        "settings": ", ".join(f"{name} {value}" for name, value in settings.items()),
        "loss": f"{curve(losses)} {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} step{'s' * (len(losses) != 1)}"
        if losses
        else None,
    }
    return {name: value for name, value in facts.items() if value}


def _span(task: dict[str, Any]) -> str | None:
    started, completed = task.get("startTime"), task.get("completeTime")
    if started is None:
        return None
    return f"{_moment(started)} to {_moment(completed)}" if completed else f"since {_moment(started)}"


def _moment(text: str) -> str:
    """Return an API timestamp as `2026-01-02 03:04:05 UTC`."""
    return f"{text[:19].replace('T', ' ')} UTC"


def curve(values: list[float], width: int = CURVE_WIDTH) -> str:
    """Return values as a row of bars; more than `width` values are averaged over equal stretches."""
    stretches = min(width, len(values))
    cuts = [len(values) * n // stretches for n in range(stretches + 1)] if stretches else []
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]
    low, span = min(means, default=0.0), max(means, default=0.0) - min(means, default=0.0)
    return "".join(BARS[round((mean - low) / span * (len(BARS) - 1)) if span else 0] for mean in means)
