"""How fast jobs were, on the disk."""

from __future__ import annotations

from pathlib import Path

from overtone.dataset.estimate import SpeedRecord
from overtone.store import speeds
from overtone.store.speeds import SPEEDS_FILE, add_speed, load_speeds


def record(num_steps: int) -> SpeedRecord:
    return SpeedRecord("tiny", "AMD EPYC", "2 threads", "float32", num_steps, 1000, 10.0, 7)


def test_what_is_added_is_loaded_in_its_order(tmp_path: Path) -> None:
    assert load_speeds(tmp_path) == []
    for num_steps in (1, 2, 3):
        add_speed(tmp_path, record(num_steps))
    assert load_speeds(tmp_path) == [record(1), record(2), record(3)]
    assert (tmp_path / SPEEDS_FILE).stat().st_mode & 0o777 == 0o600


def test_a_damaged_line_is_no_record(tmp_path: Path) -> None:
    add_speed(tmp_path, record(1))
    with (tmp_path / SPEEDS_FILE).open("a") as file:
        file.write('{"base_id": "half a li\n3\n{"seconds": 1}\n\n')
        file.write((tmp_path / SPEEDS_FILE).read_text().replace("10.0", "0.0"))
        file.write((tmp_path / SPEEDS_FILE).read_text().replace("10.0", '"x"'))
    add_speed(tmp_path, record(2))
    assert load_speeds(tmp_path) == [record(1), record(2)]


def test_of_a_long_file_only_the_end_is_read(tmp_path: Path) -> None:
    for num_steps in range(1, 1001):
        add_speed(tmp_path, record(num_steps))
    found = load_speeds(tmp_path)
    assert found[-1] == record(1000)
    assert 200 < len(found) < speeds.READ_BYTES // 100
