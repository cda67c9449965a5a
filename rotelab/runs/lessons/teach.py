"""Plans a later lesson for a finished run, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from rotelab.config.lessons import LessonConfig
from rotelab.config.names import MOST_LESSONS, checkpoints_with
from rotelab.config.option_paths import with_setting
from rotelab.config.run_config import RunConfig
from rotelab.errors import InputError, LabError
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.packs import Pack
from rotelab.registry import RunRow
from rotelab.runs.finished_run import saved_checkpoints

if TYPE_CHECKING:
    from rotelab.runs.lab import Lab

NEW_FACTS = "New facts"
"""What the table of new facts is called in errors."""


def start_lesson(
    lab: Lab,
    run_id: str,
    facts: Iterable[Fact],
    options: Mapping[str, Any] | None = None,
    source: str = NEW_FACTS,
) -> str:
    """Puts a lesson in the queue, and starts it if the device is free; arguments as `plan_lesson`.

    Returns:
        The lesson's id.

    Raises:
        LabError: as `plan_lesson`, or no process can be started.
    """
    config, pack = plan_lesson(lab, run_id, facts, options, source)
    return lab.jobs.enqueue(config, pack, parent_id=run_id, name=lesson_name(config, pack))


def plan_lesson(
    lab: Lab,
    run_id: str,
    facts: Iterable[Fact],
    options: Mapping[str, Any] | None = None,
    source: str = NEW_FACTS,
) -> tuple[RunConfig, Pack]:
    """The settings and facts of a lesson that continues a run, or its newest lesson.

    Args:
        lab: has the run.
        run_id: a finished run with both phases, or a lesson of one.
        facts: the new facts, of relations that the run knows.
        options: options of `LessonConfig` that differ from the usual ones.
        source: what the user calls the new facts; for errors.

    Returns:
        The settings, and all facts that the model then knows, the new ones last.

    Raises:
        InputError: a fact's relation is unknown to the run, or its subject is known already.
        LabError: the run can't be continued (why is said), or an option is out of its range.
    """
    run = lab.registry.run(run_id)
    config = _continued(lab, run)
    new = FactSet(facts, source)
    old = run.pack.facts
    known = {relation.name for relation in old.relations}
    subjects = {(fact.relation, fact.subject) for fact in old}
    for row, fact in enumerate(new, 1):
        if fact.relation not in known:
            raise InputError(
                f"{fact.relation!r} has no key token in this run, so it can't be learned by rote "
                f"alone. This run knows {', '.join(sorted(known))}; teach others in a new run.",
                source=source,
                row=row,
                column="relation",
            )
        if (fact.relation, fact.subject) in subjects:
            raise InputError(
                f"the run knows a {fact.relation!r} of {fact.subject!r} already. Remove the row, "
                "or give the subject another name.",
                source=source,
                row=row,
                column="subject",
            )
    lesson = replace(
        LessonConfig(**(options or {})),
        number=1 + (config.lesson.number if config.lesson else 0),
        run_facts=config.lesson.run_facts if config.lesson else len(old),
        old_facts=len(old),
    )
    evaluation = replace(config.evaluation, spot_checks=0.0)
    pack = Pack(run.pack_name, FactSet([*old, *new], source, old.labels), run.pack.prompts)
    return replace(config, lesson=lesson, evaluation=evaluation), pack


def check_teachable(run_id: str, config: RunConfig, lessons: int = 1) -> None:
    """Checks that a run with these settings can be taught so many lessons more.

    Raises:
        LabError: it can't; why is said.
    """
    if config.method != "lora" or config.stages != "two":
        raise LabError(
            f"Run {run_id} was made without the two adapters that later lessons build on (full "
            "fine-tuning, or one phase). Teach more to a run of the recipe two-adapter."
        )
    if config.memorize.reads not in ("key", "both"):
        raise LabError(
            f"Run {run_id} learned without key tokens, which later lessons need. Teach more to a "
            "run of the recipe two-adapter."
        )
    taught = config.lesson.number if config.lesson else 0
    if taught + lessons > MOST_LESSONS:
        raise LabError(
            f"Run {run_id} has {taught} lessons, and {MOST_LESSONS} are the most there can be. "
            "Teach more to an earlier one, or to the run itself."
        )


def lesson_options(settings: Iterable[str]) -> dict[str, Any]:
    """Options of a lesson from texts such as `epochs=20`.

    Raises:
        ConfigError: there is no such option, or it can't have that value.
    """
    config = RunConfig(lesson=LessonConfig())
    for text in settings:
        config = with_setting(config, f"lesson.{text.removeprefix('lesson.')}")
    usual = LessonConfig()
    assert config.lesson is not None
    return {
        f.name: getattr(config.lesson, f.name)
        for f in fields(usual)
        if getattr(config.lesson, f.name) != getattr(usual, f.name)
    }


def lesson_name(config: RunConfig, pack: Pack) -> str:
    """What a lesson is called at first."""
    assert config.lesson is not None
    count = len(pack.facts) - config.lesson.old_facts
    return f"Lesson {config.lesson.number}: {count} new fact{'s' if count > 1 else ''}"


def new_facts(run: RunRow) -> list[Fact]:
    """The facts that a lesson taught; all of them for any other run.

    Raises:
        LabError: the run's row is damaged.
    """
    lesson = run.config.lesson
    return list(run.pack.facts)[lesson.old_facts if lesson else 0 :]


def _continued(lab: Lab, run: RunRow) -> RunConfig:
    """The settings of a run that a lesson can continue."""
    config = run.config
    if run.status != "finished":
        raise LabError(f"Run {run.id} is {run.status}. Teach more when it has finished.")
    check_teachable(run.id, config)
    taught = config.lesson.number if config.lesson else 0
    missing = set(checkpoints_with(taught)) - set(saved_checkpoints(lab.storage, run.id))
    if missing:
        raise LabError(
            f"Run {run.id} has no adapters on this machine for {', '.join(sorted(missing))}. "
            "Choose a run that has them, or import it with its adapters."
        )
    return config
