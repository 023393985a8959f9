"""Spreadsheet files as text cells: CSV of any usual spelling, XLSX by its first sheet; bounded."""

from __future__ import annotations

import csv
import io
import itertools
import warnings
import zipfile
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

from studio.errors import BadRequest, TooLarge

MAX_BYTES = 8 * 2**20  # of a file
MAX_UNPACKED = 64 * 2**20  # bytes of all parts of an XLSX
MAX_PARTS = 500  # files within an XLSX
MAX_ROWS = 2_000  # besides the headings
MAX_COLUMNS = 64
MAX_CELL = 10_000  # characters: as many as a prompt may have
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
# GB18030 last: Chinese Excel writes it without saying so, and nearly every byte is legal in it.
ENCODINGS = ("utf-8-sig", "gb18030")

Cells = list[list[str]]


def read_table(data: bytes) -> Cells:
    """Rows of text cells, the headings first; trailing empty rows and columns are left out.

    Raises TooLarge and BadRequest (`bad_sheet`), which names row and column where it can.
    """
    if len(data) > MAX_BYTES:
        raise TooLarge(
            f"The sheet has {len(data) / 2**20:.1f} MB; at most {MAX_BYTES // 2**20} MB are read.",
            hint="Split it into several sheets.",
        )
    if not data.strip():
        raise refuse("The sheet is empty.", "Give a heading row and one row for each product.")
    rows = _from_xlsx(data) if data.startswith(b"PK") else _from_csv(data)
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    for number, row in enumerate(rows, start=1):
        _check_row(number, row)
    if len(rows) < 2:
        raise refuse("The sheet has no rows under its headings.", "Give one row for each product.")
    return rows


def write_csv(rows: Iterable[Sequence[object]]) -> bytes:
    """UTF-8 with a byte order mark, so that Excel reads it; no cell is a formula to a spreadsheet."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for row in rows:
        writer.writerow([harmless(str(cell)) for cell in row])
    return text.getvalue().encode("utf-8-sig")


def harmless(text: str) -> str:
    """A cell that a spreadsheet would run gets an apostrophe before it. Source: OWASP, CSV injection."""
    return f"'{text}" if text.startswith(FORMULA) else text


def place(row: int, column: int) -> str:
    """'D3' of row 3 and column 3, which is counted from 0, as spreadsheets name cells."""
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return f"{letters}{row}"


def refuse(message: str, hint: str = "", field: str = "sheet") -> BadRequest:
    return BadRequest(message, hint=hint, field=field, code="bad_sheet")


def _check_row(number: int, row: list[str]) -> None:
    while row and not row[-1].strip():
        row.pop()
    if number > MAX_ROWS + 1:
        raise refuse(f"The sheet has more than {MAX_ROWS} rows.", "Split it into several sheets.")
    if len(row) > MAX_COLUMNS:
        raise refuse(f"Row {number} has {len(row)} columns; at most {MAX_COLUMNS} are read.")
    for column, cell in enumerate(row):
        if len(cell) > MAX_CELL:
            raise refuse(f"Cell {place(number, column)} has {len(cell)} characters; {MAX_CELL} fit.")
        if "\0" in cell:
            raise refuse(f"Cell {place(number, column)} holds a zero byte.", "Save the sheet as CSV or XLSX.")


def _from_csv(data: bytes) -> Cells:
    text = _decoded(data)
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        return list(itertools.islice(lines, MAX_ROWS + 2))
    except csv.Error as error:
        raise refuse(f"Not a readable CSV: {error}.", "Save it as CSV (UTF-8) or XLSX.") from None


def _decoded(data: bytes) -> str:
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))  # Excel's "Unicode text"
    for encoding in ("utf-16",) if wide else ENCODINGS:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise refuse("The sheet's text cannot be read.", "Save it as CSV (UTF-8) or XLSX.")


def _from_xlsx(data: bytes) -> Cells:
    _check_parts(data)
    import openpyxl

    rows: Cells = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions that a reader of text does without
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            bounds = {"max_row": MAX_ROWS + 2, "max_col": MAX_COLUMNS + 1}
            for row in book.worksheets[0].iter_rows(values_only=True, **bounds):
                rows.append([_text(value) for value in row])
            book.close()
    except Exception:  # its reader meets bytes from outside and raises whatever they lead it to
        raise refuse("Not a readable XLSX workbook.", "Save it anew as XLSX, or as CSV (UTF-8).") from None
    return rows


def _check_parts(data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            found = parts.infolist()
    except (zipfile.BadZipFile, ValueError, OverflowError):
        raise refuse("Not a readable XLSX workbook.", "Save it anew as XLSX, or as CSV (UTF-8).") from None
    size = sum(part.file_size for part in found)
    if len(found) > MAX_PARTS or size > MAX_UNPACKED:
        raise refuse(
            f"The workbook unpacks to {size / 2**20:.0f} MB in {len(found)} parts; "
            f"{MAX_UNPACKED // 2**20} MB in {MAX_PARTS} are read.",
            "Save the one sheet as CSV.",
        )


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))  # Excel keeps every number as a float: 128 must not become 128.0
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return str(value)
