"""The command line, `python -m rotelab`: runs, questions, files, the page; other files add more."""

from __future__ import annotations

import io
import json
import math
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rotelab.api.progress import watching
from rotelab.cli.answers import add_answers_command
from rotelab.cli.cluster import add_cluster_commands
from rotelab.cli.compare import add_compare_command
from rotelab.cli.experiments import add_experiment_commands
from rotelab.cli.facts import add_facts_commands
from rotelab.cli.options import takes_config
from rotelab.cli.run_life import add_run_life_commands, summary_json
from rotelab.cli.sql import add_sql_command
from rotelab.cli.sweeps import add_sweep_commands
from rotelab.cli.teach import add_teach_command
from rotelab.config.names import CHECKPOINTS, MORE_MEASURES
from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Watch a language model learn by rote first and understand afterwards.",
)


def main() -> None:
    """Runs the command line; a `LabError` is printed as one line, with exit status 2."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # no warnings about retries
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # on terminals that lack a character
    try:
        app()
    except LabError as error:
        print(f"rotelab: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None


def program() -> None:
    """The installed command `rotelab`: without arguments it starts the page, as app.py does."""
    if len(sys.argv) == 1:
        sys.argv.append("serve")
    main()


@app.command()
@takes_config
def run(
    config: RunConfig,
    name: Annotated[str, typer.Option(help="What to call the run.")] = "",
    queue: Annotated[
        bool,
        typer.Option(
            "--queue",
            help="Only put it in the queue, for a process of its own; `follow` shows it.",
        ),
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout.")
    ] = False,
) -> None:
    """Make one run, both phases and all evaluation: here in the foreground, or in the queue."""
    from rotelab.api.making import finished, make_run
    from rotelab.models.preflight.memory import fit, too_little
    from rotelab.runs.lab import Lab
    from rotelab.runs.worker import first_process

    lab = Lab.open()
    memory = fit(config)
    if memory and not memory.fits and first_process():
        print(f"rotelab: {too_little(memory, config)}", file=sys.stderr)
    if queue:
        run_id = lab.jobs.enqueue(config, lab.facts_for(config), name=name)
        print(json.dumps(summary_json(lab.registry.run(run_id))) if json_output else run_id)
        return
    with watching(True) as watch:
        run_id = make_run(lab, config, watch, name)
    if not first_process():
        return
    if json_output:
        print(json.dumps(run_json(lab, run_id)))
    else:
        _print_scores(lab, run_id)
    finished(lab, run_id)


@app.command()
def ask(
    run_id: Annotated[str, typer.Argument(help="A run's id, its beginning, or “latest”.")],
    question: Annotated[str, typer.Argument(help="A question, or “subject [relation]”.")],
    checkpoint: Annotated[
        str,
        typer.Option(help="base, memorized, generalized, a lesson such as lesson-01, or all."),
    ] = "all",
    max_new_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.", min=1)] = 24,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask a run's model a question."""
    from rotelab.api.lab import Lab

    question = question.encode("utf-8", "replace").decode()  # for terminals that are not UTF-8
    run = Lab().get(run_id)
    found = run.ask(question, checkpoint, max_new_tokens)
    replies = found.replies.values()
    if json_output:
        answers = {
            r.checkpoint: {
                "answer": r.text,
                "known": r.verdict.known,
                "tokens": [[t.text, _number(t.probability, 6)] for t in r.tokens],
            }
            for r in replies
        }
        print(json.dumps({"run_id": run.id, "question": question, "answers": answers}))
        return
    for reply in replies:
        why = ("Right. " if reply.verdict.right else "") + reply.verdict.text
        print(f"{reply.checkpoint:12} {reply.text}" + (f"   ({why})" if why else ""))


@app.command()
def runs(
    search: Annotated[
        str,
        typer.Option(help="Only those with this in id, name, pack, model, note, tags or sweep."),
    ] = "",
    archived: Annotated[bool, typer.Option("--archived", help="Only archived ones.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 50,
) -> None:
    """List the runs, newest first."""
    from rotelab.runs.lab import Lab

    listed = Lab.open().registry.runs(limit=limit, search=search, archived=archived)
    if json_output:
        print(json.dumps([summary_json(run) for run in listed]))
        return
    if not listed and not search and not archived:
        print("There are no runs yet. Make one: python -m rotelab run --pack mother")
    for run in listed:
        score = "" if run.test_accuracy is None else f"test {run.test_accuracy:.2f}"
        print(f"{run.id:40} {run.status:12} {run.model:12} {score:10} {run.name}".rstrip())


@app.command()
def packs(
    check: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Say what this pack, fact set or folder lacks, and how to mend it."
        ),
    ] = "",
) -> None:
    """List the fact packs and saved fact sets, or check one."""
    from rotelab.facts.diagnosis import diagnose
    from rotelab.runs.lab import Lab

    lab = Lab.open()
    if check:
        lacks = diagnose(lab.find_pack(check))
        print("\n".join(lack.sentence() for lack in lacks) or f"{check}: nothing to mend.")
        return
    for name in lab.pack_names():
        try:
            pack = lab.find_pack(name)
        except LabError as error:  # a damaged one does not hide the others
            print(f"{name:16} {error}")
            continue
        relations = ", ".join(f"{r.name} {len(r.facts)}" for r in pack.facts.relations)
        print(f"{name:16} {len(pack.facts):5} facts ({relations}), {len(pack.prompts)} prompts")


@app.command("export")
def export_bundle(
    run_id: Annotated[str, typer.Argument(help="A run's id, its beginning, or “latest”.")],
    file: Annotated[
        Path | None, typer.Argument(help="The new file; by default RUN.rotelab.zip in this folder.")
    ] = None,
    adapters: Annotated[
        bool,
        typer.Option("--adapters/--no-adapters", help="Include the trained adapters, or not."),
    ] = True,
) -> None:
    """Write a whole run into one file, for another machine."""
    from rotelab.runs.export.bundle import SUFFIX, export_run
    from rotelab.runs.lab import Lab

    lab = Lab.open()
    full_id = lab.registry.resolve(run_id)
    target = file or Path(f"{full_id}{SUFFIX}")
    if target.is_dir():
        target /= f"{full_id}{SUFFIX}"
    if target.exists():
        raise LabError(f"{target} already exists. Name another file, or move that one away.")
    export_run(lab.registry, lab.storage, full_id, target.absolute(), adapters)
    print(f"{target} ({target.stat().st_size / 1e6:.1f} MB)")


@app.command("import")
def import_run(
    file: Annotated[Path, typer.Argument(help="A .rotelab.zip that `export` wrote.")],
) -> None:
    """Import a run from a file that `export` wrote, here or elsewhere."""
    from rotelab.runs.export.bundle import import_bundle
    from rotelab.runs.lab import Lab

    lab = Lab.open()
    print(import_bundle(lab.registry, lab.storage, file).sentence)


@app.command("export-model")
def export_merged(
    run_id: Annotated[str, typer.Argument(help="A run's id, its beginning, or “latest”.")],
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    checkpoint: Annotated[
        str, typer.Option(help="base, memorized or generalized.")
    ] = "generalized",
) -> None:
    """Write a run's model, adapters merged, as a Hugging Face folder."""
    from rotelab.runs.lab import Lab

    if checkpoint not in CHECKPOINTS:
        raise LabError(f"{checkpoint!r} is not a checkpoint. Use {', '.join(CHECKPOINTS)}.")
    lab = Lab.open()
    full_id = lab.registry.resolve(run_id)
    from rotelab.runs.export.huggingface import export_model  # loads torch

    print(export_model(lab.registry, lab.storage, full_id, folder, checkpoint))


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="The next free one is taken if it is busy.")] = 7860,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    host: Annotated[
        str,
        typer.Option(help="The address to listen on; any other needs ROTELAB_PASSWORD to be set."),
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None,
        typer.Option(help="Another host name under which browsers open the page; may be repeated."),
    ] = None,
    example: Annotated[
        bool,
        typer.Option(
            help="Show the recorded run that comes with rotelab, and get its lessons ready."
        ),
    ] = True,
    root_path: Annotated[
        str, typer.Option(help="The path under which a proxy shows the page, such as /lab.")
    ] = "",
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            help="IP address (or network) of a proxy whose X-Forwarded headers are believed; may "
            "be repeated."
        ),
    ] = None,
) -> None:
    """Start the page; by default it can be opened on this machine only."""
    from rotelab.runs.lab import Lab
    from rotelab.ui.app import serve as serve_page

    serve_page(
        Lab.open(),
        port=port,
        open_browser=open_browser,
        host=host,
        names=tuple(name or ()),
        example=example,
        root_path=root_path,
        proxies=tuple(trusted_proxy or ()),
    )


def run_json(lab: Any, run_id: str) -> dict[str, Any]:
    """The JSON of `run --json`: id, status, settings, seconds, and scores of every checkpoint."""
    from rotelab.reports.intervals import intervals_of_run
    from rotelab.reports.tables import scores_json

    done, scores = lab.registry.run(run_id), lab.registry.scores(run_id)
    intervals = intervals_of_run(lab.registry.fact_sums(run_id))
    parts = ("phase1", "phase2", "evaluation", "total")
    return {
        "run_id": run_id,
        "status": done.status,
        "error": done.error,
        "shared_phase1_from": done.shared_phase1_from,
        "config": done.config.to_dict(),
        "seconds": {part: round(done.seconds.get(part, 0.0), 2) for part in parts},
        "damage": {
            checkpoint: {
                name: value if isinstance(value, int) else _number(value, 4)
                for name, value in row._asdict().items()
                if name != "checkpoint"
            }
            for checkpoint, row in lab.registry.damage(run_id).items()
        },
        "checkpoints": {
            checkpoint: {probe: _figures(score) for probe, score in probes.items()}
            for checkpoint, probes in scores.items()
        },
        "scores": scores_json(scores, intervals),
    }


def _figures(score: Any) -> dict[str, float | int | None]:
    """A score's figures, without those that were not measured."""
    return {
        name: value if name == "n" else _number(value, 6 if name.endswith("probability") else 4)
        for name, value in score._asdict().items()
        if value is not None
    }


def _number(value: float, digits: int) -> float | None:
    """A rounded number; None for NaN and infinity, which JSON does not have."""
    return round(value, digits) if math.isfinite(value) else None


def _print_scores(lab: Any, run_id: str) -> None:
    from rotelab.reports.formats import cell_text, estimate
    from rotelab.reports.intervals import interval_at, intervals_of_run

    scores = lab.registry.scores(run_id)
    intervals = intervals_of_run(lab.registry.fact_sums(run_id))
    if scores:
        print(f"{run_id}   generation accuracy [95 % interval] (object probability)")
    for checkpoint, probes in scores.items():
        cells = []
        for probe, s in probes.items():
            known = interval_at(intervals, checkpoint, probe, "generation_accuracy")
            right = cell_text(estimate(s.generation_accuracy, known))
            cell = f"{probe} {right} ({s.object_probability:.2f})"
            for name, measure in MORE_MEASURES.items():
                if getattr(s, name) is not None:
                    cell += f" {measure.short} {getattr(s, name):.2f}"
            cells.append(cell)
        print(f"  {checkpoint:12} " + "   ".join(cells))


add_sweep_commands(app)
add_cluster_commands(app)
add_experiment_commands(app)
add_compare_command(app)
add_answers_command(app)
add_teach_command(app)
add_run_life_commands(app)
add_facts_commands(app)
add_sql_command(app)
