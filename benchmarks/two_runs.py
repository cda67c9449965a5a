"""Two runs at once on one machine: the sharing of cores beside what happens without it.

    python benchmarks/two_runs.py [--seconds N] [--facts N] [--model FOLDER] [--cases ...] [--json]

Each job is a process of its own that learns facts by rote (phase 1 of `mother`) for so many
seconds, after a first step that is not counted; two jobs begin at the same moment.

| case | what it is |
| --- | --- |
| alone | one job, with all cores: two of them one after the other reach the same rate |
| alone, passive | the same with `OMP_WAIT_POLICY=PASSIVE`: threads sleep while they wait |
| two, not shared | two jobs, each with all cores |
| two, passive | the same with `OMP_WAIT_POLICY=PASSIVE` |
| two, shared | two jobs that share the cores (`rotelab.models.cores`), as runs do |

Printed are tokens a second of each job and of both together, and the fewest threads that each used
(the job that ends last has all cores again at its end). `--json` ends with one object.
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
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}
CASES = {
    "alone": (1, False, {}),
    "alone, passive": (1, False, PASSIVE),
    "two, not shared": (2, False, {}),
    "two, passive": (2, False, PASSIVE),
    "two, shared": (2, True, {}),
}
"""By name: how many jobs, whether they share the cores, and what their environment has besides."""
READY_S = 120.0


def job(model_name: str, facts: int, seconds: float, share: bool, folder: Path) -> dict:
    """Trains in this process once the file `go` is there; returns tokens a second and threads."""
    import torch
    from accelerate import Accelerator

    from rotelab.config.run_config import MemorizeConfig, ModelSpec
    from rotelab.facts.facts import FactSet
    from rotelab.facts.packs import load_pack
    from rotelab.models.loading import load_model
    from rotelab.models.threads import CoreShare
    from rotelab.training.events import StepEvent
    from rotelab.training.phases import memorize

    pack = load_pack("mother")
    model = load_model(ModelSpec(model_name, "cpu", "float32"), ["mother"])
    cores = CoreShare(folder / "at-work")
    settings = MemorizeConfig(spare=0.0, epochs=500)
    some, whole = FactSet(list(pack.facts)[:facts]), Accelerator(cpu=True, mixed_precision="no")
    events = memorize(model, some, settings, 0, whole, prompts=pack.prompts)
    next(events)
    (folder / f"ready-{os.getpid()}").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)

    def train() -> dict:
        began, tokens, threads = time.monotonic(), 0, torch.get_num_threads()
        for event in events:
            cores.adjust()
            threads = min(threads, torch.get_num_threads())
            tokens += event.tokens if isinstance(event, StepEvent) else 0
            if time.monotonic() - began >= seconds:
                break
        took = time.monotonic() - began
        return {"tokens_per_second": tokens / took, "threads": threads}

    if not share:
        return train()
    with cores.taken():
        return train()


def measure(case: str, args: argparse.Namespace) -> list[dict]:
    """Starts the jobs of one case and returns what they say."""
    count, share, extra = CASES[case]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [
            sys.executable, __file__, "--job", str(folder), "--facts", str(args.facts),
            "--seconds", str(args.seconds), "--model", args.model, *(["--share"] if share else []),
        ]  # fmt: skip
        jobs = [
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=os.environ | extra
            )
            for _ in range(count)
        ]
        try:
            deadline = time.monotonic() + READY_S
            while len(list(folder.glob("ready-*"))) < count:
                ended = [process.poll() for process in jobs if process.poll() is not None]
                if ended or time.monotonic() > deadline:
                    raise SystemExit(f"a job of “{case}” did not get ready")
                time.sleep(0.05)
            (folder / "go").touch()
            return [json.loads(process.communicate()[0].splitlines()[-1]) for process in jobs]
        finally:
            for process in jobs:
                process.kill()
                process.wait()


def main(argv: Sequence[str] | None = None) -> None:
    """Measures every case and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--facts", type=int, default=20)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--share", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.job:
        print(json.dumps(job(args.model, args.facts, args.seconds, args.share, args.job)))
        return
    report = {}
    print(f"{'case':18} {'each job':>16} {'together':>9} {'threads each':>13}")
    for case in args.cases:
        said = measure(case, args)
        rates = [one["tokens_per_second"] for one in said]
        report[case] = {
            "each": rates,
            "together": sum(rates),
            "threads": [one["threads"] for one in said],
        }
        each = ", ".join(f"{rate:.0f}" for rate in rates)
        used = ", ".join(str(one["threads"]) for one in said)
        print(f"{case:18} {each:>16} {sum(rates):9.0f} {used:>13}", flush=True)
    if args.json:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
