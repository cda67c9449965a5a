"""How long a run will take: what has to be read, and how fast this machine reads it."""

from __future__ import annotations

from dataclasses import dataclass

from rotelab.config.run_config import EMBEDDED, RunConfig
from rotelab.errors import LabError
from rotelab.facts.packs import Pack
from rotelab.registry import RunRow
from rotelab.runs.lab import Lab

PARTS = ("phase1", "phase2", "evaluation")
TYPICAL = {"phase1": 115.0, "phase2": 239.0, "evaluation": 591.0}
"""Tokens (as `tokens_to_read` counts them) a second of the embedded model on two CPU cores, where
nothing has been measured yet: a default run on `mother` (EXPERIMENTS.md)."""
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
