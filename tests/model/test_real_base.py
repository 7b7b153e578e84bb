"""The decoder on the real base model, against transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from overtone.bases.chat import Chat
from overtone.model.decoder import Decoder
from tests.model.plain_attention import causal
from tests.real import base_folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base() -> Path:
    return base_folder()


@torch.no_grad()
def test_the_real_base_writes_what_transformers_writes(base: Path) -> None:
    decoder, oracle = Decoder.load(base), transformers.AutoModelForCausalLM.from_pretrained(base).eval()
    prompt = Chat(base).prompt_ids([{"role": "user", "content": "Which river flows through Vienna?"}])

    theirs = oracle.generate(torch.tensor([prompt]), max_new_tokens=20, do_sample=False, pad_token_id=2)[
        0
    ].tolist()

    ours = list(prompt)
    while len(ours) < len(theirs):
        ids_T = torch.tensor(ours)
        hidden_TD = decoder.forward(
            ids_T,
            torch.arange(len(ours)),
            causal(decoder.config),
            decoder.project,
            torch.tensor([len(ours) - 1]),
        )
        ours.append(int(decoder.logits(hidden_TD).argmax()))
    assert ours == theirs
