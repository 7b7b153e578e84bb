"""How fast jobs were tuned on this machine: one line of JSON for each, in a file of the data folder.

Not in the database, which several machines may share. The file only grows, by some 200 bytes a job; its end is read.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from overtone.dataset.estimate import SpeedRecord, find_records
from overtone.processor_name import processor_name

SPEEDS_FILE = "speeds.jsonl"
READ_BYTES = 64 << 10  # of the file's end: some 300 jobs


def add_speed(data: Path, record: SpeedRecord) -> None:
    """Append a record. One write: trainers of several bases may do so at once."""
    line = (json.dumps(asdict(record)) + "\n").encode()
    file = os.open(data / SPEEDS_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def load_speeds_here(data: Path, base_id: str) -> list[SpeedRecord]:
    """Return the records that say something of the next job on this base and this processor."""
    return find_records(load_speeds(data), base_id, processor_name())


def load_speeds(data: Path) -> list[SpeedRecord]:
    """Return the newest records, oldest first. A damaged line is no record."""
    try:
        with (data / SPEEDS_FILE).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - READ_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return []
    found = (_parse(line) for line in lines)
    return [record for record in found if record is not None]


def _parse(line: bytes) -> SpeedRecord | None:
    try:
        record = SpeedRecord(**json.loads(line))
        is_sound = record.seconds > 0 and record.num_tokens > 0 and record.num_steps > 0
    except (ValueError, TypeError):
        return None
    return record if is_sound else None
