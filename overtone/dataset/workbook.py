"""The first sheet of a spreadsheet as rows: its first row names the columns.

Read by python-calamine, which is not installed by default: `pip install 'overtone[xlsx]'`. A number without decimals
is written as one, a date as 2026-05-31; the other sheets are not read, and their number is told.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from overtone.dataset.rows import Placed, require_heading
from overtone.errors import OvertoneError

SUFFIXES = (".xlsx", ".xlsm")


def read_workbook(data: bytes, name: str) -> tuple[str, list[Placed]]:
    """Return which sheet is read, and its rows. Raises OvertoneError without the library, BadRow for a bad heading."""
    try:
        import python_calamine
    except ImportError as error:
        raise OvertoneError(
            f"{name} is an Excel file, and the library that reads them is not installed. Install it with: "
            "pip install 'overtone[xlsx]' or save the table as CSV."
        ) from error
    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        sheet = book.get_sheet_by_index(0)
        cells = sheet.to_python(skip_empty_area=False)
    except (python_calamine.CalamineError, IndexError) as error:
        raise OvertoneError(f"{name} cannot be read as an Excel file: {error}.") from error
    others = len(book.sheet_names) - 1
    title = f"sheet {sheet.name!r}" + (f" (the {others} after it are not read)" if others else "")
    return title, list(_rows(cells))


def _rows(cells: list[list[Any]]) -> Iterator[Placed]:
    heading: list[str] = []
    for number, values in enumerate(cells, start=1):
        texts = [_text(value) for value in values]
        if not any(texts):
            continue
        if heading:
            yield f"row {number}", dict(zip(heading, texts, strict=True))
        else:
            heading = require_heading(texts, f"row {number}")


def _text(value: Any) -> str:
    """Return a cell as a person reads it."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and value.time() == time():
        value = value.date()
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date | time | timedelta):
        return str(value)
    return str(value)
