"""Finds the directions that ordinary text uses in the embedded model before anybody needs them.

Every first run, and the first lesson of “Start here”, would else spend its first minute or two on
it. The page starts this process once the model is ready. A run that starts meanwhile waits for it
and uses what it found.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

from rotelab.errors import LabError
from rotelab.models import threads
from rotelab.models.download import FOLDER, is_provisioned
from rotelab.runs.processes import lower_priority, spawn
from rotelab.storage import Storage, cache_dir, put_in_place

log = logging.getLogger(__name__)

NAME = "directions-ahead"


def note_path() -> Path:
    """The file that names the one with the directions; it is written once they are there."""
    return cache_dir() / "directions" / f"{FOLDER}.json"


def is_ready() -> bool:
    """Whether the directions have been found on this machine; loads no model."""
    try:
        found = json.loads(note_path().read_text(encoding="utf-8"))
        return (cache_dir() / "directions" / found["file"]).is_file()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def find_ahead(storage: Storage) -> subprocess.Popen | None:
    """Starts a process that finds them, where they are missing and the model is there.

    Args:
        storage: takes the process's log.

    Returns:
        The process; None where nothing is to be done or no process can be started. Nothing is lost
        then: the first run finds them itself.
    """
    if is_ready() or not is_provisioned():
        return None
    command = [sys.executable, "-m", "rotelab.runs.lessons.directions_ahead"]
    try:
        return spawn(command, NAME, storage.home, storage.home / "runs" / f"{NAME}.log")[0]
    except LabError as error:
        log.warning("%s", error)
        return None


def main() -> int:
    """Finds them in this process, and notes it; returns the exit status."""
    from rotelab.config.run_config import ModelSpec
    from rotelab.models.loading import load_model
    from rotelab.training.null_space import CACHED_SHARE, cached_at, directions

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    lower_priority()
    try:
        model = load_model(ModelSpec(), [])
    except LabError as error:
        print(error, file=sys.stderr, flush=True)
        return 2
    with threads.CORES.taken(model.device.type):
        directions(model, CACHED_SHARE)
    place = note_path()
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    part.write_text(json.dumps({"file": cached_at(model).name}) + "\n", encoding="utf-8")
    put_in_place(part, place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
