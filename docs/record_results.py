"""Records results of experiments, so that they come with the lab: writes `assets/recorded/`.

    python docs/record_results.py HOME EXPERIMENT ... [--machine WORDS] [--sizes WORDS]

Takes the newest finished result of each named experiment in the home folder HOME, which must have
been obtained there. `--machine` says what else was at work on the machine, `--sizes` what was
reduced; both are added to what the script knows itself. The experiment's command, the runs, the
date and the lab's version are stored beside the result.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rotelab.errors import LabError  # noqa: E402
from rotelab.experiments import experiment  # noqa: E402
from rotelab.experiments.results.recorded import MAX_BYTES, Recorded, write  # noqa: E402
from rotelab.experiments.results.view import view_of  # noqa: E402
from rotelab.runs.lab import Lab  # noqa: E402
from rotelab.storage import ASSETS, Storage  # noqa: E402


def record(home: Path, name: str, machine: str = "", sizes: str = "") -> Path:
    """Records the newest finished result of an experiment.

    Raises:
        LabError: there is none under the experiment's current version.
    """
    lab, wanted = Lab.open(Storage(home)), experiment(name)
    rows = lab.registry.experiment_rows(name, -1)
    done = [r.id for r in rows if (r.status, r.version) == ("finished", wanted.version)]
    if not done:
        raise LabError(f"{home} has no finished result of {name!r}, version {wanted.version}.")
    view, row = view_of(lab, done[0]), lab.registry.experiment_row(done[0])
    return write(
        Recorded(
            name, row.version, row.created, view.version,
            "; ".join(filter(None, [view.machine, machine])), view.command,
            "; ".join(filter(None, [view.sizes, sizes])), row.seconds, row.arms, row.result,
        )
    )  # fmt: skip


def total_bytes() -> int:
    """Bytes of everything recorded that comes with the lab."""
    folders = (ASSETS / "recorded", ASSETS / "walk")
    return sum(file.stat().st_size for folder in folders for file in folder.rglob("*.*"))


def main(arguments: list[str]) -> None:
    """Records what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("experiments", nargs="+")
    parser.add_argument("--machine", default="")
    parser.add_argument("--sizes", default="")
    said = parser.parse_args(arguments)
    for name in said.experiments:
        path = record(said.home, name, said.machine, said.sizes)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")
    print(f"Everything recorded: {total_bytes()} bytes of {MAX_BYTES}.")


if __name__ == "__main__":
    main(sys.argv[1:])
