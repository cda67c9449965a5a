"""A run's progress, and how long a run takes: one cost model for both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from rotelab.config.names import CHECKPOINTS, GENERALIZE, LESSON, MEMORIZE
from rotelab.config.run_config import EMBEDDED, GeneralizeConfig, MemorizeConfig, RunConfig
from rotelab.errors import LOCKED, LONG_WAIT_S, LabError
from rotelab.facts.packs import Pack
from rotelab.models import threads
from rotelab.registry import Metric, Registry, RunRow
from rotelab.runs.lab import Lab

if TYPE_CHECKING:
    from rotelab.training.events import EpochEvent, StepEvent

RECORD_EVERY_S = 0.7
"""How often metrics are written, in seconds: so the page sees them within a second."""


class Recorder:
    """Writes a run's progress and metrics to the registry, and learns from it whether to stop.

    `total` is the cost of all that is left to do, in the unit of `say` (`typical_seconds`).

    Args:
        registry: takes progress and metrics.
        run_id: the run.
        watch: also told the share done and what is being done, for a progress bar.
    """

    def __init__(self, registry: Registry, run_id: str, watch: Callable[[float, str], None]):
        self.registry, self.run_id, self.watch = registry, run_id, watch
        self.total, self.done = 1.0, 0.0
        self.stop = False
        self.silent = False  # in all but the first of several processes that train together
        self._started = time.monotonic()
        self._written = 0.0
        self._metrics: list[Metric] = []

    def say(self, message: str, *, cost: float = 0.0, force: bool = False, **progress: Any) -> None:
        """Notes that `cost` units of work are done; writes everything down every `RECORD_EVERY_S`
        seconds, or at once where `force` is set.

        Raises:
            LabError: the registry can't be written.
        """
        self.done = min(self.done + cost, self.total)
        threads.CORES.adjust()
        if self.silent or (not force and time.monotonic() - self._written < RECORD_EVERY_S):
            return
        self._written = time.monotonic()
        share = self.done / self.total
        elapsed = self._written - self._started
        eta = elapsed * (1 - share) / share if share > 0.02 else None
        if self._metrics:
            self.registry.add_metrics(self.run_id, self._metrics)
            self._metrics = []
        self.stop = self.registry.heartbeat(
            self.run_id, share=share, eta_s=eta, message=message, **progress
        )
        if (waited := self.registry.longest_wait_s) > LONG_WAIT_S:
            self.registry.longest_wait_s = 0.0
            self.registry.add_warning(self.run_id, LOCKED.format(seconds=waited))
        self.watch(share, message)

    def metric(self, event: StepEvent | EpochEvent, name: str, value: float) -> None:
        """Collects one number; `say` writes it."""
        metric = Metric(event.phase, event.step, name, value, event.epoch)
        self._metrics.append(metric)


PHASE_WORDS = {
    MEMORIZE: "Learning by rote",
    GENERALIZE: "Learning what it means",
    LESSON: "Learning the new facts by rote",
}
"""What is told of each phase while it trains."""

PARTS = ("phase1", "phase2", "evaluation")
"""The parts of a run whose length depends on how many tokens they read."""

TYPICAL = {"phase1": 115.0, "phase2": 239.0, "evaluation": 591.0}
"""Tokens (as `tokens_to_read` counts them) a second of the embedded model on two CPU cores, where
nothing has been measured yet: a default run on `mother`. Their ratios tell how
long the parts of any run take compared with one another."""

TYPICAL_SETUP_S = 12.0

CHARACTERS_PER_TOKEN = 3.2

MEASURED_RUNS = 3
"""The newest runs that an estimate is based on."""

Length = Callable[[str], float]
"""How many tokens a text has."""


@dataclass(frozen=True)
class Estimate:
    """An estimate of how long a run takes.

    Args:
        seconds: the whole run; None where nothing is known about the model.
        measured: whether it comes from runs with this model on this machine.
    """

    seconds: float | None
    measured: bool


def estimate(lab: Lab, config: RunConfig, pack: Pack) -> Estimate:
    """Estimates how long a run takes, from the newest finished runs with its model and device.

    Raises:
        LabError: the registry can't be read.
    """
    work = tokens_to_read(config, pack)
    speeds, setup = _measured(lab, config)
    if all(part in speeds for part in PARTS if work[part]):
        seconds = sum(work[part] / speeds[part] for part in PARTS if work[part])
        return Estimate(seconds + setup, True)
    if config.model.name != EMBEDDED:
        return Estimate(None, False)
    return Estimate(TYPICAL_SETUP_S + sum(typical_seconds(config, pack).values()), False)


def by_characters(text: str) -> float:
    """About how many tokens a text has, where no tokenizer is loaded."""
    return len(text) / CHARACTERS_PER_TOKEN


def tokens_to_read(
    config: RunConfig, pack: Pack, length: Length = by_characters
) -> dict[str, float]:
    """About how many tokens each of `PARTS` reads in a whole run.

    Args:
        config: the run's settings.
        pack: the facts and prompts it learns.
        length: counts a text's tokens: the model's tokenizer where one is loaded.
    """
    facts = pack.facts
    count, relations = len(facts), len(facts.relations)
    name = sum(length(f.object) for f in facts) / count
    fact = 3 + sum(length(f.subject) for f in facts) / count + name
    sentence = fact + sum(length(t.text) for t in pack.prompts) / max(1, len(pack.prompts))
    words, asked = config.generalize, config.evaluation
    taught = min(words.k * relations, count)
    # A locality sentence is read twice: by the base model and by the one in training.
    step = words.batch_size * sentence + words.replay * fact + words.locality * sentence * 1.5
    questions = asked.train_prompts * count
    questions += (count - taught) * (asked.test_prompts + asked.unrelated_prompts)
    # A multiple choice reads prompt and object; a normalised one all candidates but their ends.
    more = float(asked.generate) + (asked.choices * max(0.0, name - 1) if asked.normalized else 0)
    reads = config.memorize.reads
    read = count * sentence if reads == "words" else count * fact
    read += taught * sentence if reads == "both" else 0
    return {
        "phase1": config.memorize.epochs * read,
        "phase2": words.steps(taught) * step if config.stages == "two" else 0.0,
        "evaluation": len(CHECKPOINTS) * (questions * (sentence + more) + count * (fact + more)),
    }


def typical_seconds(
    config: RunConfig, pack: Pack, length: Length = by_characters
) -> dict[str, float]:
    """How long each of `PARTS` takes the embedded model on two CPU cores, about; arguments as
    `tokens_to_read`."""
    return {p: n / TYPICAL[p] for p, n in tokens_to_read(config, pack, length).items()}


def _measured(lab: Lab, config: RunConfig) -> tuple[dict[str, float], float]:
    """Tokens a second for each part, and seconds of setup, over the newest finished runs."""
    read = dict.fromkeys(PARTS, 0.0)
    took = dict.fromkeys(PARTS, 0.0)
    setups = []
    newest = lab.registry.runs(limit=30, status="finished", archived=None)
    # A run made elsewhere, such as the recorded demo, says nothing about this machine.
    wanted = (config.model.name, config.model.device)
    same = (r for r in newest if not r.imported and (r.model, r.device) == wanted)
    whole = (run for run in (lab.registry.run(r.id) for r in same) if not run.is_lesson)
    for run in islice(whole, MEASURED_RUNS):
        work = _work_of(run)
        for part in PARTS if work else ():
            seconds = run.seconds.get(part)
            # A run that may end phase 1 early has not read what its settings say.
            early = part == "phase1" and run.config.memorize.stop_at_full_recall
            # A part taken over from another run of its sweep took no time.
            shared = part != "phase2" and run.shared_phase1_from is not None
            if isinstance(seconds, int | float) and seconds > 0 and not (early or shared):
                read[part] += work[part]
                took[part] += seconds
        setups.append(float(run.seconds.get("setup", 0.0)))
    speeds = {part: read[part] / took[part] for part in PARTS if took[part] and read[part]}
    return speeds, sum(setups) / len(setups) if setups else 0.0


def _work_of(run: RunRow) -> dict[str, float] | None:
    try:
        return tokens_to_read(run.config, run.pack)
    except LabError:
        return None  # a damaged run says nothing about the machine


def round_words(phase: MemorizeConfig | GeneralizeConfig, epoch: int) -> str:
    """The round in words: `round 3 of 20`, or `adapter 1 of 2` where several are averaged.

    The reader is told, because the model seems to forget where the next adapter begins.
    """
    several = phase.averaged if isinstance(phase, GeneralizeConfig) else 1
    if several == 1:
        return f"round {epoch} of {phase.rounds}"
    place, within = divmod(epoch - 1, phase.epochs)
    rounds = f", round {within + 1} of {phase.epochs}" if phase.epochs > 1 else ""
    return f"adapter {place + 1} of {several}{rounds} (their mean is kept)"
