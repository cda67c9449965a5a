"""What a page costs the server if the registry is large: 1,000 runs and 1,000,000 metric rows.

    python benchmarks/registry.py [--runs 1000] [--rows 1000000] [--polls 120] [--json]

Builds such a registry in a temporary folder with the registry's own functions, one of its runs
training, and then polls as the page does while a writer adds a step's metrics every 0.4 s:

| figure | what is timed |
| --- | --- |
| Train, a poll | `live_panel.update_panel`: the run's progress, and its curves every few seconds |
| Runs, a poll | `runs_tab.poll`: the table and the chosen run's detail, if they have changed |
| Runs, opened | a lab opened anew, the lists of runs and the first page of the table |
| Runs, searched | the first page of a search's results |
| plain SQL | the same run's curves by an `sqlite3` query without the lab, for comparison |

`poll_ms_p95` is over the polls of both tabs. `--json` ends with one object, with `runs`,
`metric_rows`, `poll_ms_p95` and `table_s` among its keys.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import gradio as gr

from rotelab.config.run_config import RunConfig
from rotelab.evaluation.results import Prediction, Score
from rotelab.facts.packs import Pack, load_pack
from rotelab.registry import FactRecall, Metric, Registry
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.components import run_choices
from rotelab.ui.runs import runs_tab, table
from rotelab.ui.train import live_panel

PROBES = ("key_token", "train_prompts_heldout", "test_prompts_heldout", "unrelated")
NAMES = ("loss", "loss/key", "loss/locality", "learning_rate")
WRITE_EVERY_S = 0.4


def build(registry: Registry, runs: int, rows: int, pack: Pack) -> str:
    """Fills an empty registry; its last run is training.

    Returns:
        That run's id.
    """
    rng = random.Random(0)
    steps = max(1, rows // runs // len(NAMES))
    left = rows
    run_id = ""
    for number in range(runs):
        config = RunConfig(seed=number, pack=pack.name)
        run_id = registry.create_run(config, pack, name=f"{rng.choice(WORDS)} {number}")
        registry.set_status(run_id, "running")
        mine = steps * len(NAMES) if number < runs - 1 else left
        registry.add_metrics(run_id, _metrics(rng, mine))
        left -= mine
        if number == runs - 1:
            break
        for checkpoint in ("base", "memorized", "generalized"):
            scores = {probe: Score(50, rng.random(), rng.random()) for probe in PROBES}
            asked = [
                Prediction(
                    "test_prompts_heldout", i, "mother", f"S {i}", "O", "Who?", "O", True, 0.5
                )
                for i in range(5)
            ]
            registry.add_evaluation(run_id, checkpoint, scores, asked)
        registry.set_status(run_id, "finished")
    registry.add_fact_recall(
        run_id, "memorize", 1, [FactRecall(i, 0.5, True) for i in range(len(pack.facts))]
    )
    return run_id


WORDS = ("before lunch", "deep", "again", "quick look", "for the talk")


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Builds, measures, prints, and returns what `--json` prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=1_000_000, help="metric rows in all")
    parser.add_argument("--polls", type=int, default=120, help="of each tab, one a second")
    parser.add_argument("--every", type=float, default=1.0, help="seconds from poll to poll")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        storage = Storage(Path(folder))
        registry = Registry(storage)
        started = time.perf_counter()
        watched = build(registry, options.runs, options.rows, load_pack("mother"))
        built_s = time.perf_counter() - started
        timed = _measure(storage, watched, options.polls, options.every)
        size = storage.database.stat().st_size
        with sqlite3.connect(storage.database) as db:
            rows = db.execute("SELECT count(*) FROM metrics").fetchone()[0]
            runs = db.execute("SELECT count(*) FROM runs").fetchone()[0]
    polls = timed["Train, a poll"] + timed["Runs, a poll"]
    report = {
        "runs": runs,
        "metric_rows": rows,
        "database_mb": round(size / 1e6, 1),
        "built_s": round(built_s, 1),
        "poll_ms_p95": round(p95(polls), 2),
        "poll_ms_median": round(statistics.median(polls), 2),
        "table_s": round(statistics.median(timed["Runs, opened"]) / 1e3, 3),
        "search_s": round(statistics.median(timed["Runs, searched"]) / 1e3, 3),
        "plain_ms_median": round(statistics.median(timed["plain SQL"]), 2),
    }
    print(f"{runs} runs, {rows} metric rows, {size / 1e6:.0f} MB, built in {built_s:.0f} s\n")
    print(f"{'':16} {'n':>5} {'median ms':>10} {'p95 ms':>8} {'most ms':>8}")
    for name, values in timed.items():
        middle, most = statistics.median(values), max(values)
        print(f"{name:16} {len(values):5} {middle:10.1f} {p95(values):8.1f} {most:8.1f}")
    if options.json:
        print(json.dumps(report))
    return report


def _measure(storage: Storage, watched: str, polls: int, every: float) -> dict[str, list[float]]:
    timed: dict[str, list[float]] = {}

    def clock(name: str, call: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = call()
        timed.setdefault(name, []).append(1e3 * (time.perf_counter() - started))
        return result

    lab = Lab.open(storage)
    lab.registry.set_status(watched, "queued")  # opening found that it has no process
    lab.registry.claim(watched, *_me())
    stop = threading.Event()
    writer = threading.Thread(target=write_as_a_worker, args=(Registry(storage), watched, stop))
    writer.start()
    try:
        for _ in range(3):
            fresh = clock("Runs, opened", lambda: _opened(storage))
            search = functools.partial(table.list_runs, fresh, "lunch", [], False, "newest", 0)
            clock("Runs, searched", search)
        seen, looked = live_panel.Seen(), ()
        live_panel.update_panel(lab, watched, seen)  # opens the page; from here on it polls
        for _ in range(polls):
            began = time.perf_counter()
            before = seen
            got = clock(
                "Train, a poll", lambda before=before: live_panel.update_panel(lab, watched, before)
            )
            seen = got[1] if isinstance(got, list) and not _skipped(got[1]) else seen
            poll = functools.partial(
                runs_tab.poll, lab, watched, "", [], False, "newest", 0, looked
            )
            got = clock("Runs, a poll", poll)
            looked = got[4] if isinstance(got, list) else looked
            clock("plain SQL", lambda: _plain(storage, watched))
            time.sleep(max(0.0, every - (time.perf_counter() - began)))
    finally:
        stop.set()
        writer.join()
    return timed


def _opened(storage: Storage) -> Lab:
    lab = Lab.open(storage)
    run_choices(lab)
    table.list_runs(lab, "", [], False, "newest", 0)
    return lab


def _plain(storage: Storage, run_id: str) -> list[tuple]:
    with sqlite3.connect(storage.database) as db:
        query = "SELECT step, value FROM metrics WHERE run_id = ? AND name = 'loss' ORDER BY step"
        return db.execute(query, [run_id]).fetchall()


def write_as_a_worker(
    registry: Registry, run_id: str, stop: threading.Event, names: Sequence[str] = NAMES
) -> None:
    """Writes a step's metrics of these names and a heartbeat, again and again, until `stop`."""
    step = 10_000
    while not stop.wait(WRITE_EVERY_S):
        step += 1
        registry.add_metrics(run_id, [Metric("memorize", step, n, 0.5, 1) for n in names])
        registry.heartbeat(run_id, share=0.5, message=f"Step {step}", step=step)


def _metrics(rng: random.Random, count: int) -> list[Metric]:
    return [
        Metric("memorize", i // len(NAMES) + 1, NAMES[i % len(NAMES)], rng.random(), 1)
        for i in range(count)
    ]


def _skipped(value: Any) -> bool:
    return isinstance(value, dict) and value == gr.skip()


def _me() -> tuple[int, float]:
    from rotelab.runs.processes import me

    return me()


def p95(values: Sequence[float]) -> float:
    """The value that 95 of 100 do not exceed."""
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


if __name__ == "__main__":
    main()
