"""CSV text in and out: the one reader that every table a person gives us goes through."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from rotelab.errors import InputError

MAX_BYTES = 25_000_000
"""Largest table that is read, in bytes: room for `MAX_ROWS` of the longest cells allowed. A hundred
facts take five kilobytes."""

MAX_ROWS = 10_000
"""Most rows that a table may have, its header and empty rows not counted."""

MAX_CELL = 10_000
"""Longest cell of any table, in characters; facts and prompts are held to much less."""

# The reader's own limit knows no column, so it is out of the way of `MAX_CELL`.
csv.field_size_limit(MAX_BYTES)

# A cell that a spreadsheet would run as a formula is written with a leading apostrophe, and read
# back without it (OWASP, "CSV injection"; the wide signs are those of East Asian keyboards). One
# that has apostrophes before the formula gets one more, so that reading takes away what writing
# added and no other.
FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")

# Line breaks, other control characters, and halves of a character (lone surrogates).
UNPRINTABLE = re.compile(r"[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Row(NamedTuple):
    """One row of a table: its 1-based number without the header, and its cells by column."""

    number: int
    cells: dict[str, str]


class Doubt(NamedTuple):
    """Something that is only doubtful: a warning that stands beside its row (1-based)."""

    row: int
    column: str
    message: str


def read_bytes(path: str | Path) -> bytes:
    """Reads a table's bytes.

    Raises:
        InputError: the file is missing, is a folder, can't be read, or is larger than `MAX_BYTES`.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise InputError("is a folder, not a CSV file.", source=path.name)
        if size > MAX_BYTES:
            raise InputError(
                f"is {size / 1e6:.0f} MB; a table may have at most {MAX_BYTES / 1e6:.0f} MB. "
                "Split it into several fact sets.",
                source=path.name,
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError("there is no such file.", source=path.name) from None
    except OSError as error:
        raise InputError(
            f"can't be read ({error.strerror}). Check its permissions.", source=path.name
        ) from error


def parse_table(data: bytes, source: str) -> tuple[list[str], list[Row]]:
    """Turns the bytes of a CSV file into a header and rows, every cell stripped of outer blanks.

    Args:
        data: UTF-8 text, with or without a byte order mark; comma-separated, quotes doubled.
        source: what the user calls this file, for error messages.

    Returns:
        The column names as written, and the rows that are not wholly empty.

    Raises:
        InputError: not UTF-8, too large, no header, a column named twice, more than `MAX_ROWS`
            rows, a row with too many or too few cells, a cell of more than `MAX_CELL` characters, a
            stray quote, or a control character.
    """
    if len(data) > MAX_BYTES:
        raise InputError(
            f"is {len(data) / 1e6:.0f} MB; at most {MAX_BYTES / 1e6:.0f} MB is read. "
            "Split it into several fact sets.",
            source=source,
        )
    text = _decode(data, source)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    rows: list[Row] = []
    number = 0
    try:
        for cells in reader:
            cells = [_unescape(cell.strip()) for cell in cells]
            if not any(cells):
                continue
            if not header:
                header = cells
                _check_header(header, source)
                continue
            number += 1
            if number > MAX_ROWS:
                raise InputError(
                    f"has more than {MAX_ROWS} rows. Split it into several fact sets.",
                    source=source,
                )
            if len(cells) != len(header):
                raise InputError(
                    f"has {len(cells)} cells where the header has {len(header)}. "
                    "Put quotes around a cell that contains a comma.",
                    source=source,
                    row=number,
                )
            for name, cell in zip(header, cells, strict=True):
                if len(cell) > MAX_CELL:
                    raise InputError(
                        f"has {len(cell):,} characters; at most {MAX_CELL:,} are read.",
                        source=source,
                        row=number,
                        column=name,
                    )
                check_printable(cell, source=source, row=number, column=name)
            rows.append(Row(number, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise InputError(
            f"can't be read as CSV ({error}). Double a quote that belongs to the text.",
            source=source,
            row=number + 1,
        ) from None
    if not header:
        raise InputError("is empty; its first line must name the columns.", source=source)
    return header, rows


def check_printable(cell: str, *, source: str, row: int, column: str) -> None:
    """Refuses control characters, line breaks included: a fact is one line of text.

    Raises:
        InputError: names the character and where it stands.
    """
    if found := UNPRINTABLE.search(cell):
        raise InputError(
            f"contains the control character U+{ord(found[0]):04X}. Remove it "
            "(line breaks and tabs are not allowed inside a cell).",
            source=source,
            row=row,
            column=column,
        )


def check_cell(cell: str, *, source: str, row: int, column: str) -> None:
    """What every cell of a set must be: one line of text that can be seen, no blanks around it.

    Raises:
        InputError: says which it is not, and where it stands.
    """
    place = {"source": source, "row": row, "column": column}
    check_printable(cell, **place)
    # Blanks and characters of no width, if there is nothing else, can't be seen.
    if all(unicodedata.category(char) in ("Zs", "Cf") for char in cell):
        raise InputError(f"the {column} is empty. Fill it in, or delete the row.", **place)
    if cell != cell.strip():
        raise InputError(f"the {column} begins or ends with a blank. Remove it.", **place)


def write_table(columns: Sequence[str], rows: Iterable[Sequence[str | float | None]]) -> str:
    """The CSV text of a table: texts that look like spreadsheet formulas are escaped, numbers stand
    as they are, None is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_escape(cell) for cell in row])
    return out.getvalue()


def _check_header(header: list[str], source: str) -> None:
    for name in header:
        # Columns without a name are what spreadsheets leave at the right edge.
        if name and header.count(name) > 1:
            raise InputError(f"names the column {name!r} twice. Keep one of them.", source=source)


def _decode(data: bytes, source: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        sound = error.object[: error.start]  # of its own object: the mark is cut off there
    else:
        # UTF-16 without a mark passes for UTF-8, every other character of it being NUL. A few are
        # control characters in a cell, which is then named.
        if text.count("\0") < len(text) / 8 or not text:
            return text
        sound = text.partition("\0")[0].encode()
    lines = [line for line in sound.splitlines(keepends=True) if line.endswith((b"\r", b"\n"))]
    row = sum(1 for line in lines if line.strip(b" ,\t\r\n"))  # empty rows are not counted
    raise InputError(
        "is not UTF-8 text. Save it again as “CSV UTF-8”.", source=source, row=row or None
    )


def _escape(cell: str | float | None) -> str | float | None:
    return "'" + cell if isinstance(cell, str) and FORMULA.match(cell) else cell


def _unescape(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and FORMULA.match(cell) else cell
