"""Takes bundles apart and puts them together again, changed in one place."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

from rotelab.storage import Storage

MANIFEST = "manifest.json"
Members = dict[str, bytes]


def members_of(bundle: Path) -> Members:
    """Every member's bytes by name."""
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sealed(members: Mapping[str, bytes]) -> Members:
    """The members with a manifest that fits them."""
    about = json.loads(members[MANIFEST])
    about["members"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in members.items()
        if name != MANIFEST
    }
    return {**members, MANIFEST: json.dumps(about).encode()}


def zipped(members: Mapping[str, bytes], seal: bool = True) -> bytes:
    """A bundle's bytes; without `seal`, the manifest stays as it is."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (sealed(members) if seal else members).items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def changed_json(data: bytes, *path: str, value: object) -> bytes:
    """A JSON text with the value at a path replaced; the value `...` removes it."""
    whole = json.loads(data)
    at = whole
    for part in path[:-1]:
        at = at[part]
    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return json.dumps(whole).encode()


def left_behind(storage: Storage) -> set[str]:
    """Every file and folder that an import could have left in the home."""
    return {str(path) for path in storage.runs.rglob("*")} if storage.runs.is_dir() else set()
