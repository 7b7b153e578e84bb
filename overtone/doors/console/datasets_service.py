"""overtone.console.v1.Datasets: the check of training data before a job."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format

from overtone.dataset.columns import Columns
from overtone.dataset.files import DataSource
from overtone.dataset.report import to_json
from overtone.domain.sharing import Caller
from overtone.doors.console import messages as m
from overtone.errors import refuse
from overtone.service.datasets import Datasets

MAX_PROBLEMS = 1000  # told where the caller does not say how many
ROWS = "rows"  # the name of what has none


class DatasetsService:
    """Translates; the check is that of dataset.report."""

    def __init__(self, datasets: Datasets):
        self.datasets = datasets

    def check_dataset(self, request: m.CheckDatasetRequest, caller: Caller) -> m.CheckDatasetResponse:
        """Return what is wrong with training data, what they are like, and how long a tuning on them takes."""
        if "source" not in request:
            raise refuse("source", "is missing; give rows, or content with a file_name.")
        if request.max_problems < 0:
            raise refuse("max_problems", f"is {request.max_problems}; it must not be negative.")
        columns = Columns(request.input or None, request.output or None)
        report = self.datasets.check(
            _read_source(request.source, "source", columns),
            caller,
            request.base_model.removeprefix("models/"),
            _read_source(request.held_out, "held_out", columns) if "held_out" in request else None,
            request.epoch_count,
            request.batch_size,
        )
        value = to_json(report, request.max_problems or MAX_PROBLEMS)
        reply = m.CheckDatasetResponse()
        json_format.ParseDict(_encodable(value), m.CheckDatasetResponse.pb(reply))
        return reply


def _read_source(given: m.DatasetSource, field: str, columns: Columns) -> DataSource:
    if given.rows and given.content:
        raise refuse(field, "has content and rows; give one of them.")
    if not given.content:
        rows = [_with_integers(json_format.MessageToDict(row)) for row in m.DatasetSource.pb(given).rows]
        return DataSource(given.file_name or ROWS, rows=rows, columns=columns)
    if not given.file_name:
        raise refuse(
            f"{field}.file_name", "is missing; its end says what the content is, such as .csv or .jsonl."
        )
    return DataSource(given.file_name, given.content, columns=columns)


def _with_integers(value: Any) -> Any:
    """Return JSON whose whole numbers are integers again: a Struct holds doubles alone."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    if isinstance(value, dict):
        return {name: _with_integers(item) for name, item in value.items()}
    return value


def _encodable(value: Any) -> Any:
    """Return JSON without halves of surrogate pairs, which a file may spell and a message cannot hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, dict):
        return {name: _encodable(item) for name, item in value.items()}
    return value
