"""`overtone tune`: sends a file of examples, then shows the progress."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from overtone.cli.find import find_answering
from overtone.cli.names import short
from overtone.cli.options import client_options, load_settings, program
from overtone.cli.tuned import leaving_is_fine

if TYPE_CHECKING:
    from overtone.cli.client import Client

MAX_NAME_CHARS = 40
HIGH_LEARNING_RATE = 0.01


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--input", "input_column", metavar="COLUMN", help="Column of the inputs. [default: text_input]")
@click.option("--output", "output_column", metavar="COLUMN", help="Column of the outputs. [default: output]")
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

    FILE is JSON lines, CSV or TSV with the columns text_input and output (or those that you name), or a JSON file
    in the tuning API's own form. - is standard input.

    \b
    overtone tune support.jsonl
    overtone tune support.csv --name "support" --epochs 3
    overtone tune course.csv --input "Birth Date" --output "Zodiac Sign"
    overtone tune more.jsonl --base tunedModels/support-1x2y3z
    """
    from overtone.cli.client import connect, to_training_data
    from overtone.cli.progress import follow
    from overtone.dataset.doubts import describe_doubts
    from overtone.dataset.files import Columns, read_examples

    client = connect(url, key)
    dataset = read_examples(file, Columns(input_column, output_column))
    for doubt in describe_doubts(dataset):
        click.echo(doubt, err=True)
    tuning_task = {
        "training_data": to_training_data(dataset),
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
    operation = client.create(tuned_model, tuned_model_id)
    name = operation["metadata"]["tunedModel"]
    if not wait:
        click.echo(f"{name} is being tuned. Watch it:\n  {program()} watch {short(name)}")
        return
    with leaving_is_fine(name):
        follow(client, operation)
    click.echo(f"{name} is ready. Ask it:\n  {program()} generate {short(name)} 'your text'")


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
