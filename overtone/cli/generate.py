"""`overtone generate`: ask a model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

import click

from overtone.cli import completion
from overtone.cli.find import find_answering
from overtone.cli.options import client_options, json_option


@click.command()
@click.argument("model", shell_complete=completion.tuned_models)
@click.argument("text")
@click.option(
    "--temperature", type=float, help="0 always picks the most likely token. [default: the model's own]"
)
@click.option("--max-tokens", type=int, help="End the answer after this many tokens.")
@click.option("--stop", multiple=True, help="End the answer before this text; may be given several times.")
@click.option("--seed", type=int, help="The same seed gives the same answer.")
@click.option("--system", help="System instruction, where the base model allows one.")
@json_option
@client_options
def generate(
    model: str,
    text: str,
    temperature: float | None,
    max_tokens: int | None,
    stop: tuple[str, ...],
    seed: int | None,
    system: str | None,
    as_json: bool,
    url: str | None,
    key: str | None,
) -> None:
    """Ask MODEL and print its answer as it arrives.

    MODEL is a tuned model (its id, a unique start of its id, its name, or @latest) or a base model. Write
    models/ before a base model whose name a tuned model has too. TEXT may be - for standard input.

    \b
    overtone generate qa-1x2y3z "A question"
    overtone generate models/smollm2-135m-instruct "A question" --temperature 0
    """
    from overtone.cli.client import connect

    config = {
        "temperature": temperature,
        "maxOutputTokens": max_tokens,
        "stopSequences": list(stop),
        "seed": seed,
    }
    body: dict[str, Any] = {
        "contents": [{"role": "user", "parts": [{"text": sys.stdin.read() if text == "-" else text}]}],
        "generationConfig": {name: value for name, value in config.items() if value not in (None, [])},
    }
    if system:
        body["systemInstruction"] = {"parts": [{"text": system}]}
    client = connect(url, key)
    name = find_answering(client, model)
    if as_json:
        answer = client.post(f"/v1beta/{name}:generateContent", body)
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        _print_as_it_comes(client.stream(f"/v1beta/{name}:streamGenerateContent", body))


def _print_as_it_comes(parts: Iterable[dict[str, Any]]) -> None:
    has_begun = False
    try:
        for part in parts:
            click.echo(answer_text(part), nl=False)
            has_begun = True
    finally:
        if has_begun:
            click.echo()


def answer_text(answer: dict[str, Any]) -> str:
    """Return the text of the first candidate, or "" if there is none."""
    candidates = answer.get("candidates") or [{}]
    parts = candidates[0].get("content", {}).get("parts", [])
    return "".join(part.get("text", "") for part in parts)
