"""`overtone keys` and `overtone groups`: who may ask. They work on the data folder, service or no service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overtone.cli.options import data_option, load_settings
from overtone.cli.table import format_table
from overtone.errors import OvertoneError

if TYPE_CHECKING:
    from overtone.store.store import Store


@click.group()
def keys() -> None:
    """Make API keys, list them, revoke them.

    Without any key the service answers this machine only, and every caller owns everything. From the first
    key on, each call needs one.
    """


@keys.command()
@click.option("--user", "email", required=True, help="Email address of the user whose key it is.")
@click.option("--project", default="", help="Project number, for models that are shared with projects.")
@data_option
def create(email: str, project: str, data: Path | None) -> None:
    """Make a key and print it, once: only its hash is kept.

    \b
    export GEMINI_API_KEY=$(overtone keys create --user me@example.com)
    """
    _require_email(email)
    if project and not project.isdecimal():
        raise OvertoneError(f"--project is {project!r}; it must be a project number, digits only.")
    with _store(data) as store:
        click.echo(store.keys.create(email, project))


@keys.command("list")
@data_option
def list_keys(data: Path | None) -> None:
    """List the keys: whose they are, not what they are."""
    with _store(data) as store:
        rows = [
            (key.id, key.email_address, key.project, f"{key.created_at:%Y-%m-%d %H:%M}")
            for key in store.keys.list()
        ]
    click.echo(format_table(("id", "user", "project", "made"), rows) if rows else "There are no keys.")


@keys.command()
@click.argument("key_id")
@data_option
def revoke(key_id: str, data: Path | None) -> None:
    """Revoke the key with this id; it stops working at once."""
    with _store(data) as store:
        if not store.keys.revoke(key_id):
            raise OvertoneError(f"There is no key {key_id!r}; see `overtone keys list`.")
    click.echo(f"Revoked {key_id}.")


@click.group()
def groups() -> None:
    """Put users into groups: a model that is shared with a group is shared with its members."""


@groups.command()
@click.argument("group")
@click.argument("members", nargs=-1, required=True, metavar="MEMBER...")
@data_option
def add(group: str, members: tuple[str, ...], data: Path | None) -> None:
    """Put each MEMBER into GROUP; all are email addresses."""
    for email in (group, *members):
        _require_email(email)
    with _store(data) as store:
        for member in members:
            store.groups.add(group, member)


@groups.command()
@click.argument("group")
@click.argument("members", nargs=-1, required=True, metavar="MEMBER...")
@data_option
def remove(group: str, members: tuple[str, ...], data: Path | None) -> None:
    """Take each MEMBER out of GROUP."""
    with _store(data) as store:
        missing = [member for member in members if not store.groups.remove(group, member)]
    if missing:
        raise OvertoneError(f"Not in {group}: {', '.join(missing)}.")


@groups.command("list")
@data_option
def list_groups(data: Path | None) -> None:
    """List who is in which group."""
    with _store(data) as store:
        rows = store.groups.list()
    click.echo(format_table(("group", "member"), rows) if rows else "There are no groups.")


@contextmanager
def _store(data: Path | None) -> Iterator[Store]:
    from overtone.store.store import Store

    settings = load_settings(data=data)
    settings.data.mkdir(parents=True, exist_ok=True)
    store = Store(settings.database_url, settings.tuned)
    try:
        yield store
    finally:
        store.close()


def _require_email(text: str) -> None:
    name, at, domain = text.partition("@")
    if not (name and at and domain) or any(character.isspace() for character in text):
        raise OvertoneError(f"{text!r} is not an email address.")
