"""`overtone settings`: every setting with its meaning and its current value."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields

import click

from overtone.cli.options import load_settings
from overtone.cli.table import format_table, table_width, terminal_width
from overtone.config import Settings, hide_password

COMMENT = re.compile(r"^    (\w+): .*?#\s+(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Setting:
    """One field of Settings, as it is shown."""

    variable: str
    default: str
    meaning: str
    value: str


@click.command()
@click.option("--markdown", is_flag=True, help="Print the table of docs/operating.md.")
def settings(markdown: bool) -> None:
    """Show every setting: its variable, its current value, its meaning.

    A flag of `overtone serve` overrides the variable, and the variable overrides the default.
    """
    found = list(list_settings())
    if markdown:
        click.echo(format_markdown(found))
        return
    lines = [("variable", "value", "meaning"), *((each.variable, each.value, each.meaning) for each in found)]
    width = terminal_width()
    if width is None or table_width(lines) <= width:
        click.echo(format_table(lines[0], lines[1:]))
    else:
        click.echo("\n".join(format_narrow(each, width) for each in found))


def list_settings() -> Iterator[Setting]:
    """Yield the settings in their order, each with the comment beside it in config.py as its meaning."""
    meanings = dict(COMMENT.findall(inspect.getsource(Settings)))
    here = load_settings()
    for spec in fields(Settings):
        default = "your user data folder" if spec.default is MISSING else str(spec.default)
        value = hide_password(str(getattr(here, spec.name)))
        yield Setting(f"OVERTONE_{spec.name.upper()}", default, meanings[spec.name], value)


def format_narrow(setting: Setting, width: int) -> str:
    """Return a setting for a terminal too narrow for the table, with the meaning on the next line."""
    margin = " " * 4
    meaning = textwrap.fill(setting.meaning, width, initial_indent=margin, subsequent_indent=margin)
    return f"{setting.variable}={setting.value}\n{meaning}"


def format_markdown(found: list[Setting]) -> str:
    """Return the settings as a Markdown table."""
    rows = [f"| `{each.variable}` | {_code(each.default)} | {each.meaning} |" for each in found]
    return "\n".join(["| variable | default | meaning |", "| --- | --- | --- |", *rows])


def _code(default: str) -> str:
    return default if " " in default or not default else f"`{default}`"
