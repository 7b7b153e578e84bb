"""Client and server over a Unix socket in one process, on a tiny base."""

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from overtone.config import Settings
from overtone.engine import protocol, server
from overtone.engine.client import EngineClient
from overtone.engine.open import open_runner
from overtone.engine.protocol import GenerateEvent, GenerateRequest, SamplingOptions
from overtone.engine.server import running_server
from overtone.errors import ApiError, Code, OvertoneError
from overtone.model.adapter import save_adapter
from tests.engine.conftest import random_adapter, saved_adapter
from tests.patience import HANG_S

PROMPT = [5, 6, 7, 8, 9]


@asynccontextmanager
async def connected(base: Path, data: Path, **settings: object) -> AsyncIterator[EngineClient]:
    config = Settings(data=data, device="cpu", **settings)  # type: ignore[arg-type]
    address = protocol.engine_address(config, config.base)
    async with running_server(config, base, address):
        client = EngineClient(address)
        yield client
        await client.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), HANG_S))


async def emptied(client: EngineClient) -> None:
    """Return when nothing runs any more; `run` bounds the wait."""
    while (await client.status()).running:
        await asyncio.sleep(0.01)


async def generate(
    client: EngineClient, adapter: tuple[str, str] = ("", ""), **options: object
) -> list[GenerateEvent]:
    options = {"max_tokens": 8, "min_tokens": 8, "logprobs": 0, **options}
    request = GenerateRequest(
        prompt_ids=PROMPT,
        adapter_folder=adapter[0],
        adapter_digest=adapter[1],
        options=SamplingOptions(**options),
    )
    return [event async for event in client.generate(request, HANG_S)]


def ids_of(events: list[GenerateEvent], index: int = 0) -> list[int]:
    return [place.token_id for event in events if event.index == index for place in event.logprobs]


def test_the_stream_ends_with_a_reason_and_counts(base: Path, tmp_path: Path) -> None:
    async def test() -> None:
        async with connected(base, tmp_path) as client:
            events = await generate(client)
            assert [event.finish_reason for event in events] == [""] * 7 + ["MAX_TOKENS"]
            assert events[-1].candidate_tokens == 8

    run(test)


def test_each_adapter_generates_as_if_it_were_alone(base: Path, tmp_path: Path) -> None:
    async def test() -> None:
        adapters = [("", ""), *(saved_adapter(base, tmp_path, seed, rank=2 + seed) for seed in range(3))]
        async with connected(base, tmp_path) as client:
            alone = [ids_of(await generate(client, adapter)) for adapter in adapters]
            together = await asyncio.gather(*(generate(client, adapter) for adapter in adapters * 2))
        assert [ids_of(events) for events in together] == alone * 2
        assert len({tuple(ids) for ids in alone}) == len(adapters)

    run(test)


def test_a_damaged_adapter_fails_its_own_call_alone(base: Path, tmp_path: Path) -> None:
    async def test() -> None:
        folder, digest = saved_adapter(base, tmp_path, 1)
        Path(folder, "adapter_model.safetensors").write_bytes(b"damaged")
        async with connected(base, tmp_path) as client:
            damaged, sound = await asyncio.gather(
                generate(client, (folder, digest)), generate(client), return_exceptions=True
            )
        assert isinstance(damaged, ApiError) and damaged.code is Code.FAILED_PRECONDITION
        assert "digest" in damaged.message
        assert isinstance(sound, list)

    run(test)


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(base: Path, tmp_path: Path) -> None:
    async def test() -> None:
        async with connected(base, tmp_path) as client:
            request = GenerateRequest(prompt_ids=[5] * 600)
            with pytest.raises(ApiError, match=r"600 tokens; .* 512") as caught:
                [event async for event in client.generate(request)]
            assert caught.value.code is Code.INVALID_ARGUMENT

    run(test)


def test_a_base_that_cannot_be_loaded_is_told_to_the_caller(tmp_path: Path) -> None:
    async def test() -> None:
        async with connected(tmp_path / "nothing", tmp_path) as client:
            with pytest.raises(ApiError, match="could not be loaded") as caught:
                await generate(client)
            assert caught.value.code is Code.FAILED_PRECONDITION
            assert "could not be loaded" in (await client.status()).problem

    run(test)


def test_leaving_early_frees_the_place(base: Path, tmp_path: Path) -> None:
    async def test() -> None:
        async with connected(base, tmp_path) as client:
            options = SamplingOptions(min_tokens=400, max_tokens=400)
            stream = client.generate(GenerateRequest(prompt_ids=PROMPT, options=options))
            await anext(stream)
            await stream.aclose()
            await emptied(client)

    run(test)


def test_a_deadline_ends_the_call_and_frees_the_place(base: Path, tmp_path: Path) -> None:
    async def test() -> None:
        async with connected(base, tmp_path) as client:
            await generate(client)
            options = SamplingOptions(min_tokens=450, max_tokens=450)
            with pytest.raises(ApiError, match=r"within 0.05 s") as caught:
                request = GenerateRequest(prompt_ids=PROMPT, options=options)
                [event async for event in client.generate(request, 0.05)]
            assert caught.value.code is Code.DEADLINE_EXCEEDED
            await emptied(client)

    run(test)


def test_more_models_than_slots_are_all_answered(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        adapters = [saved_adapter(base, tmp_path, seed) for seed in range(5)]
        async with connected(base, tmp_path) as client:
            together = await asyncio.gather(*(generate(client, adapter) for adapter in adapters * 2))
        assert len({tuple(ids_of(events)) for events in together}) == len(adapters)

    monkeypatch.setattr(server, "NUM_SLOTS", 2)
    run(test)


def test_a_loaded_adapter_does_not_need_its_folder(base: Path, tmp_path: Path) -> None:
    async def test() -> None:
        adapter = saved_adapter(base, tmp_path, 1)
        async with connected(base, tmp_path) as client:
            before = await generate(client, adapter)
            shutil.rmtree(adapter[0])
            assert ids_of(await generate(client, adapter)) == ids_of(before)

    run(test)


def test_an_adapter_that_ran_away_fails_its_own_call_alone(base: Path, tmp_path: Path) -> None:
    async def test() -> None:
        adapter = random_adapter(base, 1)
        adapter.a[0, "q_proj"][0, 0] = float("inf")
        digest = save_adapter(tmp_path / "wild", adapter, base.name)
        async with connected(base, tmp_path) as client:
            wild, sound = await asyncio.gather(
                generate(client, (str(tmp_path / "wild"), digest)), generate(client), return_exceptions=True
            )
        assert isinstance(wild, ApiError) and "not finite" in wild.message
        assert isinstance(sound, list)

    run(test)


def test_a_step_that_fails_ends_its_calls_and_no_others(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = [False]

    def open_failing(*arguments: Any) -> Any:
        runner = open_runner(*arguments)
        compute = runner.step

        def step(*chunks: Any) -> Any:
            if failing[0]:
                raise RuntimeError("a secret of the inside")
            return compute(*chunks)

        monkeypatch.setattr(runner, "step", step)
        return runner

    monkeypatch.setattr("overtone.engine.server.open_runner", open_failing)

    async def test() -> None:
        async with connected(base, tmp_path) as client:
            await generate(client)
            failing[0] = True
            ended = await asyncio.gather(generate(client), generate(client), return_exceptions=True)
            assert [getattr(error, "code", None) for error in ended] == [Code.INTERNAL] * 2
            assert not any("secret" in str(error) for error in ended)
            failing[0] = False
            assert len(ids_of(await generate(client))) == 8

    run(test)


@pytest.mark.parametrize("weights", ["auto", "float32"])
def test_numbers_that_overflow_while_computing_fail_their_own_call_alone(
    base: Path, tmp_path: Path, weights: str
) -> None:
    async def test() -> None:
        adapter = random_adapter(base, 1)
        for matrix in (*adapter.a.values(), *adapter.b.values()):
            matrix *= 1e18  # finite, each of them
        digest = save_adapter(tmp_path / "huge", adapter, base.name)
        async with connected(base, tmp_path, weights=weights) as client:
            huge, sound = await asyncio.gather(
                generate(client, (str(tmp_path / "huge"), digest)), generate(client), return_exceptions=True
            )
        assert isinstance(huge, ApiError) and "not finite" in huge.message
        assert isinstance(sound, list)

    run(test)


def test_candidates_of_one_seed_differ_and_repeat(base: Path, tmp_path: Path) -> None:
    async def test() -> None:
        async with connected(base, tmp_path) as client:
            first, again = [
                await generate(client, temperature=1.0, seed=7, num_candidates=2) for _ in range(2)
            ]
        assert ids_of(first, 0) != ids_of(first, 1)
        assert [ids_of(first, index) for index in (0, 1)] == [ids_of(again, index) for index in (0, 1)]

    run(test)


def test_json_follows_its_schema(base: Path, tmp_path: Path) -> None:
    properties = '{"n": {"enum": [1, 2]}}'
    schema = (
        f'{{"type": "object", "properties": {properties}, "required": ["n"], "additionalProperties": false}}'
    )

    async def test() -> None:
        async with connected(base, tmp_path) as client:
            options = {"response_schema": schema, "temperature": 2.0, "max_tokens": 500, "min_tokens": 0}
            for seed in range(3):
                events = await generate(client, seed=seed, **options)
                assert json.loads("".join(event.text for event in events))["n"] in (1, 2)
                assert events[-1].finish_reason == "STOP"

    run(test)


def test_an_answer_is_one_of_the_choices(base: Path, tmp_path: Path) -> None:
    choices = ["good", 'so "so"', "bad\\é"]

    async def test() -> None:
        async with connected(base, tmp_path) as client:
            for seed in range(3):
                events = await generate(
                    client, seed=seed, choices=choices, temperature=2.0, max_tokens=500, min_tokens=0
                )
                assert "".join(event.text for event in events) in choices
                assert events[-1].finish_reason == "STOP"

    run(test)


def test_a_schema_that_makes_no_sense_is_refused_with_the_reason(base: Path, tmp_path: Path) -> None:
    async def test() -> None:
        async with connected(base, tmp_path) as client:
            with pytest.raises(ApiError, match="Invalid type: strin") as caught:
                await generate(client, response_schema='{"type": "strin"}')
            assert caught.value.code is Code.INVALID_ARGUMENT

    run(test)


def test_a_full_queue_is_refused(base: Path, tmp_path: Path) -> None:
    async def test() -> None:
        async with connected(base, tmp_path, max_queue=1) as client:
            with pytest.raises(ApiError, match="queue is full") as caught:
                await generate(client, num_candidates=2)
            assert caught.value.code is Code.RESOURCE_EXHAUSTED

    run(test)


def test_a_socket_s_folder_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.os, "getuid", lambda: 12345)
    with pytest.raises(OvertoneError, match="belongs to another user; no engine is started there"):
        server._prepare_socket(f"unix:{tmp_path}/engine.sock")


def test_a_socket_s_folder_is_its_user_s_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o777)
    server._prepare_socket(f"unix:{tmp_path}/run/engine.sock")
    assert (tmp_path / "run").stat().st_mode & 0o077 == 0


def test_an_engine_serves_until_it_is_told_to_stop(base: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    config = Settings(data=tmp_path, device="cpu")
    address = protocol.engine_address(config, config.base)

    async def test() -> None:
        serving = asyncio.create_task(server.serve(config, base, address, stop))
        client = EngineClient(address)
        assert len(await generate(client)) >= 1
        assert not serving.done()
        stop.set()
        await serving
        await client.close()

    run(test)
