"""Services for the slow tests: one on a tiny random base, one on the real one, started when first asked.

And hypothesis without a stopwatch or dice: no run fails because of its machine or its luck.
"""

from __future__ import annotations

import os
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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, where the tests run on Postgres, what is a matter of SQLite's own."""
    if os.environ.get("OVERTONE_TEST_POSTGRES"):
        sqlite = [item for item in items if item.get_closest_marker("sqlite")]
        config.hook.pytest_deselected(items=sqlite)
        items[:] = [item for item in items if item not in sqlite]


SKIPS_ARE_FAILURES = "OVERTONE_TEST_NO_SKIPS"  # set where everything that a test may need is there
_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what was skipped for another reason than a missing GPU."""
    if report.skipped and not hasattr(report, "wasxfail") and "gpu" not in report.keywords:
        _skipped.append(
            f"{report.nodeid}: {report.longrepr[2] if isinstance(report.longrepr, tuple) else ''}"
        )


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a whole file that was skipped."""
    if report.skipped:
        _skipped.append(f"{report.nodeid}: {report.longrepr}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which tests were skipped that should not have been."""
    if _skipped and os.environ.get(SKIPS_ARE_FAILURES):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _skipped and os.environ.get(SKIPS_ARE_FAILURES):
        terminalreporter.section("skipped, but nothing may be skipped here", red=True)
        for line in _skipped:
            terminalreporter.line(line)
