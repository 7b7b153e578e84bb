"""`overtone demo`: starts a service of its own, tunes a model and asks it, all over HTTP."""

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
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overtone.cli.generate import answer_text
from overtone.cli.options import data_option, load_settings, program
from overtone.config import DEFAULT_BASE
from overtone.disk import make_private
from overtone.errors import OvertoneError
from overtone.supervisor import command_of

if TYPE_CHECKING:
    from rich.console import Console

    from overtone.cli.client import Client
    from overtone.cli.demo_stories import Story

START_TIMEOUT_S, STOP_TIMEOUT_S = 60.0, 40.0
MAX_ANSWER_TOKENS = 32
ANSWER_CHARS, ANSWER_WIDTH = 48, 30
BASE_SIZE = "93 MB to download, 0.6 GB on the disk"  # of the default base
TERMINATED = 128 + signal.SIGTERM
LOG_CHARS = 8_000  # how much of the service's log is shown after a failure


@click.command()
@click.option("--tutorial", is_flag=True, help="Tune on the Gemini API's tuning tutorial: the next number.")
@data_option
def demo(tutorial: bool, data: Path | None) -> None:
    """Tune a model to sort customers' messages, and show what it learned. Takes about a minute.

    The demo trains on 48 messages and asks 8 others before and after. It runs its own service on a free port
    and stops it at the end. Only the base model stays on the disk, for the next time.
    """
    from rich.console import Console

    from overtone.bases.registry import Registry
    from overtone.cli.client import Client
    from overtone.cli.demo_stories import TUTORIAL, load_support
    from overtone.cli.serve import pull_if_missing

    settings = replace(load_settings(data=data), base=DEFAULT_BASE)
    make_private(settings.data)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # run the clean-up before ending
    story = TUTORIAL if tutorial else load_support()
    console = Console(highlight=False)
    console.print(f"[bold]Overtone[/bold]: {story.title}, on this machine.")
    console.print(f"{len(story.dataset)} examples, about a minute on two cores, no GPU.")
    if not Registry(settings.bases, settings.base).has_base(settings.base):
        console.print(f"It first pulls the base model {settings.base}, once: {BASE_SIZE}.")
    pull_if_missing(settings)
    console.print("Starting a service of its own …")
    with tempfile.TemporaryDirectory(prefix="overtone-demo-") as folder:
        own_data = Path(folder)
        (own_data / "bases").symlink_to(settings.bases)
        with _service(own_data) as url:
            console.print(f"It runs at {url}\n")
            _tell(Client(url), story, console)
    console.print(f"\nThe service has stopped. Start one that stays:\n  [bold]{program()} serve[/bold]")


@contextmanager
def _service(data: Path) -> Iterator[str]:
    """Run `overtone serve` on a free port. Yields its URL when it is ready and stops it at the end."""
    log = data / "serve.log"
    lifeline, held_end = os.pipe()  # if this command is killed, its service ends too
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


def _tell(client: Client, story: Story, console: Console) -> None:
    """Do and print, step by step, what a client of the tuning API does."""
    from overtone.cli.progress import follow

    num_questions = len(story.questions)
    console.print(f"[bold]1[/bold]  List the tuned models: {_count_by_pages(client)} so far.")
    console.print(f"[bold]2[/bold]  Ask the base model {num_questions} questions, untuned:")
    before = _answers(client, story.base, story, console)
    num_examples = len(story.dataset)
    shown = story.dataset.examples[num_examples // 4]
    console.print(
        f"[bold]3[/bold]  Tune it on {num_examples} other examples, such as\n"
        f"   {shown.text_input!r} → {shown.output!r}:"
    )
    started_at = time.monotonic()
    operation = client.create(story.tuned_model())
    name: str = operation["metadata"]["tunedModel"]
    follow(client, operation, console)
    seconds = time.monotonic() - started_at
    console.print(f"[bold]4[/bold]  {name} is {_state(client, name)} after {seconds:.1f} s.")
    console.print(
        f"[bold]5[/bold]  Ask it the same {num_questions} questions, at temperature 0 like the base:"
    )
    after = _answers(client, name, story, console)
    _print_table(console, story, before, after)
    console.print(
        f"   [bold]{_count_right(story, after)} of {num_questions} right[/bold]; the base, which was never told the "
        f"task, {_count_right(story, before)} of {num_questions}.\n"
    )
    client.delete(f"/v1beta/{name}")
    console.print(f"[bold]6[/bold]  Deleted; {_count_by_pages(client)} left.")


def _count_by_pages(client: Client) -> int:
    return sum(1 for _ in client.list_tuned_models(page_size=5))


def _state(client: Client, name: str) -> str:
    state: str = client.get(f"/v1beta/{name}")["state"]
    if state != "ACTIVE":
        raise OvertoneError(f"{name} is {state}, not ACTIVE, although its operation is done.")
    return state


def _answers(client: Client, model: str, story: Story, console: Console) -> list[str]:
    """Ask every question. A terminal shows a running count, a log one line at the end."""
    answers: list[str] = []
    with console.status("") as status:
        for question, _ in story.questions:
            status.update(f"answer {len(answers) + 1} of {len(story.questions)}")
            answers.append(_answer(client, model, question))
    console.print(f"   {len(answers)} answers from {model}")
    return answers


def _answer(client: Client, model: str, question: str) -> str:
    config = {"temperature": 0, "maxOutputTokens": MAX_ANSWER_TOKENS}
    body = {"contents": [{"parts": [{"text": question}]}], "generationConfig": config}
    return answer_text(client.post(f"/v1beta/{model}:generateContent", body)).strip()


def _count_right(story: Story, answers: list[str]) -> int:
    return sum(answer in right for (_, right), answer in zip(story.questions, answers, strict=True))


def _print_table(console: Console, story: Story, before: list[str], after: list[str]) -> None:
    from rich.box import ROUNDED
    from rich.table import Table

    table = Table(box=ROUNDED, title_justify="left")
    table.add_column("question", style="bold", max_width=ANSWER_WIDTH)
    table.add_column("base", style="dim", max_width=ANSWER_WIDTH)
    table.add_column("tuned", max_width=ANSWER_WIDTH)
    for (question, right), base_answer, answer in zip(story.questions, before, after, strict=True):
        said = f"[green]{_clip(answer)} ✓[/green]" if answer in right else f"{_clip(answer)} ✗ {right[0]}"
        table.add_row(question, _clip(base_answer), said)
    console.print(table)


def _clip(answer: str) -> str:
    from rich.markup import escape

    line = " ".join(answer.split())
    return escape(line if len(line) <= ANSWER_CHARS else f"{line[: ANSWER_CHARS - 1]}…")
