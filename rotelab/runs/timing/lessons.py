"""How long it takes until a later lesson can be asked."""

from __future__ import annotations

from rotelab.config.run_config import EMBEDDED
from rotelab.registry import Registry, RunRow
from rotelab.runs.progress import TYPICAL, Estimate, measured_speeds, slowdown_now

TYPICAL_LESSON_S = 60.0
"""A lesson of up to eight names with the embedded model on two CPU cores, about, where nothing has
been measured yet."""
FEW = 8
"""So few facts take no less time than these: a lesson has a least number of steps."""


def estimate_lesson(registry: Registry, run: RunRow | None = None, facts: int = FEW) -> Estimate:
    """Estimates how long it takes until the facts of a lesson can be asked.

    Args:
        registry: has the earlier lessons.
        run: the run that is taught more; None for the recorded one, with the embedded model.
        facts: how many are taught.

    Raises:
        LabError: the registry can't be read, or the run's row is damaged.
    """
    model = run.config.model if run else None
    name, device = (model.name, model.device) if model else (EMBEDDED, "auto")
    times = 1.0
    newest = registry.runs(limit=30, status="finished", archived=None)
    here = [r for r in newest if not r.imported and (r.model, r.device) == (name, device)]
    slower = slowdown_now(registry, here)
    for summary in here:
        lesson = registry.run(summary.id)
        if not lesson.is_lesson or "lesson" not in lesson.seconds:
            continue
        count = len(lesson.pack.facts) - lesson.config.lesson.old_facts
        base = float(lesson.seconds.get("setup", 0.0)) + float(lesson.seconds.get("protect", 0.0))
        learned = float(lesson.seconds["lesson"]) - float(lesson.seconds.get("protect", 0.0))
        times = max(facts, FEW) / max(count, FEW)
        return Estimate((base + max(0.0, learned) * times) * slower, True, slower)
    if name != EMBEDDED:
        return Estimate(None, False, slower)
    speeds, _setup = measured_speeds(registry, name, device)
    pace = TYPICAL["phase1"] / speeds["phase1"] if "phase1" in speeds else 1.0
    seconds = TYPICAL_LESSON_S * pace * max(facts, FEW) / FEW
    return Estimate(seconds * slower, "phase1" in speeds, slower)
