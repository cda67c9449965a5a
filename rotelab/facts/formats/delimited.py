"""CSV of any kind: any delimiter, either way of quoting, ragged rows, what spreadsheets add."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator

from rotelab.errors import InputError
from rotelab.facts.formats.encoding import Decoded
from rotelab.facts.formats.tables import MAX_BYTES, MAX_ROWS, Record, Table, too_many_rows

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
"""What may stand between cells, and its name."""

SAMPLE = 50
"""How many rows are looked at to find the delimiter."""

# Excel writes and reads a first line such as `sep=;`.
_SEPARATOR_LINE = re.compile(r'\A"?sep=([,;|\t])"?\r?\n?', re.IGNORECASE)

# Some programs write a quote inside quotes as \" instead of "".
_BACKSLASH_QUOTE = re.compile(r'\\"')

csv.field_size_limit(MAX_BYTES)


class _BadQuotes(InputError):
    """The quotes of a CSV don't match."""


def read_delimited(
    decoded: Decoded, source: str, knows: Callable[[list[str]], int], delimiter: str = ""
) -> Table:
    """Reads CSV text with whatever stands between its cells.

    Args:
        decoded: the text.
        source: what the user calls the file.
        knows: how many columns of a header it recognises; decides between delimiters.
        delimiter: what stands between the cells, as the user says; empty to find it.

    Raises:
        InputError: there is no header, a column is named twice, a row has too many or too few
            cells, or quotes are not closed.
    """
    text = decoded.text
    if named := _SEPARATOR_LINE.match(text):
        text, delimiter = text[named.end() :], delimiter or named[1]
    delimiter = delimiter or find_delimiter(text, knows)
    said: list[str] = []
    try:
        header, records = _rows(text, source, delimiter)
    except _BadQuotes as fault:
        mended = _BACKSLASH_QUOTE.sub('""', text)
        try:
            header, records = _rows(mended, source, delimiter)
        except _BadQuotes:
            raise fault from None
        said.append('Quotes written as \\" are read as quotes.')
    return Table(
        source,
        "TSV" if delimiter == "\t" else "CSV",
        tuple(name for name in header if name),
        tuple(records),
        decoded.encoding,
        decoded.guessed,
        delimiter,
        tuple(said),
    )


def find_delimiter(text: str, knows: Callable[[list[str]], int]) -> str:
    """What stands between the cells: that with which most columns of the header are recognised;
    then that with which most rows have as many cells as the header; the comma for one column."""
    marks: dict[str, tuple[float, ...]] = {}
    for delimiter in DELIMITERS:
        rows = _sample(text, delimiter)
        if not rows:
            return ","
        header = rows[0]
        even = sum(len(row) == len(header) for row in rows) / len(rows)
        marks[delimiter] = (knows(header), len(header) > 1, even, len(header))
    return max(marks, key=marks.__getitem__)


def _sample(text: str, delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for row in _cells(text, delimiter, strict=False):
            if any(row):
                rows.append(row)
            if len(rows) == SAMPLE:
                break
    except csv.Error:
        pass  # what was read so far is enough to tell
    return rows


def _cells(text: str, delimiter: str, strict: bool = True) -> Iterator[list[str]]:
    lines = io.StringIO(text, newline="")
    for row in csv.reader(lines, delimiter=delimiter, strict=strict):
        yield [cell.strip() for cell in row]


def _rows(text: str, source: str, delimiter: str) -> tuple[list[str], list[Record]]:
    header: list[str] = []
    records: list[Record] = []
    try:
        for cells in _cells(text, delimiter):
            if not any(cells):
                continue
            if not header:
                header = _header(cells, source)
                continue
            if len(records) == MAX_ROWS:
                raise too_many_rows(source)
            cells = _fitted(cells, header, len(records) + 1, source, delimiter)
            named = {name: cell for name, cell in zip(header, cells, strict=True) if name}
            records.append(Record(len(records) + 1, named))
    except csv.Error as error:
        raise _BadQuotes(
            f"can't be read as CSV ({error}). Double a quote that belongs to the text.",
            source=source,
            row=len(records) + 1,
        ) from None
    if not header:
        raise InputError("is empty; its first line must name the columns.", source=source)
    return header, records


def _header(cells: list[str], source: str) -> list[str]:
    for name in cells:
        if name and cells.count(name) > 1:
            raise InputError(f"names the column {name!r} twice. Keep one of them.", source=source)
    # pandas writes its index in front, under an empty name.
    return ["#"] + cells[1:] if not cells[0] and any(cells) and "#" not in cells else cells


def _fitted(
    cells: list[str], header: list[str], number: int, source: str, delimiter: str
) -> list[str]:
    """A row with as many cells as the header; empty cells at its end may be too many."""
    while len(cells) > len(header) and not cells[-1]:
        cells = cells[:-1]
    if len(cells) != len(header):
        raise InputError(
            f"has {len(cells)} cells where the header has {len(header)}. "
            f"Put quotes around a cell that contains a {DELIMITERS.get(delimiter, 'delimiter')}.",
            source=source,
            row=number,
        )
    return cells
