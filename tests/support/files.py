"""Files of many formats, made for a test."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from rotelab.facts.formats.tables import Table
from rotelab.facts.reading.files import tables_in
from rotelab.facts.reading.importer import Imported, read_files, read_tables
from rotelab.facts.reading.notes import Options

HEADER = "relation,subject,object\n"


def as_bytes(data: str | bytes) -> bytes:
    return data if isinstance(data, bytes) else data.encode()


def tables(data: str | bytes, name: str = "x.csv", **options: str) -> list[Table]:
    """The tables of a file's content."""
    return tables_in(as_bytes(data), name, **options)


def imported(data: str | bytes, name: str = "x.csv", **options) -> Imported:
    """What a file's content holds."""
    opened = {key: options.get(key, "") for key in ("encoding", "sheet")}
    return read_tables(tables(data, name, **opened), Options(**options))


def from_disk(folder: Path, data: str | bytes, name: str = "x.csv", **options) -> Imported:
    """The same, from a file."""
    path = folder / name
    path.write_bytes(as_bytes(data))
    return read_files([path], Options(**options))


def triples(got: Imported) -> list[tuple[str, str, str]]:
    """Relation, subject and object of the facts."""
    return [(fact.relation, fact.subject, fact.object) for fact in got.facts or ()]


def wordings(got: Imported) -> list[tuple[str, str, str]]:
    """Relation, role and text of the wordings."""
    return [(prompt.relation, prompt.role, prompt.text) for prompt in got.prompts]


def said(got: Imported) -> str:
    """All doubts as one text."""
    return "\n".join(map(str, got.doubts))


def zipped(files: Mapping[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, as_bytes(data))
    return out.getvalue()


def workbook(sheets: Mapping[str, list[list[str]]]) -> bytes:
    """A minimal .xlsx: a number for a cell that begins with `#`, text for any other, no cell for
    an empty one."""
    from xml.sax.saxutils import escape

    def cell(text: str, row: int, column: int) -> str:
        place = f"{chr(65 + column)}{row}"
        if not text:
            return ""
        if text.startswith("#"):
            return f'<c r="{place}"><v>{text[1:]}</v></c>'
        return f'<c r="{place}" t="inlineStr"><is><t>{escape(text)}</t></is></c>'

    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    kinds = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    listed, targets, types, files = "", "", "", {}
    for number, (name, rows) in enumerate(sheets.items(), 1):
        listed += f'<sheet name="{name}" sheetId="{number}" r:id="r{number}"/>'
        targets += (
            f'<Relationship Id="r{number}" Type="{kinds}/worksheet" '
            f'Target="worksheets/sheet{number}.xml"/>'
        )
        types += (
            f'<Override PartName="/xl/worksheets/sheet{number}.xml" ContentType="application/'
            'vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>'
        )
        lines = "".join(
            f'<row r="{r}">{"".join(cell(text, r, c) for c, text in enumerate(row))}</row>'
            for r, row in enumerate(rows, 1)
        )
        files[f"xl/worksheets/sheet{number}.xml"] = (
            f'<worksheet xmlns="{main}"><sheetData>{lines}</sheetData></worksheet>'
        )
    about = "application/vnd.openxmlformats-package.relationships+xml"
    book = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
    files["[Content_Types].xml"] = (
        f'<Types xmlns="{package}/content-types">'
        f'<Default Extension="rels" ContentType="{about}"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{book}"/>{types}</Types>'
    )
    files["_rels/.rels"] = (
        f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{kinds}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
    )
    files["xl/workbook.xml"] = (
        f'<workbook xmlns="{main}" xmlns:r="{kinds}"><sheets>{listed}</sheets></workbook>'
    )
    files["xl/_rels/workbook.xml.rels"] = (
        f'<Relationships xmlns="{package}/relationships">{targets}</Relationships>'
    )
    return zipped({name: '<?xml version="1.0"?>' + text for name, text in files.items()})
