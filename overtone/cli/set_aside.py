"""`overtone set-aside` and `overtone bind`: files that no tuned model owns, and whose folder this is."""

from __future__ import annotations

from pathlib import Path

import click

from overtone.cli.options import data_option, load_settings, require_consent
from overtone.cli.table import format_table
from overtone.errors import OvertoneError


@click.group("set-aside")
def set_aside() -> None:
    """List or empty what was set aside.

    Files under tuned/ that no tuned model owns are never deleted: the next start of the service moves them to
    tuned/.set-aside, and back when the database knows them again.
    """


@set_aside.command("list")
@data_option
def list_set_aside(data: Path | None) -> None:
    """List the folders that were set aside, with their size and since when."""
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
    """Delete for good what was set aside."""
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

    Each remembers the other, and the service refuses a pair that does not match: a new database over an old
    folder, say. Use this after you have moved the rows to another database on purpose. At the next start, files
    that the database does not know are set aside.
    """
    from overtone.config import hide_password
    from overtone.store.store import bind as bind_both

    settings = load_settings(data=data)
    shown_url = hide_password(settings.database_url)
    require_consent(yes, f"Let {settings.tuned} belong to the database {shown_url} from now on?")
    bind_both(settings.database_url, settings.tuned)
    click.echo(f"{settings.tuned} belongs to {shown_url} now.")
