"""Jobs: the queue in motion. Starts, watches and stops the processes of runs; knows no models."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence

import psutil

from rotelab.config.names import Status
from rotelab.config.run_config import RunConfig
from rotelab.errors import SAVE_MEMORY, LabError, says_out_of_memory
from rotelab.facts.packs import Pack
from rotelab.models.preflight.model_files import check_model
from rotelab.registry import LiveRun, Registry, RunSummary
from rotelab.runs.processes import (
    GONE,
    STOP_WAIT_S,
    TERM_WAIT_S,
    age_s,
    end_all,
    end_tree,
    me,
    process_of,
    processes_of,
    spawn,
    tail,
    until,
    was_killed,
)
from rotelab.storage import Storage

CLAIM_S = 60.0
"""How long a claimed run may be without a process before its starter counts as dead, in seconds."""

LOST = f"{GONE} Resume it, or run it again."
PERHAPS_MEMORY = f"{LOST} It may have run out of memory. {SAVE_MEMORY}"

LAST_WORDS = "rotelab could not write down how the run ended: "
"""Begins the log line in which a worker says what it could not write to the registry."""


class Jobs:
    """Starts and stops the processes that work on runs.

    Any number of these may be active at once, in the page's process, the command line and the
    workers themselves: the registry decides who may start what.

    Args:
        registry: has the runs.
        storage: says where logs go.
        command: the command line of a worker, without the run's id.
        term_wait_s: seconds between SIGTERM and SIGKILL.
    """

    def __init__(
        self,
        registry: Registry,
        storage: Storage,
        command: Sequence[str] | None = None,
        term_wait_s: float = TERM_WAIT_S,
    ):
        self.registry, self.storage = registry, storage
        self._command = list(command or [sys.executable, "-m", "rotelab.runs.worker"])
        self._term_wait_s = term_wait_s
        self._lock = threading.Lock()
        self._children: dict[str, subprocess.Popen] = {}
        self._exits: dict[str, int] = {}

    # Starting ------------------------------------------------------------------------------------

    def enqueue(
        self, config: RunConfig, pack: Pack, parent_id: str | None = None, name: str = ""
    ) -> str:
        """Puts a new run in the queue, and starts it if its device is free.

        Returns:
            The new run's id.

        Raises:
            UnknownRun: there is no such parent.
            LabError: the model can't work (`check_model`), the registry can't be written, or no
                process can be started.
        """
        check_model(config.model, config.method)
        run_id = self.registry.create_run(config, pack, parent_id, name)
        self.start_next()
        return run_id

    def start_next(self) -> str | None:
        """Starts the first waiting run whose device is free. A worker calls it when it ends.

        Returns:
            The id of the run that was started; None when nothing waits, or what it needs is taken.

        Raises:
            LabError: the registry can't be written, or no process can be started; the run has
                failed then, and says so.
        """
        self.reconcile()
        run_id = self.registry.claim_next()
        if run_id is not None:
            self._spawn(run_id)
        return run_id

    def start_foreground(
        self, config: RunConfig, pack: Pack, parent_id: str | None = None, name: str = ""
    ) -> str:
        """Makes a new run that this process works on; nothing is written if it can't.

        Returns:
            The new run's id; it is `running`.

        Raises:
            UnknownRun: there is no such parent.
            LabError: the model can't work (`check_model`), or another run holds the device (it is
                named).
        """
        check_model(config.model, config.method)
        self.reconcile()
        return self.registry.create_run(config, pack, parent_id, name, process=me())

    def claim_foreground(self, run_id: str, together: bool = False) -> None:
        """Claims a run that waits, or that ended early, for this process to work on.

        Args:
            run_id: the run.
            together: whether other runs of its sweep may have the device at the same time.

        Raises:
            UnknownRun: there is no such run.
            LabError: another run holds the device (it is named), or this one can't start now.
        """
        self.reconcile()
        self._wait_for_end(run_id)
        self.registry.claim(run_id, *me(), together)

    def attach(self, run_id: str) -> None:
        """Registers this process as the run's worker. A worker calls it before anything else.

        Raises:
            LabError: the run has ended meanwhile, or another process works on it.
        """
        if not self.registry.set_process(run_id, *me()):
            raise LabError(
                f"Run {run_id} is not waiting for this process: it has ended, or another process "
                "works on it."
            )

    def resume(self, run_id: str) -> None:
        """Puts a run that was stopped, interrupted or failed in the queue again, under its own id.

        Raises:
            UnknownRun: there is no such run.
            LabError: it can't go on, or its old process is still ending.
        """
        self._wait_for_end(run_id)
        self.registry.requeue(run_id)
        self.start_next()

    def _wait_for_end(self, run_id: str) -> None:
        # A run has ended a moment before its process: two must not write to one folder.
        run = self.registry.run(run_id)
        if run.pid == os.getpid():  # this process made it, and resumes it
            return
        if not run.live and not until(lambda: not self.is_alive(run), self._term_wait_s):
            raise LabError(f"Run {run_id} is still ending. Try again in a few seconds.")

    def _spawn(self, run_id: str) -> None:
        log = self.storage.log_file(run_id)
        try:
            with self._lock:
                command = [*self._command, run_id]
                child, started = spawn(command, run_id, self.storage.home, log)
                self._children[run_id] = child
                self._exits.pop(run_id, None)
        except LabError as error:
            self.registry.end_dead(run_id, None, "failed", str(error))
            raise LabError(f"Run {run_id}: {error}") from error
        # A quick worker has attached itself already; then there is nothing left to write.
        if not self.registry.set_process(run_id, child.pid, started):
            live = [run.pid for run in self.registry.live_runs() if run.id == run_id]
            if live and live[0] != child.pid:
                child.kill()  # another process has the run

    # Watching ------------------------------------------------------------------------------------

    def is_alive(self, run: RunSummary | LiveRun) -> bool:
        """Whether the process that the run was given to still exists: not only its PID, itself."""
        return process_of(run) is not None

    def reconcile(self) -> list[str]:
        """Ends the runs whose process is gone; never touches one that lives. Cheap to call often.

        Returns:
            The ids of the runs that were ended.

        Raises:
            LabError: the registry can't be read or written.
        """
        self.reap()
        ended = []
        for run in self.registry.live_runs():
            if run.pid is None:
                dead = age_s(run.claimed) > CLAIM_S and not processes_of(run.id)
            else:
                dead = not self.is_alive(run)
            if dead and self._end_dead(run):
                ended.append(run.id)
        return ended

    def poll(self) -> None:
        """Notices dead runs and keeps the queue moving; a page calls it now and then.

        Raises:
            LabError: the registry can't be read or written, or a run can't be started.
        """
        while self.start_next() is not None:
            pass

    def reap(self) -> None:
        """Collects children that have ended, so that none stays behind as a zombie."""
        with self._lock:
            for run_id, child in list(self._children.items()):
                if child.poll() is not None:
                    self._exits[run_id] = child.returncode
                    del self._children[run_id]

    def live_processes(self, run_id: str) -> list[psutil.Process]:
        """All processes of a run that exist, its worker's children and orphans included."""
        self.reap()
        return processes_of(run_id)

    def _end_dead(self, run: LiveRun) -> bool:
        # Found before others are told: a resumed run's new processes bear the same name.
        left = processes_of(run.id)
        if run.stop_requested:
            ended = self.registry.end_dead(run.id, run.pid, "stopped")
        else:
            ended = self.registry.end_dead(run.id, run.pid, "interrupted", self._reason(run.id))
        if ended:
            # What the dead worker had started would go on without it.
            end_all(left, kill=True)
        return ended

    def _reason(self, run_id: str) -> str:
        self.reap()  # it may have died after the last look: only its exit says what killed it
        words = tail(self.storage.log_file(run_id)).rpartition(f"run {run_id} started")[2]
        if LAST_WORDS in words:
            return words.rpartition(LAST_WORDS)[2].split("\n")[0].strip()
        killed = was_killed(self._exits.get(run_id)) or "killed" in words.lower()
        if killed or "memoryerror" in words.lower() or says_out_of_memory(words):
            return PERHAPS_MEMORY
        return LOST

    # Stopping ------------------------------------------------------------------------------------

    def stop(self, run_id: str, wait_s: float | None = STOP_WAIT_S) -> Status:
        """Asks a run to stop, and returns at once. A waiting run is stopped by that already.

        A running one finishes its step and saves. If it has not ended after `wait_s`, it is
        terminated, from a thread of this process.

        Args:
            run_id: the run.
            wait_s: seconds until it is terminated; None leaves it all its time.

        Returns:
            The run's status now: `stopping`, or what it ended with.

        Raises:
            UnknownRun: there is no such run.
            LabError: the registry can't be written.
        """
        status = self.registry.request_stop(run_id)
        if status == "stopping" and wait_s is not None:
            threading.Thread(
                target=self._escalate_later, args=(run_id, wait_s), daemon=True
            ).start()
        return status

    def stop_and_wait(self, run_id: str, wait_s: float = STOP_WAIT_S) -> Status:
        """Asks a run to stop and waits until it has; if it takes too long, its process is ended.

        Args:
            run_id: the run.
            wait_s: seconds until it is terminated.

        Returns:
            The status that it ended with.

        Raises:
            UnknownRun: there is no such run.
            LabError: the registry can't be written, or the process can't be ended.
        """

        def ended() -> bool:
            self.reconcile()
            return not self.registry.run(run_id).live

        if self.registry.request_stop(run_id) == "stopping" and not until(ended, wait_s, 0.1):
            self.escalate(run_id)
        self.poll()
        return self.registry.run(run_id).status

    def escalate(self, run_id: str) -> None:
        """Ends a run's processes now: SIGTERM, then SIGKILL to the whole tree; checks it is gone.

        Does nothing to a run that is not live.

        Raises:
            UnknownRun: there is no such run.
            LabError: a process can't be ended.
        """
        run = self.registry.run(run_id)
        if not run.live:
            return
        self.registry.request_stop(run_id)
        process = process_of(run)
        if process is not None and process.pid == os.getpid():
            raise LabError(f"Run {run_id} is this very process; end it with Ctrl-C.")
        end_tree(run_id, process, self._term_wait_s, self.reap)
        self.registry.end_dead(run_id, run.pid, "stopped")

    def _escalate_later(self, run_id: str, wait_s: float) -> None:
        def ended() -> bool:
            self.reconcile()
            # A run that was resumed meanwhile is live again, but nobody asked it to stop.
            live = self.registry.live_runs()
            return not any(run.id == run_id and run.stop_requested for run in live)

        try:
            if not until(ended, wait_s, every_s=0.25):
                self.escalate(run_id)
                self.poll()
        except LabError as error:
            # In a thread nobody catches it; the page shows it beside the run.
            print(f"rotelab: run {run_id}: {error}", file=sys.stderr)
