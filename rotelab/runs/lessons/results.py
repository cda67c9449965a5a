"""What a lesson did: the new facts after it, the old ones before and after, everything else."""

from __future__ import annotations

from dataclasses import dataclass

from rotelab.config.names import Checkpoint, checkpoints_with, lesson_checkpoint
from rotelab.errors import LabError
from rotelab.evaluation.results import OLD, Damage, Score
from rotelab.registry import Registry

NEW = {
    "key_token": "key_token",
    "train_prompts": "train_prompts_heldout",
    "test_prompts": "test_prompts_heldout",
    "unrelated": "unrelated",
}
"""What is told of the new facts, and its probe."""
OLD_ONES = {name: OLD + name for name in ("key_token", "test_prompts_heldout", "unrelated")}
"""What is told of the old facts, and its probe."""


@dataclass(frozen=True)
class LessonResult:
    """A lesson's figures.

    Args:
        run_id: the lesson's id.
        parent_run_id: the run that it continued; None where that is gone.
        number: which lesson of its run it is, from 1.
        seconds: all of it.
        parts: seconds of `setup`, `lesson`, `protect` (a part of `lesson`) and `evaluation`.
        new: the new facts' scores after it, by the names of `NEW`.
        old: the old facts' scores before and after it, by the names of `OLD_ONES`.
        damage: forgetting before and after it; None where not measured.
    """

    run_id: str
    parent_run_id: str | None
    number: int
    seconds: float
    parts: dict[str, float]
    new: dict[str, Score]
    old: dict[str, tuple[Score, Score]]
    damage: tuple[Damage | None, Damage | None]

    @property
    def checkpoints(self) -> tuple[Checkpoint, Checkpoint]:
        """The checkpoint before the lesson, and the one after it."""
        return checkpoints_with(self.number - 1)[-1], lesson_checkpoint(self.number)

    def to_json(self) -> dict:
        """The object that `teach --json` prints."""
        return {
            "run_id": self.run_id,
            "parent_run_id": self.parent_run_id,
            "lesson": self.number,
            "seconds": round(self.seconds, 2),
            "parts": {part: round(seconds, 2) for part, seconds in self.parts.items()},
            "new": {
                name: {"generation_accuracy": round(s.generation_accuracy, 4), "n": s.n}
                for name, s in self.new.items()
            },
            "old": {
                name: {
                    "before": round(before.generation_accuracy, 4),
                    "after": round(after.generation_accuracy, 4),
                    "n": after.n,
                }
                for name, (before, after) in self.old.items()
            },
            "damage": {
                when: None if row is None else {
                    "perplexity": round(row.perplexity, 4), "quiz": round(row.quiz, 4),
                    "divergence": round(row.divergence, 4),
                }
                for when, row in zip(("before", "after"), self.damage, strict=True)
            },
        }  # fmt: skip


def lesson_result(registry: Registry, run_id: str) -> LessonResult:
    """A lesson's figures, as far as they are measured.

    Raises:
        UnknownRun: there is no such run.
        LabError: it is not a lesson.
    """
    run = registry.run(run_id)
    lesson = run.config.lesson
    if lesson is None:
        raise LabError(f"Run {run_id} is not a lesson.")
    scores, damage = registry.scores(run_id), registry.damage(run_id)
    first, last = checkpoints_with(lesson.number - 1)[-1], lesson_checkpoint(lesson.number)
    before, after = scores.get(first, {}), scores.get(last, {})
    return LessonResult(
        run_id,
        run.parent_id,
        lesson.number,
        float(run.seconds.get("total", 0.0)),
        {part: float(seconds) for part, seconds in run.seconds.items() if part != "total"},
        {name: after[probe] for name, probe in NEW.items() if probe in after},
        {
            name: (before[probe], after[probe])
            for name, probe in OLD_ONES.items()
            if probe in before and probe in after
        },
        (damage.get(first), damage.get(last)),
    )
