"""How long a finished run's figures take to open, compared with computing them on demand.

    python benchmarks/opening.py [--home FOLDER] [--tries 5] [--json]

A headless Chromium opens the newest finished run of a copy of a lab, and loads the page anew for
each try. Each time runs from the click to the last figure drawn:

| what | figures |
| --- | --- |
| look inside | the five of the tab “Look inside”: similarity, its change, lens, weights, map |
| another run | the same five, after choosing another finished run there |
| scores | the bars of “Runs” |
| curves | the learning curves of “Runs” |

“Rested” means that the page was left alone for some seconds before the first click, as when a
person looks at it first; “at once” means that a program clicked as soon as there was a tab. The
first try also pays for what a server and a browser do once. For comparison: how long “Look inside”
would take if the lab stored nothing, and had to load the run's model, read all its prompts at every
checkpoint, and compute similarities and logit lens. `--json` ends with one object.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests"))

from support.page import browser_page, served

from benchmarks.scoring import finished_run
from rotelab.errors import LabError
from rotelab.registry import Registry, RunRow, RunSummary
from rotelab.runs.finished_run import FinishedRun
from rotelab.storage import Storage

LOOK = ("plot-similarity", "plot-delta", "plot-lens", "plot-changes", "plot-pca")
ANOTHER = "another run"
OPENINGS = {
    "look inside": ("Look inside", LOOK),
    ANOTHER: ("", LOOK),
    "scores": ("Runs", ("run-bars",)),
    "curves": ("Curves", ("run-curves",)),
}
"""The tab to click for each, one after the other, and the figures to wait for."""

DRAWN = """([ids, run]) => ids.every(id => {
  const figure = document.querySelector(`#${id} .js-plotly-plot`);
  const drawn = figure?.querySelector(".main-svg");
  return drawn && drawn.getBoundingClientRect().height > 100
    && figure.layout.meta?.name?.startsWith(run);
})"""
REST_S = 4.0
LONGEST_MS = 60_000


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures, prints, and returns what `--json` prints."""
    options = _options(words)
    storage = Storage(Path(options.home)) if options.home else Storage.from_environment()
    registry = Registry(storage)
    run = finished_run(registry, "latest")
    other = next((r for r in registry.runs(status="finished") if r.id != run.id), None)
    with tempfile.TemporaryDirectory(prefix="rotelab-opening-") as folder:
        copy = Storage(Path(folder) / "home")
        copied(storage, copy, [run.id, *([other.id] if other else [])])
        with served(copy.home) as server:
            turns = [0.0, REST_S] * options.tries
            tries = [opened(server.url, rest, run.id, other) for rest in turns]
        anew = computed(copy, run)
    report: dict[str, Any] = {"run": run.id, "computed_s": round(anew, 2)}
    heads = ("first", "at once", "rested", "slowest", "computed")
    print(f"{'opened':12} " + " ".join(f"{head:>8}" for head in heads))
    for name in OPENINGS:
        hasty, rested = ([one[name] for one in tries[i::2] if name in one] for i in (0, 1))
        if not hasty:
            continue
        told = {
            "first_s": hasty[0],
            "at_once_s": statistics.median(hasty[1:] or hasty),
            "rested_s": statistics.median(rested),
            "slowest_rested_s": max(rested),
        }
        report[name] = {key: round(value, 3) for key, value in told.items()}
        plain = f"{anew:8.1f}" if name == "look inside" else " " * 8
        print(f"{name:12} " + " ".join(f"{value:8.2f}" for value in told.values()) + " " + plain)
    if options.json:
        print(json.dumps(report))
    return report


def copied(storage: Storage, copy: Storage, runs: Sequence[str]) -> None:
    """Copies a lab's registry and some runs' files, so that nothing is written into the lab."""
    copy.home.mkdir(parents=True)
    with (
        closing(sqlite3.connect(storage.database)) as source,
        closing(sqlite3.connect(copy.database)) as target,
    ):
        source.backup(target)
    for run_id in runs:
        shutil.copytree(storage.run_folder(run_id), copy.run_folder(run_id))


def opened(url: str, rest_s: float, run_id: str, other: RunSummary | None) -> dict[str, float]:
    """Seconds from each click to the last figure drawn, on a page loaded anew.

    Args:
        url: of the page.
        rest_s: how long it is left alone first.
        run_id: of the run that it shows by itself.
        other: another run; without one that is left out.
    """
    took = {}
    with browser_page(url, 1280, 720, guarded=False) as (page, _):
        page.wait_for_timeout(1000 * rest_s)
        for name, (tab, figures) in OPENINGS.items():
            shown = other.id if name == ANOTHER and other else run_id
            if name == ANOTHER:
                if other is None:
                    continue
                page.locator("#representations-run input").click()
                label = other.name or f"Run {other.number}"
                choice = page.get_by_role("option", name=f"{label} · {other.pack_name} · ").first
                began = time.monotonic()
                choice.click()
            else:
                began = time.monotonic()
                page.get_by_role("tab", name=tab).first.click()
            page.wait_for_function(DRAWN, arg=[list(figures), shown], timeout=LONGEST_MS)
            took[name] = time.monotonic() - began
            page.wait_for_timeout(1000 * min(rest_s, 1.0))
    return took


def computed(storage: Storage, run: RunRow) -> float:
    """Seconds to compute what “Look inside” shows from the run's adapters, without drawing.

    Raises:
        LabError: the run's adapters are missing or damaged.
    """
    from rotelab.evaluation import logit_lens, representations

    began = time.monotonic()
    finished = FinishedRun(run, {}, storage)
    with finished.model() as model:
        views = representations.viewpoints(
            model, finished.pack.facts, finished.split, finished.pack.prompts, run.config.seed
        )
        for checkpoint in finished.checkpoints:
            with model.using(checkpoint):
                states = representations.hidden_states(model, views)
                representations.similarities(checkpoint, states, views)
                logit_lens.readings(model, states, views, finished.pack.facts)
    return time.monotonic() - began


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--home", help="the lab's home folder; ROTELAB_HOME if none")
    parser.add_argument("--tries", type=int, default=5, help="how often the page is opened")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args(words)
    if options.tries < 1:
        raise LabError("There must be one try at least.")
    return options


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        raise SystemExit(2) from None
