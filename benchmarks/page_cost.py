"""What an open page costs a training run: the same short run with and without one, in turn.

    python benchmarks/page_cost.py [--pairs 5] [--facts 40] [--epochs 4] [--json]

A real page (`python app.py`) with a real worker that trains the embedded model on the first facts
of the pack `mother`, each time the same run with the same seed. In each pair it runs once while
nobody watches and once while a headless Chromium has the Train tab open; which comes first changes
from pair to pair, so that a machine that warms up favours neither. It compares the seconds of the
two phases, as the worker itself records them, without loading the model and without evaluations.
If there is no Chromium (`python tests/support/browser.py` says so), `--client` polls over HTTP as
the page does, without drawing anything.

The same run varies by some percent each time, so there is a steadier figure too: the CPU time that
the server and the browser take while the page is open, beyond what the server takes by itself, in
percent of one core. Threads that train together wait for the slowest, so that is
about what training can lose.

`--json` ends with one object: `pairs` (seconds without and with), `cost_percent` (median of the
pairs' differences), `spread_percent` (least and most), and `cpu_percent` and `cpu_spread_percent`
(of one core).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests"))

import httpx
import psutil
from support.page import browser_page, served

from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig, ModelSpec, RunConfig
from rotelab.errors import LabError
from rotelab.facts.packs import Pack, load_pack
from rotelab.runs.lab import Lab
from rotelab.storage import Storage

LONGEST_S = 1800
POLL_EVERY_S = 2.0
LOOK_EVERY_S = 1.0
PHASES = ("phase1", "phase2")
ENDED = ("finished", "failed", "stopped", "interrupted")


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures, prints, and returns what `--json` prints."""
    options = _options(words)
    pairs: list[tuple[float, float]] = []
    cpu: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(prefix="rotelab-page-cost-") as folder:
        home = Path(folder) / "home"
        with served(home) as server:
            lab = Lab.open(Storage(home))
            look = _polled if options.client else _watched
            print(
                f"{'pair':>4} {'no page':>9} {'one page':>9} {'difference':>11} {'CPU':>7}",
                flush=True,
            )
            for pair in range(options.pairs):
                took, busy = {}, {}
                for seen in (False, True) if pair % 2 == 0 else (True, False):
                    with look(server.url) if seen else contextlib.nullcontext():
                        took[seen], busy[seen] = _train(lab, options)
                pairs.append((took[False], took[True]))
                cpu.append((busy[False], busy[True]))
                percent = 100 * (took[True] / took[False] - 1)
                more = 100 * (busy[True] - busy[False])
                print(
                    f"{pair + 1:4} {took[False]:8.2f}s {took[True]:8.2f}s {percent:+10.1f}% "
                    f"{more:+6.1f}%",
                    flush=True,
                )
    report = {"facts": options.facts, "epochs": options.epochs, **compare(pairs)}
    shares = [100 * (seen - alone) for alone, seen in cpu]
    report["cpu_percent"] = round(statistics.median(shares), 2)
    report["cpu_spread_percent"] = [round(min(shares), 2), round(max(shares), 2)]
    report["looked_with"] = "HTTP client" if options.client else "Chromium"
    low, high = report["spread_percent"]
    print(
        f"one page costs {report['cost_percent']:+.1f} % of training time "
        f"({low:+.1f} to {high:+.1f} %) and {report['cpu_percent']:.1f} % of a core, "
        f"looked at with {report['looked_with']}"
    )
    if options.json:
        print(json.dumps(report))
    return report


def compare(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """How much longer the second of each pair took, in percent of the first."""
    costs = [100 * (seen / alone - 1) for alone, seen in pairs]
    return {
        "pairs": [[round(alone, 3), round(seen, 3)] for alone, seen in pairs],
        "cost_percent": round(statistics.median(costs), 2),
        "spread_percent": [round(min(costs), 2), round(max(costs), 2)],
    }


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pairs", type=int, default=5, help="how often both are timed")
    parser.add_argument("--facts", type=int, default=40, help="how many facts the run has")
    parser.add_argument("--epochs", type=int, default=4, help="rounds of phase 1; phase 2 has one")
    parser.add_argument("--model", default="", help="another model's folder than the embedded one")
    parser.add_argument("--client", action="store_true", help="poll over HTTP; no browser")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args(words)
    if min(options.pairs, options.epochs) < 1 or options.facts < 2:
        raise LabError("There must be at least one pair, one epoch and two facts.")
    return options


def _train(lab: Lab, options: argparse.Namespace) -> tuple[float, float]:
    """Seconds that the phases of a run take, and the page's share of a core meanwhile."""
    pack = load_pack("mother")
    facts = pack.facts.take(options.facts, 0)
    config = RunConfig(
        model=ModelSpec(name=options.model, device="cpu") if options.model else ModelSpec(),
        memorize=MemorizeConfig(epochs=options.epochs),
        generalize=GeneralizeConfig(epochs=1, k=max(1, options.facts // 2)),
    )
    pack = Pack(pack.name, facts, pack.prompts)
    run_id = lab.jobs.enqueue(config, pack, name="page cost")
    ends = time.monotonic() + LONGEST_S
    looks: list[tuple[float, float]] = []  # while the phases go on: the time, CPU seconds so far
    while (run := lab.registry.run(run_id)).status not in ENDED:
        if run.phase in ("memorize", "generalize"):
            looks.append((time.monotonic(), _cpu_seconds()))
        if time.monotonic() > ends:
            raise LabError(f"The run {run_id} has not ended within {LONGEST_S} s. Ask for less.")
        time.sleep(LOOK_EVERY_S)
    if run.status != "finished":
        raise LabError(f"The run ended as {run.status}: {run.error}")
    (began, before), (ended, after) = looks[0], looks[-1]
    return sum(run.seconds[phase] for phase in PHASES), (after - before) / (ended - began)


def _cpu_seconds() -> float:
    """CPU time so far of everything that this program started, except the training itself."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended
            if "rotelab.runs.worker" not in process.cmdline():
                times = process.cpu_times()
                total += times.user + times.system
    return total


@contextlib.contextmanager
def _watched(url: str) -> Iterator[None]:
    """A browser with the Train tab open, which shows the newest run by itself."""
    with browser_page(url, tab="Train", guarded=False):
        yield


@contextlib.contextmanager
def _polled(url: str) -> Iterator[None]:
    """A client that polls the Train tab as the page's script does."""
    ended, answered = threading.Event(), []
    asking = threading.Thread(target=_poll, args=(url, ended, answered), daemon=True)
    asking.start()
    try:
        yield
    finally:
        ended.set()
        asking.join(60)
    if not answered:
        raise LabError("The page answered none of the client's polls, so nothing was measured.")


def _poll(url: str, ended: threading.Event, answered: list[float]) -> None:
    with httpx.Client(base_url=url, timeout=60) as http:
        panel = http.get("/config").json()["components"]
        head = next(c["id"] for c in panel if c["props"].get("elem_id") == "live-head")
        while not ended.wait(POLL_EVERY_S):
            http.post(
                "/gradio_api/component_server/",
                json={
                    "data": {"run": "", "frame": "", "marks": {}, "every": POLL_EVERY_S},
                    "component_id": head,
                    "fn_name": "news",
                    "session_hash": "cost",
                },
            ).raise_for_status()
            answered.append(time.monotonic())


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        raise SystemExit(2) from None
