"""Services for the slow tests: one on a tiny random base, one on the real one, started when first asked.

And hypothesis without a stopwatch or dice: no run fails because of its machine or its luck.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.serving import Service, running_service

settings.register_profile("calm", deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
settings.load_profile("calm")


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
