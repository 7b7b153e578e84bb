"""Progress of pulls and tunings: live bars in a terminal, lines in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from overtone.bases.sources import Report
from overtone.cli.client import Away, Client, NotAllowed
from overtone.cli.flags import in_flags
from overtone.cli.names import short
from overtone.cli.options import program
from overtone.cli.state import WAITING
from overtone.errors import OvertoneError

POLL_S, AWAY_POLL_S = 0.25, 1.0
PATIENCE_S = 300.0  # how long to wait for a service that is restarted or updated
LINE_EVERY_S = 2.0  # minimum time between two lines in a log
ROSE = 2.0  # a loss above this multiple of the first step's means that the rate is likely too high
STAGES = {"download": "Downloading", "unpack": "Unpacking", "convert": "Converting"}


@contextmanager
def pull_report(console: Console, base_id: str) -> Iterator[Report]:
    """Show the progress of a pull. Yields the function that the pull reports to."""
    if not console.is_terminal:
        yield _StageLines(console, base_id)
        return
    columns = (TextColumn("{task.description:<12}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                for earlier in tasks.values():
                    progress.update(earlier, completed=progress.tasks[earlier].total)
                tasks[stage] = progress.add_task(STAGES[stage], total=total)
            progress.update(tasks[stage], completed=done)

        yield report


class _StageLines:
    """Prints one line for each stage of a pull."""

    def __init__(self, console: Console, base_id: str):
        self._console, self._base_id, self._stage = console, base_id, ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self._stage = stage
            self._console.print(f"{STAGES[stage]} {self._base_id} ({total / 1e6:.0f} MB)", highlight=False)


class TuningView(Protocol):
    """Shows the state of a tuning job."""

    def show(self, metadata: dict[str, Any]) -> None: ...


def follow(client: Client, operation: dict[str, Any], console: Console | None = None) -> dict[str, Any]:
    """Poll an operation under /v1/ and show its progress until it is done; return the final operation.

    Raises OvertoneError with the operation's reason if it failed or was cancelled.
    """
    console = console or Console(stderr=True)
    is_warned = False
    with _tuning_view(console) as view:
        while True:
            view.show(operation["metadata"])
            warning = "" if is_warned else describe_rise(operation["metadata"])
            if warning:
                console.print(warning, highlight=False)
            is_warned = is_warned or bool(warning)
            if operation.get("done"):
                break
            time.sleep(POLL_S)
            operation = _poll(client, operation, console)
    if "error" in operation:
        reason = in_flags(operation["error"].get("message", ""))
        raise OvertoneError(f"{operation['metadata']['tunedModel']}: {reason}")
    return operation


def _poll(client: Client, operation: dict[str, Any], console: Console) -> dict[str, Any]:
    """Return the operation's current state. While the service does not answer, wait for it."""
    name, model = operation["name"], short(operation["metadata"]["tunedModel"])
    gone_at = time.monotonic()
    is_told = False
    while True:
        try:
            return client.get(f"/v1/{name}")
        except NotAllowed as error:
            raise OvertoneError(
                f"{error} The tuning continues; watch it again: overtone watch {model}"
            ) from error
        except Away as error:
            if time.monotonic() - gone_at > PATIENCE_S:
                raise OvertoneError(
                    f"{error} The tuning continues when the service is back; watch it again: overtone watch {model}"
                ) from error
            if not is_told:
                console.print(
                    "The service does not answer; waiting for it. The tuning continues when it is back."
                )
            is_told = True
            time.sleep(AWAY_POLL_S)


def last_loss(metadata: dict[str, Any]) -> float | None:
    """Return the loss of the latest step, or None before the first."""
    snapshots = metadata.get("snapshots", [])
    return snapshots[-1].get("meanLoss", 0.0) if snapshots else None


def describe_rise(metadata: dict[str, Any]) -> str:
    """Return a warning if the loss is far above that of the first step, else ""."""
    losses = [each.get("meanLoss", 0.0) for each in metadata.get("snapshots", [])]
    if not losses or losses[-1] <= ROSE * losses[0] or losses[-1] < 1.0:
        return ""
    return (
        f"The loss rose from {losses[0]:.3g} to {losses[-1]:.3g}: the learning rate may be too high. To stop it:\n"
        f"  {program()} cancel {short(metadata['tunedModel'])}"
    )


def describe(metadata: dict[str, Any]) -> str:
    """Return a tuning job's progress, `step 12 of 38, loss 0.84`, or what it waits for."""
    steps = metadata.get("completedSteps", 0)
    return f"step {steps} of {metadata['totalSteps']}{_describe_loss(metadata, ', ')}" if steps else WAITING


def _describe_loss(metadata: dict[str, Any], before: str = "") -> str:
    loss = last_loss(metadata)
    return "" if loss is None else f"{before}loss {loss:.3f}"


@contextmanager
def _tuning_view(console: Console) -> Iterator[TuningView]:
    if not console.is_terminal:
        yield _TuningLines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[cyan]{task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield _TuningBar(progress)


class _TuningBar:
    """Shows a live bar with step, loss and time left."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self._task = progress.add_task(WAITING, total=None, loss="")

    def show(self, metadata: dict[str, Any]) -> None:
        steps = metadata.get("completedSteps", 0)
        self._progress.update(
            self._task,
            description="Tuning " if steps else WAITING,
            total=metadata["totalSteps"],
            completed=steps,
            loss=_describe_loss(metadata),
        )


class _TuningLines:
    """Prints a line when something changed, but not too often."""

    def __init__(self, console: Console):
        self._console, self._last, self._shown_at = console, "", 0.0

    def show(self, metadata: dict[str, Any]) -> None:
        line, now = describe(metadata), time.monotonic()
        finished = metadata.get("completedSteps") == metadata["totalSteps"]
        if line != self._last and (finished or now - self._shown_at > LINE_EVERY_S):
            self._console.print(line, highlight=False)
            self._last, self._shown_at = line, now
