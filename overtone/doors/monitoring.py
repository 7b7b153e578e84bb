"""What may be asked by those who watch: `/healthz`, whether the parts are up, and `/metrics`, for Prometheus.

Health is for anyone. Metrics name tuned models, so they want what a call wants: `Authorization: Bearer KEY`
where there are keys. Not part of the Gemini API, hence outside its table of methods.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from overtone.doors import credentials
from overtone.doors.dispatch import Authenticate
from overtone.doors.http_errors import HTTP_STATUS, error_value
from overtone.engine.metrics import format_metrics
from overtone.engine.protocol import Metric, Sample, StatusReply
from overtone.errors import ApiError

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
TIMEOUT_S = 2.0


class StatusEngine(Protocol):
    """What can be asked how it is (engine.client.EngineClient)."""

    async def status(self, timeout_s: float) -> StatusReply: ...


def routes(
    list_engines: Callable[[], Awaitable[Mapping[str, StatusEngine]]], authenticate: Authenticate
) -> list[Route]:
    """Return the routes. `list_engines` returns the clients of the engines that run, by base id."""

    async def healthz(request: Request) -> Response:
        replies = await _ask(await list_engines())
        parts = {base_id: _describe(reply) for base_id, reply in replies.items()}
        return JSONResponse({"api": "ready", "engines": parts})

    async def metrics(request: Request) -> Response:
        try:
            await asyncio.to_thread(authenticate, credentials.from_headers(request.headers))
        except ApiError as error:
            return JSONResponse(error_value(error.code, error.message), HTTP_STATUS[error.code])
        replies = await _ask(await list_engines())
        return PlainTextResponse(format_metrics([_up(replies), *_join(replies)]), media_type=TEXT_FORMAT)

    return [Route("/healthz", healthz), Route("/metrics", metrics)]


async def _ask(engines: Mapping[str, StatusEngine]) -> dict[str, StatusReply | None]:
    """Ask every engine at once; None for one that does not answer."""

    async def status_of(engine: StatusEngine) -> StatusReply | None:
        try:
            return await engine.status(TIMEOUT_S)
        except ApiError:
            return None

    replies = await asyncio.gather(*map(status_of, engines.values()))
    return dict(zip(engines, replies, strict=True))


def _describe(reply: StatusReply | None) -> str:
    if reply is None:
        return "away"
    return reply.problem or ("ready" if reply.ready else "loading")


def _join(replies: Mapping[str, StatusReply | None]) -> list[Metric]:
    """Return the engines' metrics, each family once, with the base as a label of every sample."""
    families: dict[str, Metric] = {}
    for base_id, reply in replies.items():
        for metric in reply.metrics if reply else ():
            family = families.setdefault(
                metric.name, Metric(name=metric.name, help=metric.help, kind=metric.kind)
            )
            family.samples.extend(_labelled(metric, base_id))
    return list(families.values())


def _labelled(metric: Metric, base_id: str) -> Iterator[Sample]:
    for sample in metric.samples:
        yield Sample(suffix=sample.suffix, labels={**sample.labels, "base": base_id}, value=sample.value)


def _up(replies: Mapping[str, StatusReply | None]) -> Metric:
    samples = [
        Sample(labels={"base": base_id}, value=float(reply is not None and reply.ready))
        for base_id, reply in replies.items()
    ]
    return Metric(
        name="overtone_engine_up", help="Whether an engine is ready.", kind="gauge", samples=samples
    )
