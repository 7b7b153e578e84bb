"""`overtone serve` runs the service until Ctrl-C. `overtone worker` runs one of its processes."""

from __future__ import annotations

import http.client
import os
import shlex
import signal
import socket
import ssl
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from overtone.cli.options import data_flag, data_option, load_settings, program
from overtone.config import Settings, unknown_variables
from overtone.errors import ApiError, OvertoneError, Unavailable
from overtone.lock import Note, hold
from overtone.sockets import bind, bind_pair
from overtone.supervisor import CANNOT_START, Child, Supervisor, command_of, watch_lifeline

if TYPE_CHECKING:
    from overtone.service.residency import Process

PATIENT_CALL_S = 60.0  # how long one call waits for the API to start
RETRY_S = 0.2
TRAINER_DELAY_S = 1.0  # the API and the engine are needed first
PATIENCE_S = {"api": 12.0, "engine": 5.0, "trainer": 20.0}  # time to stop in; processes stop in this order

# OpenMP's threads wait for each other by spinning. With too much of it, two processes on the same cores slow each
# other down twentyfold; with none, a training step takes 1.6 times as long (docs/log.md, 2026-11-22).
PATIENT_THREADS = {"GOMP_SPINCOUNT": "5000"}

READY = """\
Overtone is ready at {url}
Data folder: {data}
  curl                 curl "{url}/v1beta/models?key=KEY"
  google-generativeai  genai.configure(api_key="KEY", transport="rest",
                           client_options={{"api_endpoint": "{url}"}})
  google-genai         export GOOGLE_GEMINI_BASE_URL={url}
                       genai.Client(api_key="KEY")
  gRPC                 {grpc}{trust}
  KEY                  any text, until you create keys:
                       {program} keys create --user EMAIL{flag}{elsewhere}
Ctrl-C stops it."""

TRUST = """
  TLS                  if the certificate is self-signed, clients trust it with
                       curl --cacert {cert}
                       export SSL_CERT_FILE={cert}"""

ELSEWHERE = """
  other terminals      find this service with
                       export OVERTONE_DATA={data}"""


@click.command()
@click.option("--host", help="Address to listen on. [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port; 0 picks a free one. [default: 8080]")
@click.option("--grpc-port", type=int, help="Port for gRPC; -1 for none. [default: the HTTP port + 1]")
@data_option
@click.option("--base", help="Id of the base model that is always loaded. [default: smollm2-135m-instruct]")
@click.option("--tls-cert", help="PEM file of a certificate; both ports then speak TLS. See `overtone tls`.")
@click.option("--tls-key", help="PEM file of the certificate's key.")
@click.option("--verbose", is_flag=True, help="Log more.")
@click.option("--lifeline", type=int, hidden=True)
def serve(verbose: bool, lifeline: int | None, **flags: object) -> None:
    """Run the service until Ctrl-C.

    \b
    overtone serve
    overtone serve --port 9000 --data /srv/overtone
    """
    from overtone.cli import logs

    logs.configure("serve", verbose)
    settings = load_settings(**flags)
    if lifeline is not None:
        watch_lifeline(lifeline, grace_s=sum(PATIENCE_S.values()))
    raise SystemExit(run_service(settings, verbose))


@click.command(hidden=True)
@click.argument("name", type=click.Choice(list(PATIENCE_S)))
@click.option("--lifeline", type=int, required=True)
@click.option("--listener", type=int)
@click.option("--base", help="Another base than the service's own.")
@click.option("--verbose", is_flag=True)
def worker(name: str, lifeline: int, listener: int | None, base: str | None, verbose: bool) -> None:
    """Run one process of the service; the settings come from the environment."""
    from overtone import app
    from overtone.cli import logs

    logs.configure(name, verbose)
    stop = stop_on_signals()
    watch_lifeline(lifeline)
    settings = load_settings(base=base)
    try:
        if name == "api":
            app.run_api(settings, socket.socket(fileno=listener), stop)
        elif name == "engine":
            app.run_engine(settings, stop)
        else:
            app.run_trainer(settings, stop)
    except OvertoneError as error:
        app.log.error("%s", error)
        raise SystemExit(CANNOT_START if name == "api" else 1) from error
    except ApiError as error:  # the database cannot be reached, which passes
        app.log.error("%s", error)
        raise SystemExit(1) from error


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set. No other code of a worker handles signals."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def run_service(settings: Settings, verbose: bool) -> int:
    """Lock the data folder, listen, pull the base if it is missing, supervise until told to stop."""
    for sentence in unknown_variables(os.environ):
        click.echo(f"overtone: {sentence}", err=True)
    _check_certificate(settings)
    with hold(settings.run):
        _check_exposure(settings)
        listen = bind if settings.grpc_port else bind_pair
        listener = listen(settings.host, settings.port)
        settings = replace(settings, port=listener.getsockname()[1])
        pull_if_missing(settings)
        environ = {**PATIENT_THREADS, **os.environ, **settings.to_environ()}
        children = Children(settings.base, _children(listener, verbose), verbose)
        service = Supervisor(children.wanted, environ)
        signal.signal(signal.SIGTERM, lambda *_: service.stop())  # harmless when it is sent twice
        signal.signal(signal.SIGINT, lambda *_: service.interrupt())
        threading.Thread(target=_announce_when_ready, args=(settings,), daemon=True).start()
        with _following_demand(settings, service, children):
            return service.run()


def pull_if_missing(settings: Settings) -> None:
    """Pull the default base if it is missing. Raises OvertoneError if another base is missing."""
    from overtone.bases.registry import Registry
    from overtone.config import DEFAULT_BASE

    registry = Registry(settings.bases, settings.base)
    if registry.has_base(settings.base):
        registry.find_card(settings.base)  # raises OvertoneError when it is damaged
        return
    if settings.base != DEFAULT_BASE:
        here = (
            ", ".join(sorted({card.base_id for card in registry.list_cards() if not card.is_alias})) or "none"
        )
        raise OvertoneError(
            f"The base model {settings.base!r} is not in {settings.bases}, which holds {here}. "
            f"Get it with `{program()} models pull SOURCE --id {settings.base}{data_flag(settings.data)}`."
        )
    from overtone.cli.models import pull_base

    pull_base(settings.bases)


def _check_certificate(settings: Settings) -> None:
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise OvertoneError("--tls-cert and --tls-key must be given together; `overtone tls` makes a pair.")
    if settings.tls_cert:
        try:
            ssl.create_default_context().load_cert_chain(settings.tls_cert, settings.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise OvertoneError(
                f"{settings.tls_cert} and {settings.tls_key} are not a matching certificate and key: {error}."
            ) from error


def _check_exposure(settings: Settings) -> None:
    """Refuse an address that other machines can reach while there is no key. Runs before any download.

    If the database cannot be reached, the API checks again when it can, before it answers anything.
    """
    from overtone.service.access import check_exposure, is_loopback
    from overtone.store.store import Store

    if is_loopback(settings.host):
        return
    try:
        store = Store(settings.database_url, settings.tuned)
    except Unavailable:
        return
    try:
        check_exposure(settings, store)
    except OvertoneError as error:
        raise OvertoneError(f"{error}{data_flag(settings.data)}") from None
    finally:
        store.close()


def _children(listener: socket.socket, verbose: bool) -> list[Child]:
    flags = ["--verbose"] if verbose else []
    fd = listener.fileno()
    api, engine, trainer = (
        Child(name, [*command_of("worker", name), *flags], patience_s)
        for name, patience_s in PATIENCE_S.items()
    )
    api.arguments, api.pass_fds = [*api.arguments, "--listener", str(fd)], (fd,)
    trainer.delay_s = TRAINER_DELAY_S
    return [api, engine, trainer]


class Children:
    """The processes that the service wants: its own, and those of other bases as last published."""

    def __init__(self, own_base: str, own: Sequence[Child], verbose: bool):
        self._own_base = own_base
        self._own = own
        self._verbose = verbose
        self._others: Sequence[Child] = ()

    def wanted(self) -> list[Child]:
        """Return all of them, the service's own first. Never waits."""
        return [*self._own, *self._others]

    def publish(self, processes: Collection[Process]) -> None:
        """Set which processes of other bases are wanted from now on."""
        self._others = [self._child_of(process) for process in sorted(processes)]

    def by_process(self, pids: Mapping[str, int]) -> dict[Process, int]:
        """Return the ids of the running engines and trainers, from the children's ids by name."""
        from overtone.service.residency import ENGINE, TRAINER, Process

        found = {}
        for name, pid in pids.items():
            kind, _, base_id = name.partition(" of ")
            if kind in (ENGINE, TRAINER):
                found[Process(base_id or self._own_base, kind)] = pid
        return found

    def _child_of(self, process: Process) -> Child:
        verb = command_of("worker", process.kind, "--base", process.base_id)
        flags = ["--verbose"] if self._verbose else []
        return Child(f"{process.kind} of {process.base_id}", [*verb, *flags], PATIENCE_S[process.kind])


@contextmanager
def _following_demand(settings: Settings, service: Supervisor, children: Children) -> Iterator[None]:
    """Follow which other bases are wanted, in a thread, because the supervisor must not wait for a database."""
    from overtone import app

    stop = threading.Event()
    arguments = settings, lambda: children.by_process(service.pids()), children.publish, stop
    thread = threading.Thread(target=app.follow_demand, args=arguments, name="demand", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()


def _announce_when_ready(settings: Settings) -> None:
    """Wait until the API answers, then write its address to the note and print it. The socket listens already."""
    while not _answers(settings):
        time.sleep(RETRY_S)  # it died during its start; the supervisor starts it again
    note = make_note(settings)
    note.save(settings.run)
    trust = TRUST.format(cert=note.certificate) if note.certificate else ""
    flag = data_flag(settings.data)
    elsewhere = ELSEWHERE.format(data=shlex.quote(str(settings.data.absolute()))) if flag else ""
    grpc = _describe_grpc(note, flag)
    click.echo(
        READY.format(
            url=note.url,
            data=settings.data,
            grpc=grpc,
            trust=trust,
            program=program(),
            flag=flag,
            elsewhere=elsewhere,
        )
    )


def _answers(settings: Settings) -> bool:
    address = reachable(settings.host), settings.port
    if settings.tls_cert:
        trusting = ssl._create_unverified_context()  # the server is ours
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            *address, timeout=PATIENT_CALL_S, context=trusting
        )
    else:
        connection = http.client.HTTPConnection(*address, timeout=PATIENT_CALL_S)
    try:
        connection.request("GET", "/v1beta/models?pageSize=1")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def make_note(settings: Settings) -> Note:
    """Return the addresses at which this machine reaches a service with these settings."""
    scheme = "https" if settings.tls_cert else "http"
    host = reachable(settings.host)
    host = f"[{host}]" if ":" in host else host
    grpc = "" if settings.grpc_port < 0 else f"{host}:{settings.grpc_port or settings.port + 1}"
    return Note(os.getpid(), f"{scheme}://{host}:{settings.port}", grpc, settings.tls_cert)


def reachable(host: str) -> str:
    """Return the address at which this machine reaches a service that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)


def _describe_grpc(note: Note, flag: str) -> str:
    if not note.grpc:
        return "off"
    if not note.certificate:
        return (
            f"{note.grpc}, without TLS, which google-generativeai needs:\n"
            f"                       {program()} tls{flag}"
        )
    return f"{note.grpc}, with\n                       GRPC_DEFAULT_SSL_ROOTS_FILE_PATH={note.certificate}"
