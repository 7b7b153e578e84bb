"""llama.cpp in a process of its own, told what to do by lines of JSON; runs in the peers' environment.

    python bench/peers/llama_cpp.py BASE.gguf NUM_THREADS PARALLEL [ADAPTER.gguf …]

In: {"tokens": 64, "prompts": [[ids], …]}, all at once; with "adapters": [0, …] each through one of its own.
llama.cpp batches requests of one adapter alone: those of several it serves by turns. Out: {"seconds": …} after
them; {} once after loading.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import xllamacpp


def load(path: str, num_threads: int, parallel: int, adapters: Sequence[str]) -> xllamacpp.Server:
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_parallel, params.n_ctx = parallel, 512 * parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = num_threads
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(adapter, 0.0) for adapter in adapters]
    params.verbosity = -1
    return xllamacpp.Server(params)


def generate(server: xllamacpp.Server, tokens: int, prompt: list[int], adapter: int | None) -> None:
    """Generate exactly so many tokens."""
    request = {
        "prompt": prompt,
        "n_predict": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prompt": False,
        "lora": [] if adapter is None else [{"id": adapter, "scale": 1.0}],
    }
    made = server.handle_completions(request)["usage"]["completion_tokens"]
    assert made == tokens, f"{made} tokens instead of {tokens}"


def main() -> None:
    server = load(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
    print("{}", flush=True)
    with ThreadPoolExecutor(int(sys.argv[3])) as pool:
        for line in sys.stdin:
            order = json.loads(line)
            adapters = order.get("adapters") or [None] * len(order["prompts"])
            started = time.perf_counter()
            list(pool.map(partial(generate, server, order["tokens"]), order["prompts"], adapters))
            print(json.dumps({"seconds": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    main()
