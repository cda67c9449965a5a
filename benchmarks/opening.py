"""How long a finished run's figures take to open, beside computing them when they are asked for.

    python benchmarks/opening.py [--home FOLDER] [--tries 5] [--json]

The newest finished run of a lab (of a copy of it) is opened in a headless Chromium, the page loaded
anew for each try. Counted is from the click to the last figure drawn:

| what | figures |
| --- | --- |
| look inside | the five of the tab “Look inside”: likeness, its change, lens, weights, map |
| scores | the bars of “Runs” |
| curves | the learning curves of “Runs” |

The first try also pays for what a server and a browser do once. Beside it stands what the tab
“Look inside” would wait for if the lab kept nothing: the run's model loaded, all its prompts read
at every checkpoint, likeness and lens computed. `--json` ends with one object.
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

from page import browser_page, served

from benchmarks.scoring import finished_run
from rotelab.errors import LabError
from rotelab.experiments.subject import Subject
from rotelab.registry import Registry, RunRow
from rotelab.settings import Settings

OPENINGS = {
    "look inside": (
        "Look inside",
        ("plot-similarity", "plot-delta", "plot-lens", "plot-changes", "plot-pca"),
    ),
    "scores": ("Runs", ("run-bars",)),
    "curves": ("Curves", ("run-curves",)),
}
"""The tab to click for each, one after the other, and the figures to wait for."""

DRAWN = """ids => ids.every(id => {
  const drawn = document.querySelector(`#${id} .main-svg`);
  return drawn && drawn.getBoundingClientRect().height > 100;
})"""
LONGEST_MS = 60_000


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures, prints, and returns what `--json` prints."""
    options = _options(words)
    settings = Settings(Path(options.home)) if options.home else Settings.from_environment()
    run = finished_run(Registry(settings), "latest")
    with tempfile.TemporaryDirectory(prefix="rotelab-opening-") as folder:
        copy = Settings(Path(folder) / "home")
        copied(settings, copy, run)
        with served(copy.home) as server:
            tries = [opened(server.url) for _ in range(options.tries)]
        anew = computed(copy, run)
    report: dict[str, Any] = {"run": run.id, "computed_s": round(anew, 2)}
    print(f"{'opened':12} {'first':>7} {'median':>7} {'slowest':>7} {'computed':>9}")
    for name in OPENINGS:
        first, *later = [one[name] for one in tries]
        later = later or [first]
        told = {"first_s": first, "median_s": statistics.median(later), "slowest_s": max(later)}
        report[name] = {key: round(value, 3) for key, value in told.items()}
        plain = f"{anew:9.1f}" if name == "look inside" else " " * 9
        print(f"{name:12} " + " ".join(f"{value:7.2f}" for value in told.values()) + " " + plain)
    if options.json:
        print(json.dumps(report))
    return report


def copied(settings: Settings, copy: Settings, run: RunRow) -> None:
    """Copies a lab's registry and one run's files, so that nothing is written into the lab."""
    copy.home.mkdir(parents=True)
    with (
        closing(sqlite3.connect(settings.database)) as source,
        closing(sqlite3.connect(copy.database)) as target,
    ):
        source.backup(target)
    shutil.copytree(settings.run_folder(run.id), copy.run_folder(run.id))


def opened(url: str) -> dict[str, float]:
    """Seconds from each click to the last figure drawn, on a page loaded anew."""
    took = {}
    with browser_page(url, 1280, 720) as (page, _):
        for name, (tab, figures) in OPENINGS.items():
            began = time.monotonic()
            page.get_by_role("tab", name=tab).first.click()
            page.wait_for_function(DRAWN, arg=list(figures), timeout=LONGEST_MS)
            took[name] = time.monotonic() - began
    return took


def computed(settings: Settings, run: RunRow) -> float:
    """Seconds to compute what “Look inside” shows from the run's adapters, drawing left out.

    Raises:
        LabError: the run's adapters are missing or damaged.
    """
    from rotelab import lens, representations

    began = time.monotonic()
    subject = Subject(run, {}, settings)
    with subject.model() as model:
        views = representations.viewpoints(
            model, subject.pack.facts, subject.split, subject.pack.prompts, run.config.seed
        )
        for checkpoint in subject.checkpoints:
            with model.using(checkpoint):
                states = representations.hidden_states(model, views)
                representations.similarities(states, views)
                lens.readings(model, states, views, subject.pack.facts)
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
