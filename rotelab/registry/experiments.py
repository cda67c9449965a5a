"""The registry's experiments: which one on which run, its progress and its result."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError
from rotelab.registry.ids import Kind, new_id, resolve
from rotelab.registry.rows import now, read_config, read_json, writable
from rotelab.registry.runs import RunRows

PREFIX = "exp-"
"""What an experiment's id begins with, so that nobody takes it for a run's."""

_KIND = Kind(
    "experiments",
    "experiment",
    "`python -m rotelab experiments` lists them.",
    latest=f"{PREFIX}latest",
)

ExperimentStatus = Literal["queued", "running", "finished", "failed", "stopped", "interrupted"]

_COLUMNS = (
    "number, id, experiment, version, created, finished, status, error, share, message, seconds, "
    "run_id, pack_name, sweep_id, arms, config, pid, pid_started"
)


@dataclass(frozen=True)
class ExperimentRow:
    """One execution of an experiment. Times are ISO 8601 in UTC.

    Args:
        id: such as `exp-20261123-031500-3f2a`.
        experiment: its name.
        version: the experiment's version at the time.
        share: how much is done, 0 to 1; `message` says what it is doing.
        seconds: how long it took, including the runs that it made; None before its end.
        run_id: the run that it was started on; None where it was started from settings.
        pack_name: the name of the facts.
        sweep_id: the sweep of the runs that it made; None where all runs were there already.
        arms: label and run id of every run that it compares.
        config_json: the settings that its arms have in common, as stored.
        pid: the process that works on it, which started at `pid_started`.
        result: what it found, as JSON values; None before its end, and in lists.
    """

    number: int
    id: str
    experiment: str
    version: int
    created: str
    finished: str | None
    status: ExperimentStatus
    error: str
    share: float
    message: str
    seconds: float | None
    run_id: str | None
    pack_name: str
    sweep_id: str | None
    arms: tuple[tuple[str, str], ...]
    config_json: str
    pid: int | None
    pid_started: float | None
    result: dict[str, Any] | None = None

    @property
    def config(self) -> RunConfig:
        """The settings that its arms have in common.

        Raises:
            LabError: they are damaged, or were written by a version with other options.
        """
        return read_config(self.config_json, f"experiment {self.id}")


class ExperimentRows(RunRows):
    """The part of the registry that stores experiments."""

    def create_experiment(
        self,
        name: str,
        version: int,
        config: RunConfig,
        pack_name: str,
        arms: Sequence[tuple[str, str]],
        run_id: str | None = None,
        sweep_id: str | None = None,
        status: ExperimentStatus = "running",
    ) -> str:
        """Stores an experiment that begins now or waits; for the arguments see `ExperimentRow`.

        Returns:
            Its id.

        Raises:
            LabError: the file can't be written.
        """
        record = {
            "id": new_id(PREFIX),
            "experiment": name,
            "version": version,
            "created": now(),
            "config": json.dumps(config.to_dict()),
            "pack_name": pack_name,
            "arms": json.dumps([list(arm) for arm in arms]),
            "run_id": run_id,
            "sweep_id": sweep_id,
            "status": status,
        }
        with self.write() as db:
            db.table("experiments").insert(record)
        return record["id"]

    def experiment_row(self, experiment_id: str) -> ExperimentRow:
        """One experiment with its result.

        Raises:
            UnknownRun: there is none with exactly that id.
            LabError: the file can't be read.
        """
        found = self._experiments("WHERE id = ?", [experiment_id], result=True)
        if not found:
            raise _KIND.unknown(experiment_id)
        return found[0]

    def experiment_rows(self, name: str = "", limit: int = 100) -> list[ExperimentRow]:
        """The experiments without their results, newest first.

        Args:
            name: only those of this name; empty for all.
            limit: how many at most.

        Raises:
            LabError: the file can't be read.
        """
        where, values = ("WHERE experiment = ?", [name]) if name else ("", [])
        return self._experiments(f"{where} ORDER BY number DESC LIMIT ?", [*values, limit])

    def resolve_experiment(self, text: str) -> str:
        """The id of the experiment that a whole id, a unique beginning or `exp-latest` stands for.

        Raises:
            UnknownRun: no experiment, or more than one, begins like that.
            LabError: the file can't be read.
        """
        return resolve(self, _KIND, text)

    def update_experiment(self, experiment_id: str, **changes: Any) -> None:
        """Records an experiment's progress, or its process.

        Raises:
            LabError: the file can't be written.
        """
        assert set(changes) <= {"share", "message", "pid", "pid_started"}, changes
        if "message" in changes:
            changes["message"] = writable(changes["message"])
        sets = ", ".join(f"{name} = :{name}" for name in changes)
        with self.write() as db:
            db.execute(f"UPDATE experiments SET {sets} WHERE id = :id",
                       changes | {"id": experiment_id})  # fmt: skip

    def claim_experiment(self, experiment_id: str, pid: int, pid_started: float) -> bool:
        """Takes an experiment out of the queue; it is running from now on, by this process.

        Returns:
            Whether it was waiting: only one of several processes gets it.

        Raises:
            LabError: the file can't be written.
        """
        with self.write() as db:
            rows = db.execute(
                "UPDATE experiments SET status = 'running', pid = ?, pid_started = ? "
                "WHERE id = ? AND status = 'queued' RETURNING id",
                [pid, pid_started, experiment_id],
            ).fetchall()
        return bool(rows)

    def set_experiment_arms(
        self, experiment_id: str, arms: Sequence[tuple[str, str]], sweep_id: str | None
    ) -> None:
        """Records what an experiment compares, where that was not known when it was stored.

        Raises:
            LabError: the file can't be written.
        """
        stored = json.dumps([list(arm) for arm in arms])
        with self.write() as db:
            db.execute("UPDATE experiments SET arms = ?, sweep_id = ? WHERE id = ?",
                       [stored, sweep_id, experiment_id])  # fmt: skip

    def end_experiment(
        self,
        experiment_id: str,
        status: ExperimentStatus,
        error: str = "",
        result: dict[str, Any] | None = None,
        seconds: float | None = None,
    ) -> bool:
        """Records how an experiment ended; only the first of several calls counts.

        Returns:
            Whether it was still running or waiting.

        Raises:
            LabError: the file can't be written.
        """
        stored = None if result is None else json.dumps(result, allow_nan=False)
        with self.write() as db:
            rows = db.execute(
                "UPDATE experiments SET status = :status, error = :error, result = :result, "
                "seconds = :seconds, finished = :at, share = CASE WHEN :status = 'finished' "
                "THEN 1.0 ELSE share END WHERE id = :id AND status IN ('queued', 'running') "
                "RETURNING id",
                {"status": status, "error": writable(error), "result": stored,
                 "seconds": seconds, "at": now(), "id": experiment_id},
            ).fetchall()  # fmt: skip
        return bool(rows)

    def same_run(
        self,
        config: RunConfig,
        content_hash: str,
        within: Sequence[str] = (),
        free: bool = False,
        usable: Callable[[str], bool] = lambda run_id: True,
    ) -> str | None:
        """Finds a run with the same settings and facts: a finished one, or one left in a sweep.

        Args:
            config: the settings; the pack's name is ignored.
            content_hash: the hash of the facts and prompts.
            within: sweeps whose unfinished runs count too.
            free: only runs that belong to no sweep count.
            usable: whether a finished run, by its id, can be used.

        Returns:
            Its id, the newest finished one before any other; None where there is none.

        Raises:
            LabError: the file can't be read.
        """
        wanted = json.loads(json.dumps(config.to_dict() | {"pack": ""}))
        # What the columns say need not be read from the settings, which takes a hundred times as
        # long.
        same = [content_hash, config.model.name, config.model.device, config.seed]
        with self.read() as db:
            rows = db.execute(
                "SELECT id, status, sweep_id, config FROM runs WHERE content_hash = ? "
                "AND model = ? AND device = ? AND seed = ? "
                "ORDER BY status != 'finished', number DESC",
                same,
            ).fetchall()
        for run_id, status, sweep_id, text in rows:
            if status != "finished" and sweep_id not in within:
                continue
            if free and sweep_id is not None:
                continue
            if _same_settings(text, wanted) and (status != "finished" or usable(run_id)):
                return run_id
        return None

    def _experiments(
        self, which: str, values: Sequence[Any], result: bool = False
    ) -> list[ExperimentRow]:
        last = "result" if result else "NULL AS result"
        with self.read() as db:
            rows = db.execute(f"SELECT {_COLUMNS}, {last} FROM experiments {which}", values)
            names = [column[0] for column in rows.description]
            found = [dict(zip(names, row, strict=True)) for row in rows.fetchall()]
        for row in found:
            row["config_json"] = row.pop("config")
            row["arms"] = tuple(tuple(map(str, arm)) for arm in read_json(row["arms"], list))
            row["result"] = read_json(row["result"], dict) or None
        return [ExperimentRow(**row) for row in found]


def _same_settings(text: str, wanted: dict[str, Any]) -> bool:
    """Whether stored settings are those wanted, whose pack is empty."""
    stored = read_json(text, dict)
    if stored | {"pack": ""} == wanted:
        return True
    if _shape(stored) == _shape(wanted):  # the same options: there is nothing to bring up to date
        return False
    try:
        settings = read_config(text, "a run").to_dict() | {"pack": ""}
    except LabError:  # damaged: it equals no other
        return False
    return json.loads(json.dumps(settings)) == wanted


def _shape(settings: Any) -> Any:
    """The names of the options, without their values."""
    nested = isinstance(settings, dict)
    return {name: _shape(value) for name, value in settings.items()} if nested else None
