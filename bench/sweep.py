"""Which hyperparameters a tuning should have where the client does not say.

    nice python -m bench.sweep --base DATA/bases/smollm2-135m-instruct --out sweep.jsonl
        [--rounds 2] [--kind NAME …] [--size N …]

Tunes on every data set of bench/data/kinds.py, in a small and a large size, and watches the mean loss per
output token of what is held out: with a constant rate, a run of eight epochs answers for all smaller numbers
too. The first round is a grid; each later one tries the neighbours of the recipe that, so far, falls least
behind the best on any kind. Runs go through the base together, and all go to their end: a held-out loss that
has risen may fall again.

A finished run is a line of JSON in the file, and a run that stands there is not repeated. The tables at the
end compare the best of each data set with what our defaults reach, and name the best common recipe.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import statistics
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path

import torch

from bench.data.kinds import KINDS
from overtone.bases.chat import Chat
from overtone.bases.registry import Card
from overtone.dataset.examples import Dataset
from overtone.dataset.steps import count_steps
from overtone.model.lora import LoraWeights
from overtone.train.data import BatchOrder, Document, encode_examples
from overtone.train.evaluate import mean_loss
from overtone.train.loop import max_tokens, run_pass
from overtone.train.packing import common_prefix
from overtone.train.training_base import TrainingBase
from overtone.train.tuning import Recipe, Tuning

RATES = {16: (2e-4, 5e-4, 1e-3, 2e-3), 128: (2e-4, 5e-4, 1e-3)}  # by the number of examples
BATCHES = {16: (4, 16), 128: (16,)}  # every size is a multiple of them: epochs end where batches end
EPOCHS = {16: 8, 128: 5}
SIZES = tuple(RATES)
MAX_BATCH = 16
COMPANY = 8  # runs at a time; each takes 80 MB at rank 16
WHOLE_BATCHES = 1 << 30  # tokens


@dataclass(frozen=True, order=True)
class Choice:
    """What a default has to say; `epoch_count` comes last because a run answers for smaller ones too."""

    learning_rate: float
    batch_size: int
    rank: int = Recipe.rank
    alpha: float = Recipe.alpha
    decay: float = Recipe.decay
    epoch_count: int = 0

    def __str__(self) -> str:
        decay = f" decay {self.decay:g}" if self.decay else ""
        return (
            f"rate {self.learning_rate:.2g} batch {self.batch_size} rank {self.rank} alpha {self.alpha:g}"
            f"{decay} epochs {self.epoch_count}"
        )

    def neighbours(self) -> Iterator[Choice]:
        """Yield what differs from this in one respect."""
        for factor in (2**-0.5, 2**0.5):
            yield replace(self, learning_rate=float(f"{self.learning_rate * factor:.2g}"))
        for batch_size in (self.batch_size // 2, self.batch_size * 2):
            if 2 <= batch_size <= MAX_BATCH:
                yield replace(self, batch_size=batch_size)
        yield replace(self, rank=48 - self.rank)  # 16 or 32, with the alpha as it is
        yield replace(self, alpha=self.alpha / 2)
        yield replace(self, decay=1.0 - self.decay)


@dataclass(frozen=True, order=True)
class Trial:
    """One run: a choice on a data set."""

    kind: str
    num_examples: int
    choice: Choice
    seed: int = 1

    @property
    def num_steps(self) -> int:
        return count_steps(self.num_examples, self.choice.epoch_count, self.choice.batch_size)

    def covers(self, other: Trial) -> bool:
        """Whether this run answers for the other one: the same, or with a constant rate for longer."""
        cut = replace(self, choice=replace(self.choice, epoch_count=other.choice.epoch_count))
        longer = self.choice.epoch_count >= other.choice.epoch_count
        return self == other or (cut == other and longer and not self.choice.decay)


@dataclass(frozen=True)
class DataSet:
    """What is tuned on, and what is held out, laid out for one pass."""

    documents: Sequence[Document]
    held_out: list[Document]

    @classmethod
    def make(cls, chat: Chat, kind: str, num_examples: int) -> DataSet:
        pairs, held_out = KINDS[kind]()
        documents = encode_examples(chat, Dataset.of_pairs(pairs[:num_examples]).examples)
        return cls(documents, encode_examples(chat, Dataset.of_pairs(held_out).examples))

    def batch_tokens(self, batch_size: int) -> float:
        """Return about how many tokens a batch has when it is packed."""
        shared = common_prefix(self.documents)
        own = statistics.mean(len(document.ids) - shared for document in self.documents)
        return shared + batch_size * own

    def epoch_tokens(self, batch_size: int) -> float:
        """Return about what an epoch costs, with the look at what is held out: a forward pass only."""
        num_steps = len(self.documents) / batch_size
        held_out = sum(len(document.ids) for document in self.held_out)
        return num_steps * self.batch_tokens(batch_size) + held_out / 2


@dataclass
class Run:
    """A trial under way."""

    trial: Trial
    data: DataSet
    tuning: Tuning
    losses: list[float] = field(default_factory=list)  # held out, after each epoch

    @property
    def batch_tokens(self) -> float:
        return self.data.batch_tokens(self.trial.choice.batch_size)


class Results:
    """The finished runs, kept in a file."""

    def __init__(self, path: Path):
        self._path = path
        self.losses: dict[Trial, list[float]] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            fields = json.loads(line)
            losses = fields.pop("losses")
            self.losses[Trial(**fields | {"choice": Choice(**fields["choice"])})] = losses

    def add(self, trial: Trial, losses: list[float]) -> None:
        self.losses[trial] = losses
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(trial) | {"losses": losses}) + "\n")

    def among(self, trials: Iterable[Trial]) -> Results:
        """Return these trials' results only: whoever repeats a round must not know of later ones."""
        part = copy.copy(self)
        part.losses = {
            run: losses for run, losses in self.losses.items() if any(run.covers(trial) for trial in trials)
        }
        return part

    def answers(self, kind: str, num_examples: int) -> dict[Choice, float]:
        """Return the held-out loss of every choice that was run on a data set, the mean over its seeds.

        A run with a constant rate answers for every number of epochs up to its own.
        """
        found: dict[Choice, list[float]] = {}
        for trial, losses in self.losses.items():
            if (trial.kind, trial.num_examples) != (kind, num_examples):
                continue
            for epoch_count, loss in enumerate(losses, start=1):
                if not trial.choice.decay or epoch_count == trial.choice.epoch_count:
                    found.setdefault(replace(trial.choice, epoch_count=epoch_count), []).append(loss)
        return {choice: statistics.mean(losses) for choice, losses in found.items()}

    def common(self, kinds: Sequence[str], num_examples: int) -> list[tuple[float, Choice]]:
        """Return the choices that were run on all kinds, the most even first.

        Each stands behind the most that it is worse than the best, on any kind, as a ratio.
        """
        answers = [self.answers(kind, num_examples) for kind in kinds]
        best = [min(of_kind.values()) for of_kind in answers]
        everywhere = set.intersection(*map(set, answers))
        return sorted(
            (max(of_kind[choice] / least for of_kind, least in zip(answers, best, strict=True)), choice)
            for choice in everywhere
        )


class Sweep:
    """The base, the data sets and the results."""

    def __init__(self, base: Path, results: Results, kinds: Sequence[str], sizes: Sequence[int]):
        self.kinds = kinds
        self.sizes = sizes
        self.results = results
        self._card = Card.load(base)
        self._model = TrainingBase.load(base, torch.device("cpu"))
        chat = Chat(base)
        self._data = {key: DataSet.make(chat, *key) for key in product(kinds, sizes)}
        self._wanted: set[Trial] = set()  # in all rounds so far

    def defaults(self, num_examples: int) -> Choice:
        given = self._card.hyperparameters(num_examples)
        return Choice(given.learning_rate, given.batch_size, epoch_count=given.epoch_count)

    def base_loss(self, kind: str, num_examples: int) -> float:
        """Return the held-out loss of the base itself."""
        untrained = LoraWeights(self._model.decoder.config, 1, 1.0)
        return mean_loss(self._model, untrained, self._data[kind, num_examples].held_out)

    def first_round(self, num_examples: int) -> list[Choice]:
        grid = product(RATES[num_examples], BATCHES[num_examples])
        choices = [Choice(*point, epoch_count=EPOCHS[num_examples]) for point in grid]
        return [*choices, self.defaults(num_examples)]

    def next_round(self, num_examples: int) -> list[Choice]:
        """Return the neighbours of the best common choice, for an epoch more."""
        _, best = self.results.among(self._wanted).common(self.kinds, num_examples)[0]
        epoch_count = min(best.epoch_count + 1, EPOCHS[num_examples])
        return [replace(choice, epoch_count=epoch_count) for choice in best.neighbours()]

    def run(self, name: str, trials: Sequence[Trial]) -> None:
        """Run the trials that the results lack, several at a time, those with most steps first."""
        self._wanted |= set(trials)
        waiting = deque(sorted(self._missing(trials), key=lambda trial: (-trial.num_steps, trial)))
        progress = RoundProgress(name, {trial: self._cost(trial) for trial in waiting})
        live: deque[Run] = deque()
        while waiting or live:
            while waiting and len(live) < COMPANY:
                live.append(self._start(waiting.popleft()))
            for run in self._pass(live):
                self.results.add(run.trial, run.losses)
                progress.report(run)

    def _missing(self, trials: Iterable[Trial]) -> set[Trial]:
        """Return the trials for which neither a finished run answers nor another of them."""
        wanted = set(trials)
        return {
            trial
            for trial in wanted
            if not any(run.covers(trial) for run in self.results.losses)
            and not any(other.covers(trial) for other in wanted - {trial})
        }

    def _start(self, trial: Trial) -> Run:
        choice = trial.choice
        data = self._data[trial.kind, trial.num_examples]
        order = BatchOrder(trial.num_examples, choice.epoch_count, choice.batch_size, trial.seed)
        recipe = Recipe(choice.learning_rate, choice.rank, choice.alpha, decay=choice.decay)
        return Run(trial, data, Tuning(self._model.decoder.config, data.documents, order, recipe))

    def _pass(self, live: deque[Run]) -> list[Run]:
        """Run one pass, whole batches of as many as fit by turns; take out the runs that are done."""
        company = [live.popleft()]
        room = max_tokens(self._model.decoder)
        while live and sum(run.batch_tokens for run in (*company, live[0])) <= room:
            company.append(live.popleft())
        steps = run_pass(self._model, [run.tuning for run in company], WHOLE_BATCHES)
        for run, step in zip(company, steps, strict=True):
            if step is not None and step.epoch > len(run.losses):
                loss = mean_loss(self._model, run.tuning.lora, run.data.held_out)
                run.losses.append(loss if math.isfinite(loss) else math.inf)
        live.extend(run for run in company if not run.tuning.done)
        return [run for run in company if run.tuning.done]

    def _cost(self, trial: Trial) -> float:
        data = self._data[trial.kind, trial.num_examples]
        choice = trial.choice
        return choice.epoch_count * data.epoch_tokens(choice.batch_size)


class RoundProgress:
    """Says after every run how far a round has come."""

    def __init__(self, name: str, costs: dict[Trial, float]):
        self._name = name
        self._costs = costs
        self._began = time.monotonic()
        self._num_done = 0
        self._done = 0.0
        print(f"{name}: {len(costs)} runs", flush=True)

    def report(self, run: Run) -> None:
        self._num_done += 1
        self._done += self._costs[run.trial]
        elapsed_s = time.monotonic() - self._began
        left_s = elapsed_s * (sum(self._costs.values()) / self._done - 1)
        print(
            f"{self._name}, run {self._num_done} of {len(self._costs)}, about {left_s / 60:.0f} min left: "
            f"{run.trial.kind} {run.trial.num_examples} {run.trial.choice}: "
            + " ".join(f"{loss:.3f}" for loss in run.losses),
            flush=True,
        )


def print_tables(sweep: Sweep) -> None:
    for num_examples in sweep.sizes:
        defaults = sweep.defaults(num_examples)
        print(f"\n{num_examples} examples; defaults: {defaults}")
        print(f"{'':12} {'base':>7} {'best':>7} {'defaults':>8} {'ratio':>6}  best by")
        for kind in sweep.kinds:
            answers = sweep.results.answers(kind, num_examples)
            best = min(answers, key=answers.__getitem__)
            reached, least = answers[defaults], answers[best]
            print(
                f"{kind:12} {sweep.base_loss(kind, num_examples):7.4f} {least:7.4f} {reached:8.4f} "
                f"{reached / least:6.3f}  {best}"
            )
        for at_worst, choice in sweep.results.common(sweep.kinds, num_examples)[:5]:
            print(f"at worst {at_worst:5.3f} of the best: {choice}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--kind", choices=list(KINDS), action="append")
    parser.add_argument("--size", type=int, choices=SIZES, action="append")
    options = parser.parse_args()
    sweep = Sweep(options.base, Results(options.out), options.kind or list(KINDS), options.size or SIZES)
    for number in range(1, options.rounds + 1):
        make = sweep.first_round if number == 1 else sweep.next_round
        choices = [(num_examples, choice) for num_examples in sweep.sizes for choice in make(num_examples)]
        everything = product(choices, sweep.kinds, range(1, options.seeds + 1))
        trials = [Trial(kind, size, choice, seed) for (size, choice), kind, seed in everything]
        sweep.run(f"round {number} of {options.rounds}", trials)
    print_tables(sweep)


if __name__ == "__main__":
    main()
