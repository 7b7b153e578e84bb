"""transformers' generate on the same weights as floats, told what to do as llama_cpp.py is.

python bench/peers/transformers_generate.py BASE NUM_THREADS DTYPE
"""

from __future__ import annotations

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM


def main() -> None:
    torch.set_num_threads(int(sys.argv[2]))
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[3])).eval()
    print("{}", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        ids = torch.tensor(order["prompts"])
        started = time.perf_counter()
        with torch.inference_mode():
            model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                min_new_tokens=order["tokens"],
                max_new_tokens=order["tokens"],
            )
        print(json.dumps({"seconds": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    main()
