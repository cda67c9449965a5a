"""Excel, LibreOffice and Parquet: files that are not text."""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rotelab.errors import InputError
from rotelab.facts.formats.tables import (
    MAX_BYTES,
    MAX_ROWS,
    Record,
    Table,
    table_of,
    text_of,
    too_large,
    too_many_rows,
)


def read_workbook(data: bytes, source: str, sheet: str = "") -> list[Table]:
    """Reads the sheets of a workbook that have rows; every cell as the text that was typed.

    Numbers and dates are stored as such by a spreadsheet, whatever they looked like: `007` that was
    not marked as text is 7, and a date is read as `1999-03-12`, both of which a sentence says.

    Args:
        data: the bytes of an .xlsx, .xlsm, .xlsb, .xls or .ods file.
        source: what the user calls it.
        sheet: the only sheet to read; empty for all.

    Raises:
        InputError: it is damaged or locked, or has no such sheet, no header or no rows.
    """
    import pandas
    import python_calamine

    try:
        sheets = pandas.read_excel(
            io.BytesIO(data), sheet_name=None, header=None, dtype=object, na_filter=False,
            engine="calamine",
        )  # fmt: skip
    except python_calamine.PasswordError:
        raise InputError("is locked with a password. Save it without.", source=source) from None
    except (python_calamine.CalamineError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"is not a workbook that can be read ({_first_line(error)}). Open it and save it "
            "again as .xlsx or as CSV.",
            source=source,
        ) from error
    if sheet:
        if sheet not in sheets:
            raise InputError(
                f"has no sheet {sheet[:50]!r}. It has: {', '.join(map(str, sheets))}.",
                source=source,
            )
        sheets = {sheet: sheets[sheet]}
    kept = {name: frame for name, frame in sheets.items() if len(frame)}
    if not kept:
        raise InputError("has no rows.", source=source)
    return [
        _sheet(frame.itertuples(index=False), source if len(kept) == 1 else f"{source}/{name}")
        for name, frame in kept.items()
    ]


def read_parquet(data: bytes, source: str) -> Table:
    """Reads a Parquet file; nested columns as JSON has them.

    Raises:
        InputError: it is damaged, or has too many rows.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        about = file.metadata
        if about.num_rows > MAX_ROWS:
            raise too_many_rows(source)
        size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        if size > MAX_BYTES:
            raise too_large(size, source)
        rows = file.read().to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(
            f"is not a Parquet file that can be read ({_first_line(error)}).", source=source
        ) from error
    return table_of(rows, source, "Parquet")


def write_workbook(path: Path, tables: Mapping[str, Sequence[Sequence[str]]]) -> Path:
    """Writes an .xlsx file, every cell as text, so that it is read back as it was.

    Args:
        path: the new file.
        tables: the rows of each sheet, its header first, by the sheet's name.
    """
    import xlsxwriter

    with xlsxwriter.Workbook(path) as workbook:
        text = workbook.add_format({"num_format": "@"})
        bold = workbook.add_format({"num_format": "@", "bold": True})
        for name, rows in tables.items():
            sheet = workbook.add_worksheet(name)
            sheet.freeze_panes(1, 0)
            sheet.set_column(0, max(map(len, rows)) - 1, 28, text)
            for number, row in enumerate(rows):
                for place, cell in enumerate(row):
                    sheet.write_string(number, place, cell, text if number else bold)
    return path


def _sheet(rows: Iterator[tuple[Any, ...]], source: str) -> Table:
    header: list[str] = []
    records: list[Record] = []
    kinds: dict[str, None] = {}
    for row in rows:
        cells = [_cell(value) for value in row]
        if not any(cells):
            continue
        if not header:
            header = _names(cells, source)
            continue
        if len(records) == MAX_ROWS:
            raise too_many_rows(source)
        for value in row:
            if isinstance(value, datetime.date | datetime.time):
                kinds["date"] = None
            elif isinstance(value, int | float) and not isinstance(value, bool):
                kinds["number"] = None
        named = {name: cell for name, cell in zip(header, cells, strict=True) if name}
        records.append(Record(len(records) + 1, named))
    said = tuple(_STORED[kind] for kind in _STORED if kind in kinds)
    columns = tuple(name for name in header if name)
    return Table(source, "Excel", columns, tuple(records), said=said)


def _names(cells: list[str], source: str) -> list[str]:
    for name in cells:
        if name and cells.count(name) > 1:
            raise InputError(f"names the column {name!r} twice. Keep one of them.", source=source)
    return ["#", *cells[1:]] if not cells[0] and "#" not in cells else cells


_STORED = {
    "date": "Cells that the spreadsheet stores as dates are read as 1999-03-12; to keep another "
    "form, format the column as text and type them again.",
    "number": "Cells that the spreadsheet stores as numbers are read without their format (007 as "
    "7); to keep it, format the column as text and type them again.",
}


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).upper()  # as a spreadsheet shows it
    if isinstance(value, datetime.datetime):
        whole = value.time() == datetime.time()
        return value.date().isoformat() if whole else value.isoformat(" ")
    return text_of(value)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
