"""`sweep --plan`: many sweeps at once, shown with their cost, and submitted."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rotelab.cli.cluster import Where
from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError

if TYPE_CHECKING:
    from rotelab.runs.cluster.options import ClusterOptions
    from rotelab.runs.plans.paper import Part


def carry_out_plan(name: str, config: RunConfig, where: Where, dry_run: bool) -> None:
    """Shows a plan, and submits a sweep for each of its models unless only that is asked for.

    Args:
        name: the plan.
        config: what all runs have in common.
        where: what makes the runs; a plan is too long for this machine alone.
        dry_run: whether to show the plan and write nothing.

    Raises:
        LabError: no such plan, no cluster is named, or the jobs can't be submitted.
    """
    from tabulate import tabulate

    from rotelab.runs.cluster.board import submit
    from rotelab.runs.cluster.options import ClusterOptions
    from rotelab.runs.lab import Lab
    from rotelab.runs.plans import paper
    from rotelab.runs.sweeps import plan

    if name not in paper.PLANS:
        raise LabError(f"--plan {name} is not known. There is {', '.join(paper.PLANS)}.")
    if not (dry_run or where.options):
        raise LabError("--plan needs --on slurm, or --dry-run to show it only.")
    lab = Lab.open()
    parts = paper.paper_plan(lab, config)
    head = ("model", "runs", "minutes, longest run", "hours, all runs", "memory of the card")
    print(tabulate(paper.table(parts), head))
    print(f"\n{paper.ESTIMATED}", file=sys.stderr)
    asked = where.options or ClusterOptions("slurm")
    for part in parts:
        if dry_run:
            print(f"\n# {part.model}\n{_script(part, asked)}")
            continue
        sweep_id = plan(lab, paper.AXES, part.base, f"{name} {part.model}")
        count = submit(lab, sweep_id, part.options(asked), where.folder)
        print(f"{sweep_id}: {count} runs submitted")
    if not dry_run:
        print("`python -m rotelab cluster status` takes in what is done.", file=sys.stderr)


def _script(part: Part, asked: ClusterOptions) -> str:
    """What SLURM is asked for, as the head of a batch script."""
    from rotelab.runs.cluster.engines import slurm_parameters

    options = part.options(asked)
    found = slurm_parameters(options, "rotelab-paper")
    found["signal"] = f"USR2@{found.pop('signal_delay_s')}"
    found["array"] = f"0-{part.runs - 1}" + (f"%{options.jobs}" if options.jobs else "")
    found |= found.pop("additional_parameters", {})
    shown = {k: v for k, v in found.items() if isinstance(v, str | int) and not isinstance(v, bool)}
    shown.pop("array_parallelism", None)
    lines = [f"#SBATCH --{key.replace('_', '-')}={value}" for key, value in sorted(shown.items())]
    return "\n".join(["#!/bin/bash", *lines, *options.setup])
