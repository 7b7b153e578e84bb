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

KEY_VARIABLES = ("OVERTONE_API_KEY", "GEMINI_API_KEY")  # the first that is set

VERBS = "bind|cancel|check|delete|demo|generate|groups|keys|list|models|serve|set-aside|settings|show|tls|tune|watch"
COMMAND_LINE = re.compile(rf"(?<![\w/.-])overtone (?=(?:{VERBS})\b)")  # in a sentence

F = TypeVar("F", bound=Callable[..., Any])

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for all that the service keeps. [default: $OVERTONE_DATA, else your user data folder]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print the API's answer as it is.")


def program() -> str:
    """Return how this program was started, so that what we print can be pasted: it may not be on the PATH."""
    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return f"{sys.executable} -m overtone"
    return started.name if shutil.which(started.name) == str(started.absolute()) else sys.argv[0]


def as_typed(text: str) -> str:
    """Return a text with its command lines as this program was started: `overtone list`, `.venv/bin/overtone list`."""
    return COMMAND_LINE.sub(lambda _: f"{program()} ", text)


def data_flag(data: Path) -> str:
    """Return what a hint must say for the verbs to find this data folder, "" where they find it by themselves."""
    return "" if data == default_data() else f" --data {shlex.quote(str(data.absolute()))}"


def client_options(command: F) -> F:
    """Add --url and --key, which say where the service is and who is asking."""
    command = click.option(
        "--key",
        envvar=list(KEY_VARIABLES),
        help="API key. [default: $OVERTONE_API_KEY, else $GEMINI_API_KEY]",
    )(command)
    return click.option(
        "--url",
        envvar="OVERTONE_URL",
        help="Where the service is. [default: $OVERTONE_URL, else the one that runs on this machine]",
    )(command)


def load_settings(**flags: Any) -> Settings:
    """Read the settings. Raises OvertoneError for a malformed environment variable."""
    try:
        return Settings.load(**flags)
    except ValueError as error:
        raise OvertoneError(str(error)) from error


def require_consent(yes: bool, question: str) -> None:
    """Ask, unless --yes was given. Raises OvertoneError where there is no terminal to ask on."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise OvertoneError(f"{question} There is no terminal to ask on: say --yes.")
    click.confirm(question, abort=True)
