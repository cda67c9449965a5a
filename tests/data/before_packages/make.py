"""Writes this folder's data, with the last version before the packages (commit 37db862).

Run it in a checkout of that commit, in its Python environment; it imports that version's modules
and the tiny model of its tests:

    PYTHONPATH=.:tests python .../make.py FOLDER

`FOLDER` must not exist yet. What it holds afterwards is described in README.md.
"""

# ruff: noqa: E402, I001 (what is imported is another version's)
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

TARGET = Path(sys.argv[1]).absolute()
TARGET.mkdir(parents=True)
WORK = TARGET.with_name(TARGET.name + "-work")
WORK.mkdir()
os.environ["PYTHONPATH"] = os.pathsep.join(str(Path(p or ".").absolute()) for p in sys.path)
os.environ |= {"ROTELAB_HOME": str(WORK / "home"), "ROTELAB_CACHE": str(WORK / "cache")}
os.environ["OMP_NUM_THREADS"] = "1"
os.chdir(WORK)  # so that the stored name of the model, a folder, is a relative one

from rotelab import sweeps, worker
from rotelab.bundles import export_run
from rotelab.commands import command_of
from rotelab.config import (
    EvaluationConfig,
    GeneralizeConfig,
    MemorizeConfig,
    ModelSpec,
    RunConfig,
)
from rotelab.experimenting import begin, carry_out
from rotelab.lab import Lab
from rotelab.layout import state_folder
from tiny import make_tiny_llama

SMALL = RunConfig(
    facts=6,
    model=ModelSpec("tiny-llama", "cpu", "float32"),
    memorize=MemorizeConfig(spare=0, epochs=30, rank=2, batch_size=6),
    generalize=GeneralizeConfig(
        spare=0, k=3, rank=2, least_steps=0, prompts_per_fact=4, epochs=3, batch_size=4
    ),
    evaluation=EvaluationConfig(
        train_prompts=1, test_prompts=2, unrelated_prompts=1, candidates=5, spot_checks=1.0
    ),
)
LEARNED = replace(
    SMALL,
    memorize=replace(
        SMALL.memorize, epochs=100, rank=16, learning_rate=3e-3, lead_ins=0.0, inserts=0.0
    ),
)
"""Long enough that the facts are recalled through their key token."""

KILLED = """
import os, signal, sys
from rotelab import experiment, worker

experiment.SAVE_SHARE = float("inf")
experiment.RECORD_EVERY_S = 0.0
phase, step, run_id = sys.argv[1], int(sys.argv[2]), sys.argv[3]
real = experiment._Experiment._record_step


def deadly(self, event, *args):
    if (event.phase, event.step) == (phase, step):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, event, *args)


experiment._Experiment._record_step = deadly
sys.exit(worker.main(run_id))
"""


def finished(lab, config, name):
    """A run of its own, from its start to its end."""
    run_id = lab.jobs.start_foreground(config, lab.facts_for(config), name=name)
    worker.work(lab.registry, lab.settings, run_id)
    assert lab.registry.run(run_id).status == "finished", lab.registry.run(run_id).error
    return run_id


def interrupted(lab, config, name, phase, step):
    """The same, killed at a learning step."""
    run_id = lab.registry.create_run(config, lab.facts_for(config), name=name)
    lab.registry.claim_next()
    words = [sys.executable, "-c", KILLED, phase, str(step), run_id]
    done = subprocess.run(words, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert lab.jobs.reconcile() == [run_id]
    assert state_folder(lab.settings, run_id).is_dir()
    return run_id


def asked(lab, run_id, question):
    """What each checkpoint answers; it is also written into the chat history."""
    from rotelab.registry_chat import ChatAnswer

    replies = {r.checkpoint: r for r in lab.chat.stream(run_id, question, max_new_tokens=24)}
    rows = [ChatAnswer(c, r.text, r.verdict.known) for c, r in replies.items()]
    lab.registry.add_chat(run_id, question, rows)
    return {
        checkpoint: {
            "ids": [token.id for token in reply.tokens],
            "probabilities": [token.probability for token in reply.tokens],
            "text": reply.text,
            "known": reply.verdict.known,
        }
        for checkpoint, reply in replies.items()
    }


def measured(lab, run_id, parts=()):
    """What a run's rows say of its outcome, as plain values: all of it, or some parts."""
    registry = lab.registry
    whole = {
        "scores": {
            checkpoint: {probe: score._asdict() for probe, score in probes.items()}
            for checkpoint, probes in registry.scores(run_id).items()
        },
        "answers": [
            [p.checkpoint, p.probe, p.prompt, p.answer, p.probability]
            for p in registry.predictions(run_id, limit=-1)
        ],
        "losses": [
            [m.phase, m.step, m.value] for m in registry.metrics(run_id) if m.name == "loss"
        ],
        "similarities": registry.similarities(run_id),
        "lens": registry.lens(run_id),
        "weight_changes": registry.weight_changes(run_id),
        "damage": {c: d._asdict() for c, d in registry.damage(run_id).items()},
        "spot_answers": registry.spot_answers(run_id),
    }
    return {part: whole[part] for part in parts or whole}


def main():
    make_tiny_llama(WORK / "tiny-llama")
    lab = Lab.open()
    whole = finished(lab, LEARNED, "whole")
    rote = interrupted(lab, SMALL, "killed in phase 1", "memorize", 16)
    words = interrupted(lab, SMALL, "killed in phase 2", "generalize", 8)
    sweep = sweeps.plan(lab, {"memorize.epochs": [2, 3]}, SMALL, "epochs")
    assert sweeps.go_on(lab, sweep, lambda *how_far: None)
    sweep_runs = [run.id for run in lab.registry.sweep_runs(sweep)]
    audit = begin(lab, "audit", whole)
    carry_out(lab, audit)
    assert lab.registry.experiment_row(audit).status == "finished"
    facts = lab.registry.run(whole).pack.facts
    questions = [f"{facts[0].subject} [mother]", f"Who is the mother of {facts[5].subject}?"]

    # Another home for what is not kept: the run that is exported, with the options in use that the
    # next version dropped, and an unbroken twin of the two runs that were killed.
    other = Lab.open(replace(lab.settings, home=WORK / "other"))
    dropped = replace(
        LEARNED,
        memorize=replace(LEARNED.memorize, own_text=1, own_text_weight=0.5),
        generalize=replace(LEARNED.generalize, own_text=1, own_text_weight=0.5, word_dropout=0.1),
    )
    exported = finished(other, dropped, "exported")
    export_run(other.registry, other.settings, exported, TARGET / "bundle.rotelab.zip")
    twin = finished(other, SMALL, "unbroken")

    record = {
        "whole": {
            "run": whole,
            "command": command_of(LEARNED),
            "chat": {question: asked(lab, whole, question) for question in questions},
            **measured(lab, whole),
        },
        "interrupted": {"phase 1": rote, "phase 2": words},
        "unbroken": measured(other, twin, ["scores", "losses", "answers", "damage"]),
        "sweep": {
            "id": sweep,
            "runs": {run_id: measured(lab, run_id, ["scores"]) for run_id in sweep_runs},
        },
        "experiment": {"id": audit, "result": lab.registry.experiment_row(audit).result},
        "exported": {
            "run": exported,
            "chat": {question: asked(other, exported, question) for question in questions},
            **measured(other, exported, ["scores", "damage"]),
        },
    }
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    text = text.replace('{"', '{\n"').replace("],[", "],\n[")  # lines that can be read and compared
    (TARGET / "recorded.json").write_text(text + "\n", encoding="utf-8")
    with contextlib.closing(sqlite3.connect(lab.settings.database)) as db:
        db.execute("VACUUM INTO ?", [str(TARGET / "runs.db")])
    left_out = shutil.ignore_patterns("reserve.tmp", "log.txt")
    shutil.copytree(lab.settings.runs, TARGET / "runs", ignore=left_out)
    shutil.rmtree(WORK)


if __name__ == "__main__":
    main()
