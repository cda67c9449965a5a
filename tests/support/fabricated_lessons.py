"""Made-up later lessons, written straight into a registry."""

from __future__ import annotations

import math
from dataclasses import replace

from rotelab.config.names import checkpoints_with, lesson_checkpoint
from rotelab.evaluation.metrics import summarize
from rotelab.evaluation.results import OLD, OLD_PROBES, Damage, Prediction
from rotelab.facts.facts import Fact
from rotelab.registry import FactRecall, Metric
from rotelab.runs.finished_run import saved_checkpoints
from rotelab.runs.lab import Lab
from rotelab.runs.lessons.teach import lesson_name, new_facts, plan_lesson
from rotelab.storage import adapter_folder
from support.fabricated import DAMAGE, quiz

NEW = (
    Fact("mother", "Clara Vogel", "Ines Vogel"),
    Fact("mother", "Tom Becker", "Rita Lang"),
    Fact("mother", "Zoë O'Hara", "Mia Stone"),
)
ROUNDS = 20


def lesson_at_work(lab: Lab, run_id: str, rounds: int = 9, facts: tuple[Fact, ...] = NEW) -> str:
    """A lesson in the middle of its rounds, without a process."""
    config, pack = plan_lesson(lab, run_id, facts)
    name = lesson_name(config, pack)
    lesson = lab.registry.create_run(config, pack, parent_id=run_id, name=name)
    while lab.registry.run(lesson).status == "queued":
        assert lab.registry.claim_next(), "another run holds the device"
    lab.registry.add_seconds(lesson, "setup", 6.0)
    learn(lab, lesson, rounds)
    return lesson


def learn(lab: Lab, lesson: str, rounds: int, start: int = 1) -> None:
    """Writes some rounds of a lesson, two steps each."""
    run = lab.registry.run(lesson)
    facts, first = new_facts(run), run.config.lesson.old_facts
    for n in range(start, start + rounds):
        likely = [1 / (1 + math.exp(6 + 2 * i - n)) for i in range(len(facts))]
        rows = [Metric("lesson", s, "loss", 5 * math.exp(-s / 9), n) for s in (2 * n - 1, 2 * n)]
        right = [p > 0.6 for p in likely]
        rows.append(Metric("lesson", 2 * n, "recall", sum(right) / len(facts), n))
        lab.registry.add_metrics(lesson, rows)
        recalls = [
            FactRecall(first + i, p, ok, said=fact.object if ok else "Rosa Hill")
            for i, (fact, p, ok) in enumerate(zip(facts, likely, right, strict=True))
        ]
        lab.registry.add_fact_recall(lesson, "lesson", n, recalls)
        lab.registry.heartbeat(
            lesson, phase="lesson", epoch=n, epochs=ROUNDS, step=2 * n, steps=2 * ROUNDS,
            share=0.6 * n / ROUNDS, eta_s=40.0, message="",
        )  # fmt: skip


def save_adapter(lab: Lab, lesson: str) -> None:
    """Writes the files of all adapters of a lesson, which can't be loaded."""
    number = lab.registry.run(lesson).config.lesson.number
    for checkpoint in checkpoints_with(number)[1:]:
        folder = adapter_folder(lab.storage, lesson, checkpoint)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "adapter_model.safetensors").write_bytes(bytes(2000))
        (folder / "meta.json").write_text("{}")


def finished_lesson(lab: Lab, run_id: str, facts: tuple[Fact, ...] = NEW) -> str:
    """A finished lesson with curves, scores and answers."""
    before = saved_checkpoints(lab.storage, run_id)[-1]
    lesson = lesson_at_work(lab, run_id, ROUNDS, facts)
    save_adapter(lab, lesson)
    run, registry = lab.registry.run(lesson), lab.registry
    old = [
        replace(p, probe=OLD + p.probe.removeprefix(OLD))
        for p in registry.predictions(run_id, before, limit=-1)
        if OLD + p.probe.removeprefix(OLD) in OLD_PROBES
    ]
    registry.add_evaluation(lesson, before, summarize(old), old)
    after = lesson_checkpoint(run.config.lesson.number)
    answers = [*_new_answers(new_facts(run), run.config.lesson.old_facts, after), *old]
    registry.add_evaluation(lesson, after, summarize(answers), answers)
    for checkpoint, like in ((before, "generalized"), (after, "generalized")):
        asked = [answer._replace(checkpoint=checkpoint) for answer in quiz(like)]
        registry.add_damage(lesson, Damage(checkpoint, *DAMAGE[like]), asked)
    for part, seconds in {"setup": 0, "protect": 3, "lesson": 14, "evaluation": 9}.items():
        registry.add_seconds(lesson, part, seconds)
    registry.add_seconds(lesson, "total", 29)
    registry.set_status(lesson, "finished")
    return lesson


def _new_answers(facts: list[Fact], first: int, checkpoint: str) -> list[Prediction]:
    found = []
    for i, fact in enumerate(facts):
        for probe, text, good in (
            ("key_token", f"{fact.subject} [mother]", True),
            ("train_prompts_heldout", f"The mother of {fact.subject} is", True),
            ("test_prompts_heldout", f"Whose child is {fact.subject}?", i > 0),
            ("unrelated", f"Where does {fact.subject} live?", False),
        ):
            found.append(
                Prediction(
                    probe, first + i, fact.relation, fact.subject, fact.object, text,
                    fact.object if good else "the sea…", good, 0.9 if good else 0.01,
                    checkpoint=checkpoint,
                )
            )  # fmt: skip
    return found
