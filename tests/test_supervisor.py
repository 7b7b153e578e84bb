"""Children that are kept alive, stopped in order, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from overtone import supervisor
from overtone.supervisor import CANNOT_START, Child, Supervisor, describe
from tests.acceptance.processes import is_alive
from tests.patience import HANG_S, wait_until

# A child in little: it takes the same argument as a worker and lives until it is told to stop.
CHILD = """
import pathlib, signal, sys, time
from overtone.supervisor import watch_lifeline
watch_lifeline(int(sys.argv[-1]), grace_s=0.2)
place = pathlib.Path(sys.argv[1])
def stop(*_):
    with place.with_name("stopped").open("a") as file: file.write(place.name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
place.write_text(str(__import__("os").getpid()))
time.sleep(3600)
"""

PARENT = """
import os, pathlib, sys
from tests.test_supervisor import child
from overtone.supervisor import Supervisor
only = [child(pathlib.Path(sys.argv[1]))]
Supervisor(lambda: only, dict(os.environ)).run()
"""


def child(place: Path, program: str = CHILD) -> Child:
    return Child(place.name, [sys.executable, "-c", program, str(place)], patience_s=HANG_S)


def pid_in(place: Path) -> int:
    wait_until(lambda: place.exists() and place.read_text() != "")
    return int(place.read_text())


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Supervisor, Path]]:
    """A supervisor with the children `first` and `second`."""
    both = [child(tmp_path / "first"), child(tmp_path / "second")]
    watched = Supervisor(lambda: both, dict(os.environ))
    thread = threading.Thread(target=watched.run)
    thread.start()
    yield watched, tmp_path
    watched.stop()
    thread.join(HANG_S)
    assert not thread.is_alive()


def test_children_are_stopped_in_order(running: tuple[Supervisor, Path]) -> None:
    watched, folder = running
    pids = [pid_in(folder / name) for name in ("first", "second")]
    watched.stop()
    wait_until(lambda: not any(map(is_alive, pids)))
    assert (folder / "stopped").read_text().split() == ["first", "second"]


def test_a_killed_child_is_started_again(running: tuple[Supervisor, Path]) -> None:
    _, folder = running
    pid = pid_in(folder / "first")
    (folder / "first").unlink()
    os.kill(pid, signal.SIGKILL)
    assert pid_in(folder / "first") != pid
    assert is_alive(pid_in(folder / "second"))


def test_the_pause_grows_with_each_death_and_has_an_end() -> None:
    dying = child(Path("x"))
    watched = Supervisor(lambda: [dying], {})
    pauses = []
    for _ in range(9):
        dying.started_at = time.monotonic()
        pauses.append(dying.pause_s)
        watched._mourn(dying, 1)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_after_a_steady_life_the_pause_is_short_again() -> None:
    steady = child(Path("x"))
    steady.pause_s, steady.started_at = 30.0, time.monotonic() - 2 * supervisor.STEADY_S
    Supervisor(lambda: [steady], {})._mourn(steady, -signal.SIGKILL)
    assert steady.due_at - time.monotonic() < 1.0


def test_a_child_that_cannot_start_ends_the_service(tmp_path: Path) -> None:
    hopeless = child(tmp_path / "hopeless", f"raise SystemExit({CANNOT_START})")
    both = [child(tmp_path / "fine"), hopeless]
    assert Supervisor(lambda: both, dict(os.environ)).run() == 1


def test_a_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    program = CHILD.replace("sys.exit(0)", "time.sleep(3600)")
    stubborn = child(tmp_path / "stubborn", program)
    stubborn.patience_s = 0.2
    watched = Supervisor(lambda: [stubborn], dict(os.environ))
    thread = threading.Thread(target=watched.run)
    thread.start()
    pid = pid_in(tmp_path / "stubborn")
    watched.stop()
    thread.join(HANG_S)
    assert not is_alive(pid)


def test_a_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    program = CHILD.replace("sys.exit(0)", "time.sleep(3600)")
    slow = child(tmp_path / "slow", program)
    watched = Supervisor(lambda: [slow], dict(os.environ))
    thread = threading.Thread(target=watched.run)
    thread.start()
    pid_in(tmp_path / "slow")
    watched.interrupt()
    watched.interrupt()
    thread.join(HANG_S / 2)
    assert not thread.is_alive(), "it had the patience that a child is given otherwise"


def test_a_child_that_is_not_wanted_any_more_is_stopped_and_comes_again_when_it_is(tmp_path: Path) -> None:
    wanted = [child(tmp_path / "own"), child(tmp_path / "other")]
    watched = Supervisor(lambda: list(wanted), dict(os.environ))
    thread = threading.Thread(target=watched.run)
    thread.start()
    own, first = pid_in(tmp_path / "own"), pid_in(tmp_path / "other")
    assert watched.pids() == {"own": own, "other": first}

    wanted.pop()
    wait_until(lambda: watched.pids() == {"own": own})
    assert not is_alive(first)
    (tmp_path / "other").unlink()
    wanted.append(child(tmp_path / "other"))
    second = pid_in(tmp_path / "other")
    assert (second != first, pid_in(tmp_path / "own")) == (True, own)

    watched.stop()
    thread.join(HANG_S)
    assert (tmp_path / "stopped").read_text().split() == ["other", "own", "other"]


def test_a_child_that_is_let_go_and_does_not_stop_is_killed(tmp_path: Path) -> None:
    stubborn = child(tmp_path / "stubborn", CHILD.replace("sys.exit(0)", "time.sleep(3600)"))
    stubborn.patience_s = 0.2
    wanted = [stubborn]
    watched = Supervisor(lambda: list(wanted), dict(os.environ))
    thread = threading.Thread(target=watched.run)
    thread.start()
    pid = pid_in(tmp_path / "stubborn")
    wanted.clear()
    wait_until(lambda: not is_alive(pid))
    wait_until(lambda: watched.pids() == {})
    watched.stop()
    thread.join(HANG_S)


def test_a_repeated_stop_still_waits(running: tuple[Supervisor, Path]) -> None:
    watched, folder = running
    pids = [pid_in(folder / name) for name in ("first", "second")]
    watched.stop()
    watched.stop()
    wait_until(lambda: not any(map(is_alive, pids)))
    assert (folder / "stopped").read_text().split() == ["first", "second"]


def test_no_child_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "only")])
    pid = pid_in(tmp_path / "only")
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_alive(pid))


def test_how_a_child_ended_is_said_in_words() -> None:
    assert describe(-9) == "was killed by SIGKILL"
    assert describe(3) == "ended with status 3"
