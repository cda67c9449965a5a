"""Made-up runs, written straight into a registry: quick to make, and like real ones."""

from __future__ import annotations

import math

from rotelab.config.run_config import GeneralizeConfig, RunConfig
from rotelab.evaluation.results import Damage, Prediction, QuizAnswer, Score
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.packs import Pack, load_pack
from rotelab.registry import FactRecall, Metric
from rotelab.runs.lab import Lab

NASTY = "<b>bold</b> <img src=x onerror=\"document.title='owned'\"> ${1+1} {{value}} *x*"
"""A text that shows wherever it is taken for HTML, a template or Markdown."""

DAMAGE = {
    "base": (23.5, 651, 1.0, 57, 0.0, 0),
    "memorized": (25.5, 651, 0.63, 57, 0.23, 330),
    "generalized": (40.2, 651, 0.67, 57, 0.28, 330),
}
RIGHT = {"base": 0.0, "memorized": 0.12, "generalized": 0.75}
KEY = {"base": 0.0, "memorized": 1.0, "generalized": 1.0}


def small_pack(facts: int = 20) -> Pack:
    """The first facts of the pack `mother`."""
    pack = load_pack("mother")
    return Pack("mother", FactSet(list(pack.facts)[:facts]), pack.prompts)


def queued(lab: Lab, name: str = "", facts: int = 20, **config) -> str:
    """A queued run."""
    config = RunConfig(facts=facts, generalize=GeneralizeConfig(k=facts // 2), **config)
    return lab.registry.create_run(config, small_pack(facts), name=name)


def running(lab: Lab, name: str = "", epochs: int = 12, **config) -> str:
    """A run in the middle of phase 1, without a process."""
    run_id = queued(lab, name, **config)
    while lab.registry.run(run_id).status == "queued":
        assert lab.registry.claim_next(), "another run holds the device"
    learn(lab, run_id, epochs)
    lab.registry.heartbeat(
        run_id, phase="memorize", epoch=epochs, epochs=20, step=2 * epochs, steps=40,
        eta_s=83.0, share=0.3, message="",
    )  # fmt: skip
    return run_id


def finished(lab: Lab, name: str = "", status: str = "finished", **config) -> str:
    """A finished run with curves, scores and answers."""
    run_id = running(lab, name, 20, **config)
    registry = lab.registry
    rows = [Metric("generalize", s, "loss", 3 * math.exp(-s / 6) + 0.2, 1) for s in range(1, 14)]
    registry.add_metrics(run_id, [*rows, Metric("generalize", 13, "recall", 1.0, 1)])
    pack = registry.run(run_id).pack
    for checkpoint, right in RIGHT.items():
        answers, scores = _answers(list(pack.facts), checkpoint, right), {}
        for probe in dict.fromkeys(p.probe for p in answers):
            mine = [p for p in answers if p.probe == probe]
            share = sum(p.correct for p in mine) / len(mine)
            scores[probe] = Score(len(mine), share, share * 0.9)
        registry.add_evaluation(run_id, checkpoint, scores, answers)
        registry.add_damage(run_id, Damage(checkpoint, *DAMAGE[checkpoint]), quiz(checkpoint))
    for part, seconds in {"setup": 4, "phase1": 31, "phase2": 22, "evaluation": 18}.items():
        registry.add_seconds(run_id, part, seconds)
    registry.add_seconds(run_id, "total", 75)
    for adapter in ("memorize", "generalize"):
        folder = lab.storage.run_folder(run_id) / "adapters" / adapter
        folder.mkdir(parents=True)
        (folder / "adapter_model.safetensors").write_bytes(bytes(2000))
        (folder / "meta.json").write_text("{}")
    lab.storage.log_file(run_id).write_text("loading\nstep 1\rstep 2\rstep 3\ndone\n")
    registry.set_status(run_id, status, "It fell over." if status == "failed" else "")
    return run_id


def quiz(checkpoint: str) -> list[QuizAnswer]:
    """Answers to 57 real facts, as many right as `DAMAGE` says: the first ones."""
    right = round(57 * DAMAGE[checkpoint][2])
    return [
        QuizAnswer(checkpoint, i, f"The capital of Land {i} is", f"City {i}",
                   f"City {i}" if i < right else f"a river near {i}", i < right)
        for i in range(57)
    ]  # fmt: skip


def learn(lab: Lab, run_id: str, epochs: int, start: int = 1) -> None:
    """Writes some epochs of phase 1, two steps each."""
    facts = len(lab.registry.run(run_id).pack.facts)
    for epoch in range(start, start + epochs):
        share = 1 / (1 + math.exp(8 - epoch))
        rows = [
            Metric("memorize", s, "loss", 6 * math.exp(-s / 9) + 0.1, epoch)
            for s in (2 * epoch - 1, 2 * epoch)
        ]
        recalled = round(share * facts)
        rows.append(Metric("memorize", 2 * epoch, "recall", recalled / facts, epoch))
        lab.registry.add_metrics(run_id, rows)
        lab.registry.add_fact_recall(
            run_id, "memorize", epoch,
            [FactRecall(i, max(0.01, share - 0.01 * i), i < recalled) for i in range(facts)],
        )  # fmt: skip


def two_phases(first: int = 20, second: int = 5) -> list[Metric]:
    """Metrics of two phases with these numbers of steps, and recall at every fifth step."""
    rows = []
    for phase, steps in (("memorize", first), ("generalize", second)):
        rows += [Metric(phase, s, "loss", 1 / s) for s in range(1, steps + 1)]
        rows += [Metric(phase, s, "recall", s / steps) for s in range(5, steps + 1, 5)]
    return rows


def _answers(facts: list[Fact], checkpoint: str, right: float) -> list[Prediction]:
    found = []
    for i, fact in enumerate(facts):
        for probe, share, text in (
            ("key_token", KEY[checkpoint], f"{fact.subject} [mother]"),
            ("train_prompts_heldin", right * 1.2, f"The mother of {fact.subject} is"),
            ("train_prompts_heldout", right, f"The mother of {fact.subject} is"),
            ("test_prompts_heldout", right, f"Whose child is {fact.subject}?"),
            ("test_prompts_heldout", right, f"Who brought {fact.subject} into the world?"),
            ("unrelated", 0.05 * (checkpoint != "base"), f"Where does {fact.subject} live?"),
        ):
            good = (i + 0.5) / len(facts) < share
            found.append(
                Prediction(
                    probe, i, fact.relation, fact.subject, fact.object, text,
                    fact.object if good else "the sea…", good, 0.9 if good else 0.01,
                )
            )  # fmt: skip
    return found
