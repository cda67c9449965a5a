"""Causes on short runs the faults that befall long ones, and checks how each run ends.

    python benchmarks/faults.py [--only disk,memory] [--lock-s 30] [--json]

Real workers train a tiny random Llama; each fault is caused in the middle of training.

| fault | how it is done |
| --- | --- |
| disk | the home is a tmpfs of 24 MB (root), filled to its last byte; else a file-size limit |
| folder | the run's folder becomes read-only: a read-only mount (root), else its permissions |
| home | the whole home folder becomes read-only, registry and all (root only) |
| lock | another process holds `runs.db` with `BEGIN EXCLUSIVE` for 30 s |
| clock | as if it had been set back: the times in the worker's row are moved far ahead |
| pid | the worker is killed and a stranger gets its PID (root, Linux); else the row is edited |
| memory | the worker's address space is limited to what it has already (`RLIMIT_AS`) |

A fault passes if the run ended with a status and a sentence that names the remedy, or went on and
said so, and if it then, without the fault, resumed to the losses and answers of an unbroken run.
`--json` ends with one object, with `n` and `passed` among its keys; a fault that can't be done here
is listed under `skipped`. The exit status is 1 if one failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests"))

from benchmarks.fault_ways import ROOT, WAYS, WORDS, CannotDo, Fault, Way

HOME_MB = 24
"""Of the small disk, in megabytes: a run of the tiny model needs a few."""


@dataclass
class Outcome:
    """What became of one run.

    Args:
        fault: its name.
        status: what the run ended with, or `went on`.
        sentence: what its row says of it.
        resumed: `finished`, or what it came to instead; `not needed` where it went on.
        wrong: what was not as it should be; empty when it passed.
    """

    fault: str
    status: str
    sentence: str
    resumed: str
    wrong: list[str]


def examine(name: str, fault: Fault, do: Way, unbroken: Any) -> Outcome:
    """One fault, from its beginning to the end of the resumed run."""
    status, wrong = do(fault)
    run = fault.registry.run(fault.run_id)
    sentence = run.error or " ".join(run.warnings)
    if status not in ("failed", "interrupted", "went on"):
        wrong.append(f"it ended as {status}")
    if not all(words in sentence for words in WORDS[name]):
        wrong.append("the sentence does not name the remedy")
    resumed = "not needed" if status == "went on" else fault.to_its_end()
    if resumed not in ("finished", "not needed"):
        wrong.append(f"resumed, it is {resumed}: {fault.registry.run(fault.run_id).error}")
    elif fault.results() != unbroken:
        wrong.append("its numbers are not those of an unbroken run")
    return Outcome(name, status, sentence, resumed, wrong)


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Goes through all faults, prints, and returns what `--json` prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default=",".join(WORDS), help="faults, with commas in between")
    parser.add_argument(
        "--lock-s", type=float, default=30.0, help="how long the registry is locked"
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args(words)
    from support.tiny import make_tiny_llama

    names = [name.strip() for name in options.only.split(",")]
    if set(names) - set(WORDS):
        parser.error(f"--only: choose from {', '.join(WORDS)}")
    started = time.monotonic()
    found: list[Outcome] = []
    skipped: dict[str, str] = {}
    os.environ["OMP_NUM_THREADS"] = "1"  # the workers have it from here: equal numbers
    with tempfile.TemporaryDirectory() as place:
        model = make_tiny_llama(Path(place) / "model")
        calm = Fault(Path(place) / "calm", model)
        calm.run_id = calm.jobs.enqueue(calm.config, calm.pack)
        if calm.ended() != "finished":
            raise SystemExit(f"faults: a run that nothing happens to {calm.registry.runs()}")
        unbroken = calm.results()
        calm.end()
        for name in names:
            own = Path(place) / name
            own.mkdir()
            mounted = name == "disk" and ROOT
            if mounted:
                size = f"size={HOME_MB}m"
                subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", own], check=True)
            fault = Fault(own, model, options.lock_s)
            try:
                found.append(examine(name, fault, WAYS[name], unbroken))
                print(f"{name}: {found[-1]}", file=sys.stderr)
            except CannotDo as error:
                skipped[name] = str(error)
            finally:
                fault.end()
                if mounted:
                    subprocess.run(["umount", "--lazy", own], check=True)
    passed = sum(not outcome.wrong for outcome in found)
    report = {
        "n": len(found),
        "passed": passed,
        "faults": [asdict(outcome) | {"passed": not outcome.wrong} for outcome in found],
        "skipped": skipped,
        "seconds": round(time.monotonic() - started, 1),
    }
    _print_table(found, skipped)
    if options.json:
        print(json.dumps(report))
    return report


def _print_table(found: list[Outcome], skipped: dict[str, str]) -> None:
    print("| fault | status | sentence | resumed | passed |\n| --- | --- | --- | --- | --- |")
    for o in found:
        verdict = "; ".join(o.wrong) or "yes"
        print(f"| {o.fault} | {o.status} | {o.sentence} | {o.resumed} | {verdict} |")
    for name, why in skipped.items():
        print(f"| {name} | | {why} | | skipped |")


if __name__ == "__main__":
    report = main()
    raise SystemExit(0 if report["passed"] == report["n"] else 1)
