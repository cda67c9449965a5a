"""Finds directions in the embedded model before anybody needs them: those that ordinary text uses,
and those that the facts of the recorded run use.

Every first run would else spend its first minute or two on the former, and the lesson of “Start
here” half a minute on the latter. The page starts this process once the model is ready. A run that
starts meanwhile waits for it and uses what it found.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from rotelab.config.names import CHECKPOINTS
from rotelab.errors import LabError
from rotelab.models import threads
from rotelab.models.download import FOLDER, is_provisioned
from rotelab.runs import demo
from rotelab.runs.lab import Lab
from rotelab.runs.processes import lower_priority, spawn
from rotelab.storage import Storage, cache_dir, put_in_place

log = logging.getLogger(__name__)

NAME = "directions-ahead"


def note_path() -> Path:
    """The file that names the one with the directions; it is written once they are there."""
    return cache_dir() / "directions" / f"{FOLDER}.json"


def is_ready(recorded: str) -> bool:
    """Whether the directions have been found on this machine; loads no model.

    Args:
        recorded: the id of the recorded run; empty where there is none.
    """
    folder = cache_dir() / "directions"
    try:
        found = json.loads(note_path().read_text(encoding="utf-8"))
        files = [found["file"], *([found["recorded"][recorded]] if recorded else [])]
        return all((folder / file).is_file() for file in files)
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
    if is_ready(_recorded()) or not is_provisioned():
        return None
    command = [sys.executable, "-m", "rotelab.runs.lessons.directions_ahead"]
    try:
        return spawn(command, NAME, storage.home, storage.home / "runs" / f"{NAME}.log")[0]
    except LabError as error:
        log.warning("%s", error)
        return None


def _recorded() -> str:
    """The id of the recorded run; empty where it can't be read."""
    try:
        return demo.recording().run_id
    except LabError as error:  # the tab “Start here” says so
        log.warning("%s", error)
        return ""


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
        with threads.CORES.taken(model.device.type):
            directions(model, CACHED_SHARE)
            found: dict[str, Any] = {"file": cached_at(model).name}
            _note(found)
            del model
            recorded = _recorded()
            if recorded:
                found["recorded"] = {recorded: used_by_recorded(Lab.open())}
                _note(found)
    except LabError as error:
        print(error, file=sys.stderr, flush=True)
        return 2
    return 0


def used_by_recorded(lab: Lab) -> str:
    """Finds what a lesson that continues the recorded run keeps out of.

    Args:
        lab: gets the recorded run where it is missing.

    Returns:
        The file of what its facts use, in the cache's folder of directions.

    Raises:
        LabError: the run or the model can't be loaded.
    """
    from rotelab.config.lessons import LessonConfig
    from rotelab.runs.finished_run import load_run_model
    from rotelab.runs.lessons.protection import protect

    run = lab.registry.run(demo.open_run(lab)[0])
    model = load_run_model(lab.storage, run, CHECKPOINTS)
    facts = run.pack.facts
    config = replace(run.config, lesson=LessonConfig(run_facts=len(facts), old_facts=len(facts)))
    place = protect(model, config, facts, run.pack.prompts, lambda share, words: None).kept
    return str(place.relative_to(cache_dir() / "directions")) if place else ""


def _note(found: dict[str, Any]) -> None:
    place = note_path()
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    part.write_text(json.dumps(found) + "\n", encoding="utf-8")
    put_in_place(part, place)


if __name__ == "__main__":
    sys.exit(main())
