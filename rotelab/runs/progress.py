"""A run's progress, and how long a run takes: one cost model for both."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from rotelab.config.names import CHECKPOINTS, GENERALIZE, LESSON, MEMORIZE
from rotelab.config.run_config import EMBEDDED, GeneralizeConfig, MemorizeConfig, RunConfig
from rotelab.errors import LOCKED, LONG_WAIT_S, LabError
from rotelab.facts.packs import Pack
from rotelab.models import threads
from rotelab.registry import Metric, Registry, RunRow, RunSummary
from rotelab.runs.lab import Lab
from rotelab.runs.timing.machine import machine_now

if TYPE_CHECKING:
    from rotelab.training.events import EpochEvent, StepEvent

RECORD_EVERY_S = 0.7
"""How often metrics are written, in seconds: so the page sees them within a second."""


class Recorder:
    """Writes a run's progress and metrics to the registry, and learns from it whether to stop.

    `total` is the cost of all that is left to do, in the unit of `say` (`part_seconds`), and
    `expected` how many seconds that was estimated to take, 0 where nothing is known.

    Args:
        registry: takes progress and metrics.
        run_id: the run.
        watch: also told the share done and what is being done, for a progress bar.
    """

    def __init__(self, registry: Registry, run_id: str, watch: Callable[[float, str], None]):
        self.registry, self.run_id, self.watch = registry, run_id, watch
        self.total, self.done = 1.0, 0.0
        self.expected = 0.0
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
        eta = time_left(self._written - self._started, self.done, self.total, self.expected)
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

    def plan(self, cost: float, setup: float | None, on_cpu: bool = True) -> None:
        """Notes what is left to do.

        Args:
            cost: of all of it, in seconds on the idle machine where `setup` is known.
            setup: seconds of the set-up; None where nothing is known about the model's speed.
            on_cpu: whether other work on the processor slows it.
        """
        self.total = cost
        if setup is not None:
            # This run is among the live ones, so that only other work counts as slowing it.
            slower = slowdown_now(self.registry) if on_cpu else 1.0
            self.expected = (setup + cost) * slower

    def metric(self, event: StepEvent | EpochEvent, name: str, value: float) -> None:
        """Collects one number; `say` writes it."""
        metric = Metric(event.phase, event.step, name, value, event.epoch)
        self._metrics.append(metric)


TRUSTED = 0.15
"""The share of a run whose own pace weighs as much as the estimate made before it."""


def time_left(elapsed: float, done: float, total: float, expected: float = 0.0) -> float | None:
    """Seconds that are left: at first what was estimated, then more and more by the run's own pace.

    Args:
        elapsed: seconds since its beginning.
        done: the cost of what is done.
        total: the cost of all.
        expected: how many seconds all was estimated to take; 0 where nothing is known.

    Returns:
        None where nothing was estimated and little is done.
    """
    if not expected:
        return elapsed * (total - done) / done if done > 0.02 * total else None
    weight = TRUSTED * max(0.0, 1 - done / total)
    pace = (elapsed + weight * expected) / (done + weight * total) if done or weight else 0.0
    if done == 0:
        return max(0.0, expected - elapsed)
    return (total - done) * pace


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
    """An estimate of how long something takes on this machine as it is now.

    Args:
        seconds: all of it; None where nothing is known about the model.
        measured: whether it comes from runs with this model on this machine.
        slower: how many times as long it takes as on the idle machine; 1 where no other work is
            noticed.
    """

    seconds: float | None
    measured: bool
    slower: float = 1.0


def estimate(lab: Lab, config: RunConfig, pack: Pack) -> Estimate:
    """Estimates how long a run takes; every time that the page and the command line tell before a
    run comes from here.

    It knows the speed of the newest finished runs with the same model and device, and how busy the
    machine is with other work.

    Raises:
        LabError: the registry can't be read.
    """
    registry = lab.registry
    parts, setup, measured = part_seconds(registry, config, pack)
    slower = slowdown_now(registry, _same(registry, config.model.name, config.model.device))
    if parts is None:
        return Estimate(None, False, slower)
    return Estimate((setup + sum(parts.values())) * slower, measured, slower)


def estimate_measuring(
    lab: Lab, config: RunConfig, seconds: float, scaled: bool = False
) -> Estimate:
    """Estimates how long an experiment's questions to finished runs take.

    Args:
        lab: the lab.
        config: the settings of a run that is asked.
        seconds: how long they took on the idle machine.
        scaled: `seconds` are of the machine of `TYPICAL` and the embedded model; then they are
            converted by how fast evaluation is here, with this model.

    Raises:
        LabError: the registry can't be read.
    """
    model = config.model
    slower = slowdown_now(lab.registry, _same(lab.registry, model.name, model.device))
    if not scaled:
        return Estimate(seconds * slower, True, slower)
    speeds, _setup = measured_speeds(lab.registry, model.name, model.device)
    if "evaluation" in speeds:
        return Estimate(seconds * TYPICAL["evaluation"] / speeds["evaluation"] * slower, True,
                        slower)  # fmt: skip
    if model.name != EMBEDDED:
        return Estimate(None, False, slower)
    return Estimate(seconds * slower, False, slower)


def part_seconds(
    registry: Registry, config: RunConfig, pack: Pack, length: Length | None = None
) -> tuple[dict[str, float] | None, float, bool]:
    """How long each of `PARTS` takes on this machine while it is idle.

    Args:
        registry: has the earlier runs.
        config: the run's settings.
        pack: its facts and prompts.
        length: counts a text's tokens, as `tokens_to_read` takes it.

    Returns:
        The seconds of each part, None where nothing is known about the model; those of the set-up;
        and whether they were measured on this machine.

    Raises:
        LabError: the registry can't be read.
    """
    work = tokens_to_read(config, pack, length or by_characters)
    speeds, setup = measured_speeds(registry, config.model.name, config.model.device)
    if all(part in speeds for part in PARTS if work[part]):
        return {p: work[p] / speeds[p] if work[p] else 0.0 for p in PARTS}, setup, True
    if config.model.name != EMBEDDED:
        return None, 0.0, False
    return {p: work[p] / TYPICAL[p] for p in PARTS}, TYPICAL_SETUP_S, False


def costs_and_setup(
    registry: Registry, config: RunConfig, pack: Pack, length: Length
) -> tuple[dict[str, float], float | None]:
    """What each of `PARTS` costs, for a progress bar, and the seconds of the set-up; arguments as
    `part_seconds`. Where nothing is known about the model, the set-up is None and the costs only
    tell how long the parts take compared with one another."""
    seconds, setup, _measured = part_seconds(registry, config, pack, length)
    if seconds is None:
        return typical_seconds(config, pack, length), None
    return seconds, setup


def slowdown_now(registry: Registry, same: Sequence[RunSummary] = ()) -> float:
    """How many times as long a run takes now as on the idle machine.

    Args:
        registry: knows what the lab itself is doing.
        same: earlier runs with the same model and device, newest first: on a GPU, other work on the
            processor does not count.

    Raises:
        LabError: the registry can't be read.
    """
    used = next((run.device_used for run in same if run.device_used), "cpu")
    if used != "cpu":
        return 1.0
    return machine_now(len(registry.live_runs())).slowdown


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


def measured_speeds(registry: Registry, model: str, device: str) -> tuple[dict[str, float], float]:
    """Tokens a second for each part, and seconds of set-up, of the newest finished runs.

    The best of them counts: a slower one shared the machine with other work, and how busy that is
    now is counted by itself.

    Args:
        registry: has the runs.
        model: the model's name.
        device: the device that the settings name.

    Raises:
        LabError: the registry can't be read.
    """
    speeds: dict[str, float] = {}
    setups: list[float] = []
    rows = (registry.run(r.id) for r in _same(registry, model, device))
    for run in islice((run for run in rows if not run.is_lesson), MEASURED_RUNS):
        work = _work_of(run)
        for part in PARTS if work else ():
            seconds = run.seconds.get(part)
            # A run that may end phase 1 early has not read what its settings say.
            early = part == "phase1" and run.config.memorize.stop_at_full_recall
            # A part taken over from another run of its sweep took no time.
            shared = part != "phase2" and run.shared_phase1_from is not None
            if isinstance(seconds, int | float) and seconds > 0 and not (early or shared):
                speeds[part] = max(speeds.get(part, 0.0), work[part] / seconds)
        setups.append(float(run.seconds.get("setup", 0.0)))
    return {part: speed for part, speed in speeds.items() if speed}, min(setups, default=0.0)


def _same(registry: Registry, model: str, device: str) -> list[RunSummary]:
    """Finished runs with a model and device, newest first. One that was made elsewhere, such as the
    recorded demo, says nothing about this machine."""
    newest = registry.runs(limit=30, status="finished", archived=None)
    return [r for r in newest if not r.imported and (r.model, r.device) == (model, device)]


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
