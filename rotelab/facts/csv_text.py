"""Reads and writes CSV text; every table that a user gives is read here."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from rotelab.errors import InputError

T = TypeVar("T")

MAX_BYTES = 100_000_000
"""Largest table that is read, in bytes: enough for `MAX_ROWS` rows of the longest facts with their
aliases. A hundred facts take five kilobytes."""

MAX_ROWS = 10_000
"""Most rows of a table, not counting its header and empty rows."""

MAX_CELL = 10_000
"""Longest cell of any table, in characters; the limits of facts and prompts are much lower."""

# The reader's own limit can't name the column; it is raised, so that `MAX_CELL` applies first.
csv.field_size_limit(MAX_BYTES)

# A cell that a spreadsheet would run as a formula is written with a leading apostrophe, which is
# removed when it is read (OWASP, "CSV injection"; the wide signs are those of East Asian
# keyboards). A cell that has apostrophes before the formula gets one more, so that reading removes
# only what writing added.
FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")

# Line breaks, other control characters, and halves of a character (lone surrogates).
UNPRINTABLE = re.compile(r"[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Items(Sequence[T]):
    """An immutable sequence, equal to any other of its class with the same items.

    Args:
        items: the items in their order.
    """

    def __init__(self, items: Iterable[T]):
        self._items = tuple(items)

    def __getitem__(self, index):
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)


class Row(NamedTuple):
    """One row of a table: its 1-based number without the header, and its cells by column."""

    number: int
    cells: dict[str, str]


class Doubt(NamedTuple):
    """A warning about one cell; `row` is 1-based."""

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
    """Reads a CSV file: its header and its rows, every cell without blanks around it.

    Args:
        data: UTF-8 text, with or without a byte order mark; comma-separated, quotes doubled.
        source: what the user calls this file, for error messages.

    Returns:
        The column names as written, and the rows that are not empty.

    Raises:
        InputError: not UTF-8, too large, no header, a column named twice, more than `MAX_ROWS`
            rows, a row with too many or too few cells, a cell of more than `MAX_CELL` characters, a
            stray quote, or a control character.
    """
    if len(data) > MAX_BYTES:
        raise InputError(
            f"is {len(data) / 1e6:.0f} MB; a table may have at most {MAX_BYTES / 1e6:.0f} MB. "
            "Split it into several fact sets.",
            source=source,
        )
    reader = csv.reader(io.StringIO(_decode(data, source), newline=""), strict=True)
    header: list[str] = []
    rows: list[Row] = []
    try:
        for cells in reader:
            cells = [_unescape(cell.strip()) for cell in cells]
            if not any(cells):
                continue
            if header:
                rows.append(_row(header, cells, len(rows) + 1, source))
            else:
                header = cells
                _check_header(header, source)
    except csv.Error as error:
        raise InputError(
            f"can't be read as CSV ({error}). Double a quote that belongs to the text.",
            source=source,
            row=len(rows) + 1,
        ) from None
    if not header:
        raise InputError("is empty; its first line must name the columns.", source=source)
    return header, rows


def parse_edited(
    rows: Iterable[Sequence[object]],
    columns: Sequence[str],
    source: str,
    build: Callable[[list[list[str]]], T],
) -> T:
    """Builds a set from the rows of a table that was edited on the page.

    Args:
        rows: the table's rows; None is an empty cell, and cells after the last column are ignored.
        columns: the names of the columns.
        source: what the user calls the table.
        build: makes the set from the stripped cells of the rows that are not empty.

    Raises:
        InputError: a cell has a control character, or an error of `build`. Both name the row as
            the table shows it, empty rows counted.
    """
    kept: list[list[str]] = []
    numbers: list[int] = []
    for number, row in enumerate(rows, 1):
        cells = ["" if cell is None else str(cell).strip() for cell in list(row)[: len(columns)]]
        if not any(cells):
            continue
        cells += [""] * (len(columns) - len(cells))
        for column, cell in zip(columns, cells, strict=True):
            check_printable(cell, source=source, row=number, column=column)
        kept.append(cells)
        numbers.append(number)
    try:
        return build(kept)
    except InputError as error:
        if error.row is None:
            raise
        raise InputError(
            error.message, source=source, row=numbers[error.row - 1], column=error.column
        ) from None


def check_printable(cell: str, *, source: str, row: int, column: str) -> None:
    """Refuses control characters and line breaks: a cell is one line of text.

    Raises:
        InputError: names the character and its place.
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
    """Checks a cell of a set: one line of visible text, without blanks around it.

    Raises:
        InputError: says what is wrong, and where.
    """
    place = {"source": source, "row": row, "column": column}
    check_printable(cell, **place)
    # A cell of blanks and characters without width looks empty.
    if all(unicodedata.category(char) in ("Zs", "Cf") for char in cell):
        raise InputError(f"the {column} is empty. Fill it in, or delete the row.", **place)
    if cell != cell.strip():
        raise InputError(f"the {column} begins or ends with a blank. Remove it.", **place)


def write_table(columns: Sequence[str], rows: Iterable[Sequence[str | float | None]]) -> str:
    """The CSV text of a table. Texts that look like spreadsheet formulas are escaped; numbers are
    written unchanged; None is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_escape(cell) for cell in row])
    return out.getvalue()


def write_plain_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The CSV text of a table, every cell as it is: for other programs, and for `facts.reading`."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([columns, *rows])
    return out.getvalue()


def _row(header: list[str], cells: list[str], number: int, source: str) -> Row:
    """One row of a CSV file, checked."""
    if number > MAX_ROWS:
        raise InputError(
            f"has more than {MAX_ROWS} rows. Split it into several fact sets.", source=source
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
                f"has {len(cell):,} characters; at most {MAX_CELL:,} are allowed.",
                source=source,
                row=number,
                column=name,
            )
        check_printable(cell, source=source, row=number, column=name)
    return Row(number, dict(zip(header, cells, strict=True)))


def _check_header(header: list[str], source: str) -> None:
    for name in header:
        # Spreadsheets may leave columns without a name at the right edge.
        if name and header.count(name) > 1:
            raise InputError(f"names the column {name!r} twice. Keep one of them.", source=source)


def _decode(data: bytes, source: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        sound = error.object[: error.start]  # `error.object`: without the byte order mark
    else:
        # UTF-16 without a byte order mark decodes as UTF-8, with NUL as every other character. A
        # few NULs are control characters of a cell, which a later check names.
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
