"""What several experiments share: arms on an experiment's own facts, and asking a run's model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rotelab.config.names import Checkpoint, checkpoint_name
from rotelab.config.option_paths import with_setting
from rotelab.config.run_config import EvaluationConfig, RunConfig
from rotelab.errors import LabError
from rotelab.experiments import Arm
from rotelab.facts.packs import Pack, load_pack
from rotelab.reports.formats import Cell, estimate
from rotelab.reports.intervals import Interval
from rotelab.runs.finished_run import FinishedRun, Watch

WITHIN = "[95 % interval over facts]"
"""What the brackets in a table are, for its title."""

if TYPE_CHECKING:
    from rotelab.evaluation.probes import Question
    from rotelab.evaluation.results import Prediction
    from rotelab.models.lab_model import LabModel


def on_facts(base: RunConfig, pack: str) -> RunConfig:
    """A run's settings on an experiment's own facts: as many as the run had, at most all.

    Raises:
        LabError: the run has phase 1 alone.
    """
    if base.stages != "two":
        raise LabError("This experiment needs both phases. Choose a run that has two.")
    count = len(load_pack(pack).facts)
    return replace(base, pack=pack, facts=base.facts if base.facts < count else 0)


def arms_by_rounds(
    base: RunConfig, rounds: Sequence[int], reworded: Callable[[Pack], Pack] | None = None
) -> list[Arm]:
    """Arms that differ in their rounds of rote learning alone; 0 rounds leave phase 1 out."""
    return [Arm(f"{n}", with_setting(base, f"memorize.epochs={n}"), reworded) for n in rounds]


def sorted_by_rounds(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """The runs of such arms, from the fewest rounds of rote learning to the most."""
    return sorted(runs, key=lambda finished: finished.config.memorize.epochs)


def with_interval(value: float, within: Sequence[float]) -> Cell:
    """A table's cell with a share and its interval, (low, high); empty where none is known."""
    return estimate(value, Interval(*within) if within else None)


def plain_questions(finished: FinishedRun, candidates: int = 0) -> EvaluationConfig:
    """Settings for asking an experiment's own questions, with the run's batch size."""
    batch = finished.config.evaluation.batch_tokens
    return EvaluationConfig(batch_tokens=batch, candidates=candidates)


class EqualParts:
    """Progress through parts that take about equally long; call it with the share of one of them.

    Args:
        watch: told the share of the whole, and what is being done.
        parts: how many there are.
    """

    def __init__(self, watch: Watch, parts: int):
        self._watch, self._parts, self._done = watch, parts, 0

    def __call__(self, share: float, words: str) -> None:
        self._watch((self._done + share) / self._parts, words)

    def each(self, part: Callable[..., Any], *about: Any) -> Any:
        """Carries out one part, and returns what it returns."""
        found = part(*about)
        self._done += 1
        return found


def answers(
    finished: FinishedRun,
    model: LabModel,
    asked: Sequence[Question],
    settings: EvaluationConfig,
    checkpoints: Sequence[Checkpoint],
) -> Iterator[tuple[Checkpoint, list[Prediction]]]:
    """Each checkpoint's answers to the same questions; reports the progress as it goes.

    Args:
        finished: the run.
        model: its model, from `finished.model()`.
        asked: the questions.
        settings: what is measured, and how many tokens a pass has.
        checkpoints: the checkpoints to ask, in this order.
    """
    from rotelab.evaluation.probes import evaluate

    total, done = len(asked) * len(checkpoints), 0
    for checkpoint in checkpoints:
        found: list[Prediction] = []
        with model.using(checkpoint):
            for some in evaluate(model, asked, settings):
                found += some
                done += len(some)
                words = f"asking the {checkpoint_name(checkpoint).short} model"
                finished.watch(done / total, words)
        yield checkpoint, found
