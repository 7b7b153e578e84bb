"""The table of our own methods: one line each, which the REST and the gRPC door add to Google's."""

from __future__ import annotations

from overtone.doors.console import messages as m
from overtone.doors.method import Method, MethodFamily

CONSOLE = MethodFamily("overtone.console.{version}", ("v1",), path="overtone/{version}")

RPCS = (
    Method(
        "Datasets",
        "CheckDataset",
        m.CheckDatasetRequest,
        m.CheckDatasetResponse,
        "POST",
        ("datasets:check",),
        body="*",
        family=CONSOLE,
    ),
)
