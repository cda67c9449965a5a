"""Where the lab keeps its things: one home folder with the database and a folder for each run."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from rotelab.errors import LabError

RUN_ID = re.compile(r"[0-9a-z][0-9a-z-]{0,79}")


@dataclass(frozen=True)
class Settings:
    """The lab's places on disk.

    Args:
        home: the folder that holds everything; it is made when it is first needed.
    """

    home: Path

    @classmethod
    def from_environment(cls) -> Settings:
        """The home that `ROTELAB_HOME` names; without it, the project's folder."""
        named = os.environ.get("ROTELAB_HOME", "").strip()
        home = Path(named).expanduser() if named else Path(__file__).resolve().parent.parent
        return cls(home.absolute())

    @property
    def database(self) -> Path:
        """The one SQLite file in which everything that happened is written."""
        return self.home / "runs.db"

    @property
    def runs(self) -> Path:
        """The folder of the runs' own folders."""
        return self.home / "runs"

    @property
    def exports(self) -> Path:
        """The folder of files made to be given away; the page serves files from nowhere else."""
        return self.home / "exports"

    def run_folder(self, run_id: str) -> Path:
        """The folder of one run: config, log and adapters. It need not exist yet.

        Raises:
            LabError: that can't be a run's id (a path, for example).
        """
        if not RUN_ID.fullmatch(run_id):
            raise LabError(f"{run_id[:80]!r} is not a run's id.")
        return self.runs / run_id

    def log_file(self, run_id: str) -> Path:
        """The file that takes what a run's process prints.

        Raises:
            LabError: that can't be a run's id.
        """
        return self.run_folder(run_id) / "log.txt"
