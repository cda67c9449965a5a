"""How far a run is, and how long one will take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rotelab import registry as rows
from rotelab.config.run_config import EMBEDDED, RunConfig
from rotelab.errors import LOCKED, LONG_WAIT_S, LabError
from rotelab.facts.packs import Pack
from rotelab.registry import Registry, RunRow
from rotelab.runs.lab import Lab

if TYPE_CHECKING:
    from rotelab.training.events import EpochEvent, StepEvent

RECORD_EVERY_S = 0.7
"""Metrics are collected and written this often, so the page sees them within a second."""

TRAIN_COST = 2.1
"""Cost of training on a token, in units of scoring one; for the time estimate only (measured)."""


class Recorder:
    """Tells the registry how far a run is, and learns from it whether to stop.

    Args:
        registry: where things are written down.
        run_id: the run.
        total: cost of the whole run, in scored tokens.
        watch: also told the share done and what is being done, for a progress bar.
    """

    def __init__(self, registry: Registry, run_id: str, watch: Callable[[float, str], None]):
        self.registry, self.run_id, self.watch = registry, run_id, watch
        self.total, self.done = 1.0, 0.0
        self.stop = False
        self.silent = False  # in all but the first of several processes that train together
        self._started = time.monotonic()
        self._written = 0.0
        self._metrics: list[rows.Metric] = []

    def say(self, message: str, *, cost: float = 0.0, force: bool = False, **progress: Any) -> None:
        """Notes that `cost` units of work were done and, now and then, writes it all down.

        Raises:
            LabError: the registry can't be written.
        """
        self.done = min(self.done + cost, self.total)
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
        """Collects one number; it is written with the next `say`."""
        metric = rows.Metric(event.phase, event.step, name, value, event.epoch)
        self._metrics.append(metric)


PARTS = ("phase1", "phase2", "evaluation")


TYPICAL = {"phase1": 115.0, "phase2": 239.0, "evaluation": 591.0}
"""Tokens (as `tokens_to_read` counts them) a second of the embedded model on two CPU cores, where
nothing has been measured yet: a default run on `mother` (docs/log/first-defaults.md)."""


TYPICAL_SETUP_S = 12.0


CHARACTERS_PER_TOKEN = 3.2


MEASURED_RUNS = 3


@dataclass(frozen=True)
class Estimate:
    """A guess at a run's length.

    Args:
        seconds: whole run; None where there is nothing to go by.
        measured: whether it comes from runs with this model on this machine.
    """

    seconds: float | None
    measured: bool


def estimate(lab: Lab, config: RunConfig, pack: Pack) -> Estimate:
    """Guesses how long a run takes, from the newest finished runs with the same model and device.

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
    return Estimate(TYPICAL_SETUP_S + sum(work[p] / TYPICAL[p] for p in PARTS), False)


def tokens_to_read(config: RunConfig, pack: Pack) -> dict[str, float]:
    """About how many tokens each part of a run reads, without a tokenizer at hand."""
    facts = pack.facts
    count, relations = len(facts), len(facts.relations)
    fact = 3 + sum(len(f.subject) + len(f.object) for f in facts) / count / CHARACTERS_PER_TOKEN
    texts = [t.text for t in pack.prompts]
    sentence = fact + sum(map(len, texts)) / max(1, len(texts)) / CHARACTERS_PER_TOKEN
    words, asked = config.generalize, config.evaluation
    taught = min(words.k * relations, count)
    steps = words.steps(taught)
    # A locality sentence is read twice: by the base model and by the one in training.
    step = words.batch_size * sentence + words.replay * fact + words.locality * sentence * 1.5
    held_out = count - taught
    questions = asked.train_prompts * count
    questions += held_out * (asked.test_prompts + asked.unrelated_prompts)
    # A multiple choice reads prompt and object; a normalised one all candidates but their ends.
    name = sum(len(f.object) for f in facts) / count / CHARACTERS_PER_TOKEN
    more = float(asked.generate) + (asked.choices * max(0.0, name - 1) if asked.normalized else 0)
    reads = config.memorize.reads
    read = count * sentence if reads == "words" else count * fact
    read += taught * sentence if reads == "both" else 0
    return {
        "phase1": config.memorize.epochs * read,
        "phase2": steps * step if config.stages == "two" else 0.0,
        "evaluation": 3 * (questions * (sentence + more) + count * (fact + more)),
    }


def _measured(lab: Lab, config: RunConfig) -> tuple[dict[str, float], float]:
    """Tokens a second for each part, and seconds to get ready, over the newest finished runs."""
    read = dict.fromkeys(PARTS, 0.0)
    took = dict.fromkeys(PARTS, 0.0)
    setups = []
    newest = lab.registry.runs(limit=30, status="finished", archived=None)
    # What was made elsewhere, as the recorded walk was, says nothing about this machine.
    wanted = (config.model.name, config.model.device)
    same = [r for r in newest if not r.imported and (r.model, r.device) == wanted]
    for summary in same[:MEASURED_RUNS]:
        run = lab.registry.run(summary.id)
        work = _work_of(run)
        for part in PARTS if work else ():
            seconds = run.seconds.get(part)
            # A run that may end phase 1 early has not read what its settings say.
            early = part == "phase1" and run.config.memorize.stop_at_full_recall
            # What another run of its sweep did for it took it no time.
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
