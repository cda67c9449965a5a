"""Cells of a stranger's file as names: their Unicode, what can't stand in a name, and mending."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rotelab.errors import InputError
from rotelab.facts.csv_text import FORMULA, UNPRINTABLE, check_cell

Faults = Literal["refuse", "mend", "keep"]

MEND = "Or mend such cells on the way with --mend."

_BREAKS = re.compile(r"[ ]*[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+[ ]*")


class Place(NamedTuple):
    """Where a cell stands, as `InputError` names it."""

    source: str
    row: int
    column: str

    def error(self, message: str) -> InputError:
        """The error about this cell."""
        return InputError(message, source=self.source, row=self.row, column=self.column)


@dataclass(frozen=True)
class Name:
    """A cell that was read: `raw` as it stands in the file, `text` with its letters composed (NFC),
    which is what is stored."""

    raw: str
    text: str


def name_in(cell: str, place: Place, faults: Faults = "refuse") -> Name:
    """Reads a cell that holds a name or a wording.

    Args:
        cell: the text as it stands in the file.
        place: where it stands.
        faults: what happens to text that was decoded wrongly before it came here, to line breaks
            and to a spreadsheet's apostrophe before a formula: the first two are refused, all are
            mended, or all but line breaks are kept.

    Raises:
        InputError: names the fault and its place.
    """
    cell = cell.strip()
    if faults == "mend":
        cell = mended(cell)
    if faults == "refuse" and (sound := without_mojibake(cell)) != cell:
        raise place.error(
            f"{cell[:60]!r} was once read in the wrong encoding; it should be {sound[:60]!r}. "
            f"Save the file again from its source as UTF-8. {MEND} (--as-is takes it as it stands.)"
        )
    if found := UNPRINTABLE.search(cell):
        raise place.error(_unprintable(found[0], cell))
    check_cell(cell, source=place.source, row=place.row, column=place.column)
    return Name(cell, unicodedata.normalize("NFC", cell))


def mended(cell: str) -> str:
    """A cell with mojibake put right, line breaks and tabs as blanks, and without the apostrophe
    that keeps a spreadsheet from running a formula."""
    cell = _BREAKS.sub(" ", without_mojibake(cell)).strip()
    return cell[1:] if looks_escaped(cell) else cell


def without_mojibake(cell: str) -> str:
    """A cell with text that was decoded in the wrong encoding put right; any other as it is."""
    if cell.isascii():
        return cell
    import ftfy

    return ftfy.fix_encoding(cell) if ftfy.is_bad(cell) else cell


def looks_escaped(cell: str) -> bool:
    """Whether a cell begins with an apostrophe that some programs write before a formula."""
    return cell.startswith("'") and FORMULA.match(cell) is not None


def _unprintable(char: str, cell: str) -> str:
    code = f"U+{ord(char):04X}"
    if _BREAKS.match(char):
        what = "tab" if char == "\t" else "line break"
        return f"{cell[:40]!r} has a {what} inside ({code}). Put a blank in its place. {MEND}"
    if "\ud800" <= char <= "\udfff":
        return f"contains half a character ({code}). Type it again."
    return f"contains the control character {code}. Remove it."
