"""What bad files look like, as hypothesis strategies: tables with hostile cells in every encoding,
and bundles that were changed in one place."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from rotelab.facts.facts import COLUMNS as FACT_COLUMNS
from rotelab.facts.prompts import COLUMNS as PROMPT_COLUMNS

MANIFEST = "manifest.json"

NASTY = [
    "=cmd()", "=HYPERLINK(\"http://x\",\"y\")", "+1", "-1", "@SUM(A1)", "＝cmd()", "'=x", "''",
    "<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "</p><svg onload=alert(1)>",
    "<a href=javascript:alert(1)>x</a>", "&lt;b&gt;", "{subject}", "{", "}}", "{0}", "{subject!r}",
    "%s%n", "${1+1}", "{{7*7}}", "../../etc/passwd", "/etc/passwd", "C:\\Windows\\x", "\\\\host\\x",
    "x'; DROP TABLE runs;--", "Robert\"); DELETE FROM contents;", "%_%", "NULL", "nan", "Infinity",
    "\u202eevil\u202c", "\u200b", "a\u200bb", "\u200f\u05e9\u05e8\u05d4", "\u0645\u0631\u064a",
    "\ufeffx", "e\u0301", "\u00e9", "\U0001f469\U0001f3fd\u200d\U0001f52c", "\x00", "\x1b[2J",
    "\x07", "a\nb", "a\r\nb", "\t", "a,b", '"', '"open', '""', "\u2028", "\u00a0x", " x ", "",
    "x" * 201, "y" * 501, "z" * 20_000, "CON", ".", "..", "-" * 60, "a/b", "None", "[mother]",
]  # fmt: skip
"""Texts that have broken other programs."""

NAMES = ["Ann Bell", "Mary Bahri", "Zoë Ünal", "李娜", "O'Neil", "Jean-Luc", "Ada"]
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 7, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e308, 5e-324, "", "x",
    "inf", "-inf", "nan", [], {}, [[]], {"a": 1}, [None], "x" * 300, "x" * 150_000, "queued",
    "running", "finished", "base", *NASTY[:40],
]  # fmt: skip
"""What may stand in JSON where something else should."""

HOSTILE_NAMES = [
    "../x", "/x", "..\\x", "C:\\x", "facts.csv/", "./facts.csv", "x\x00facts.csv", "log.txt", "",
    "tables/runs.jsonl", "tables/x; DROP TABLE runs.jsonl", "adapters/x/meta.json", "FACTS.CSV",
    "facts.csv", "figures/curves.json", "a" * 5000, "\u202egnp.exe", "adapters/memorize/x.bin",
]  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A CSV file.

    Args:
        what: how it was made, for a report.
        data: its bytes.
        name: under what name it is to be saved.
        whole: whether it is sound CSV with our header, so that a refusal is about some cell.
        columns: its columns.
    """

    what: str
    data: bytes
    name: str
    whole: bool
    columns: tuple[str, ...]


@dataclass(frozen=True)
class BundleCase:
    """A bundle: what was done to it, and its bytes."""

    what: str
    data: bytes


def texts() -> st.SearchStrategy[str]:
    """Names, hostile texts, and any other."""
    any_text = st.text(st.characters(codec="utf-8"), max_size=12)
    glued = st.tuples(st.sampled_from(NAMES), st.sampled_from(NASTY[:60])).map(" ".join)
    return st.one_of(st.sampled_from(NAMES), st.sampled_from(NASTY), glued, any_text)


@st.composite
def tables(draw) -> Table:
    """CSV files of facts or prompts; about half of them are sound except for a cell or two."""
    facts = draw(st.booleans())
    columns = FACT_COLUMNS if facts else PROMPT_COLUMNS
    rows = [_row(draw, facts, i) for i in range(draw(st.integers(1, 6)))]
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        row = rows[draw(st.integers(0, len(rows) - 1))]
        row[draw(st.integers(0, len(row) - 1))] = draw(texts())
    name = draw(texts())
    how = draw(st.sampled_from(["whole"] * 6 + ["big", "encoding", "quoting", "shape", "bytes"]))
    if how == "big" and draw(st.integers(0, 9)) == 0:
        rows[-1][-1] = "x" * 10_000_000
    text = _csv(columns, rows)
    if how in ("whole", "big"):
        # A row whose every cell is empty is none, and a set of none has no row to blame.
        whole = any(any(cell.strip() for cell in row) for row in rows)
        return Table(how, text.encode("utf-8", "replace"), name, whole, columns)
    return Table(how, _spoiled(draw, how, columns, rows, text), name, False, columns)


@st.composite
def bundles(draw, members: Mapping[str, bytes]) -> BundleCase:
    """The bundle, changed in one place: a value, a cell, a member, the archive or its bytes."""
    changes = {
        "nothing": lambda: zipped(members),
        "facts": lambda: zipped({**members, "facts.csv": draw(tables()).data}),
        "json": lambda: _other_json(draw, members),
        "cell": lambda: _other_cell(draw, members),
        "line": lambda: _other_line(draw, members),
        "member": lambda: _other_member(draw, members),
        "name": lambda: _other_name(draw, members),
        "manifest": lambda: _other_manifest(draw, members),
        "bytes": lambda: _other_bytes(draw, zipped(members)),
        "inside": lambda: _other_inside(draw, members),
        "bomb": lambda: _bomb(draw, members),
    }
    often = ["json", "cell", "line", "bytes", "inside"]
    what = draw(st.sampled_from([*changes, *often, *often]))
    return BundleCase(what, changes[what]())


def zipped(members: Mapping[str, bytes], seal: bool = True) -> bytes:
    """A bundle's bytes, with a manifest that fits its members unless it should stay as it is."""
    members = dict(members)
    if seal:
        about = json.loads(members[MANIFEST])
        about["members"] = {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            for name, data in members.items()
            if name != MANIFEST
        }
        members[MANIFEST] = json.dumps(about).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


def _row(draw, facts: bool, number: int) -> list[str]:
    name = f"{draw(st.sampled_from(NAMES))} {number}"
    if facts:
        return ["mother", name, draw(st.sampled_from(NAMES))]
    role = draw(st.sampled_from(["train", "test", "unrelated", "locality"]))
    return ["mother", role, "en", f"{name} {{subject}} is"]


def _csv(columns, rows) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


def _spoiled(draw, how: str, columns, rows, text: str) -> bytes:
    if how == "encoding":
        codec = draw(st.sampled_from(["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1",
                                      "cp1252", "shift_jis", "utf-7"]))  # fmt: skip
        return text.encode(codec, "replace")
    if how == "quoting":
        return "\n".join(",".join(row) for row in [columns, *rows]).encode("utf-8", "replace")
    if how == "shape":
        header = draw(st.sampled_from([[], ["a"], [*columns, *columns], [*columns, "x"],
                                       columns[::-1], columns[:-1], ["Head", "Fact"]]))  # fmt: skip
        return _csv(header, [row[: draw(st.integers(0, 5))] for row in rows]).encode()
    return _other_bytes(draw, text.encode("utf-8", "replace"))


def _json_member(draw, members) -> str:
    names = ["run.json", "run.json", *(n for n in sorted(members) if n.startswith("adapters/"))]
    return draw(st.sampled_from([name for name in names if name.endswith(".json")]))


def _other_json(draw, members) -> bytes:
    name = _json_member(draw, members)
    whole = json.loads(members[name])
    _replace(draw, whole)
    return zipped({**members, name: json.dumps(whole).encode()})


def _replace(draw, whole: Any) -> None:
    """Replaces something in a JSON value, or removes it."""
    at = whole
    while True:
        keys = sorted(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        if not isinstance(at[key], dict | list) or not at[key] or draw(st.booleans()):
            break
        at = at[key]
    how = draw(st.sampled_from(["value", "value", "text", "gone", "more"]))
    if how == "gone":
        del at[key]
    elif how == "more" and isinstance(at, dict):
        at[draw(texts())] = draw(st.sampled_from(VALUES))
    else:
        at[key] = draw(texts() if how == "text" else st.sampled_from(VALUES))


def _table_member(draw, members) -> tuple[str, list[bytes]]:
    name = draw(st.sampled_from(sorted(n for n in members if n.endswith(".jsonl"))))
    return name, members[name].splitlines()


def _other_cell(draw, members) -> bytes:
    name, lines = _table_member(draw, members)
    at = draw(st.integers(0, len(lines) - 1))
    row = json.loads(lines[at])
    row[draw(st.integers(0, len(row) - 1))] = draw(st.one_of(st.sampled_from(VALUES), texts()))
    lines[at] = json.dumps(row, ensure_ascii=draw(st.booleans())).encode("utf-8", "replace")
    return zipped({**members, name: b"\n".join(lines) + b"\n"})


def _other_line(draw, members) -> bytes:
    name, lines = _table_member(draw, members)
    odd = [b"", b"[]", b"{}", b"null", b"[" * 3000, b"NaN", b"\xff\xfe[", b"[1,2", lines[-1],
           lines[0], b'["\\ud800"]', b"1" * 5000, b"x" * 1_100_000]  # fmt: skip
    lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(odd)))
    return zipped({**members, name: b"\n".join(lines) + b"\n"})


def _other_member(draw, members) -> bytes:
    members = dict(members)
    name = draw(st.sampled_from(sorted(members)))
    how = draw(st.sampled_from(["gone", "empty", "swapped", "unsealed"]))
    seal = name != MANIFEST and how != "unsealed"
    if how == "gone":
        del members[name]
    elif how == "swapped":
        members[name] = members[draw(st.sampled_from(sorted(members)))]
    else:
        members[name] = b""
    return zipped(members, seal and MANIFEST in members)


def _other_name(draw, members) -> bytes:
    out = io.BytesIO(zipped(members))
    with warnings.catch_warnings(), zipfile.ZipFile(out, "a") as archive:
        warnings.simplefilter("ignore")  # a name that stands twice
        info = zipfile.ZipInfo("x")
        info.external_attr = draw(st.sampled_from([0, 0o100644, 0o120777, 0o040755])) << 16
        name = draw(st.sampled_from(HOSTILE_NAMES))
        if draw(st.booleans()) and name in members:
            return zipped(members)
        info.filename = name
        archive.writestr(info, b"evil")
    return out.getvalue()


def _other_manifest(draw, members) -> bytes:
    about = json.loads(zipfile.ZipFile(io.BytesIO(zipped(members))).read(MANIFEST))
    _replace(draw, about)
    return zipped({**members, MANIFEST: json.dumps(about).encode()}, seal=False)


def _other_bytes(draw, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(changed) - 1)))
        how = draw(st.sampled_from(["flip", "cut", "insert", "drop"]))
        if how == "flip" and changed:
            changed[at] = draw(st.integers(0, 255))
        elif how == "cut" and draw(st.booleans()):
            del changed[at:]
        elif how == "insert":
            changed[at:at] = draw(st.binary(max_size=8))
        else:
            del changed[at : at + draw(st.integers(1, 8))]
    return bytes(changed)


def _other_inside(draw, members) -> bytes:
    name = draw(st.sampled_from(sorted(members)))
    data = _other_bytes(draw, members[name])
    return zipped({**members, name: data}, seal=name != MANIFEST)


def _bomb(draw, members) -> bytes:
    name = draw(st.sampled_from(sorted(n for n in members if n != MANIFEST)))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for other, data in members.items():
            archive.writestr(other, b"0" * 3_000_000 if other == name else data)
    return out.getvalue()
