"""The command line: `serve` runs the service; most other verbs are ordinary clients of its HTTP API.

Slow imports stand inside the functions that need them, so `overtone --help` answers in a fifth of a second.
"""

from __future__ import annotations

import os
import sys

import click

from overtone import __version__
from overtone.cli.check import check
from overtone.cli.demo import demo
from overtone.cli.generate import generate
from overtone.cli.identity import groups, keys
from overtone.cli.models import models
from overtone.cli.options import as_typed
from overtone.cli.serve import serve, worker
from overtone.cli.set_aside import bind, set_aside
from overtone.cli.settings import settings
from overtone.cli.tls import tls
from overtone.cli.tune import tune
from overtone.cli.tuned import cancel, delete, list_, show, watch
from overtone.errors import ApiError, OvertoneError

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="overtone")
def cli() -> None:
    """Tune open models through the Gemini API, on your own machine.

    \b
    overtone demo                            the whole story in a minute
    overtone serve                           run the service
    overtone tune examples.jsonl --name qa   tune a model on your data
    overtone generate qa-1x2y3z "A question" ask it
    """


for command in (
    serve,
    demo,
    check,
    tune,
    generate,
    list_,
    show,
    watch,
    cancel,
    delete,
    models,
    keys,
    groups,
    tls,
    settings,
    set_aside,
    bind,
    worker,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line. A failure prints one sentence on stderr and exits with status 1."""
    os.umask(0o077)  # the files hold users' data: nobody else may read them
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except (OvertoneError, ApiError) as error:
        click.echo(f"overtone: {as_typed(str(error))}", err=True)
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"overtone: {where}{error.strerror or error}.", err=True)
        sys.exit(1)
