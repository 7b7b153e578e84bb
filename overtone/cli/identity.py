"""`overtone keys` and `overtone groups`: who may ask. They work on the data folder, service or no service."""

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
    """Make API keys, list them, revoke them.

    As long as no key was ever made the service answers this machine only, and every caller is owner@localhost. From
    the first key on, each call needs one.
    """


@keys.command()
@click.option("--user", "email", required=True, help="Email address of the user whose key it is.")
@click.option("--project", default="", help="Project number, for models that are shared with projects.")
@click.option("--take-over", is_flag=True, help="Give the user what was made while the service was open.")
@data_option
def create(email: str, project: str, take_over: bool, data: Path | None) -> None:
    """Make a key and print it, once: only its hash is kept.

    The first key closes the service: from then on each call needs one. What it changes is said on stderr.

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
    """Yield what a new key changes, for people."""
    if was_open:
        yield "From now on every call needs a key; who watches a tuning goes on with OVERTONE_API_KEY set."
    if taken:
        yield f"{email} owns {_models(taken)} now that belonged to {LOCAL_OWNER}."
    if left:
        yield (
            f"{_models(left)} belong{'s' * (left == 1)} to {LOCAL_OWNER}, from the time without keys. To take them "
            f"over: {program()} keys create --user {email} --take-over{flag}"
        )


def _models(count: int) -> str:
    return f"{count} tuned model{'s' * (count != 1)}"


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
            raise OvertoneError(f"There is no key {key_id!r}; see `{program()} keys list`.")
        is_last = not store.keys.exist()
    click.echo(f"Revoked {key_id}.")
    if is_last:
        flag = data_flag(load_settings(data=data).data)
        click.echo(
            f"That was the last key: nobody may call now. Make another with: {program()} keys create --user "
            f"EMAIL{flag}\nOr let this machine's own callers in without one: {program()} keys open{flag}",
            err=True,
        )


@keys.command("open")
@data_option
def open_(data: Path | None) -> None:
    """Let this machine's own callers in without a key again, when the last key is revoked."""
    with _store(data) as store:
        try:
            store.keys.open()
        except ApiError as error:
            raise OvertoneError(str(error)) from error
        hidden = store.permissions.count_owned_by_others(LOCAL_OWNER)
    click.echo(f"The service answers this machine without a key now; every caller is {LOCAL_OWNER}.")
    if hidden:
        click.echo(
            f"{_models(hidden)} of other users stay{'s' * (hidden == 1)} hidden from it; a key of theirs shows them.",
            err=True,
        )


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
    click.echo(f"{', '.join(members)} {'is' if len(members) == 1 else 'are'} in {group} now.")


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
    click.echo(f"{', '.join(members)} {'is' if len(members) == 1 else 'are'} not in {group} any more.")


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
