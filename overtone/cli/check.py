"""`overtone check`: what is in a file of examples, before a job. Needs no service; the same as `datasets:check`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overtone.cli.options import data_option, load_settings, require_consent
from overtone.cli.table import format_facts, format_table
from overtone.errors import OvertoneError

if TYPE_CHECKING:
    from overtone.config import Settings
    from overtone.dataset.estimate import Estimate
    from overtone.dataset.examples import Problem
    from overtone.dataset.files import Content, ShapeUse
    from overtone.dataset.fixes import Fixed
    from overtone.dataset.report import BaseFacts, CheckReport
    from overtone.dataset.statistics import Statistics

SHOWN_PLACES = 20
SHOWN = 3  # problems of each kind, unless all are wanted
MOST_LABELS = 8
LABEL_CHARS = 24
TITLES = {
    "unreadable": "cannot be read",
    "not_text": "not text",
    "surrogate": "half of a surrogate pair",
    "empty": "empty",
    "too_long": "too long",
    "turn_order": "turns that cannot follow one another",
    "role": "a role that the base does not know",
    "conversation": "conversations",
    "blank": "blank",
    "doubled": "doubled",
    "contradictory": "contradictory",
    "held_out": "in the held-out set too",
    "swapped": "probably swapped",
    "mojibake": "wrong encoding",
    "control_token": "control tokens in a text",
}  # the kinds of problems, as a heading says them

input_option = click.option(
    "--input",
    "input_column",
    metavar="COLUMN",
    help="What is asked: a column, or a template such as '{subject}: {body}'. [default: found by its name]",
)
output_option = click.option(
    "--output",
    "output_column",
    metavar="COLUMN",
    help="What is to be answered: a column or a template. [default: found by its name]",
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@input_option
@output_option
@click.option("--base", help="Base model to be tuned. [default: models/smollm2-135m-instruct]")
@click.option(
    "--held-out",
    type=click.Path(path_type=Path),
    help="A file that is not to be trained on: no row may be in both.",
)
@click.option("--epochs", "epoch_count", type=click.IntRange(1), help="For the estimate. [default: 5]")
@click.option(
    "--batch-size", type=click.IntRange(1), help="For the estimate. [default: from the number of examples]"
)
@click.option(
    "--fix",
    "fixed_file",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Write what can be mended, as JSON lines.",
)
@click.option("--yes", is_flag=True, help="Do not ask before OUT is overwritten.")
@click.option("--all", "show_all", is_flag=True, help="Show every problem, not the first 3 of each kind.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, with every problem.")
@data_option
def check(
    file: Path,
    input_column: str | None,
    output_column: str | None,
    base: str | None,
    held_out: Path | None,
    epoch_count: int | None,
    batch_size: int | None,
    fixed_file: Path | None,
    yes: bool,
    show_all: bool,
    as_json: bool,
    data: Path | None,
) -> None:
    """Check the examples in FILE before tuning on them: what is wrong, what they are like, how long it will take.

    FILE is what `overtone tune` takes. No service need run. The status is 0 when a tuning would be accepted and 1 when
    it would be refused.

    \b
    overtone check support.csv
    overtone check tickets.xlsx --input "{subject}: {body}" --output team
    overtone check support.jsonl --fix mended.jsonl
    """
    from overtone.dataset.columns import Columns
    from overtone.dataset.files import load_source
    from overtone.dataset.fixes import fix
    from overtone.dataset.report import check_source, to_json

    columns = Columns(input_column, output_column)
    source = load_source(file, columns)
    other = load_source(held_out, columns) if held_out else None
    report = check_source(source, local_facts(load_settings(data=data), base), other, epoch_count, batch_size)
    if as_json:
        click.echo(json.dumps(to_json(report), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(report, len(report.problems) if show_all else SHOWN)))
    if fixed_file is not None:
        fixed = fix(report)
        _write(fixed, file, fixed_file, yes)
        num_places = len(report.content.rows) if show_all else SHOWN_PLACES
        click.echo("\n".join(_fix_lines(fixed, report, fixed_file, num_places)), err=as_json)
    if report.is_refused:
        sys.exit(1)


def local_facts(settings: Settings, base: str | None) -> BaseFacts:
    """Return what is known of a base on this machine. Without its files all but tokens can be checked."""
    from overtone.bases.example_tokens import base_facts
    from overtone.bases.registry import Card, Registry
    from overtone.store.speeds import load_speeds_here

    base_id = (base or settings.base).removeprefix("models/")
    if "/" in base_id:
        raise OvertoneError(
            f"{base} is no base model; say which one it was tuned on, such as models/{settings.base}."
        )
    registry = Registry(settings.bases, settings.base)
    card = registry.find_card(base_id) or Card(base_id, base_id, "", base_id=base_id)
    records = load_speeds_here(settings.data, card.base_id)
    if registry.has_base(card.base_id):
        return base_facts(card, registry.load_chat(card.base_id), records)
    return base_facts(
        card,
        None,
        records,
        f"Tokens are not counted: the base model {card.base_id} is not on this machine. "
        f"Get it with: overtone models pull{'' if card.base_id == settings.base else f' {card.base_id}'}",
    )


def describe_content(content: Content) -> str:
    """Return what a file is: `JSON lines, UTF-8, 48 rows`."""
    parts = [content.format, content.encoding, _count_rows(len(content.rows)) if content.rows else ""]
    return ", ".join(filter(None, parts))


def _count_rows(number: int) -> str:
    return f"{number:,} row{'s' * (number != 1)}"


def describe_shape(use: ShapeUse) -> str:
    """Return which columns became what: `input 'message', output 'category' (guessed)`."""
    if not use.text_input:
        return f"conversations in {use.output!r}"
    guessed = " (guessed by their names)" if use.is_guessed else ""
    return f"input {use.text_input!r}, output {use.output!r}{guessed}"


def describe_problem(report: CheckReport, problem: Problem) -> str:
    """Return a problem as a sentence: `line 3: output is empty; there would be nothing to learn.`"""
    place = report.place_of(problem)
    sentence = f"{problem.field} {problem.text}" if problem.field else problem.text
    if problem.row is None and not problem.text[:1].isupper():
        return f"the file {sentence}" if not sentence.startswith(report.content.name) else sentence
    return f"{place}: {sentence}" if place else sentence


def summarise(report: CheckReport, severity: str, shown: int) -> Iterator[str]:
    """Yield the problems of one severity, grouped by kind, of each kind the first ones."""
    groups: dict[str, list[Problem]] = {}
    for problem in report.problems:
        if problem.severity == severity:
            groups.setdefault(problem.kind, []).append(problem)
    for kind, problems in groups.items():
        yield f"  {TITLES[kind]}: {len(problems):,}"
        yield from (f"    {describe_problem(report, problem)}" for problem in problems[:shown])
        if len(problems) > shown:
            yield f"    and {len(problems) - shown:,} more"
        fix = next((problem.fix for problem in problems if problem.fix), "")
        if fix:
            yield f"    fix: {fix}"


def _lines(report: CheckReport, shown: int) -> Iterator[str]:
    content = report.content
    yield f"{content.name}: {describe_content(content)}".rstrip(": ")
    for use in content.shapes:
        many = f", {_count_rows(use.num_rows)}" if len(content.shapes) > 1 else ""
        yield f"{describe_shape(use)}{many}"
    if content.unused:
        yield f"not used: {', '.join(map(repr, content.unused))}"
    yield from _problem_lines(report, shown)
    if report.statistics is not None:
        yield from ("", *_statistics_lines(report.statistics, content))
    if report.estimate is not None:
        yield from ("", *_estimate_lines(report, report.estimate))


def _problem_lines(report: CheckReport, shown: int) -> Iterator[str]:
    errors = list(summarise(report, "error", shown))
    warnings = list(summarise(report, "warning", shown))
    if errors:
        yield from ("", "A tuning would be refused for", *errors)
    if warnings:
        yield from ("", "These may be mistakes; a tuning would be accepted", *warnings)
    if not errors and not warnings:
        yield "No problems found."


def _statistics_lines(statistics: Statistics, content: Content) -> Iterator[str]:
    limits = sorted({limit for each in (statistics.inputs, statistics.outputs) for limit, _ in each.bars})
    limits = [1 << power for power in range(limits[0].bit_length() - 1, limits[-1].bit_length())]
    rows = []
    for name, sizes in (("inputs", statistics.inputs), ("outputs", statistics.outputs)):
        counts = dict(sizes.bars)
        rows.append((name, f"{sizes.median:,}", *(f"{counts.get(limit, 0):,}" for limit in limits)))
    headings = (statistics.unit, "median", *(f"≤ {limit:,}" for limit in limits))
    yield format_table(headings, rows)
    longest = ", ".join(f"{content.rows[each.row].place} ({each.size:,})" for each in statistics.longest)
    facts = {
        "examples": f"{statistics.num_examples:,}, {statistics.total:,} {statistics.unit}",
        "trained": f"{statistics.trained_share:.0%} of them; the rest is read",
        "longest": longest,
        "outputs": f"{statistics.num_distinct_outputs:,} different ones",
        "labels": _describe_labels(statistics),
    }
    yield format_facts({name: text for name, text in facts.items() if text})


def _describe_labels(statistics: Statistics) -> str:
    """Return the classes of a classification, "" of any other dataset."""
    shown = [f"{_short(text)} {count:,}" for text, count in statistics.labels[:MOST_LABELS]]
    more = len(statistics.labels) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") + (" (a classification)" if shown else "")


def _short(text: str) -> str:
    return text if len(text) <= LABEL_CHARS else f"{text[: LABEL_CHARS - 1]}…"


def _estimate_lines(report: CheckReport, planned: Estimate) -> Iterator[str]:
    epochs = f"{planned.epoch_count} epoch{'s' * (planned.epoch_count != 1)}"
    steps = f"{planned.num_steps:,} step{'s' * (planned.num_steps != 1)}"
    tokens = f", {planned.num_tokens:,} tokens" if planned.num_tokens is not None else ""
    yield f"Tuning models/{report.facts.base_id}: {steps} of {planned.batch_size} in {epochs}{tokens}."
    if report.facts.measure is None:
        yield report.facts.unmeasured
    elif planned.seconds is None:
        yield "How long it takes is not known until a first job has been tuned on this machine."
    else:
        yield _describe_cost(planned)


def _describe_cost(planned: Estimate) -> str:
    """Return time and memory, and by what they are known."""
    jobs = f"{planned.num_jobs} job{'s' * (planned.num_jobs != 1)} here ({planned.device})"
    about = f"About {describe_seconds(planned.seconds or 0.0)}"
    memory = f"{(planned.peak_bytes or 0) / 1e9:.1f} GB of memory, by {jobs}."
    if planned.low_s is None or planned.high_s is None:
        return f"{about} and {memory} How far off that is, more jobs will show."
    low, high = describe_seconds(planned.low_s), describe_seconds(planned.high_s)
    return f"{about}, {low} to {high} as far as earlier estimates were off, and {memory}"


def describe_seconds(seconds: float) -> str:
    """Return a time for people: `9 s`, `2.5 min`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _write(fixed: Fixed, file: Path, out: Path, yes: bool) -> None:
    from overtone.dataset.fixes import format_examples

    if out.suffix.lower() not in (".jsonl", ".json"):
        raise OvertoneError(f"{out} would hold JSON lines; give it a name that ends in .jsonl.")
    if out.exists():
        if file.exists() and out.samefile(file):
            raise OvertoneError(f"{out} is the file that is checked; name another one.")
        require_consent(yes, f"Overwrite {out}?")
    out.write_text(format_examples(fixed.examples), encoding="utf-8")


def _fix_lines(fixed: Fixed, report: CheckReport, out: Path, shown: int) -> Iterator[str]:
    """Say what was written, which rows were mended, and which were left out for what."""
    places = [row.place for row in report.content.rows]
    num_mended, num_left_out = len(fixed.mended), len(fixed.left_out)
    yield f"\nWrote {len(fixed.examples):,} examples to {out}: {num_mended:,} mended, {num_left_out:,} left out."
    if fixed.mended:
        yield f"  mended: {_list_places([places[row] for row in fixed.mended], shown)}"
    left_out: dict[str, list[str]] = {}
    for problem in fixed.left_out:
        if problem.row is not None:
            left_out.setdefault(problem.kind, []).append(places[problem.row])
    for kind, found in left_out.items():
        yield f"  left out, {TITLES[kind]}: {_list_places(found, shown)}"


def _list_places(places: Sequence[str], shown: int) -> str:
    more = f" and {len(places) - shown:,} more (--all lists them)" if len(places) > shown else ""
    return ", ".join(places[:shown]) + more
