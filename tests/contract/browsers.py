"""Real browsers without a window, each with a profile of its own, for pages on the loopback alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.environments import without_proxies

PROGRAMS = {"chromium": ("chromium", "chromium-browser"), "firefox": ("firefox-esr", "firefox")}
CHROMIUM_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-proxy-server", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
FIREFOX_PREFERENCES = """
user_pref("network.proxy.type", 0);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.reportingpolicy.firstRun", false);
user_pref("app.normandy.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
"""


def find_browser(name: str) -> str:
    """Return the program of a browser; skip the test, saying how to get it, when there is none.

    Where everything is there, as in CI, a skip is a failure (tests/conftest.py).
    """
    path = next(filter(None, map(shutil.which, PROGRAMS[name])), None)
    if path is None:
        pytest.skip(f"no {name}: run `make browsers` as root, or install it with your package manager")
    return path


@contextmanager
def open_page(name: str, url: str, profile: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have a browser show a page as long as the block runs. What it prints lies in its profile."""
    profile.mkdir()
    (profile / "user.js").write_text(FIREFOX_PREFERENCES)
    flags = {
        "chromium": (*CHROMIUM_FLAGS, f"--user-data-dir={profile}"),
        "firefox": ("--headless", "--no-remote", "--profile", str(profile)),
    }[name]
    environ = without_proxies() | {"HOME": str(profile)}
    with (profile / "output.log").open("wb") as output:
        command = [find_browser(name), *flags, url]
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environ, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its renderers too
        process.wait()
