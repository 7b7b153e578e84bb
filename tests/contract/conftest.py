"""A service that speaks TLS on both doors, on a tiny base."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.serving import Service, running_service


@pytest.fixture(scope="session")
def tls_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with the pair that `overtone tls` makes."""
    from tests.tiny import make_base

    data = tmp_path_factory.mktemp("tls") / "data"
    make_base(data / "bases")
    subprocess.run([sys.executable, "-m", "overtone", "tls", "--data", str(data)], check=True)
    (cert,) = data.rglob("cert.pem")
    with running_service(
        data, "--tls-cert", str(cert), "--tls-key", str(cert.with_name("key.pem"))
    ) as running:
        running.certificate = cert
        yield running
