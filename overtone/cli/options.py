"""Options that several verbs share."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from overtone.config import Settings, default_data
from overtone.errors import OvertoneError

KEY_VARIABLES = ("OVERTONE_API_KEY", "GEMINI_API_KEY")  # the first one that is set is used

VERBS = "bind|cancel|check|delete|demo|generate|groups|keys|list|models|serve|set-aside|settings|show|tls|tune|watch"
COMMAND_LINE = re.compile(
    rf"(?<![\w/.-])(?<!-m )overtone (?=(?:{VERBS})\b)"
)  # in a sentence, unless `program` wrote it

F = TypeVar("F", bound=Callable[..., Any])

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder in which the service keeps its data. [default: $OVERTONE_DATA, else your user data folder]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print the API's JSON answer.")


def program() -> str:
    """Return how this program was started, so that printed commands can be pasted: it may not be on the PATH."""
    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return f"{sys.executable} -m overtone"
    return started.name if shutil.which(started.name) == str(started.absolute()) else sys.argv[0]


def as_typed(text: str) -> str:
    """Return the text with `overtone VERB` written as this program was started, e.g. `.venv/bin/overtone list`."""
    return COMMAND_LINE.sub(lambda _: f"{program()} ", text)


def data_flag(data: Path) -> str:
    """Return the --data option that a printed command needs, or "" for the default folder."""
    return "" if data == default_data() else f" --data {shlex.quote(str(data.absolute()))}"


def client_options(command: F) -> F:
    """Add --url (the service's address) and --key (the caller's API key)."""
    command = click.option(
        "--key",
        envvar=list(KEY_VARIABLES),
        help="API key. [default: $OVERTONE_API_KEY, else $GEMINI_API_KEY]",
    )(command)
    return click.option(
        "--url",
        envvar="OVERTONE_URL",
        help="Address of the service. [default: $OVERTONE_URL, else the service on this machine]",
    )(command)


def load_settings(**flags: Any) -> Settings:
    """Read the settings. Raises OvertoneError for a malformed environment variable."""
    try:
        return Settings.load(**flags)
    except ValueError as error:
        raise OvertoneError(str(error)) from error


def require_consent(yes: bool, question: str) -> None:
    """Ask for confirmation, unless --yes was given. Raises OvertoneError without a terminal."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise OvertoneError(f"{question} There is no terminal for the answer; pass --yes to confirm.")
    click.confirm(question, abort=True)
