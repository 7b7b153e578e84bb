"""TRL's SFTTrainer, and a bare transformers + peft loop, as processes that obey lines of JSON.

    python libraries_train.py trl|bare float32|bfloat16 BASE_FOLDER ADAPTER_FOLDER

A line asks for a run: {"batches": [[[ids, num_prompt], …], …], "rate": r, "threads": n}. It starts from the
adapter in the folder and answers {"step_s": […], "losses": […], "peak_bytes": n}. Loss at output tokens only,
AdamW, constant rate, gradients shortened to 1, nothing recomputed, no weight decay: what ours does.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time

os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
answers, sys.stdout = sys.stdout, sys.stderr  # the libraries print what they like; answers go alone

import torch  # noqa: E402
import transformers  # noqa: E402
from peft import PeftModel  # noqa: E402


def load(base_folder: str, adapter_folder: str, precision: str) -> PeftModel:
    dtype = getattr(torch, precision)
    base = transformers.AutoModelForCausalLM.from_pretrained(base_folder, dtype=dtype)
    return PeftModel.from_pretrained(base, adapter_folder, is_trainable=True)


def run_bare(model: PeftModel, batches: list, rate: float) -> dict:
    """The loop that everybody writes: pad, forward, backward, step."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0, fused=True)
    step_s = []
    losses = []
    model.train()
    for batch in batches:
        began = time.perf_counter()
        loss = model(**padded(batch)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
        step_s.append(time.perf_counter() - began)
    return {"step_s": step_s, "losses": losses}


def padded(batch: list) -> dict[str, torch.Tensor]:
    longest = max(len(ids) for ids, _ in batch)
    rows = {"input_ids": [], "attention_mask": [], "labels": []}
    for ids, num_prompt in batch:
        empty = longest - len(ids)
        rows["input_ids"].append(ids + [0] * empty)
        rows["attention_mask"].append([1] * len(ids) + [0] * empty)
        rows["labels"].append([-100] * num_prompt + ids[num_prompt:] + [-100] * empty)
    return {name: torch.tensor(values) for name, values in rows.items()}


def run_trl(model: PeftModel, batches: list, rate: float, precision: str, base_folder: str) -> dict:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    examples = [example for batch in batches for example in batch]
    data = Dataset.from_list([{"input_ids": ids, "labels": [-100] * n + ids[n:]} for ids, n in examples])

    class InOrder(SFTTrainer):
        def _get_train_sampler(self, *_: object) -> torch.utils.data.Sampler:
            return torch.utils.data.SequentialSampler(data)

    class Clock(transformers.TrainerCallback):
        def __init__(self) -> None:
            self.times = []
            self.losses = []

        def on_train_begin(self, *_: object, **__: object) -> None:
            self.times.append(time.perf_counter())

        def on_step_end(self, *_: object, **__: object) -> None:
            self.times.append(time.perf_counter())

        def on_log(self, _: object, __: object, ___: object, logs: dict, **____: object) -> None:
            if "loss" in logs:
                self.losses.append(logs["loss"])

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        options = SFTConfig(
            output_dir=folder, use_cpu=True, per_device_train_batch_size=len(batches[0]), num_train_epochs=1,
            learning_rate=rate, lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.0,
            max_grad_norm=1.0,
            bf16=False, fp16=False, activation_checkpointing=False, save_strategy="no", report_to="none",
            logging_steps=1, disable_tqdm=True, max_length=None,
            optim="adamw_torch_fused", dataset_kwargs={"skip_prepare_dataset": True},
        )  # fmt: skip
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_file=f"{base_folder}/tokenizer.json", eos_token="<|im_end|>", pad_token="<|im_end|>"
        )
        trainer = InOrder(model, options, train_dataset=data, processing_class=tokenizer, callbacks=[clock])
        began = time.perf_counter()
        trainer.train()
        whole_s = time.perf_counter() - began
    step_s = [end - start for start, end in zip(clock.times, clock.times[1:], strict=False)]
    return {"step_s": step_s, "losses": clock.losses, "whole_s": whole_s}


def main() -> None:
    library, precision, base_folder, adapter_folder = sys.argv[1:5]
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        torch.set_num_threads(order["threads"])
        model = load(base_folder, adapter_folder, precision)
        if library == "bare":
            answer = run_bare(model, order["batches"], order["rate"])
        else:
            answer = run_trl(model, order["batches"], order["rate"], precision, base_folder)
        answer["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
