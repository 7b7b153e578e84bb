"""How long tests wait for what must come: as long as it takes, for speed is measured in bench/."""

from __future__ import annotations

import time
from collections.abc import Callable

HANG_S = 600.0  # no machine is so slow or so busy: what has not come by then never will


def wait_until(condition: Callable[[], object]) -> None:
    """Return once the condition holds; fail when it never does."""
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
