"""The registry's saved fact sets: named, versioned, never overwritten."""

from __future__ import annotations

import unicodedata

from sqlite_utils import Database

from rotelab.errors import LabError
from rotelab.facts.diff import what_changed
from rotelab.facts.packs import Pack, pack_from_text
from rotelab.registry.database import RegistryFile
from rotelab.registry.rows import FactSetRow, now
from rotelab.registry.runs import keep_content

MAX_NAME = 60


class FactSetRows(RegistryFile):
    """The part of the registry that stores fact sets."""

    def save_fact_set(
        self, name: str, pack: Pack, base_version: int | None = None, note: str = ""
    ) -> int:
        """Saves a pack as the newest version of a fact set. Nothing is ever overwritten.

        Args:
            name: the set's name: 1 to 60 printable characters, no slashes.
            pack: the facts and prompts.
            base_version: the version that was edited (0 for a new set), if known.
            note: a remark about this version.

        Returns:
            The version. If the content equals the newest version's, that one, and nothing is added.

        Raises:
            LabError: the name is not valid; someone has saved another version since
                `base_version`; or the file can't be written.
        """
        name = fact_set_name(name)
        with self.write() as db:
            newest, newest_hash = _newest(db, name)
            if newest and newest_hash == pack.content_hash:
                return newest
            if base_version in (None, newest):
                db.table("fact_sets").insert(
                    {
                        "name": name,
                        "version": newest + 1,
                        "created": now(),
                        "note": note,
                        "facts": len(pack.facts),
                        "content_hash": keep_content(db, pack),
                    }
                )
                return newest + 1
        raise LabError(self._moved_on(name, base_version, newest))

    def _moved_on(self, name: str, base: int, newest: int) -> str:
        """The error for someone who edited an older version."""
        if base > newest:
            return f"There is no version {base} of {name!r} (newest: {newest}). Load it again."
        if base == 0:
            said = f"Someone created this fact set while you were editing {name!r}."
        else:
            changes = what_changed(self.fact_set(name, base), self.fact_set(name, newest))
            said = f"Someone saved version {newest} while you were editing {name!r}. {changes}"
        return (
            f"{said.strip()} Nothing was overwritten: save yours under another name, or load "
            f"version {newest} and make your changes there."
        )

    def fact_sets(self, name: str | None = None) -> list[FactSetRow]:
        """The newest version of each fact set, by name; or all versions of one, newest first.

        Raises:
            LabError: the file can't be read.
        """
        columns = ", ".join(FactSetRow.__dataclass_fields__)
        if name is None:
            where, values = (
                "WHERE version = (SELECT max(version) FROM fact_sets s WHERE s.name = f.name) "
                "ORDER BY name",
                [],
            )
        else:
            where, values = "WHERE name = ? ORDER BY version DESC", [_normal(name)]
        with self.read() as db:
            rows = db.query(f"SELECT {columns} FROM fact_sets f {where}", values)
            return [FactSetRow(**row) for row in rows]

    def fact_set(self, name: str, version: int | None = None) -> Pack:
        """The facts and prompts of a saved fact set.

        Args:
            name: its name.
            version: which version; the newest by default.

        Raises:
            LabError: there is no such set or version, or its content is damaged.
        """
        name = _normal(name)
        with self.read() as db:
            row = db.execute(
                "SELECT facts_csv, prompts_csv FROM fact_sets LEFT JOIN contents "
                "USING (content_hash) WHERE name = ? AND (? IS NULL OR version = ?) "
                "ORDER BY version DESC LIMIT 1",
                [name, version, version],
            ).fetchone()
        if row is None:
            which = "" if version is None else f" with a version {version}"
            raise LabError(
                f"There is no fact set {name[:80]!r}{which}. The Facts tab lists those saved."
            )
        return pack_from_text(name, row[0] or "", row[1] or "")


def fact_set_name(name: str) -> str:
    """A fact set's name as it is stored. Names are data, never paths.

    Raises:
        LabError: it is empty, too long, or has a slash or an invisible character.
    """
    name = _normal(name)
    if not name:
        raise LabError("The fact set needs a name.")
    if len(name) > MAX_NAME:
        raise LabError(f"The name has {len(name)} characters; at most {MAX_NAME} are taken.")
    if not name.isprintable() or "/" in name or "\\" in name:
        raise LabError(
            "A fact set's name may not contain slashes, line breaks or invisible characters."
        )
    return name


def _normal(name: str) -> str:
    # One spelling for each name: “é” can be typed as one character or as two.
    return unicodedata.normalize("NFC", name).strip()


def _newest(db: Database, name: str) -> tuple[int, str]:
    row = db.execute(
        "SELECT version, content_hash FROM fact_sets WHERE name = ? ORDER BY version DESC LIMIT 1",
        [name],
    ).fetchone()
    return row or (0, "")
