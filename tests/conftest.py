"""Services for the slow tests: one on a tiny random base, one on the real one, started when first asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from overtone.wire.tls import LOOPBACK, make_self_signed
from tests.serving import Service, running_service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service on a tiny random base: everything is quick, and no answer makes sense."""
    from tests.tiny import make_base

    data = tmp_path_factory.mktemp("tiny") / "data"
    make_base(data / "bases")
    with running_service(data) as running:
        yield running


@pytest.fixture(scope="session")
def real_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service on the real base model, which is pulled once into the user's data folder and linked here."""
    from tests.real import bases_folder

    data = tmp_path_factory.mktemp("real") / "data"
    data.mkdir()
    (data / "bases").symlink_to(bases_folder())
    with running_service(data) as running:
        yield running


@pytest.fixture(scope="session")
def tls_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The same over TLS: HTTPS on its port, gRPC on the next one, with a pair made by `overtone tls`."""
    from tests.tiny import make_base

    data = tmp_path_factory.mktemp("tls") / "data"
    make_base(data / "bases")
    certificate, key = make_self_signed(data / "tls", LOOPBACK)
    with running_service(data, "--tls-cert", str(certificate), "--tls-key", str(key)) as running:
        running.certificate = Path(certificate)
        yield running
