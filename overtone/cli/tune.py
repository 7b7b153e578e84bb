"""`overtone tune`: sends a file of examples, then shows the progress."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from overtone.cli.check import describe_problem, describe_shape, input_option, output_option, summarise
from overtone.cli.find import find_answering
from overtone.cli.names import short
from overtone.cli.options import client_options, load_settings, program
from overtone.cli.tuned import leaving_is_fine
from overtone.errors import OvertoneError

if TYPE_CHECKING:
    from overtone.cli.client import Client
    from overtone.dataset.files import DataSource
    from overtone.dataset.report import CheckReport

MAX_NAME_CHARS = 40
HIGH_LEARNING_RATE = 0.01


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@input_option
@output_option
@click.option(
    "--base", help="Base model, or a tuned model to continue from. [default: models/smollm2-135m-instruct]"
)
@click.option("--name", "display_name", help="Display name, up to 40 characters. [default: the file's name]")
@click.option("--id", "tuned_model_id", help="Id of the new model. [default: made from the name]")
@click.option("--description", help="What the model is for.")
@click.option("--epochs", "epoch_count", type=int, help="Passes over the examples. [default: 5]")
@click.option("--batch-size", type=int, help="Examples per step. [default: from the number of examples]")
@click.option("--learning-rate", type=float, help="[default: from the number of examples]")
@click.option(
    "--wait/--no-wait", default=True, help="Wait until the model is ready, or return at once. [default: wait]"
)
@client_options
def tune(
    file: Path,
    input_column: str | None,
    output_column: str | None,
    base: str | None,
    display_name: str | None,
    tuned_model_id: str | None,
    description: str | None,
    epoch_count: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    wait: bool,
    url: str | None,
    key: str | None,
) -> None:
    """Tune a model on the examples in FILE.

    FILE is JSON lines, a JSON document, CSV, TSV or Excel; its columns are found by their names, or named. - is
    standard input, in JSON. See what is in it first: overtone check FILE

    \b
    overtone tune support.jsonl
    overtone tune support.csv --name "support" --epochs 3
    overtone tune course.csv --input "Birth Date" --output "Zodiac Sign"
    overtone tune tickets.xlsx --input "{subject}: {body}" --output team
    overtone tune more.jsonl --base tunedModels/support-1x2y3z
    """
    from overtone.cli.client import connect, to_training_data
    from overtone.cli.progress import follow
    from overtone.dataset.columns import Columns
    from overtone.dataset.files import load_source, require_examples

    client = connect(url, key)
    report = _checked(load_source(file, Columns(input_column, output_column)))
    tuning_task = {
        "training_data": to_training_data(require_examples(report.content)),
        "hyperparameters": _given(
            epoch_count=epoch_count, batch_size=batch_size, learning_rate=learning_rate
        ),
    }
    tuned_model = _given(
        display_name=_name_after(file) if display_name is None else display_name,
        description=description,
        tuning_task=tuning_task,
        **_source(client, base or f"models/{load_settings().base}"),
    )
    if learning_rate is not None and learning_rate > HIGH_LEARNING_RATE:
        click.echo(
            f"A learning rate of {learning_rate:g} is high; 0.001 is common. Watch the loss.", err=True
        )
    with _placed(report):
        operation = client.create(tuned_model, tuned_model_id)
    name = operation["metadata"]["tunedModel"]
    if not wait:
        click.echo(f"{name} is being tuned. Watch it:\n  {program()} watch {short(name)}")
        return
    with leaving_is_fine(name):
        follow(client, operation)
    click.echo(f"{name} is ready. Ask it:\n  {program()} generate {short(name)} 'your text'")


def _checked(source: DataSource) -> CheckReport:
    """Return what is in a file that holds only pairs; say on stderr what was taken for what, and what may be a mistake.

    Raises OvertoneError for the first row that cannot be sent. Lengths are the service's to check, and what only a
    base knows.
    """
    from overtone.dataset.checks import ExampleLimits
    from overtone.dataset.report import BaseFacts, check_source

    report = check_source(source, BaseFacts("", ExampleLimits("", 0), lambda num_examples: (1, 1)))
    refused = next((problem for problem in report.problems if problem.severity == "error"), None)
    if refused is not None:
        more = sum(problem.severity == "error" for problem in report.problems) - 1
        others = f" There are {more:,} problems more." if more else ""
        if refused.row is None:
            raise OvertoneError(f"{refused.text}{others}")
        see = f"See all of them: overtone check {shlex.quote(source.name)}"
        raise OvertoneError(f"{source.name}, {describe_problem(report, refused)}{others} {see}")
    for line in (*_assumptions(report), *summarise(report, "warning", shown=1)):
        click.echo(line, err=True)
    return report


@contextmanager
def _placed(report: CheckReport) -> Iterator[None]:
    """Add to the service's refusal of an example where that stands in the file."""
    try:
        yield
    except OvertoneError as error:
        found = re.search(r"examples\[(\d+)\]", str(error))
        if found is None or int(found[1]) >= len(report.content.rows):
            raise
        place = report.content.rows[int(found[1])].place
        raise type(error)(f"{error} That is {place} of {report.content.name}.") from error


def _assumptions(report: CheckReport) -> Iterator[str]:
    """Yield what was concluded from the file alone: an encoding that it does not name, columns by their names."""
    content = report.content
    if not content.encoding.startswith("UTF-8") and content.encoding:
        yield f"{content.name} is read as {content.encoding}."
    for use in content.shapes:
        if use.is_guessed:
            yield f"{content.name}: {describe_shape(use)}."


def _name_after(file: Path) -> str | None:
    return None if str(file) == "-" else file.stem[:MAX_NAME_CHARS]


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _source(client: Client, base: str) -> dict[str, Any]:
    """Return the field that names the source: a base model, or a tuned model by any of its names."""
    if base.startswith("models/"):
        return {"base_model": base}
    name = find_answering(client, base)
    if name.startswith("tunedModels/"):
        return {"tuned_model_source": {"tuned_model": name}}
    return {"base_model": name}
