"""One whole run, part by part: where its time goes, and what share of the machine it uses.

    python benchmarks/run.py [--pack PACK] [--facts N] [--k N] [--epochs N] [--set OPTION=VALUE ...]
        [--model MODEL] [--device cpu] [--dtype auto] [--kept]
        [--against FOLDER [--pairs N]] [--json]

A run with the default settings on the pack `mother`, in a home of its own, as `rotelab train` makes
it. Printed are, for each part, seconds by the clock and of the processor (all threads of this
process), tokens read, floating-point operations counted from shapes, and what share of the peak
these are. The peak is what the model's own matrices reach in plain products, one after the other,
at the mean length of a training step, measured at the end of the same run. On a CPU the share is
taken by processor seconds, so that other programs beside it do not count; on a card by the clock.
A part inside another counts for itself: `phase 1` is without finding directions and without the
live questions. The formula of the operations is in `run_parts.Work`.

Directions are found anew, unless `--kept` takes those in the cache.

`--against` names another checkout of the lab (`git worktree add`), whose code then makes the same
run, `--pairs` times in turn with this one's, each in a process of its own. Printed are both tables
and, for each part, this checkout's seconds divided by the other's: the median over the pairs, the
lowest and the highest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

OWN = Path(__file__).resolve().parent.parent
OF = "--of"
"""The checkout whose code is measured; only this program itself passes it."""
ROOT = Path(sys.argv[sys.argv.index(OF) + 1]) if OF in sys.argv[:-1] else OWN
sys.path.insert(0, str(ROOT))
import rotelab  # noqa: E402, F401  (all of it comes from there, and what measures it from here)

sys.path.insert(0, str(OWN))

import torch  # noqa: E402

from benchmarks.run_parts import MeasuredRun, Spent, in_order, peak_memory  # noqa: E402
from rotelab.config.option_paths import with_setting  # noqa: E402
from rotelab.config.run_config import EMBEDDED, RunConfig  # noqa: E402
from rotelab.errors import LabError  # noqa: E402
from rotelab.runs.lab import Lab  # noqa: E402
from rotelab.runs.pipeline import run_pipeline  # noqa: E402
from rotelab.storage import Storage  # noqa: E402

LEAST_S = 0.05
"""Parts that take less than this of the processor are not compared."""


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures, prints, and returns what `--json` prints."""
    given = list(sys.argv[1:] if words is None else words)
    options = _options(given)
    if options.against:
        report = _compared(options, given)
    else:
        report = measured(options)
        print(table(report))
    if options.json:
        print(json.dumps(report), flush=True)
    return report


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """One run of this process's checkout."""
    with tempfile.TemporaryDirectory(prefix="rotelab-run-", ignore_cleanup_errors=True) as folder:
        lab = Lab.open(Storage(Path(folder) / "home"))
        config = _config(options)
        run_id = lab.jobs.start_foreground(config, lab.facts_for(config))
        run = MeasuredRun(None if options.kept else Path(folder) / "cache")
        with run.watched():
            run_pipeline(lab.registry, lab.storage, run_id)
        lab.registry.set_status(run_id, "finished")
        scores = lab.registry.scores(run_id)["generalized"]
    by_wall, by_cpu = run.peak()
    assert run.model is not None
    on_cpu = run.model.device.type == "cpu"
    total = Spent()
    for spent in run.meter.parts.values():
        total.add(spent)
    parts = {}
    for name, spent in [*in_order(run.meter.parts), ("all", total)]:
        peak, took = (by_cpu, spent.cpu) if on_cpu else (by_wall, spent.wall)
        parts[name] = asdict(spent) | {"share_of_peak": spent.flop / max(took, 1e-9) / peak}
    card = 0 if on_cpu else torch.cuda.max_memory_allocated() / 2**20
    return {
        "of": str(ROOT),
        "model": options.model,
        "pack": options.pack,
        "precision": str(run.model.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "peak_gflops": by_wall / 1e9,
        "peak_gflops_by_cpu_seconds": by_cpu / 1e9,
        "memory_mb": peak_memory(),
        "card_memory_mb": card,
        "scores": {probe: score.generation_accuracy for probe, score in scores.items()},
        "parts": parts,
    }


def table(report: dict[str, Any]) -> str:
    """The measured parts as text."""
    lines = [f"{'part':36} {'wall s':>8} {'CPU s':>8} {'tokens':>9} {'TFLOP':>8} {'of peak':>8}"]
    for name, part in report["parts"].items():
        counted = part["flop"] > 0
        work = f"{part['flop'] / 1e12:8.2f} {part['share_of_peak']:8.0%}" if counted else ""
        tokens = f"{part['tokens']:9.0f}" if counted else ""
        lines.append(f"{name:36} {part['wall']:8.1f} {part['cpu']:8.1f} {tokens} {work}".rstrip())
    lines.append(
        f"{report['precision']}, {report['threads']} threads; peak {report['peak_gflops']:.0f} "
        f"GFLOP/s by the clock, {report['peak_gflops_by_cpu_seconds']:.0f} in a processor second; "
        f"{report['memory_mb']:.0f} MB of memory at most"
        + (f", {report['card_memory_mb']:.0f} MB on the card" if report["card_memory_mb"] else "")
    )
    return "\n".join(lines)


def ratios(mine: Sequence[dict], others: Sequence[dict]) -> dict[str, dict[str, float]]:
    """For each part this checkout's processor seconds divided by the other's, pair by pair."""
    found = {}
    for name in mine[0]["parts"]:
        pairs = [
            (a["parts"][name]["cpu"], b["parts"][name]["cpu"])
            for a, b in zip(mine, others, strict=True)
            if name in a["parts"] and name in b["parts"]
        ]
        if pairs and min(map(min, pairs)) >= LEAST_S:
            each = [a / b for a, b in pairs]
            found[name] = {
                "median": statistics.median(each), "low": min(each), "high": max(each)
            }  # fmt: skip
    return found


def _compared(options: argparse.Namespace, given: list[str]) -> dict[str, Any]:
    other = Path(options.against).resolve()
    if not (other / "rotelab").is_dir():
        raise LabError(f"{other} holds no checkout of the lab. Make one: git worktree add {other}")
    words = _without(given, "--against", "--pairs")
    found: dict[Path, list[dict]] = {OWN: [], other: []}
    for pair in range(options.pairs):
        # Each is first in every second pair, so that neither has the warmer machine.
        for place in (OWN, other) if pair % 2 == 0 else (other, OWN):
            report = _in_a_process(place, words)
            found[place].append(report)
            print(f"{place}\n{table(report)}\n", flush=True)
    compared = ratios(found[OWN], found[other])
    print(f"{'processor seconds, this / other':36} {'median':>8} {'lowest':>8} {'highest':>8}")
    for name, one in compared.items():
        print(f"{name:36} {one['median']:8.3f} {one['low']:8.3f} {one['high']:8.3f}")
    return {"this": found[OWN], "other": found[other], "ratios": compared}


def _in_a_process(place: Path, words: list[str]) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).resolve()), *words, OF, str(place), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise LabError(f"The run of {place} failed:\n{done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _without(words: list[str], *names: str) -> list[str]:
    """The words without these options and their values."""
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in names:
            skip = True
        elif not word.startswith(tuple(f"{name}=" for name in names)):
            kept.append(word)
    return kept


def _config(options: argparse.Namespace) -> RunConfig:
    settings = [
        f"pack={options.pack}",
        f"facts={options.facts}",
        f"model.name={options.model}",
        f"model.device={options.device}",
        f"model.dtype={options.dtype}",
        *options.set,
    ]
    settings += [f"memorize.epochs={options.epochs}"] if options.epochs is not None else []
    settings += [f"generalize.k={options.k}"] if options.k is not None else []
    config = RunConfig()
    for text in settings:
        config = with_setting(config, text)
    return config


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pack", default="mother")
    parser.add_argument("--facts", type=int, default=0, help="for each relation; all when 0")
    parser.add_argument("--k", type=int, help="facts taught in words")
    parser.add_argument("--epochs", type=int, help="rounds of phase 1")
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--kept", action="store_true", help="take directions from the cache")
    parser.add_argument("--against", metavar="FOLDER", help="another checkout, run in turn")
    parser.add_argument("--pairs", type=int, default=1, help="how often, with --against")
    parser.add_argument(OF, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args(words)
    if options.pairs < 1:
        raise LabError("There must be at least one pair.")
    return options


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        print(f"run: {error}", file=sys.stderr)
        raise SystemExit(2) from None
