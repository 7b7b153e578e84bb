"""How far off the estimate of a tuning's time is: jobs of many sizes, each estimated from those before it.

    python -m bench.estimate [--base smollm2-135m-instruct] [--jobs 12] [--data FOLDER]

The estimate is the product's own (dataset.estimate), the jobs run one after another in the product's trainer, on a
pulled base; their texts are words at random, from short labels to long answers. A line for each job, and at the end one
line of JSON with the median and the largest error.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from overtone.bases.registry import Registry
from overtone.config import Settings, default_data
from overtone.dataset.estimate import LEAST_ERRORS, find_records, past_errors, predict_seconds
from overtone.dataset.examples import Dataset
from overtone.domain.sharing import Caller
from overtone.domain.tuning import Hyperparameters, TuningRequest, WantedHyperparameters
from overtone.jobs.queue import Queue
from overtone.processor_name import processor_name
from overtone.service.access import Access, Credentials
from overtone.service.models import build_models
from overtone.service.tuning import TunedModels
from overtone.store.speeds import load_speeds
from overtone.store.store import Store
from overtone.trainer.trainer import Trainer

TEXT = "where is my parcel the lamp came broken please send a refund to my card and tell me when"


@dataclass(frozen=True)
class Size:
    """A job: how many examples, how long, how often and how many at once."""

    num_examples: int
    input_words: int
    output_words: int
    hyperparameters: Hyperparameters


def draw_sizes(num_jobs: int) -> list[Size]:
    rng = random.Random(0)
    return [
        Size(
            rng.choice((16, 32, 64, 100)),
            rng.choice((5, 15, 60)),
            rng.choice((1, 10, 40)),
            Hyperparameters(rng.choice((1, 2)), rng.choice((2, 4, 8, 16)), 0.001),
        )
        for _ in range(num_jobs)
    ]


def draw_dataset(size: Size) -> Dataset:
    rng = random.Random(repr(size))
    words = TEXT.split()

    def text(num_words: int) -> str:
        return " ".join(rng.choice(words) for _ in range(rng.randint(1, 2 * num_words)))

    return Dataset.of_pairs(
        (text(size.input_words), text(size.output_words)) for _ in range(size.num_examples)
    )


def run(settings: Settings, sizes: list[Size]) -> list[float]:
    """Tune the jobs one by one; return what each took as a multiple of what was expected."""
    store = Store(settings.database_url, settings.tuned)
    queue = Queue(store)
    registry = Registry(settings.bases, settings.base)
    access = Access(store, settings)
    tuned_models = TunedModels(store, queue, build_models(store, registry, access, settings), access)
    trainer = Trainer(settings, queue, registry.base_folder(settings.base))
    caller = access.authenticate(Credentials(host="127.0.0.1"))
    for size in sizes:
        tune(tuned_models, trainer, caller, settings.base, size)
        tell(settings, size)
    trainer.close()
    records = find_records(load_speeds(settings.data), settings.base, processor_name())
    store.close()
    return past_errors(records)


def tune(tuned_models: TunedModels, trainer: Trainer, caller: Caller, base_id: str, size: Size) -> None:
    wanted = WantedHyperparameters(
        size.hyperparameters.epoch_count, size.hyperparameters.batch_size, size.hyperparameters.learning_rate
    )
    request = TuningRequest(draw_dataset(size), base_id, hyperparameters=wanted)
    model = tuned_models.create(request, caller)
    while tuned_models.get(model.id, caller).state == "CREATING":
        trainer.work()


def tell(settings: Settings, size: Size) -> None:
    *before, last = find_records(load_speeds(settings.data), settings.base, processor_name())
    expected = predict_seconds(before, last.num_steps, last.num_tokens) if before else float("nan")
    print(
        f"{last.num_steps:4} steps of {size.hyperparameters.batch_size:2}, {last.num_tokens:6} tokens: expected "
        f"{expected:6.1f} s, took {last.seconds:6.1f} s ({last.seconds / expected:.2f})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default=Settings().base)
    parser.add_argument("--jobs", type=int, default=12)
    parser.add_argument("--data", type=Path, default=default_data(), help="where the base was pulled to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bases").symlink_to((options.data / "bases").absolute())
        errors = run(Settings(data=Path(folder), base=options.base), draw_sizes(options.jobs))
    told = errors[LEAST_ERRORS:]
    figures = {
        "bench": "estimate",
        "jobs": options.jobs,
        "median_error": round(statistics.median(abs(error - 1) for error in told), 3),
        "largest_error": round(max(abs(error - 1) for error in told), 3),
        "ratios": [round(error, 2) for error in errors],
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
