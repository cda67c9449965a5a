"""A sweep of tiny runs one after the other, and side by side on this machine.

    python benchmarks/side_by_side.py [--runs N] [--jobs N] [--rounds N] [--json]

Each round makes the same sweep both ways, in homes of their own. Printed are the seconds of
each, and whether the runs are equal. Tiny runs take a few seconds each, so that this is the worst
case for a helper process, which takes some ten to start.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.cluster import made_of, settings  # noqa: E402
from rotelab.models.cores import own_cores  # noqa: E402
from rotelab.runs.lab import Lab  # noqa: E402
from rotelab.runs.parallel.lanes import run_side_by_side  # noqa: E402
from rotelab.runs.sweeps import plan  # noqa: E402
from rotelab.storage import Storage  # noqa: E402


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(words)
    work = Path(tempfile.mkdtemp(prefix="rotelab-lanes-"))
    try:
        report = compare(work, given.runs, given.jobs, given.rounds)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for name, value in report.items():
        print(f"{name:24} {value}")
    if given.json:
        print(json.dumps(report))
    return 0 if report["equal"] else 1


def compare(work: Path, runs: int, jobs: int, rounds: int) -> dict[str, Any]:
    """Makes the sweep both ways, so many times in turn."""
    from support.tiny import make_tiny_llama

    base = settings(make_tiny_llama(work / "tiny"))
    seconds: dict[int, list[float]] = {1: [], jobs: []}
    found = []
    for number in range(rounds):
        for lanes in seconds:
            lab = Lab.open(Storage(work / f"{number}-{lanes}"))
            sweep_id = plan(lab, {"seed": list(range(runs))}, base)
            began = time.monotonic()
            assert run_side_by_side(lab, sweep_id, lambda *how_far: None, lanes)
            seconds[lanes].append(round(time.monotonic() - began, 1))
            found.append(made_of(lab, sweep_id))
            print(f"{lanes} at once: {seconds[lanes][-1]} s", file=sys.stderr)
    return {
        "cores": len(own_cores()),
        "runs": runs,
        "seconds, one at a time": seconds[1],
        f"seconds, {jobs} at once": seconds[jobs],
        "times as fast": round(statistics.median(seconds[1]) / statistics.median(seconds[jobs]), 2),
        "equal": all(made == found[0] for made in found),
    }


if __name__ == "__main__":
    sys.exit(main())
