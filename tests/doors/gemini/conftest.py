"""A whole service on the tiny base, called through its doors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from overtone.config import Settings
from overtone.doors.gemini import rest_door
from overtone.doors.gemini.servicers import build_servicers
from overtone.jobs.queue import Queue
from overtone.service.access import Access
from overtone.service.models import build_models
from overtone.store.store import Store
from tests.doors.gemini.fakes import BASE, EchoEngine, OneEngine, TinyRegistry
from tests.doors.gemini.grpc_client import GrpcClient
from tests.store.databases import new_store

HOME = "http://127.0.0.1:8080"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, base=BASE)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    store = new_store(settings.data)
    yield store
    store.close()


@pytest.fixture
def queue(store: Store) -> Queue:
    return Queue(store)


@pytest.fixture
def engine() -> EchoEngine:
    return EchoEngine()


@pytest.fixture
def servicers(
    store: Store, queue: Queue, access: Access, engine: EchoEngine, settings: Settings
) -> Mapping[str, object]:
    models = build_models(store, TinyRegistry(), access, settings)  # type: ignore[arg-type]
    return build_servicers(store, queue, models, access, OneEngine(engine), settings)


@pytest.fixture
def access(store: Store, settings: Settings) -> Access:
    return Access(store, settings)


@pytest.fixture
def rest(servicers: Mapping[str, object], access: Access, settings: Settings) -> Iterator[TestClient]:
    """The service through its REST door."""
    with TestClient(rest_door.build(servicers, access.authenticate, settings), base_url=HOME) as client:
        yield client


@pytest.fixture(params=["rest", "grpc"])
def client(
    request: Any, servicers: Mapping[str, object], access: Access, settings: Settings
) -> Iterator[Any]:
    """The service through each of its doors in turn."""
    if request.param == "rest":
        yield request.getfixturevalue("rest")
        return
    over_grpc = GrpcClient(servicers, access.authenticate, settings)
    yield over_grpc
    over_grpc.close()
