"""`overtone demo`: the published tuning tutorial, through HTTP alone, on a service of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overtone.cli.generate import answer_text
from overtone.cli.options import data_option, load_settings, program
from overtone.errors import OvertoneError
from overtone.supervisor import command_of

if TYPE_CHECKING:
    from rich.console import Console

    from overtone.cli.client import Client

BASE = "models/gemini-1.5-flash-001-tuning"
EXAMPLES = (
    ("1", "2"),
    ("3", "4"),
    ("-3", "-2"),
    ("twenty two", "twenty three"),
    ("two hundred", "two hundred one"),
    ("ninety nine", "one hundred"),
    ("8", "9"),
    ("-98", "-97"),
    ("1,000", "1,001"),
    ("10,100,000", "10,100,001"),
    ("thirteen", "fourteen"),
    ("eighty", "eighty one"),
    ("one", "two"),
    ("three", "four"),
    ("seven", "eight"),
)
PROMPTS = (  # none of them is among the examples; with what counts as right
    ("LXIII", {"LXIV"}),
    ("5", {"6"}),
    ("forty two", {"forty three"}),
    ("999", {"1000", "1,000"}),
    ("nineteen", {"twenty"}),
    ("-7", {"-6"}),
)
HYPERPARAMETERS = {"batch_size": 2, "learning_rate": 0.001, "epoch_count": 5}
START_TIMEOUT_S, STOP_TIMEOUT_S = 60.0, 40.0
MAX_ANSWER_TOKENS = 32
ANSWER_CHARS, ANSWER_WIDTH = 72, 40
TERMINATED = 128 + signal.SIGTERM
LOG_CHARS = 8_000  # of the service's log, when the story ends badly


@click.command()
@data_option
def demo(data: Path | None) -> None:
    """Tune a model to count, and see what it learned. Takes about a minute.

    Starts a service of its own on a free port, does through HTTP what the Gemini API's tuning tutorial
    does, and stops what it started. Only the base model stays, for the next time.
    """
    from rich.console import Console

    from overtone.cli.client import Client
    from overtone.cli.serve import pull_if_missing

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that what was made is cleared away
    settings = load_settings(data=data)
    console = Console(highlight=False)
    console.print("[bold]Overtone[/bold]: the Gemini API's tuning tutorial, on this machine.\n")
    pull_if_missing(settings)
    with tempfile.TemporaryDirectory(prefix="overtone-demo-") as folder:
        own_data = Path(folder)
        (own_data / "bases").symlink_to(settings.bases)
        with _service(own_data) as url:
            console.print(f"A service of its own runs at {url}\n")
            _tell(Client(url), console)
    console.print(f"\nThe service has stopped. Start one that stays: [bold]{program()} serve[/bold]")


@contextmanager
def _service(data: Path) -> Iterator[str]:
    """Run `overtone serve` on a free port; yields its URL once it is ready, and stops it at the end."""
    log = data / "serve.log"
    lifeline, held_end = os.pipe()  # should this command be killed, its service goes with it
    command = [*command_of("serve"), "--port", "0", "--data", str(data), "--lifeline", str(lifeline)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, start_new_session=True, pass_fds=(lifeline,)
        )
    try:
        yield _wait_for_url(process, data / "run" / "serve.json")
    except OvertoneError as error:
        raise OvertoneError(f"{error}\nThe service's log:\n{_read(log)}") from error
    finally:
        os.close(held_end)
        process.wait(timeout=STOP_TIMEOUT_S)
        os.close(lifeline)


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-LOG_CHARS:]


def _wait_for_url(process: subprocess.Popen[bytes], note: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if note.is_file():
            url: str = json.loads(note.read_text(encoding="utf-8"))["url"]
            return url
        time.sleep(0.05)
    raise OvertoneError("The service did not start.")


def _tell(client: Client, console: Console) -> None:
    """Do what the tutorial does, step by step, and say so."""
    from overtone.cli.progress import follow

    console.print(f"[bold]1[/bold]  List the tuned models: {_count_by_pages(client)} so far.")
    before = _answers(client, BASE)
    console.print(
        f"[bold]2[/bold]  Create one from {len(EXAMPLES)} pairs, such as 'twenty two' → 'twenty three'."
    )
    started_at = time.monotonic()
    operation = client.create(_tuned_model())
    name: str = operation["metadata"]["tunedModel"]
    follow(client, operation, console)
    seconds = time.monotonic() - started_at
    console.print(f"[bold]3[/bold]  {name} is {_state(client, name)} after {seconds:.1f} s.")
    after = _answers(client, name)
    console.print("[bold]4[/bold]  Ask both, at temperature 0:\n")
    _print_table(console, before, after)
    client.delete(f"/v1beta/{name}")
    console.print(f"[bold]5[/bold]  Deleted; {_count_by_pages(client)} left.")


def _tuned_model() -> dict[str, object]:
    """The tutorial's own request, in its own spelling."""
    examples = [{"text_input": text_input, "output": output} for text_input, output in EXAMPLES]
    return {
        "display_name": "number generator model",
        "base_model": BASE,
        "tuning_task": {
            "hyperparameters": HYPERPARAMETERS,
            "training_data": {"examples": {"examples": examples}},
        },
    }


def _count_by_pages(client: Client) -> int:
    return sum(1 for _ in client.list_tuned_models(page_size=5))


def _state(client: Client, name: str) -> str:
    state: str = client.get(f"/v1beta/{name}")["state"]
    if state != "ACTIVE":
        raise OvertoneError(f"{name} is {state}, not ACTIVE, although its operation is done.")
    return state


def _answers(client: Client, model: str) -> list[str]:
    return [_answer(client, model, prompt) for prompt, _ in PROMPTS]


def _answer(client: Client, model: str, prompt: str) -> str:
    config = {"temperature": 0, "maxOutputTokens": MAX_ANSWER_TOKENS}
    body = {"contents": [{"parts": [{"text": prompt}]}], "generationConfig": config}
    return answer_text(client.post(f"/v1beta/{model}:generateContent", body)).strip()


def _print_table(console: Console, before: list[str], after: list[str]) -> None:
    from rich.box import ROUNDED
    from rich.table import Table

    table = Table(box=ROUNDED, title_justify="left")
    table.add_column("prompt", style="bold", no_wrap=True)
    table.add_column("untuned base", style="dim", max_width=ANSWER_WIDTH)
    table.add_column("tuned", max_width=ANSWER_WIDTH)
    for (prompt, wanted), base_answer, answer in zip(PROMPTS, before, after, strict=True):
        right = answer in wanted
        table.add_row(
            prompt, _clip(base_answer), f"[green]{_clip(answer)} ✓[/green]" if right else _clip(answer)
        )
    console.print(table)


def _clip(answer: str) -> str:
    from rich.markup import escape

    line = " ".join(answer.split())
    return escape(line if len(line) <= ANSWER_CHARS else f"{line[: ANSWER_CHARS - 1]}…")
