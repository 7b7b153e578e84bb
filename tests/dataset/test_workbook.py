"""Excel files."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Sequence

import pytest

from overtone.dataset.columns import Columns
from overtone.dataset.examples import Example
from overtone.dataset.files import DataSource, read_source

NAMES = "http://schemas.openxmlformats.org"
WORKBOOK = f"""<workbook xmlns="{NAMES}/spreadsheetml/2006/main" xmlns:r="{NAMES}/officeDocument/2006/relationships">
<sheets><sheet name="Fälle" sheetId="1" r:id="rId1"/>
<sheet name="Notes" sheetId="2" r:id="rId1"/></sheets></workbook>"""
RELATIONS = f"""<Relationships xmlns="{NAMES}/package/2006/relationships"><Relationship Id="rId1" Target="{{}}"
Type="{NAMES}/officeDocument/2006/relationships/{{}}"/></Relationships>"""


def workbook(rows: Sequence[Sequence[object]]) -> bytes:
    """Write the smallest file that is one."""
    lines = "".join(map(_row, range(1, len(rows) + 1), rows))
    sheet = f'<worksheet xmlns="{NAMES}/spreadsheetml/2006/main"><sheetData>{lines}</sheetData></worksheet>'
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("_rels/.rels", RELATIONS.format("xl/workbook.xml", "officeDocument"))
        archive.writestr("xl/workbook.xml", WORKBOOK)
        archive.writestr("xl/_rels/workbook.xml.rels", RELATIONS.format("worksheets/sheet1.xml", "worksheet"))
        archive.writestr("xl/worksheets/sheet1.xml", sheet)
    return packed.getvalue()


def _row(number: int, values: Sequence[object]) -> str:
    cells = (_cell(value, f"{chr(65 + column)}{number}") for column, value in enumerate(values))
    return f"<row r='{number}'>{''.join(cells)}</row>"


def _cell(value: object, place: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"<c r='{place}' t='b'><v>{int(value)}</v></c>"
    if isinstance(value, int | float):
        return f"<c r='{place}'><v>{value}</v></c>"
    return f"<c r='{place}' t='inlineStr'><is><t xml:space='preserve'>{value}</t></is></c>"


def test_the_first_sheet_is_read_and_the_others_are_told() -> None:
    pytest.importorskip("python_calamine")
    rows = [["message", "category"], ["Grüße", "x"], [None, None], [" é ", 7], ["a", 1.5], ["b", True]]
    content = read_source(DataSource("x.xlsx", workbook(rows)))
    assert [(row.place, row.example) for row in content.rows] == [
        ("row 2", Example.pair("Grüße", "x")),
        ("row 4", Example.pair(" é ", "7")),
        ("row 5", Example.pair("a", "1.5")),
        ("row 6", Example.pair("b", "TRUE")),
    ]
    assert content.format == "Excel, sheet 'Fälle' (the 1 after it are not read)"


def test_its_columns_can_be_joined() -> None:
    pytest.importorskip("python_calamine")
    data = workbook([["subject", "body", "team"], ["S", "B", "T"]])
    content = read_source(DataSource("x.xlsx", data, columns=Columns("{subject}: {body}", "team")))
    assert content.rows[0].example == Example.pair("S: B", "T")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"PK\x03\x04junk", "x.xlsx cannot be read as an Excel file"),
        (workbook([["a", "a"], ["1", "2"]]), "x.xlsx, row 1: two columns are called 'a'"),
    ],
)
def test_what_is_no_table_is_told(data: bytes, sentence: str) -> None:
    pytest.importorskip("python_calamine")
    assert read_source(DataSource("x.xlsx", data)).problem.startswith(sentence)


def test_without_the_library_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    problem = read_source(DataSource("x.xlsx", b"PK\x03\x04")).problem
    assert "pip install 'overtone[xlsx]'" in problem and "save the table as CSV" in problem
