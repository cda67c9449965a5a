"""Takes in what a job made of a run: its rows, and its files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from rotelab.registry import Registry
from rotelab.registry.transfer import Table
from rotelab.runs.cluster.arm import ArmFiles
from rotelab.runs.lab import Lab
from rotelab.storage import Storage, beside, link_or_copy, put_in_place


def receive(lab: Lab, files: ArmFiles, log: Path) -> bool:
    """Takes a finished run in; called again after an interruption it does what is left.

    Args:
        lab: the lab; it has the run's row.
        files: where the job worked.
        log: what the job printed.

    Returns:
        Whether the run was taken in by this call.

    Raises:
        LabError: a registry can't be read or written.
    """
    theirs = Registry(Storage(files.home))
    record = theirs.export_run(files.run_id)
    tables = {}
    for name, columns in theirs.exported_columns().items():
        if name != "runs":
            names = tuple(column.name for column in columns)
            tables[name] = Table(names, list(theirs.export_rows(files.run_id, name, names)))
    source = Storage(files.home).run_folder(files.run_id)
    target = lab.storage.run_folder(files.run_id)
    taken = lab.registry.receive_run(
        files.run_id, _row(record), tables, lambda: _place(source, target, log)
    )
    files.remove()  # last: until here, everything could be done again
    return taken


def _row(record: dict[str, Any]) -> dict[str, Any]:
    return record | {"queue_position": None, "stop_requested": 0}


def _place(source: Path, target: Path, log: Path) -> None:
    """Puts a run's files in their place, whole; those of the job stay until all is written."""
    part = beside(target, "arriving")
    shutil.rmtree(part, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, part, copy_function=link_or_copy)
    if log.is_file():
        shutil.copyfile(log, part / "log.txt")
    if target.exists():  # of a former attempt
        shutil.rmtree(target)
    put_in_place(part, target)
