"""Kills the worker, the page, or both at random moments of a short run, and checks what is left.

    python benchmarks/kill_storm.py [--n 100] [--seed 0] [--json]

A real page (`python -m rotelab serve`) starts real workers on a tiny random Llama. After each kill:

| check | what must hold |
| --- | --- |
| registry | it opens and passes `PRAGMA integrity_check` |
| metrics | every row that the page had read is still there, with the same value |
| status | within 10 s it says what is true: `interrupted`, or still running, or finished |
| processes | none of the run's is left behind, unless the run goes on |
| resume | the run ends as finished, with the losses and answers of a run that nobody killed |

A killed page is started again first, as a person would. `--json` ends with one object, with `n` and
`passed` among its keys; the exit status is 1 if a check failed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests"))

import psutil

from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig, ModelSpec, RunConfig
from rotelab.registry import Registry
from rotelab.runs.jobs import Jobs
from rotelab.runs.lab import Lab
from rotelab.runs.processes import processes_of, until
from rotelab.storage import Storage

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ("worker", "page", "both")
TRUE_WITHIN_S = 10.0
RUN_WITHIN_S = 180.0
FACTS, EPOCHS = 20, 30


class Storm:
    """One home folder, one page, and runs that are killed.

    Args:
        home: the home folder; empty.
        model: the folder of the tiny model.
        seed: draws targets and moments.
    """

    def __init__(self, home: Path, model: Path, seed: int):
        self.storage = Storage(home)
        self.registry = Registry(self.storage)
        self.jobs = Jobs(self.registry, self.storage)
        self.rng = random.Random(seed)
        self.config = RunConfig(
            facts=FACTS,
            model=ModelSpec(name=str(model), device="cpu"),
            memorize=MemorizeConfig(spare=0, epochs=EPOCHS, rank=8, batch_size=4),
            generalize=GeneralizeConfig(spare=0, least_steps=0, k=10, rank=8, epochs=3),
        )
        lab = Lab.open(self.storage)
        self.pack = lab.facts_for(self.config)
        self.page: subprocess.Popen | None = None
        self.length = 0.0
        self.unbroken: Any = None

    # The page ------------------------------------------------------------------------------------

    def start_page(self) -> None:
        """Starts the page and waits until it answers."""
        env = {
            **os.environ,
            "ROTELAB_HOME": str(self.storage.home),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",  # the workers have it from here: equal numbers, no crowding
        }
        command = [sys.executable, "-m", "rotelab", "serve", "--port", "0"]
        self.page = subprocess.Popen(
            command, env=env, cwd=self.storage.home, stdout=subprocess.PIPE, text=True
        )
        assert self.page.stdout is not None
        for line in self.page.stdout:
            if "ready" in line:
                # Read on, so that the page never waits for us.
                threading.Thread(target=self.page.stdout.read, daemon=True).start()
                return
        raise SystemExit("kill_storm: the page does not start")

    def end_page(self) -> None:
        """Ends the page as Ctrl-C does."""
        if self.page is not None and self.page.poll() is None:
            self.page.send_signal(signal.SIGINT)
            try:
                self.page.wait(20)
            except subprocess.TimeoutExpired:
                self.page.kill()
                self.page.wait()

    # Runs ----------------------------------------------------------------------------------------

    def enqueue(self) -> str:
        """Queues a new run; the page starts it."""
        return self.registry.create_run(self.config, self.pack)

    def status(self, run_id: str) -> str:
        return self.registry.run(run_id).status

    def outcome(self, run_id: str) -> Any:
        """All losses and answers of a run, for comparison."""
        losses = {
            (m.phase, m.step): m.value for m in self.registry.metrics(run_id) if m.name == "loss"
        }
        answers = [
            (checkpoint, p.probe, p.fact_index, p.prompt, p.answer, p.probability)
            for checkpoint in ("base", "memorized", "generalized")
            for p in self.registry.predictions(run_id, checkpoint, limit=-1)
        ]
        return losses, sorted(answers)

    def reference(self) -> None:
        """A run that nobody kills: how long it takes, and its outcome."""
        started = time.monotonic()
        run_id = self.enqueue()
        if not until(lambda: self.status(run_id) == "finished", RUN_WITHIN_S, 0.2):
            raise SystemExit(f"kill_storm: a run that nobody kills is {self.status(run_id)}")
        self.length = time.monotonic() - started
        self.unbroken = self.outcome(run_id)

    def once(self) -> tuple[str, str, list[str]]:
        """One kill: its target, what was going on, and what was wrong afterwards."""
        target = self.rng.choice(TARGETS)
        moment = self.rng.uniform(0.0, self.length)
        run_id = self.enqueue()
        shown = self._look_on(run_id, moment)
        during = self.registry.run(run_id).phase or self.status(run_id)
        self._kill(target, run_id)
        died = time.monotonic()
        if target != "worker":
            self.start_page()
        wrong = []
        if not until(lambda: self._true(run_id), TRUE_WITHIN_S, 0.1):
            took = time.monotonic() - died
            wrong.append(f"after {took:.0f} s the status still is {self.status(run_id)!r}")
        wrong += self._intact(run_id, shown)
        wrong += self._to_its_end(run_id)
        return target, during, wrong

    def _look_on(self, run_id: str, seconds: float) -> dict[tuple[str, str, int], float]:
        """Reads the metrics as the page does until the moment has come, and returns them."""
        shown: dict[tuple[str, str, int], float] = {}
        until_when = time.monotonic() + seconds
        while (left := until_when - time.monotonic()) > 0:
            for m in self.registry.metrics(run_id):
                shown[m.phase, m.name, m.step] = m.value
            time.sleep(min(left, 0.25))
        return shown

    def _kill(self, target: str, run_id: str) -> None:
        pages = [self.page.pid] if self.page is not None and target != "worker" else []
        workers = [p.pid for p in processes_of(run_id)] if target != "page" else []
        for pid in self.rng.sample(pages + workers, len(pages + workers)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it had just ended by itself
        # It dies a moment later; until then “running” would be true, and nobody would resume it.
        for pid in workers:
            until(lambda pid=pid: _dead(pid), TRUE_WITHIN_S, 0.02)
        if pages and self.page is not None:
            self.page.wait()

    def _true(self, run_id: str) -> bool:
        """Whether the registry tells the truth about the run."""
        run = self.registry.run(run_id)
        there = bool(processes_of(run_id))
        if run.status in ("running", "stopping"):
            return there and self.jobs.is_alive(run)
        return run.status in ("finished", "interrupted", "queued") and (
            run.status == "queued" or not there
        )

    def _intact(self, run_id: str, shown: dict[tuple[str, str, int], float]) -> list[str]:
        wrong = []
        with sqlite3.connect(self.storage.database) as db:
            if (said := db.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
                wrong.append(f"integrity_check: {said}")
        now = {(m.phase, m.name, m.step): m.value for m in self.registry.metrics(run_id)}
        lost = [key for key, value in shown.items() if not _same(now.get(key), value)]
        # How fast it went is measured anew where an epoch is made again.
        lost = [key for key in lost if key[1] != "tokens_per_second"]
        if lost:
            wrong.append(f"{len(lost)} of {len(shown)} rows lost or changed, first {lost[0]}")
        return wrong

    def _to_its_end(self, run_id: str) -> list[str]:
        wrong = []
        if self.status(run_id) == "interrupted":
            self.registry.requeue(run_id)
        if not until(lambda: self.status(run_id) == "finished", RUN_WITHIN_S, 0.2):
            run = self.registry.run(run_id)
            return [f"it does not finish: {run.status}, {run.error}"]
        if not until(lambda: not processes_of(run_id), TRUE_WITHIN_S, 0.1):
            wrong.append("processes are left behind")
        losses, answers = self.outcome(run_id)
        if losses != self.unbroken[0]:
            wrong.append("its losses are not those of an unbroken run")
        if answers != self.unbroken[1]:
            wrong.append("its answers are not those of an unbroken run")
        return wrong


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Kills, checks, prints, and returns what `--json` prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--n", type=int, default=100, help="how many kills")
    parser.add_argument("--seed", type=int, default=0, help="draws targets and moments")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args(words)
    from support.tiny import make_tiny_llama

    started = time.monotonic()
    killed: Counter[str] = Counter()
    good: Counter[str] = Counter()
    phases: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        model = make_tiny_llama(Path(folder) / "model")
        storm = Storm(Path(folder) / "home", model, options.seed)
        storm.start_page()
        try:
            storm.reference()
            for i in range(options.n):
                target, during, wrong = storm.once()
                killed[target] += 1
                phases[during] += 1
                good[target] += not wrong
                if wrong:
                    failures.append({"i": i, "target": target, "during": during, "wrong": wrong})
                words_ = "; ".join(wrong) or "well"
                print(f"{i + 1:4} {target:7} during {during:20} {words_}", file=sys.stderr)
        finally:
            storm.end_page()
            _end_all(storm)
    report = {
        "n": options.n,
        "passed": sum(good.values()),
        "by_target": {t: {"n": killed[t], "passed": good[t]} for t in TARGETS},
        "during": dict(phases),
        "failures": failures,
        "seconds": round(time.monotonic() - started, 1),
    }
    print(f"{'killed':8} {'times':>6} {'passed':>7}")
    for target in TARGETS:
        print(f"{target:8} {killed[target]:6} {good[target]:7}")
    print(f"{'all':8} {report['n']:6} {report['passed']:7}   {report['seconds']:.0f} s")
    if options.json:
        print(json.dumps(report))
    return report


def _end_all(storm: Storm) -> None:
    for run in storm.registry.live_runs():
        for process in processes_of(run.id):
            try:
                process.kill()
            except psutil.Error:
                continue


def _dead(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _same(one: float | None, other: float) -> bool:
    return one is not None and (one == other or (one != one and other != other))


if __name__ == "__main__":
    report = main()
    raise SystemExit(0 if report["passed"] == report["n"] else 1)
