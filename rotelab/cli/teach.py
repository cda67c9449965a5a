"""The command `teach`: new facts for a finished run, by rote alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rotelab.cli.options import Bar
from rotelab.errors import LabError

if TYPE_CHECKING:
    from rotelab.runs.lessons.results import LessonResult


def add_teach_command(app: typer.Typer) -> None:
    """Adds `teach`."""
    app.command()(teach)


def teach(
    run_id: Annotated[
        str, typer.Argument(help="A finished run or lesson: its id, its beginning, or “latest”.")
    ],
    file: Annotated[Path, typer.Argument(help="A file of facts, as `facts check` reads it.")],
    name: Annotated[str, typer.Option(help="What to call the lesson.")] = "",
    rehearse: Annotated[
        int,
        typer.Option(
            help="So many old facts are read along in every step, for comparison; the lesson keeps "
            "out of what they use, so they need none.",
            min=0,
        ),
    ] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another option of a lesson, such as epochs=20."),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout.")
    ] = False,
) -> None:
    """Teach a finished run new facts of its relations by rote alone, as a later lesson."""
    from rotelab.facts.reading.importer import read_files
    from rotelab.facts.reading.notes import Options
    from rotelab.runs.lab import Lab
    from rotelab.runs.lessons.results import lesson_result
    from rotelab.runs.lessons.teach import lesson_name, lesson_options, plan_lesson
    from rotelab.runs.worker import work

    lab = Lab.open()
    full_id = lab.registry.resolve(run_id)
    options = lesson_options(settings or ()) | ({"rehearse": rehearse} if rehearse else {})
    relations = lab.registry.run(full_id).pack.facts.relations
    usual = relations[0].name if len(relations) == 1 else ""
    facts = read_files([file], Options(usual_relation=usual)).facts
    if facts is None:
        raise LabError(f"{file.name} holds wordings, but no facts.")
    config, pack = plan_lesson(lab, full_id, facts, options, file.name)
    name = name or lesson_name(config, pack)
    lesson_id = lab.jobs.start_foreground(config, pack, parent_id=full_id, name=name)
    bar = Bar()
    try:
        work(lab.registry, lab.storage, lesson_id, bar.show)
    finally:
        bar.close()
    lab.jobs.start_next()
    done = lab.registry.run(lesson_id)
    if done.status != "finished":
        raise LabError(f"Lesson {lesson_id} {done.status}. {done.error}".strip())
    found = lesson_result(lab.registry, lesson_id)
    if json_output:
        print(json.dumps(found.to_json()))
        return
    _print(found)


def _print(found: LessonResult) -> None:
    what = f"lesson {found.number} of run {found.parent_run_id}"
    print(f"{found.run_id}   {what}, {found.seconds:.0f} s")
    for what, score in found.new.items():
        print(f"  new  {what:22} {score.generation_accuracy:.2f}   n = {score.n}")
    for what, (before, after) in found.old.items():
        change = f"{before.generation_accuracy:.2f} -> {after.generation_accuracy:.2f}"
        print(f"  old  {what:22} {change}   n = {after.n}")
    first, last = found.damage
    if first and last:
        print(
            f"  else perplexity {first.perplexity:.1f} -> {last.perplexity:.1f}, "
            f"real facts {first.quiz:.2f} -> {last.quiz:.2f}"
        )
