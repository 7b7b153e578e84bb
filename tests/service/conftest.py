"""A whole service on the tiny base, called through its REST door."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from overtone.config import Settings
from overtone.jobs.queue import Queue
from overtone.service.access import Access
from overtone.service.services import build_servicers
from overtone.store.store import Store
from overtone.wire import rest_door
from tests.service.fakes import BASE, EchoEngine, TinyChats, TinyRegistry
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
def app(store: Store, queue: Queue, engine: EchoEngine, settings: Settings) -> Any:
    servicers = build_servicers(store, queue, TinyRegistry(), TinyChats(), {BASE: engine}, settings)  # type: ignore[arg-type]
    return rest_door.build(servicers, Access(store, settings).authenticate, settings)


@pytest.fixture
def http(app: Any) -> Iterator[TestClient]:
    with TestClient(app, base_url=HOME) as client:
        yield client
