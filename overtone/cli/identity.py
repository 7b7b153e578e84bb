"""`overtone keys` and `overtone groups`: who may call. They use the database directly; no service need run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overtone.cli.options import data_flag, data_option, load_settings, program
from overtone.cli.table import format_table
from overtone.config import LOCAL_OWNER
from overtone.disk import make_private
from overtone.domain.sharing import is_email
from overtone.errors import ApiError, OvertoneError

if TYPE_CHECKING:
    from overtone.store.store import Store


@click.group()
def keys() -> None:
    """Create API keys, list them, revoke them.

    Before the first key is created, the service answers this machine only, and every caller is owner@localhost.
    From the first key on, every call needs a key.
    """


@keys.command()
@click.option("--user", "email", required=True, help="Email address of the key's user.")
@click.option("--project", default="", help="Project number, for models that are shared with projects.")
@click.option("--take-over", is_flag=True, help="Give the user the models that were created without a key.")
@data_option
def create(email: str, project: str, take_over: bool, data: Path | None) -> None:
    """Create a key and print it. It is shown once: only its hash is stored.

    The first key closes the service: from then on every call needs a key. Stderr says what the new key changes.

    \b
    export OVERTONE_API_KEY=$(overtone keys create --user me@example.com --take-over)
    """
    email = _require_email(email).lower()
    if project and not project.isdecimal():
        raise OvertoneError(f"--project is {project!r}; it must be a project number, digits only.")
    with _store(data) as store:
        was_open = not store.keys.are_needed()
        click.echo(store.keys.create(email, project))
        taken = store.permissions.take_over(LOCAL_OWNER, email) if take_over else 0
        left = store.permissions.count_owned(LOCAL_OWNER)
    for sentence in _changes(email, was_open, taken, left, data_flag(load_settings(data=data).data)):
        click.echo(sentence, err=True)


def _changes(email: str, was_open: bool, taken: int, left: int, flag: str) -> Iterator[str]:
    """Yield sentences that say what a new key changes."""
    if was_open:
        yield "From now on every call needs a key. To keep watching a tuning job, set OVERTONE_API_KEY."
    if taken:
        yield f"{email} now owns {_models(taken)} that belonged to {LOCAL_OWNER}."
    if left:
        yield (
            f"{_models(left)} created without a key belong{'s' * (left == 1)} to {LOCAL_OWNER}. To take over: "
            f"{program()} keys create --user {email} --take-over{flag}"
        )


def _models(count: int) -> str:
    return f"{count} tuned model{'s' * (count != 1)}"


@keys.command("list")
@data_option
def list_keys(data: Path | None) -> None:
    """List the keys with their users. The keys themselves are not stored."""
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
            raise OvertoneError(f"There is no key {key_id!r}; see `{program()} keys list`.")
        is_last = not store.keys.exist()
    click.echo(f"Revoked {key_id}.")
    if is_last:
        flag = data_flag(load_settings(data=data).data)
        click.echo(
            f"That was the last key: nobody can call now. Create another with: {program()} keys create --user "
            f"EMAIL{flag}\nOr let callers on this machine in without a key: {program()} keys open{flag}",
            err=True,
        )


@keys.command("open")
@data_option
def open_(data: Path | None) -> None:
    """Let callers on this machine in without a key again, after the last key was revoked."""
    with _store(data) as store:
        try:
            store.keys.open()
        except ApiError as error:
            raise OvertoneError(str(error)) from error
        hidden = store.permissions.count_owned_by_others(LOCAL_OWNER)
    click.echo(f"The service now answers this machine without a key; every caller is {LOCAL_OWNER}.")
    if hidden:
        click.echo(
            f"{_models(hidden)} of other users stay{'s' * (hidden == 1)} hidden from {LOCAL_OWNER}; "
            "use a key of the model's user to see them.",
            err=True,
        )


@click.group()
def groups() -> None:
    """Put users into groups. A model that is shared with a group is shared with its members."""


@groups.command()
@click.argument("group")
@click.argument("members", nargs=-1, required=True, metavar="MEMBER...")
@data_option
def add(group: str, members: tuple[str, ...], data: Path | None) -> None:
    """Put each MEMBER into GROUP. All are email addresses."""
    for email in (group, *members):
        _require_email(email)
    with _store(data) as store:
        for member in members:
            store.groups.add(group, member)
    click.echo(f"{', '.join(members)} {'is' if len(members) == 1 else 'are'} now in {group}.")


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
    click.echo(f"{', '.join(members)} {'is' if len(members) == 1 else 'are'} no longer in {group}.")


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
    make_private(settings.data)
    store = Store(settings.database_url, settings.tuned)
    try:
        yield store
    finally:
        store.close()


def _require_email(text: str) -> str:
    if not is_email(text):
        raise OvertoneError(f"{text!r} is not an email address.")
    return text
