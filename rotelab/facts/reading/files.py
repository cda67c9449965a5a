"""Opens what a person names: a file of any kind that is known, a zip of such files, a data set."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from rotelab.errors import InputError
from rotelab.facts.formats.delimited import read_delimited
from rotelab.facts.formats.encoding import decode
from rotelab.facts.formats.hub import data_set_file, is_data_set
from rotelab.facts.formats.json_text import read_json
from rotelab.facts.formats.tables import MAX_BYTES, Table, too_large
from rotelab.facts.formats.workbooks import read_parquet, read_workbook
from rotelab.facts.reading.columns import known

SUFFIXES = (
    ".csv", ".tsv", ".tab", ".txt", ".json", ".jsonl", ".ndjson", ".xlsx", ".xlsm", ".xlsb",
    ".xls", ".ods", ".parquet", ".zip", ".gz",
)  # fmt: skip
"""Endings of files that can be read. What a file is, its content says; the ending only picks files
out of a zip."""

MAX_MEMBERS = 1000
"""Most files in a zip."""

OTHERS = {
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"SQLite format 3": "an SQLite database",
    b"\x1f\x9d": "a .Z archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"\x80\x04": "a Python pickle, which is never opened: it can run programs",
    b"\x80\x05": "a Python pickle, which is never opened: it can run programs",
    b"ARROW1": "an Arrow file",
    b"{\\rtf": "an RTF document",
}
"""What the first bytes of other files say."""

HIDDEN = ("__MACOSX", ".", "~$")
"""Beginnings of a path's parts in a zip that a person did not put there."""


def open_tables(name: str | Path, encoding: str = "", sheet: str = "") -> list[Table]:
    """Reads every table of what a person names.

    Args:
        name: a file's path, or a data set of the Hugging Face Hub (`hf:owner/name`, with a file's
            path behind it where it has several).
        encoding: of its text; empty to find it.
        sheet: of a workbook; empty for all.

    Raises:
        InputError: says what can't be read and how to mend it.
    """
    if is_data_set(name):
        path, source = data_set_file(str(name).removeprefix("hf:"))
        return tables_in(read_whole(path, source), source, encoding, sheet)
    source = Path(name).name
    return tables_in(read_whole(Path(name), source), source, encoding, sheet)


def read_whole(path: Path, source: str) -> bytes:
    """A file's bytes.

    Raises:
        InputError: it is missing, a folder, too large, or can't be read.
    """
    try:
        if path.is_dir():
            raise InputError(
                "is a folder. Name a file in it, or a zip of it; a pack's folder is given to "
                "`run --pack`.",
                source=source,
            )
        if (size := path.stat().st_size) > MAX_BYTES:
            raise too_large(size, source)
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError("there is no such file.", source=source) from None
    except OSError as error:
        raise InputError(
            f"can't be read ({error.strerror}). Check its permissions.", source=source
        ) from error


def tables_in(data: bytes, source: str, encoding: str = "", sheet: str = "") -> list[Table]:
    """The tables of a file; its first bytes say what it is, whatever its name.

    Raises:
        InputError: as `open_tables`.
    """
    if data.startswith(b"\x1f\x8b"):
        data = _unzipped(data, source)
    if data.startswith(b"PAR1"):
        return [read_parquet(data, source)]
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        return read_workbook(data, source, sheet)
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _in_zip(data, source, encoding, sheet)
    for begin, what in OTHERS.items():
        if data.startswith(begin):
            raise InputError(
                f"is {what}. Give a table (CSV, TSV, JSON, Excel, Parquet) or a zip of tables.",
                source=source,
            )
    decoded = decode(data, source, encoding)
    begin = decoded.text.lstrip()[:1]
    if begin in ("{", "["):
        return [read_json(decoded, source, known)]
    if decoded.text.lstrip()[:15].lower().startswith(("<!doctype html", "<html", "<?xml")):
        raise InputError(
            "is a web page or XML, not a table: a download may have brought the page around it.",
            source=source,
        )
    if decoded.text.startswith("version https://git-lfs"):
        raise InputError(
            "is only a pointer to the file (Git LFS). Fetch the file itself: git lfs pull.",
            source=source,
        )
    delimiter = "\t" if source.lower().endswith(".tsv") and "\t" in decoded.text else ""
    return [read_delimited(decoded, source, known, delimiter)]


def _unzipped(data: bytes, source: str) -> bytes:
    try:
        with gzip.open(io.BytesIO(data)) as file:
            unpacked = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"can't be unpacked ({error}).", source=source) from None
    if len(unpacked) > MAX_BYTES:
        raise too_large(len(unpacked), source)
    return unpacked


def _in_zip(data: bytes, source: str, encoding: str, sheet: str) -> list[Table]:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile as error:
        raise InputError(f"is a broken zip ({error}).", source=source) from None
    with archive:
        names = archive.namelist()
        if "[Content_Types].xml" in names or "mimetype" in names or "content.xml" in names:
            size = sum(member.file_size for member in archive.infolist())
            if size > MAX_BYTES:
                raise too_large(size, source)
            return read_workbook(data, source, sheet)
        if len(names) > MAX_MEMBERS:
            raise InputError(
                f"holds {len(names):,} files; at most {MAX_MEMBERS:,} are read.", source=source
            )
        tables = [
            table
            for name, content in _members(archive, source)
            for table in tables_in(content, f"{source}/{name}", encoding, sheet)
        ]
    if not tables:
        raise InputError(
            f"holds no table. Known are files that end in {', '.join(SUFFIXES)}.", source=source
        )
    return tables


def _members(archive: zipfile.ZipFile, source: str) -> Iterator[tuple[str, bytes]]:
    left = MAX_BYTES
    for member in archive.infolist():
        parts = Path(member.filename).parts
        if member.is_dir() or any(part.startswith(HIDDEN) for part in parts):
            continue
        if not member.filename.lower().endswith(SUFFIXES):
            continue
        if member.filename.lower().endswith(".zip"):
            raise InputError("holds another zip. Unpack that one first.", source=source)
        if member.flag_bits & 1:
            raise InputError("is locked with a password. Unpack it first.", source=source)
        try:
            with archive.open(member) as file:
                content = file.read(left + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
            raise InputError(
                f"can't be unpacked ({error}).", source=f"{source}/{member.filename}"
            ) from None
        left -= len(content)
        if left < 0:
            raise too_large(MAX_BYTES - left, source)
        if content.strip():
            yield member.filename, content
