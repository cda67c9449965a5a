"""Makes runs and lessons in this process; the command line and `rotelab.Lab` share it."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError
from rotelab.runs.lab import Lab
from rotelab.runs.lessons.teach import lesson_name, plan_lesson
from rotelab.runs.worker import agree_on, first_process, work

if TYPE_CHECKING:
    from rotelab.api.progress import Watch
    from rotelab.facts.facts import Fact
    from rotelab.facts.packs import Pack


def make_run(lab: Lab, config: RunConfig, watch: Watch, name: str = "") -> str:
    """Makes one run, however it ends. Where several processes train together, each calls this.

    Args:
        lab: the lab.
        config: its settings.
        watch: told how far it is.
        name: what to call it.

    Returns:
        The run's id.

    Raises:
        LabError: facts and settings do not fit, or another run holds the device.
    """
    return _carry_out(lab, config, lab.facts_for(config), None, name, watch)


def make_lesson(
    lab: Lab,
    run_id: str,
    facts: Iterable[Fact],
    options: Mapping[str, Any],
    watch: Watch,
    source: str,
    name: str = "",
) -> str:
    """Teaches a finished run new facts by rote alone, however that ends.

    Args:
        lab: the lab.
        run_id: the run, or a lesson of one.
        facts: the new facts.
        options: of `LessonConfig`.
        watch: told how far it is.
        source: what the user calls the facts; for errors.
        name: what to call the lesson; one is made of what it teaches if empty.

    Returns:
        The lesson's id.

    Raises:
        LabError: as `plan_lesson`, or another run holds the device.
    """
    config, pack = plan_lesson(lab, run_id, facts, options, source)
    return _carry_out(lab, config, pack, run_id, name or lesson_name(config, pack), watch)


def resume_run(lab: Lab, run_id: str, watch: Watch) -> None:
    """Continues a run that ended early, or starts one that waits, however it then ends.

    Raises:
        LabError: it can't go on, or another run holds the device.
    """
    lab.jobs.claim_foreground(run_id)
    work(lab.registry, lab.storage, run_id, watch)
    lab.jobs.start_next()
    gc.collect()


def finished(lab: Lab, run_id: str, what: str = "Run") -> None:
    """Checks that a run has finished.

    Raises:
        LabError: it ended in another way, or still goes on; why is said.
    """
    run = lab.registry.run(run_id)
    if run.status != "finished":
        raise LabError(f"{what} {run_id} {run.status}. {run.error}".strip())


def _carry_out(
    lab: Lab, config: RunConfig, pack: Pack, parent_id: str | None, name: str, watch: Watch
) -> str:
    run_id = ""
    if first_process():
        run_id = lab.jobs.start_foreground(config, pack, parent_id, name)
    run_id = agree_on(run_id, cpu=config.model.device == "cpu")
    work(lab.registry, lab.storage, run_id, watch)
    if first_process():
        lab.jobs.start_next()
    gc.collect()  # a model has reference cycles: a notebook's next run must not be beside it
    return run_id
