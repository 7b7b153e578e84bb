"""`overtone serve`: the service, until Ctrl-C. `overtone worker`: one process of it, for the supervisor."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from overtone.cli.options import data_option, load_settings
from overtone.config import Settings
from overtone.errors import OvertoneError
from overtone.supervisor import CANNOT_START, Child, Supervisor, bind, command_of, hold, watch_lifeline

READY_TIMEOUT_S = 60.0
RETRY_S = 0.2
PATIENCE_S = {"api": 12.0, "engine": 5.0, "trainer": 20.0}  # in the order in which they are stopped

# Engine and trainer share the cores. OpenMP's threads wait for one another by spinning unless told to sleep, and
# two processes that spin on the same cores slow each other down twenty times (docs/log.md, 2026-11-22).
PATIENT_THREADS = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}

READY = """\
Overtone is ready at {url}; it keeps everything in {data}
  curl                 curl "{url}/v1beta/models?key=any"
  google-generativeai  genai.configure(api_key="any", transport="rest",
                           client_options={{"api_endpoint": "{url}"}})
  google-genai         GOOGLE_GEMINI_BASE_URL={url}, or
                       genai.Client(api_key="any", http_options={{"base_url": "{url}"}})
Ctrl-C stops it."""


@click.command()
@click.option("--host", help="Address to listen on. [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port; 0 picks a free one. [default: 8080]")
@data_option
@click.option("--base", help="Id of the base model to tune and serve. [default: smollm2-135m-instruct]")
@click.option("--verbose", is_flag=True, help="Log more.")
@click.option("--lifeline", type=int, hidden=True)
def serve(
    host: str | None,
    port: int | None,
    data: Path | None,
    base: str | None,
    verbose: bool,
    lifeline: int | None,
) -> None:
    """Run the service until Ctrl-C.

    \b
    overtone serve
    overtone serve --port 9000 --data /srv/overtone
    """
    from overtone.cli import logs

    logs.configure("serve", verbose)
    settings = load_settings(host=host, port=port, data=data, base=base)
    if lifeline is not None:
        watch_lifeline(lifeline, grace_s=sum(PATIENCE_S.values()))
    raise SystemExit(run_service(settings, verbose))


@click.command(hidden=True)
@click.argument("name", type=click.Choice(list(PATIENCE_S)))
@click.option("--lifeline", type=int, required=True)
@click.option("--listener", type=int)
@click.option("--verbose", is_flag=True)
def worker(name: str, lifeline: int, listener: int | None, verbose: bool) -> None:
    """Run one process of the service; the settings come from the environment."""
    from overtone import app
    from overtone.cli import logs

    logs.configure(name, verbose)
    watch_lifeline(lifeline)
    settings = load_settings()
    try:
        if name == "api":
            app.run_api(settings, socket.socket(fileno=listener))
        elif name == "engine":
            app.run_engine(settings)
        else:
            app.run_trainer(settings)
    except OvertoneError as error:
        app.log.error("%s", error)
        raise SystemExit(CANNOT_START if name == "api" else 1) from error


def run_service(settings: Settings, verbose: bool) -> int:
    """Hold the data folder, listen, pull the base if it is missing, and supervise until told to stop."""
    with hold(settings.run) as note_url:
        listener = bind(settings.host, settings.port)
        pull_if_missing(settings)
        port = listener.getsockname()[1]
        children = Supervisor(_children(listener, verbose), _environ(settings, port))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: children.stop())
        announce = partial(_announce, settings, port, note_url)
        threading.Thread(target=_when_ready, args=(settings.host, port, announce), daemon=True).start()
        return children.run()


def pull_if_missing(settings: Settings) -> None:
    """Pull the default base when it is not here. Raises OvertoneError when another base is not."""
    from overtone.config import DEFAULT_BASE
    from overtone.model.registry import Registry

    if Registry(settings.bases, settings.base).has_base(settings.base):
        return
    if settings.base != DEFAULT_BASE:
        raise OvertoneError(
            f"The base model {settings.base!r} is not in {settings.bases}; "
            "get it with `overtone models pull`."
        )
    from overtone.cli.models import pull_base

    pull_base(settings.bases)


def _children(listener: socket.socket, verbose: bool) -> list[Child]:
    flags = ["--verbose"] if verbose else []
    fd = listener.fileno()
    extras = {"api": (["--listener", str(fd)], (fd,))}
    return [
        Child(name, [*command_of("worker", name), *extra, *flags], patience_s, pass_fds)
        for name, patience_s in PATIENCE_S.items()
        for extra, pass_fds in [extras.get(name, ([], ()))]
    ]


def _environ(settings: Settings, port: int) -> dict[str, str]:
    return {**PATIENT_THREADS, **os.environ, **replace(settings, port=port).to_environ()}


def _when_ready(host: str, port: int, announce: Callable[[], None]) -> None:
    """Call `announce` once the API answers. The socket listens already, so one request waits for it."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(reachable(host), port, timeout=READY_TIMEOUT_S)
        try:
            connection.request("GET", "/v1beta/models?pageSize=1")
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            time.sleep(RETRY_S)  # it went down while it started; the supervisor starts it again
            continue
        finally:
            connection.close()
        announce()
        return


def reachable(host: str) -> str:
    """Return an address at which this machine reaches a service that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)


def format_url(host: str, port: int) -> str:
    address = reachable(host)
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def _announce(settings: Settings, port: int, note_url: Callable[[str], None]) -> None:
    url = format_url(settings.host, port)
    note_url(url)
    click.echo(READY.format(url=url, data=settings.data))
    sys.stdout.flush()
