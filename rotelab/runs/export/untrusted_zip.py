"""The zip file around a bundle: written with a hash for each member, and read without trust.

A member's name must be on a list, and its bytes are counted while they are unpacked, so no header
is believed. Only allowed files are written, all inside one folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import rotelab
from rotelab.errors import InputError, LabError
from rotelab.facts.csv_text import MAX_BYTES as MAX_TABLE
from rotelab.facts.csv_text import UNPRINTABLE
from rotelab.storage import RUN_ID, put_in_place

FORMAT = 1
KIND = "rotelab run"
MANIFEST = "manifest.json"

MAX_MEMBERS = 100
MAX_DIRECTORY = 1_000_000
"""Most bytes read from the archive at once: its list of members must fit."""
MAX_TOTAL = 4_000_000_000
"""Most bytes of all members together, unpacked."""
MAX_BYTES = {
    ".json": 5_000_000, ".csv": MAX_TABLE, ".jsonl": 1_000_000_000, ".safetensors": 3_000_000_000,
}  # fmt: skip
"""Most bytes of one member, unpacked, by the kind of file."""
MAX_RATIO, RATIO_FROM = 200, 1_000_000
"""A member that unpacks to more than `MAX_RATIO` times its size is a zip bomb; one that unpacks to
fewer than `RATIO_FROM` bytes is not checked."""
CHUNK = 1 << 18

_SHA256 = re.compile(r"[0-9a-f]{64}")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # one time for all members: the same run gives the same bytes
# What zipfile raises, beside its own error, on archives made to confuse it.
_BAD_ZIP = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, ValueError,
    RuntimeError, NotImplementedError, IndexError, OverflowError,
)  # fmt: skip


class Seal(NamedTuple):
    """A member's hash and its size in bytes, as the manifest records them."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """What a bundle says about itself.

    Args:
        run_id: the run's id where it was made.
        members: every other member, by name.
    """

    run_id: str
    members: dict[str, Seal]


def write_archive(
    target: Path, run_id: str, members: Iterable[tuple[str, Iterable[bytes]]]
) -> Manifest:
    """Writes a bundle, whole or not at all; replaces an older file.

    Args:
        target: the file.
        run_id: the run.
        members: the name of each member, and its content piece by piece.

    Raises:
        LabError: the file can't be written.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    seals: dict[str, Seal] = {}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, pieces in members:
                seals[name] = _write_member(archive, name, pieces)
            about = {
                "kind": KIND,
                "format": FORMAT,
                "rotelab": rotelab.__version__,
                "run": run_id,
                "members": {name: seal._asdict() for name, seal in seals.items()},
            }
            _write_member(archive, MANIFEST, [json.dumps(about, indent=1).encode()])
        put_in_place(part, target)
    except OSError as error:
        raise LabError(f"{target} can't be written ({error.strerror or error}).") from error
    finally:
        part.unlink(missing_ok=True)
    return Manifest(run_id, seals)


def unpack(file: Path, folder: Path, allowed: Callable[[str], bool]) -> Manifest:
    """Unpacks a bundle's members into an empty folder, each checked against the manifest.

    Args:
        file: the bundle; nothing in it is trusted.
        folder: where the members go, under their own names.
        allowed: whether a member may have a name; no allowed name may lead out of the folder.

    Raises:
        InputError: it is no bundle or one of another format, or a member is extra, missing, too
            large or not the one in the manifest. The caller deletes what was unpacked until then.
        LabError: the folder can't be written.
    """
    source = shown_name(file)
    with _opened(file, source) as archive:
        infos = _checked_members(archive, source, allowed)
        manifest = _read_manifest(archive, infos, source)
        missing = sorted(manifest.members.keys() - infos.keys())
        if missing:
            raise InputError(f"lacks {missing[0]!r}, which its manifest names.", source=source)
        extra = sorted(infos.keys() - manifest.members.keys() - {MANIFEST})
        if extra:
            raise InputError(f"holds {extra[0]!r}, which its manifest lacks.", source=source)
        left = MAX_TOTAL
        for name, seal in manifest.members.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as out:
                digest, size = _pour(archive, infos[name], out, left, source)
            left -= size
            if (digest, size) != seal:
                raise InputError(
                    "is not what the manifest says: its hash is another. The file was damaged or "
                    "changed after the export; export it again.",
                    source=f"{source}/{name}",
                )
    return manifest


def seal_of(pieces: Iterable[bytes]) -> Seal:
    """A member's hash and size, as a manifest records them."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    return Seal(digest.hexdigest(), size)


def load_json(data: bytes, source: str, row: int | None = None) -> Any:
    """Parses untrusted JSON: no NaN, no name twice, no half characters.

    Raises:
        InputError: it is not such JSON.
    """
    try:
        value = json.loads(
            data.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_once
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        said = str(error)[:100] if not isinstance(error, RecursionError) else "nested too deeply"
        raise InputError(f"can't be read as JSON ({said}).", source=source, row=row) from None
    return value


def shown_name(file: Path) -> str:
    """A file's name, safe to show in a sentence."""
    return UNPRINTABLE.sub("?", file.name)[:80]


class _Bounded(io.BufferedReader):
    """A file that refuses large reads: zipfile reads an archive's whole list of members into
    memory, whatever length the archive claims."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = os.fstat(self.fileno()).st_size - self.tell()
        if size > MAX_DIRECTORY:
            raise zipfile.BadZipFile("its list of members is too long")
        return super().read(size)


@contextmanager
def _opened(file: Path, source: str) -> Iterator[zipfile.ZipFile]:
    try:
        with _Bounded(io.FileIO(file)) as raw, zipfile.ZipFile(raw) as archive:
            yield archive
    except LabError:
        raise
    except FileNotFoundError:
        raise InputError("there is no such file.", source=source) from None
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror or error}).", source=source) from error
    except _BAD_ZIP as error:
        said = UNPRINTABLE.sub("?", str(error))[:100]
        raise InputError(f"is not a whole zip file ({said}).", source=source) from error


def _checked_members(
    archive: zipfile.ZipFile, source: str, allowed: Callable[[str], bool]
) -> dict[str, zipfile.ZipInfo]:
    infos: dict[str, zipfile.ZipInfo] = {}
    if len(archive.infolist()) > MAX_MEMBERS:
        raise InputError(f"holds more than {MAX_MEMBERS} files.", source=source)
    for info in archive.infolist():
        name = info.orig_filename  # as in the archive, before zipfile cleans it
        shown = UNPRINTABLE.sub("?", name)[:80]
        if name != MANIFEST and not allowed(name):
            raise InputError(
                f"holds {shown!r}, which is not part of a run. It is not a bundle, or "
                "it is from a newer rotelab.",
                source=source,
            )
        if name in infos:
            raise InputError(f"holds {shown!r} twice.", source=source)
        mode = info.external_attr >> 16
        if info.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
            raise InputError(f"holds {shown!r} as a link or a folder, not a file.", source=source)
        if info.flag_bits & 1:
            raise InputError(f"holds {shown!r} encrypted, which can't be read.", source=source)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"holds {shown!r} in a compression that is not read.", source=source)
        infos[name] = info
    if MANIFEST not in infos:
        raise InputError(f"has no {MANIFEST}, so it is no bundle of a run.", source=source)
    return infos


def _read_manifest(archive: zipfile.ZipFile, infos: Any, source: str) -> Manifest:
    out = io.BytesIO()
    _pour(archive, infos[MANIFEST], out, MAX_TOTAL, source)
    place = f"{source}/{MANIFEST}"
    about = load_json(out.getvalue(), place)
    if not isinstance(about, dict) or about.get("kind") != KIND:
        raise InputError("is not that of a run's bundle.", source=place)
    version = about.get("format")
    if isinstance(version, bool) or version != FORMAT:
        raise InputError(
            f"is of format {version!r:.40}; this rotelab reads format {FORMAT}. Update rotelab, or "
            "export the run again with this version.",
            source=place,
        )
    run_id, members = about.get("run"), about.get("members")
    if not isinstance(run_id, str) or not RUN_ID.fullmatch(run_id):
        raise InputError(f"names {run_id!r:.80}, which is not a run's id.", source=place)
    if not isinstance(members, dict):
        raise InputError("does not list the members.", source=place)
    return Manifest(run_id, {name: _seal(name, seal, place) for name, seal in members.items()})


def _seal(name: str, seal: Any, place: str) -> Seal:
    sha256, size = (seal.get("sha256"), seal.get("size")) if isinstance(seal, dict) else (None, 0)
    sound = isinstance(sha256, str) and _SHA256.fullmatch(sha256)
    if not sound or isinstance(size, bool) or not isinstance(size, int):
        raise InputError(f"gives no SHA-256 and size for {name[:80]!r}.", source=place)
    return Seal(sha256, size)


def _pour(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, out: IO[bytes], left: int, source: str
) -> tuple[str, int]:
    """Unpacks one member and returns its hash and size; stops as soon as it is too large."""
    digest, size = hashlib.sha256(), 0
    most = min(MAX_BYTES[Path(info.orig_filename).suffix], left)
    with archive.open(info) as member:
        while piece := member.read(CHUNK):
            size += len(piece)
            bomb = size > RATIO_FROM and size > MAX_RATIO * max(1, info.compress_size)
            if size > most or bomb:
                what = "unpacks to far more than it is packed in" if bomb else "is too large"
                words = f"{what} ({size:,} bytes and more), so it is not read."
                raise InputError(words, source=f"{source}/{info.orig_filename}")
            digest.update(piece)
            out.write(piece)
    return digest.hexdigest(), size


def _write_member(archive: zipfile.ZipFile, name: str, pieces: Iterable[bytes]) -> Seal:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    # Weights do not get smaller, and compressing them takes long.
    weights = name.endswith(".safetensors")
    info.compress_type = zipfile.ZIP_STORED if weights else zipfile.ZIP_DEFLATED
    digest, size = hashlib.sha256(), 0
    with archive.open(info, "w", force_zip64=weights or name.endswith(".jsonl")) as out:
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
            out.write(piece)
    return Seal(digest.hexdigest(), size)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice")
    return found
