"""llama.cpp in a process of its own, told what to do by lines of JSON; runs in the peers' environment.

In: {"tokens": 64, "prompts": [[ids], …]}, all at once. Out: {"seconds": …} after them; once after loading.
"""

from __future__ import annotations

import json
import sys
import time
from threading import Thread

import xllamacpp


def load(path: str, num_threads: int, parallel: int) -> xllamacpp.Server:
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_parallel, params.n_ctx = parallel, 512 * parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = num_threads
    params.verbosity = -1
    return xllamacpp.Server(params)


def generate(server: xllamacpp.Server, prompt: list[int], tokens: int) -> None:
    """Generate exactly so many tokens."""
    request = {
        "prompt": prompt,
        "n_predict": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prompt": False,
    }
    server.handle_completions(request)


def main() -> None:
    server = load(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps({"seconds": 0}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        started = time.perf_counter()
        threads = [
            Thread(target=generate, args=(server, prompt, order["tokens"])) for prompt in order["prompts"]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(json.dumps({"seconds": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    main()
