"""What the trainer does in a second, beside TRL's SFTTrainer and a bare transformers + peft loop.

    python -m bench.train --base DATA/bases/smollm2-135m-instruct [--rounds 3] [--steps 6] [--case NAME …]

Everybody gets the same base weights, the same adapter to start from (rank 16, all linear layers) and the same
batches in the same order. The peers run in float32 and, where the processor multiplies it, in bfloat16; the better
of the two counts. Each is a process of its own; they run by turns, so that a noisy machine hurts all alike. The
first line says which way ours takes and on which processor. A step's first run is warm-up and not
counted. The peers live in .envs/peers-train, as bench/peers/train.txt describes. Final losses stand beside
the speeds, for who is fast must also be right. The last line is one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from bench.workers import Worker
from overtone import processor
from overtone.bases.chat import Chat
from overtone.config import Settings
from overtone.dataset.examples import Dataset
from overtone.dataset.stored import save_examples
from overtone.jobs.queue import Queue, new_job
from overtone.model.adapter import load_adapter, save_adapter
from overtone.model.decoder import Decoder
from overtone.model.lora import LoraWeights
from overtone.store.store import Store
from overtone.train.data import BatchOrder, Document, encode_examples
from overtone.train.loop import max_tokens, run_pass
from overtone.train.packing import pack
from overtone.train.precision import choose as choose_precision
from overtone.train.training_base import TrainingBase
from overtone.train.tuning import Recipe, Step, Tuning
from overtone.trainer import trainer
from tests.store.rows import model_values

PEERS = Path(".envs/peers-train")
RATE = 1e-3
PAIRS = [
    ("1", "2"), ("3", "4"), ("-3", "-2"), ("twenty two", "twenty three"), ("two hundred", "two hundred one"),
    ("ninety nine", "one hundred"), ("8", "9"), ("-98", "-97"), ("1,000", "1,001"),
    ("10,100,000", "10,100,001"), ("thirteen", "fourteen"), ("eighty", "eighty one"), ("one", "two"),
    ("three", "four"), ("seven", "eight"),
]  # fmt: skip

WORDS = [
    "the",
    "a",
    "river",
    "town",
    "old",
    "new",
    "light",
    "water",
    "house",
    "road",
    "goes",
    "under",
    "over",
    "and",
]

Batches = list[list[Document]]


class Bench:
    """The contestants and what they are given."""

    def __init__(self, base: Path, stack: ExitStack, rounds: int, steps: int):
        self.base = base
        self.rounds = rounds
        self.steps = steps
        self._stack = stack
        self.chat = Chat(base)
        self.adapter = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "adapter"
        lora = LoraWeights(Decoder.load(base, dense=False).config, 16, 32.0)
        lora.randomise(0)
        save_adapter(self.adapter, lora.to_adapter(), "base")
        self.result: dict[str, Any] = {
            "precision": str(choose_precision(base, torch.device("cpu"))),
            "processor": processor.describe(torch.get_num_threads()),
        }
        print(f"ours: {self.result['precision']} on {self.result['processor']}")

    def start(self, name: str) -> Worker:
        """Start a contestant afresh, so that its peak of memory is that of the case. Peers: `trl float32`."""
        if name == "ours":
            worker = Worker(sys.executable, "-m", "bench.train", "--worker", "--base", self.base)
        else:
            script = Path(__file__).parent / "peers" / "libraries_train.py"
            worker = Worker(PEERS / "bin/python", script, *name.split(), self.base, self.adapter)
        self._stack.callback(worker.close)
        return worker

    def documents(self, pairs: Sequence[tuple[str, str]]) -> list[Document]:
        return encode_examples(self.chat, Dataset.of_pairs(pairs).examples)

    def compare(self, case: str, names: Sequence[str], batches: Batches) -> None:
        """Run the batches by turns and note tokens a second, final losses and peaks of memory."""
        workers = {name: self.start(name) for name in ["ours", *in_each_precision(names)]}
        order = [[(list(document.ids), document.num_prompt) for document in batch] for batch in batches]
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
        for _ in range(self.rounds):
            for name, worker in workers.items():
                runs[name].append(
                    worker.ask(
                        batches=order, rate=RATE, adapter=str(self.adapter), threads=torch.get_num_threads()
                    )
                )
        counted = sum(len(document.ids) for batch in batches[1:] for document in batch)
        speeds = {name: [counted / sum(run["step_s"][1:]) for run in runs[name]] for name in workers}
        self.note(case, speeds, {name: runs[name][-1] for name in workers})
        for worker in workers.values():
            worker.close()

    def note(self, case: str, speeds: dict[str, list[float]], last: dict[str, dict[str, Any]]) -> None:
        medians = {name: statistics.median(values) for name, values in speeds.items()}
        for name, run in last.items():
            losses = run["losses"]
            peak = run["peak_bytes"] / 2**20
            ratio = medians["ours"] / medians[name]
            print(
                f"{case:12} {name:13} {medians[name]:8.1f} tokens/s  ours is {ratio:5.2f}×  "
                f"losses {losses[0]:.4f} … {losses[-1]:.4f}  peak {peak:.0f} MiB"
            )
        best: dict[str, float] = {}
        for name, value in medians.items():
            best[name.split()[0]] = max(value, best.get(name.split()[0], 0.0))
        self.result[case] = {
            "tokens_per_s": medians,
            "ratio": {name: round(best["ours"] / value, 2) for name, value in best.items() if name != "ours"},
            "final_loss": {name: round(run["losses"][-1], 4) for name, run in last.items()},
            "peak_mib": {name: round(run["peak_bytes"] / 2**20) for name, run in last.items()},
        }


def in_each_precision(peers: Sequence[str]) -> list[str]:
    precisions = ["float32", *(["bfloat16"] if "avx512bf16" in processor.features() else [])]
    return [f"{peer} {precision}" for peer in peers for precision in precisions]


def tutorial_batches(bench: Bench, batch_size: int, num_steps: int) -> Batches:
    documents = bench.documents(PAIRS)
    order = BatchOrder(len(documents), 1000, batch_size, seed=0)
    return [[documents[number] for number in order.batch(step)] for step in range(num_steps)]


def short(bench: Bench) -> None:
    """Tutorial-like examples in batches of 8: the sort of job that most people send."""
    bench.compare("batch 8", ["trl", "bare"], tutorial_batches(bench, 8, bench.steps))


def long(bench: Bench) -> None:
    """Examples of about 1,000 tokens in batches of 4."""
    words = random.Random(0)
    pairs = [(prose(words, 560), prose(words, 190)) for _ in range(12)]
    documents = bench.documents(pairs)
    bench.compare("long", ["trl"], [documents[i : i + 4] for i in range(0, len(documents), 4)][:2])


def prose(source: random.Random, num_words: int) -> str:
    return " ".join(source.choice(WORDS) for _ in range(num_words))


def job(bench: Bench) -> None:
    """The tutorial's job: ours from create to ACTIVE in a warm service, TRL's train() alone."""
    ours = bench.start("ours")
    peers = {name: bench.start(name) for name in in_each_precision(["trl"])}
    batches = [
        [(list(document.ids), document.num_prompt) for document in batch]
        for batch in tutorial_batches(bench, 2, 38)
    ]
    threads = torch.get_num_threads()
    ours.ask(jobs=1, threads=threads)  # loads the base
    ours_s: list[float] = []
    peers_s: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(max(1, bench.rounds // 2)):
        ours_s.append(ours.ask(jobs=1, threads=threads)["whole_s"])
        for name, peer in peers.items():
            peers_s[name].append(peer.ask(batches=batches, rate=RATE, threads=threads)["whole_s"])
    medians = {name: statistics.median(values) for name, values in peers_s.items()}
    best = min(medians, key=lambda name: medians[name])
    note_times(bench, "job", statistics.median(ours_s), medians[best], best)


def together(bench: Bench) -> None:
    """Four tutorial-sized jobs at once, against one after another."""
    ours = bench.start("ours")
    threads = torch.get_num_threads()
    ours.ask(jobs=1, threads=threads)
    at_once, in_turn = [], []
    for _ in range(max(1, bench.rounds // 2)):
        at_once.append(ours.ask(jobs=4, threads=threads)["whole_s"])
        in_turn.append(sum(ours.ask(jobs=1, threads=threads)["whole_s"] for _ in range(4)))
    note_times(bench, "4 jobs", statistics.median(at_once), statistics.median(in_turn), "in turn")


def note_times(bench: Bench, case: str, ours_s: float, other_s: float, other: str) -> None:
    print(f"{case:12} ours {ours_s:.1f} s, {other} {other_s:.1f} s: {other_s / ours_s:.2f}×")
    bench.result[case] = {
        "ours_s": round(ours_s, 2),
        f"{other}_s": round(other_s, 2),
        "ratio": round(other_s / ours_s, 2),
    }


def floor(bench: Bench) -> None:
    """The share of a step that its matrix products over the base would take by themselves."""
    worker = bench.start("ours")
    batches = tutorial_batches(bench, 25, bench.steps)
    order = [[(list(document.ids), document.num_prompt) for document in batch] for batch in batches]
    shares = []
    for _ in range(bench.rounds):
        answer = worker.ask(
            batches=order, rate=RATE, adapter=str(bench.adapter), threads=torch.get_num_threads(), floor=True
        )
        shares.append(statistics.median(answer["floor_s"][1:]) / statistics.median(answer["step_s"][1:]))
    bench.result["floor share"] = round(statistics.median(shares), 3)
    print(f"{'floor':12} {bench.result['floor share']:.2f} of a step of 25 examples is matrix products")


CASES: dict[str, Callable[[Bench], None]] = {
    "short": short,
    "long": long,
    "job": job,
    "together": together,
    "floor": floor,
}


def obey(base: Path) -> None:
    """Be "ours": run batches or whole jobs as lines of JSON ask for."""
    model = TrainingBase.load(base, torch.device("cpu"))
    print("{}", flush=True)
    with ExitStack() as stack:
        service: list[JobService] = []
        for line in sys.stdin:
            order = json.loads(line)
            torch.set_num_threads(order["threads"])
            if "jobs" in order:
                service = service or [stack.enter_context(JobService(base))]
                answer = service[0].run_jobs(order["jobs"])
            else:
                answer = run_batches(model, order)
            answer["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps(answer), flush=True)


def run_batches(model: TrainingBase, order: dict[str, Any]) -> dict[str, Any]:
    batches = [[Document.of_pair(ids, num_prompt) for ids, num_prompt in batch] for batch in order["batches"]]
    documents = [document for batch in batches for document in batch]
    in_order = GivenOrder(len(documents), 1, len(batches[0]), 0)
    source = load_adapter(Path(order["adapter"]))
    tuning = Tuning(model.decoder.config, documents, in_order, Recipe(order["rate"], 16, 32.0), source)
    step_s, floor_s, losses = [], [], []
    for batch in batches:
        began = time.perf_counter()
        losses.append(run_step(model, tuning).mean_loss)
        step_s.append(time.perf_counter() - began)
        if order.get("floor"):
            floor_s.append(measure_floor(model.decoder, batch))
    return {"step_s": step_s, "losses": losses, "floor_s": floor_s}


def run_step(model: TrainingBase, tuning: Tuning) -> Step:
    while True:
        (step,) = run_pass(model, [tuning], max_tokens(model.decoder))
        if step is not None:
            return step


class GivenOrder(BatchOrder):
    """The examples as they come."""

    def example_at(self, place: int) -> int:
        return place % self.num_examples


def measure_floor(decoder: Decoder, batch: Sequence[Document]) -> float:
    """Time the base's products of one step, forward and dX, and nothing else."""
    packed = pack([(0, batch)])
    num_rows = len(packed.ids_T)
    num_outputs = len(packed.keep_N)
    began = time.perf_counter()
    for layer in decoder.layers:
        for weight_OI in layer.weights.values():
            y_TO = F.linear(torch.ones(num_rows, weight_OI.shape[1], dtype=weight_OI.dtype), weight_OI)
            torch.mm(y_TO, weight_OI)
    hidden_ND = torch.ones(num_outputs, decoder.config.width, dtype=decoder.dtype)
    torch.mm(F.linear(hidden_ND, decoder.head_VD), decoder.head_VD)
    return time.perf_counter() - began


class JobService:
    """A store, a queue and a trainer, as in `overtone serve`, without the API."""

    def __init__(self, base: Path):
        self._folder = tempfile.TemporaryDirectory()
        self._settings = Settings(data=Path(self._folder.name))
        self._store = Store(self._settings.database_url, self._settings.tuned)
        self._stop = threading.Event()
        self._count = 0
        arguments = self._settings, Queue(self._store), base, self._stop
        self._thread = threading.Thread(target=trainer.run, args=arguments)

    def __enter__(self) -> JobService:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._store.close()
        self._folder.cleanup()

    def run_jobs(self, num_jobs: int) -> dict[str, Any]:
        """Create the tutorial's job so many times and wait until all are ACTIVE."""
        began = time.perf_counter()
        names = [self._create() for _ in range(num_jobs)]
        while any(self._store.get_tuned_model(name).state == "CREATING" for name in names):
            time.sleep(0.1)
        whole_s = time.perf_counter() - began
        states = {self._store.get_tuned_model(name).state for name in names}
        assert states == {"ACTIVE"}, states
        return {"whole_s": whole_s}

    def _create(self) -> str:
        self._count += 1
        name = f"m{self._count}"
        values = {
            "epoch_count": 5,
            "batch_size": 2,
            "learning_rate": RATE,
            "num_examples": 15,
            "total_steps": 38,
        }
        model = model_values(name, base_id=self._settings.base)
        job = new_job(
            self._settings.base, model["create_time"], num_tokens=0, continues=False, seed=1, **values
        )
        self._store.create_tuned_model(
            model,
            job,
            "bench@localhost",
            lambda artifacts: save_examples(artifacts.examples, Dataset.of_pairs(PAIRS)),
        )
        return name


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--case", choices=list(CASES), action="append")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        obey(options.base)
        return
    with ExitStack() as stack:
        bench = Bench(options.base, stack, options.rounds, options.steps)
        for case in options.case or CASES:
            CASES[case](bench)
        print(json.dumps(bench.result))


if __name__ == "__main__":
    main()
