"""The light import of the messages."""

from __future__ import annotations

import subprocess
import sys

CHECK = """
import sys
from overtone.doors.gemini import messages
heavy = [name for name in ("grpc", "requests", "google.auth", "torch") if name in sys.modules]
assert not heavy, heavy
"""
BOTH = """
from overtone.doors.gemini.messages import TunedModel
import google.ai.generativelanguage_v1beta as whole
assert whole.TunedModel is TunedModel
assert whole.ModelServiceClient
"""


def run(program: str) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


def test_the_messages_come_without_any_client() -> None:
    run(CHECK)


def test_the_whole_package_can_still_be_imported_and_has_the_same_messages() -> None:
    run(BOTH)
