"""The engine's counters, and their Prometheus format. No torch, because the API renders them."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from overtone.engine.protocol import Metric, Sample

if TYPE_CHECKING:
    from overtone.engine.call import Call, Candidate
    from overtone.engine.scheduler import Chunk, Scheduler

BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass
class Histogram:
    """A histogram of durations by upper bound; the last bucket has none."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    total_s: float = 0.0

    def observe(self, seconds: float) -> None:
        self.buckets[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    def samples(self) -> Iterator[Sample]:
        """Yield Prometheus' cumulative buckets, sum and count."""
        cumulative = 0
        for bound, number in zip((*BOUNDS_S, "+Inf"), self.buckets, strict=True):
            cumulative += number
            yield Sample(suffix="_bucket", labels={"le": str(bound)}, value=cumulative)
        yield Sample(suffix="_sum", value=self.total_s)
        yield Sample(suffix="_count", value=cumulative)


@dataclass
class Metrics:
    """The step loop's counters. Only its thread writes them; readers may be a step behind."""

    steps: int = 0
    batch_rows: int = 0
    adapter_loads: int = 0
    computed_tokens: Counter[str] = field(default_factory=Counter)  # by tuned model; prompts and answers
    generated_tokens: Counter[str] = field(default_factory=Counter)  # by tuned model
    finished: Counter[str] = field(default_factory=Counter)  # by finish reason
    first_token_s: Histogram = field(default_factory=Histogram)

    def count_step(self, chunks: Iterable[Chunk]) -> None:
        self.steps += 1
        for chunk in chunks:
            self.batch_rows += 1
            self.computed_tokens[chunk.sequence.tuned_model] += chunk.count

    def count_token(self, call: Call) -> None:
        self.generated_tokens[call.tuned_model] += 1
        if not call.first_token_at:
            call.first_token_at = time.monotonic()
            self.first_token_s.observe(call.first_token_at - call.started_at)

    def count_finish(self, call: Call, candidate: Candidate) -> None:
        self.finished[candidate.finish_reason] += 1

    def to_messages(self, scheduler: Scheduler) -> list[Metric]:
        """Return everything as Prometheus families."""
        cache, slots = scheduler.cache, scheduler.slots
        return [
            _metric("steps_total", "counter", "Steps computed.", self.steps),
            _metric("batch_rows_total", "counter", "Sequences in those steps together.", self.batch_rows),
            _metric("adapter_loads_total", "counter", "Adapters read into a slot.", self.adapter_loads),
            _metric("preemptions_total", "counter", "Sequences sent back.", scheduler.num_preempted),
            _by("computed_tokens_total", "Prompts and answers.", "tuned_model", self.computed_tokens),
            _by("generated_tokens_total", "Tokens generated.", "tuned_model", self.generated_tokens),
            _by("finished_total", "Answers finished, by reason.", "reason", self.finished),
            _metric("running", "gauge", "Sequences in the batch.", len(scheduler.running)),
            _metric("waiting", "gauge", "Sequences in the queue.", scheduler.num_waiting),
            _metric("cache_blocks", "gauge", "Blocks of the KV cache.", cache.num_blocks),
            _metric("cache_blocks_used", "gauge", "Blocks in use.", cache.num_used),
            _metric("adapter_slots", "gauge", "Slots for adapters.", slots.num_slots),
            _metric("adapter_slots_loaded", "gauge", "Slots that hold an adapter.", slots.num_loaded),
            Metric(
                name="overtone_engine_time_to_first_token_seconds",
                kind="histogram",
                help="From arrival to the first token.",
                samples=list(self.first_token_s.samples()),
            ),
        ]


def format_metrics(metrics: Iterable[Metric]) -> str:
    """Return Prometheus' text exposition format 0.0.4."""
    lines = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        for sample in metric.samples:
            lines.append(f"{metric.name}{sample.suffix}{_format_labels(sample)} {sample.value:.12g}")
    return "\n".join([*lines, ""])


def _format_labels(sample: Sample) -> str:
    pairs = ",".join(f'{name}="{_escape(value)}"' for name, value in sorted(sample.labels.items()))
    return f"{{{pairs}}}" if pairs else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _metric(name: str, kind: str, text: str, value: float) -> Metric:
    return Metric(name=f"overtone_engine_{name}", kind=kind, help=text, samples=[Sample(value=value)])


def _by(name: str, text: str, label: str, counts: Counter[str]) -> Metric:
    samples = [Sample(labels={label: key}, value=value) for key, value in sorted(counts.copy().items())]
    return Metric(name=f"overtone_engine_{name}", kind="counter", help=text, samples=samples)
