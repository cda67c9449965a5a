"""The command `teach`: new facts for a finished run, by rote alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rotelab.api.progress import watching

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
    from rotelab.api.facts import facts_of
    from rotelab.api.making import finished, make_lesson
    from rotelab.runs.lab import Lab
    from rotelab.runs.lessons.results import lesson_result
    from rotelab.runs.lessons.teach import lesson_options

    lab = Lab.open()
    full_id = lab.registry.resolve(run_id)
    options = lesson_options(settings or ()) | ({"rehearse": rehearse} if rehearse else {})
    relations = lab.registry.run(full_id).pack.facts.relations
    facts, source = facts_of(file, relations[0].name if len(relations) == 1 else "")
    with watching(True) as watch:
        lesson_id = make_lesson(lab, full_id, facts, options, watch, source, name)
    finished(lab, lesson_id, "Lesson")
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
