"""What the lab costs where it has 10,000 runs and 10,000,000 metric rows.

    python benchmarks/many_runs.py [--runs 10000] [--rows 10000000] [--calls 40] [--home FOLDER]

Fills a registry off the clock, into the registry's own tables: finished runs in sweeps of 20, some
stopped or archived, one that trains, 200 that wait in the queue and 300 that wait for their sweep.
Then it times what the page and the command line ask of it, while a writer adds a step's metrics
every 0.4 s. Each figure stands as wall time (median, 95th percentile, longest) and as CPU time of
the asking thread (median): other programs on the machine can lengthen the first alone. Where there
is a plain way to ask the same, a bare `sqlite3` query, it stands beside.

`--home FOLDER` keeps what was built there and uses it again, so that two versions of the lab can be
compared on one registry (an older version refuses a home that a newer one has opened: give each a
copy). `--json` ends with one object, with `runs`, `metric_rows`, `poll_ms_p95`, `table_s` and
`figures` among its keys.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.many_runs_home import NAMES, Home, open_home, plain
from benchmarks.registry import p95, write_as_a_worker
from rotelab.config.run_config import RunConfig
from rotelab.registry import Registry
from rotelab.reports.forgotten import recipe_cost
from rotelab.reports.sweep_results import read_sweep
from rotelab.runs.lab import Lab
from rotelab.runs.processes import me
from rotelab.runs.progress import estimate
from rotelab.storage import Storage
from rotelab.ui.chat import chat_tab, teach_more
from rotelab.ui.components import run_choices, runs_ahead
from rotelab.ui.experiments import experiments_tab
from rotelab.ui.experiments.catalogue import entries
from rotelab.ui.lessons.teach_panel import lesson_at_work
from rotelab.ui.runs import compare_panel, runs_tab, sweep_panel, table
from rotelab.ui.train import live_panel

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = 3
"""Calls of each command of the command line: it takes seconds to load."""
ENOUGH_S = 8.0
"""A figure gets no more calls once they have taken so long together."""
Call = Callable[[], Any]


@dataclass
class Figure:
    """How long one thing took, call by call, in milliseconds.

    Args:
        name: what it is.
        plain: the plain query that it is compared with; empty for none.
        wall: wall times.
        cpu: CPU times of the thread that asked, or of the process that was started.
        plain_wall: wall times of the plain query.
    """

    name: str
    plain: str = ""
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    plain_wall: list[float] = field(default_factory=list)

    def clock(self, call: Call, cpu_now: Callable[[], float] = time.thread_time) -> None:
        """Times one call."""
        cpu, began = cpu_now(), time.perf_counter()
        call()
        self.wall.append(1e3 * (time.perf_counter() - began))
        self.cpu.append(1e3 * (cpu_now() - cpu))

    @property
    def summary(self) -> dict[str, float | int]:
        """What `--json` prints of it."""
        found = {
            "calls": len(self.wall),
            "median_ms": round(statistics.median(self.wall), 2),
            "p95_ms": round(p95(self.wall), 2),
            "most_ms": round(max(self.wall), 2),
            "cpu_ms": round(statistics.median(self.cpu), 2),
        }
        if self.plain_wall:
            found["plain_ms"] = round(statistics.median(self.plain_wall), 2)
        return found


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Builds, measures, prints, and returns what `--json` prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=10_000_000, help="metric rows in all, about")
    parser.add_argument("--calls", type=int, default=40, help="of each figure")
    parser.add_argument("--home", type=Path, help="a folder to build the runs in, and to keep")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        home = open_home(options.home or Path(folder) / "home", options.runs, options.rows)
        built_s = time.perf_counter() - began
        figures, opened_s = _measure(home, options.calls)
        with plain(home.storage) as db:
            runs, rows = (
                db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("runs", "metrics")
            )
        size = home.storage.database.stat().st_size
    by_name = {figure.name: figure.summary for figure in figures}
    report = {
        "runs": runs,
        "metric_rows": rows,
        "database_mb": round(size / 1e6),
        "built_s": round(built_s, 1),
        "opened_s": round(opened_s, 2),
        "poll_ms_p95": by_name["Train: a poll"]["p95_ms"],
        "table_s": round(by_name["Runs: opened"]["p95_ms"] / 1e3, 3),
        "figures": by_name,
    }
    print(f"{runs} runs, {rows} metric rows, {size / 1e6:.0f} MB; opened in {opened_s:.2f} s\n")
    print(f"{'ms':42} {'calls':>5} {'median':>8} {'p95':>8} {'most':>8} {'CPU':>8} {'plain':>8}")
    for figure in figures:
        f = figure.summary
        beside = f"{f['plain_ms']:8.1f} {figure.plain}" if "plain_ms" in f else ""
        print(
            f"{figure.name:42} {f['calls']:5} {f['median_ms']:8.1f} {f['p95_ms']:8.1f} "
            f"{f['most_ms']:8.1f} {f['cpu_ms']:8.1f} {beside}"
        )
    if options.json:
        print(json.dumps(report))
    return report


def _measure(home: Home, calls: int) -> tuple[list[Figure], float]:
    """All figures, and the seconds that opening the lab took (with its migrations)."""
    began = time.perf_counter()
    lab = Lab.open(home.storage)
    opened_s = time.perf_counter() - began
    lab.registry.set_status(home.watched, "queued")  # opening found that it has no process
    lab.registry.claim(home.watched, *me())
    stop = threading.Event()
    registry, bare = Registry(home.storage), plain(home.storage)
    writer = threading.Thread(target=write_as_a_worker, args=(registry, home.watched, stop, NAMES))
    writer.start()
    try:
        figures = [_timed(bare, calls, *asked) for asked in _asked(lab, home)]
        figures += [_command(home.storage, *words) for words in COMMAND_LINES]
    finally:
        stop.set()
        writer.join()
        bare.close()
        lab.registry.set_status(home.watched, "interrupted")
    return figures, opened_s


COMMAND_LINES = (
    ("runs",),
    ("runs", "--search", "lunch"),
    ("queue",),
    ("packs",),  # for comparison: what any command takes
)


def _asked(lab: Lab, home: Home) -> list[tuple[Any, ...]]:
    """(name, call, then maybe the plain query and its words) of everything that is timed."""
    registry = lab.registry
    no_filter = ("", [], False, "newest", 0)
    page = partial(table.list_runs, lab)
    list_sql = "SELECT id, name, status, created FROM runs WHERE NOT archived "
    plain_page = f"{list_sql} ORDER BY number DESC LIMIT 25"
    search_sql = f"{list_sql} AND (id LIKE '%lunch%' OR name LIKE '%lunch%' OR note LIKE '%lunch%')"
    one_curve = f"SELECT step, value FROM metrics WHERE run_id = '{home.watched}' AND name = 'loss'"
    waiting = registry.run(home.waiting)
    middle = registry.run(home.middle)
    config, pack = RunConfig(), lab.facts_for(RunConfig())
    return [
        ("Train: a poll", _polled(lab, home.watched), one_curve, "one curve"),
        ("Train: a poll of the last in the queue", _polled(lab, home.waiting)),
        ("Train: opened", lambda: live_panel.update_panel(lab, "", live_panel.Seen())),
        ("Train: how long a run will take", lambda: estimate(lab, config, pack)),
        ("Train: what such runs cost", lambda: recipe_cost(registry, config)),
        ("Runs: opened", lambda: (run_choices(lab), page(*no_filter)), plain_page, "25 rows"),
        ("Runs: a poll without news", _looked(lab, home.middle)),
        ("Runs: a page in the middle", lambda: page("", [], False, "newest", 200)),
        ("Runs: searched", lambda: page("lunch", [], False, "newest", 0), search_sql, "3 columns"),
        ("Runs: finished ones", lambda: page("", ["finished"], False, "newest", 0)),
        ("Runs: best first", lambda: page("", [], False, "best", 0)),
        ("Runs: longest first", lambda: page("", [], False, "longest", 0)),
        ("Runs: by name", lambda: page("", [], False, "name", 0)),
        ("Runs: one opened", lambda: runs_tab.open_run(lab, home.middle)),
        ("Runs: the recorded one opened", lambda: runs_tab.open_run(lab, home.recorded)),
        ("Runs: the last in the queue opened", lambda: runs_tab.open_run(lab, home.waiting)),
        ("Runs: the compare picker", lambda: compare_panel.offer(lab, home.middle, [home.other])),
        ("Runs: two compared",
         lambda: compare_panel.fill_compare(lab, home.middle, [home.other], ((), 0))),
        ("Runs: a sweep opened",
         lambda: sweep_panel.fill_sweep(
             lab, home.middle, "generalized", "test_prompts_heldout", "generation_accuracy")),
        ("Chat: the picker", lambda: chat_tab.refresh(lab, None, [])),
        ("Chat: a run chosen", lambda: chat_tab.choose(lab, home.middle, 0)),
        ("Chat: may a lesson be undone", lambda: teach_more._can_be_undone(lab, _Lesson(middle))),
        ("Chat: is it being taught", lambda: lesson_at_work(lab, home.middle)),
        ("Experiments: the picker", lambda: experiments_tab.refresh(lab, None, [])),
        ("Experiments: the catalogue", lambda: entries(lab, home.middle, True)),
        ("Facts: known to the base model", registry.known_to_base),
        ("the queue: how many are before it", lambda: runs_ahead(lab, waiting)),
        ("the queue: looked after", lab.jobs.poll),
        ("the list of sweeps", registry.sweeps, "SELECT * FROM sweeps", "no counts"),
        ("a sweep's results", lambda: read_sweep(registry, home.sweep)),
        ("`latest` found", lambda: registry.resolve("latest")),
    ]  # fmt: skip


class _Lesson:
    """A run that says it is a lesson."""

    is_lesson = True

    def __init__(self, run: Any):
        self.id = run.id


def _polled(lab: Lab, run_id: str) -> Call:
    """What the live panel's script asks for, as `assets/live.js` does it."""
    shown: dict[str, Any] = {"run": run_id, "frame": "", "versions": {}, "every": 2.0}

    def ask() -> None:
        told = live_panel.news(lab, shown)
        shown["versions"] |= {name: version for name, (version, _) in told["parts"].items()}
        if told["update"]:
            head = str(live_panel.update_panel(lab, run_id, live_panel.Seen())[3])
            shown["frame"] = head.partition("data-frame='")[2].partition("'")[0]

    return ask


def _looked(lab: Lab, run_id: str) -> Call:
    """What the Runs tab's clock asks for."""
    seen: list[tuple] = [()]

    def ask() -> None:
        got = runs_tab.poll(lab, run_id, "", [], False, "newest", 0, seen[0])
        seen[0] = got[4] if isinstance(got, list) else seen[0]

    return ask


def _timed(
    bare: sqlite3.Connection, calls: int, name: str, ask: Call, sql: str = "", words: str = ""
) -> Figure:
    figure = Figure(name, words)
    figure.clock(ask)
    if figure.wall[0] < 1e3 * ENOUGH_S:  # the first also loads, or draws, what is kept
        figure = Figure(name, words)
    while len(figure.wall) < calls and sum(figure.wall) < 1e3 * ENOUGH_S:
        figure.clock(ask)
        if sql:
            began = time.perf_counter()
            bare.execute(sql).fetchall()
            figure.plain_wall.append(1e3 * (time.perf_counter() - began))
        time.sleep(0.02)  # the writer's turn
    return figure


def _command(storage: Storage, *words: str) -> Figure:
    figure = Figure("python -m rotelab " + " ".join(words))
    env = {**os.environ, "ROTELAB_HOME": str(storage.home), "PYTHONPATH": str(ROOT)}
    run = partial(
        subprocess.run, [sys.executable, "-m", "rotelab", *words],
        env=env, cwd=storage.home, check=True, capture_output=True,
    )  # fmt: skip

    def cpu_of_children() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    for _ in range(COMMANDS):
        figure.clock(run, cpu_of_children)
    return figure


if __name__ == "__main__":
    main()
