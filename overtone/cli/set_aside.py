"""`overtone set-aside`: files that no tuned model owns. `overtone bind`: which database a folder belongs to."""

from __future__ import annotations

from pathlib import Path

import click

from overtone.cli.options import data_option, load_settings, require_consent
from overtone.cli.table import format_table
from overtone.errors import OvertoneError


@click.group("set-aside")
def set_aside() -> None:
    """List or delete the folders that were set aside.

    The service never deletes files under tuned/ that no tuned model owns. Its next start moves them to
    tuned/.set-aside, and back when the database has their model again.
    """


@set_aside.command("list")
@data_option
def list_set_aside(data: Path | None) -> None:
    """List the folders that were set aside, with their size and date."""
    from overtone.store import folders
    from overtone.store.artifacts import ArtifactStore

    found = folders.list_set_aside(ArtifactStore(load_settings(data=data).tuned))
    rows = [
        (each.name, f"{each.num_bytes / 1e6:,.1f} MB", f"{each.since:%Y-%m-%d %H:%M} UTC") for each in found
    ]
    click.echo(format_table(("folder", "size", "since"), rows) if rows else "Nothing was set aside.")


@set_aside.command("empty")
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_option
def empty(yes: bool, data: Path | None) -> None:
    """Delete the folders that were set aside, for good."""
    from overtone.store import folders
    from overtone.store.artifacts import ArtifactStore

    artifacts = ArtifactStore(load_settings(data=data).tuned)
    found = folders.list_set_aside(artifacts)
    if not found:
        click.echo("Nothing was set aside.")
        return
    require_consent(yes, f"Delete {len(found)} folders for good?")
    try:
        folders.empty_set_aside(artifacts)
    except OSError as error:
        raise OvertoneError(f"{error.filename} cannot be deleted: {error.strerror}.") from error
    click.echo(f"Deleted {len(found)} folders.")


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_option
def bind(yes: bool, data: Path | None) -> None:
    """Make this data folder and this database belong together.

    Both store the same identity, and the service refuses a pair that does not match, such as a new database with
    an old folder. Use this after you moved the rows to another database on purpose. At the next start, files
    that the database does not know are set aside.
    """
    from overtone.config import hide_password
    from overtone.store.store import bind as bind_both

    settings = load_settings(data=data)
    shown_url = hide_password(settings.database_url)
    require_consent(yes, f"Bind {settings.tuned} to the database {shown_url}?")
    bind_both(settings.database_url, settings.tuned)
    click.echo(f"{settings.tuned} now belongs to {shown_url}.")
