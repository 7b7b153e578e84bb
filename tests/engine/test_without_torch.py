"""A whole engine on a base that the kernels know, in a process of its own: PyTorch is not needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from overtone.model.device import may_have_gpu
from tests.engine.conftest import saved_adapter
from tests.patience import HANG_S

ENGINE = """
import asyncio, sys
from pathlib import Path
from overtone.config import Settings
from overtone.engine import protocol
from overtone.engine.client import EngineClient
from overtone.engine.protocol import GenerateRequest, SamplingOptions
from overtone.engine.server import running_server

base, data, device, folder, digest = sys.argv[1:]
sampled = SamplingOptions(max_tokens=8, min_tokens=8, temperature=1.0, top_p=0.9, seed=1, logprobs=2)
of_two = SamplingOptions(max_tokens=8, choices=["yes", "no"])

async def answer():
    config = Settings(data=Path(data), device=device)
    address = protocol.engine_address(config, config.base)
    async with running_server(config, Path(base), address):
        client = EngineClient(address)
        for options in (sampled, of_two):
            request = GenerateRequest(
                prompt_ids=[5, 6, 7], adapter_folder=folder, adapter_digest=digest, options=options
            )
            events = [event async for event in client.generate(request)]
            print(events[-1].finish_reason, "on", (await client.status()).device)
        await client.close()

asyncio.run(answer())
print([name for name in sys.modules if name.partition(".")[0] == "torch"])
"""


def test_an_engine_answers_without_torch(base: Path, tmp_path: Path) -> None:
    device = "cpu" if may_have_gpu() else "auto"
    command = [sys.executable, "-c", ENGINE, base, tmp_path, device, *saved_adapter(base, tmp_path, seed=1)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["MAX_TOKENS on cpu", "STOP on cpu", "[]"]
