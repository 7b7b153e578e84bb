"""The check before a job: one function, behind `overtone check` and behind `datasets:check`.

It is told what it must know of the base as plain values and one function that counts tokens; it opens no file and
knows no protocol. `to_json` is the report as both print it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from overtone.dataset import checks, suspicions
from overtone.dataset.checks import ExampleLimits
from overtone.dataset.estimate import Estimate, SpeedRecord, estimate
from overtone.dataset.examples import Dataset, Example, Problem, ProblemKind
from overtone.dataset.files import Content, DataSource, read_source, sound_rows
from overtone.dataset.statistics import SizeDistribution, Statistics, TokenCount, describe
from overtone.dataset.steps import count_steps
from overtone.errors import InvalidArgument

SURROGATE = re.compile("[\ud800-\udfff]")
Measured = TokenCount | InvalidArgument  # the latter for an example that the template refuses


@dataclass(frozen=True)
class BaseFacts:
    """What a check must know of the base model that is to be tuned."""

    base_id: str
    limits: ExampleLimits
    defaults: Callable[[int], tuple[int, int]]  # epochs and batch size for so many examples
    measure: Callable[[Sequence[Example]], list[Measured]] | None = None  # None: tokens cannot be counted
    template_tokens: int = 0  # of every example, among those measured
    unmeasured: str = ""  # why not, and what to do
    roles: frozenset[str] = frozenset(("user", "assistant", "system"))  # that its template writes
    control_tokens: Sequence[str] = ()  # that its template writes by itself
    control_tokens_in_answers: Sequence[str] = ()  # those that not even an answer may spell
    records: Sequence[SpeedRecord] = ()  # of jobs on this base and this machine


@dataclass(frozen=True)
class CheckReport:
    """What a check has found. Rows of problems are those of `content`, counted from 0."""

    content: Content
    facts: BaseFacts
    problems: tuple[Problem, ...]
    statistics: Statistics | None
    estimate: Estimate | None

    @property
    def is_refused(self) -> bool:
        """Whether a tuning on these rows would be refused."""
        return any(problem.severity == "error" for problem in self.problems)

    def place_of(self, problem: Problem) -> str:
        """Return where in the file a problem is, "" for one of the whole file."""
        return "" if problem.row is None else self.content.rows[problem.row].place


def check_source(
    source: DataSource,
    facts: BaseFacts,
    held_out: DataSource | None = None,
    epoch_count: int | None = None,
    batch_size: int | None = None,
) -> CheckReport:
    """Return everything that is to be known of training data before a job, without one."""
    content = read_source(source)
    found = list(_reading_problems(content))
    rows = list(sound_rows(content))
    numbers = [row for row, _ in rows]
    dataset = Dataset(tuple(example for _, example in rows))
    measured = _measure(dataset, facts)
    problems = [
        *check_examples(dataset, facts, measured),
        *suspect_examples(dataset, facts, [content.rows[row].place for row in numbers]),
        *(_check_held_out(dataset, read_source(held_out)) if held_out else ()),
    ]
    found += [each if each.row is None else replace(each, row=numbers[each.row]) for each in problems]
    counts = _counted(measured)
    statistics = describe(dataset, counts)
    if statistics is not None:
        long_rows = tuple(replace(each, row=numbers[each.row]) for each in statistics.longest)
        statistics = replace(statistics, longest=long_rows)
    planned = _estimate(dataset, counts, facts, epoch_count, batch_size)
    return CheckReport(content, facts, tuple(found), statistics, planned)


def check_examples(
    dataset: Dataset, facts: BaseFacts, measured: Sequence[Measured] | None
) -> Iterator[Problem]:
    """Yield everything for which a tuning on these examples is refused."""
    found = [
        *checks.check_surrogates(dataset),
        *(checks.check_texts(dataset, facts.limits) if dataset.examples else ()),
        *checks.check_turns(dataset),
        *checks.check_roles(dataset, facts.limits.base, facts.roles),
        *checks.check_pairs(dataset),
    ]
    yield from found
    if measured is None:
        return
    told = {problem.row for problem in found}
    results = iter(measured)
    for problem in checks.check_tokens(dataset, facts.limits, lambda example: _total(next(results))):
        if (
            problem.kind != ProblemKind.ROLE or problem.row not in told
        ):  # the template's own words are the last resort
            yield problem


def suspect_examples(dataset: Dataset, facts: BaseFacts, places: Sequence[str]) -> Iterator[Problem]:
    """Yield what may be a mistake in these examples."""
    yield from suspicions.check_swapped(dataset)
    yield from suspicions.check_contradictions(dataset, places)
    yield from suspicions.check_doubles(dataset, places)
    yield from suspicions.check_mojibake(dataset)
    yield from suspicions.check_blanks(dataset)
    yield from suspicions.check_control_tokens(dataset, facts.control_tokens, facts.control_tokens_in_answers)


def to_json(report: CheckReport, max_problems: int | None = None) -> dict[str, Any]:
    """Return a report as JSON; of the problems the first `max_problems`, and the number of all by kind."""
    content = report.content
    counts = suspicions.count_by_kind(report.problems)
    return {
        "name": content.name,
        "format": content.format,
        "encoding": content.encoding,
        "columns": [
            {
                "input": use.text_input,
                "output": use.output,
                "guessed": use.is_guessed,
                "numRows": use.num_rows,
            }
            for use in content.shapes
        ],
        "unusedColumns": list(content.unused),
        "numRows": len(content.rows),
        "baseModel": f"models/{report.facts.base_id}",
        "refused": report.is_refused,
        "problemCounts": [{"kind": str(kind), "count": count} for kind, count in counts.items()],
        "problems": [_problem_json(report, each) for each in report.problems[:max_problems]],
        **({"statistics": _statistics_json(report, report.statistics)} if report.statistics else {}),
        **({"estimate": _estimate_json(report.estimate)} if report.estimate else {}),
        **({"uncounted": report.facts.unmeasured} if report.facts.measure is None else {}),
    }


def _reading_problems(content: Content) -> Iterator[Problem]:
    if content.problem:
        yield Problem(None, "", content.problem, ProblemKind.UNREADABLE)
    elif not content.rows:
        yield Problem(None, "", f"{content.name} holds no examples.", ProblemKind.EMPTY)
    for row in content.rows:
        yield from row.problems


def _check_held_out(dataset: Dataset, content: Content) -> Iterator[Problem]:
    """Yield the rows that are in both, and what of the held-out set could not be compared."""
    rows = list(sound_rows(content))
    num_unread = len(content.rows) - len(rows)
    if content.problem:
        yield Problem(None, "", content.problem, ProblemKind.HELD_OUT)
    elif num_unread or not rows:
        text = f"{content.name} holds {len(rows)} examples; {num_unread} of its rows are none. Check it, too."
        yield Problem(None, "", text, ProblemKind.HELD_OUT)
    places = [f"{content.name}, {content.rows[row].place}" for row, _ in rows]
    yield from suspicions.check_held_out(dataset, Dataset(tuple(example for _, example in rows)), places)


def _measure(dataset: Dataset, facts: BaseFacts) -> list[Measured] | None:
    """Return the tokens of each example; half of a surrogate pair, which has none, is counted as a question mark."""
    if facts.measure is None:
        return None
    return facts.measure([_encodable(example) for example in dataset.examples])


def _encodable(example: Example) -> Example:
    if not any(SURROGATE.search(turn.text) for turn in example.turns if not turn.text.isascii()):
        return example
    return Example(tuple(replace(turn, text=SURROGATE.sub("?", turn.text)) for turn in example.turns))


def _total(measured: Measured) -> int:
    if isinstance(measured, InvalidArgument):
        raise measured
    return measured.total


def _counted(measured: Sequence[Measured] | None) -> list[TokenCount] | None:
    if measured is None:
        return None
    return [each if isinstance(each, TokenCount) else TokenCount(0, 0) for each in measured]


def _estimate(
    dataset: Dataset,
    counts: Sequence[TokenCount] | None,
    facts: BaseFacts,
    epoch_count: int | None,
    batch_size: int | None,
) -> Estimate | None:
    if not dataset.examples:
        return None
    epochs, size = facts.defaults(len(dataset))
    epochs = epoch_count or epochs
    size = batch_size or size
    num_steps = count_steps(len(dataset), epochs, size)
    if counts is None:
        return Estimate(epochs, size, num_steps)
    num_tokens = epochs * sum(count.total for count in counts)
    text_tokens = num_tokens - epochs * len(counts) * facts.template_tokens
    return estimate(Estimate(epochs, size, num_steps, num_tokens), max(1, text_tokens), facts.records)


def _problem_json(report: CheckReport, problem: Problem) -> dict[str, Any]:
    where = {} if problem.row is None else {"row": problem.row, "place": report.place_of(problem)}
    return {
        **where,
        "kind": str(problem.kind),
        "severity": problem.severity,
        "field": problem.field,
        "text": problem.text,
        "fix": problem.fix,
    }


def _statistics_json(report: CheckReport, statistics: Statistics) -> dict[str, Any]:
    return {
        "numExamples": statistics.num_examples,
        "unit": statistics.unit,
        "total": statistics.total,
        "inputs": _histogram_json(statistics.inputs),
        "outputs": _histogram_json(statistics.outputs),
        "trainedShare": round(statistics.trained_share, 4),
        "longest": [
            {"row": each.row, "place": report.content.rows[each.row].place, "size": each.size}
            for each in statistics.longest
        ],
        "numDistinctOutputs": statistics.num_distinct_outputs,
        "labels": [{"text": text, "count": count} for text, count in statistics.labels],
    }


def _histogram_json(histogram: SizeDistribution) -> dict[str, Any]:
    return {
        "smallest": histogram.smallest,
        "median": histogram.median,
        "largest": histogram.largest,
        "bars": [{"limit": limit, "count": count} for limit, count in histogram.bars],
    }


def _estimate_json(planned: Estimate) -> dict[str, Any]:
    known: Mapping[str, Any] = {
        "numTokens": planned.num_tokens,
        "seconds": planned.seconds,
        "lowSeconds": planned.low_s,
        "highSeconds": planned.high_s,
        "peakBytes": planned.peak_bytes,
    }
    return {
        "epochCount": planned.epoch_count,
        "batchSize": planned.batch_size,
        "numSteps": planned.num_steps,
        **{name: value for name, value in known.items() if value is not None},
        "numJobs": planned.num_jobs,
        "device": planned.device,
    }
