"""A whole run on a tiny model: what is recorded, stopping, resuming, failing."""

import dataclasses
import json
import os
from pathlib import Path

import psutil
import pytest
from safetensors import safe_open
from support.quick_runs import losses, outcome, start
from support.tiny import unknown_model

from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig, ModelSpec
from rotelab.errors import RunStopped
from rotelab.evaluation.results import PROBES
from rotelab.runs import pipeline, processes, progress, worker
from rotelab.runs.pipeline import run_pipeline
from rotelab.runs.processes import until
from rotelab.storage import adapter_folder, state_folder, states_file


@pytest.fixture
def finished(lab, quick):
    run_id = start(lab, quick)
    worker.work(lab.registry, lab.storage, run_id)
    return run_id


def test_a_run_records_everything(lab, finished, quick):
    run = lab.registry.run(finished)
    assert (run.status, run.error) == ("finished", "")
    assert set(run.seconds) >= {"setup", "phase1", "phase2", "evaluation", "total"}
    assert run.share == 1.0
    scores = lab.registry.scores(finished)
    assert list(scores) == ["base", "memorized", "generalized"]
    assert all(set(probes) == set(PROBES) for probes in scores.values())
    found = lab.registry.predictions(finished, limit=-1)
    assert len(found) == sum(s.n for probes in scores.values() for s in probes.values())
    steps = [m for m in lab.registry.metrics(finished) if m.name == "loss"]
    assert [m.step for m in steps if m.phase == "memorize"] == list(range(1, 7))
    assert {m.name for m in lab.registry.metrics(finished)} >= {
        "loss/key", "loss/train", "loss/locality", "recall", "learning_rate", "tokens",
        "tokens_per_second",
    }  # fmt: skip
    assert len(lab.registry.fact_recall(finished, "memorize", "all")) == 3 * 8
    assert run.config == quick
    assert len(run.pack.facts) == 8


@pytest.mark.parametrize("reads, method", [("words", "lora"), ("both", "lora"), ("both", "full")])
def test_a_run_of_one_stage_ends_where_its_first_phase_ends(lab, quick, reads, method):
    rote = dataclasses.replace(quick.memorize, reads=reads)
    config = dataclasses.replace(quick, memorize=rote, stages="one", method=method)
    run_id = start(lab, config)
    worker.work(lab.registry, lab.storage, run_id)
    run = lab.registry.run(run_id)
    assert (run.status, run.error, run.share) == ("finished", "", 1.0)
    assert {phase for phase, _, _ in losses(lab, run_id)} == {"memorize"}
    recalls = lab.registry.fact_recall(run_id, "memorize")
    assert [r.fact_index for r in recalls] == list(range(8))
    answers = {"memorized": {}, "generalized": {}}
    for checkpoint, probe, prompt, answer, probability in outcome(lab, run_id)[1]:
        if checkpoint in answers:
            answers[checkpoint][probe, prompt] = answer, pytest.approx(probability)
    assert answers["memorized"] == answers["generalized"] != {}


def test_adapters_and_hidden_states_are_on_disk(lab, finished):
    for checkpoint in ("memorized", "generalized"):
        folder = adapter_folder(lab.storage, finished, checkpoint)
        assert (folder / "adapter_model.safetensors").is_file()
        assert json.loads((folder / "meta.json").read_text())["run"] == finished
    for checkpoint in ("base", "memorized", "generalized"):
        with safe_open(states_file(lab.storage, finished, checkpoint), "numpy") as file:
            views = json.loads(file.metadata()["views"])
            assert file.get_tensor("states").shape == (len(views), 3, 64)
    names = {s.name for s in lab.registry.similarities(finished)}
    assert names == {"key-train", "key-test", "key-unrelated", "within", "across", "delta"}
    seen = {(r.checkpoint, r.role, r.layer) for r in lab.registry.lens(finished)}
    assert len(seen) == 3 * 3 * 3
    moved = lab.registry.weight_changes(finished)
    assert {(c.checkpoint, c.layer) for c in moved} >= {("memorized", 1), ("memorized", 2)}
    assert {c.checkpoint for c in moved} == {"memorized", "generalized"}
    beside = lab.registry.damage(finished)
    assert list(beside) == ["base", "memorized", "generalized"]
    assert beside["base"].divergence == 0 < beside["memorized"].divergence
    quiz = lab.registry.quiz_answers(finished)
    assert list(quiz) == list(beside)
    for checkpoint, answers in quiz.items():
        assert len(answers) == beside[checkpoint].questions == 57
        assert sum(a.correct for a in answers) / 57 == beside[checkpoint].quiz


def test_no_pickle_is_written(lab, finished):
    written = {p.suffix for p in lab.storage.run_folder(finished).rglob("*") if p.is_file()}
    assert written <= {".json", ".safetensors", ".txt", ".md"}


def test_a_stopped_run_resumes_to_the_numbers_of_an_unbroken_one(lab, finished, quick, monkeypatch):
    monkeypatch.setattr(pipeline, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(progress, "RECORD_EVERY_S", 0.0)
    run_id = start(lab, quick)

    def stop_in_the_third_round(share, message):
        if "rote: round 3" in message:
            lab.registry.request_stop(run_id)

    worker.work(lab.registry, lab.storage, run_id, stop_in_the_third_round)
    assert lab.registry.run(run_id).status == "stopped"
    assert state_folder(lab.storage, run_id).is_dir()
    lab.jobs.claim_foreground(run_id)
    worker.work(lab.registry, lab.storage, run_id)
    assert lab.registry.run(run_id).status == "finished"
    assert losses(lab, run_id) == losses(lab, finished)
    assert outcome(lab, run_id) == outcome(lab, finished)


def test_a_run_interrupted_between_the_phases_goes_on_there(lab, finished, quick, monkeypatch):
    run_id = start(lab, quick)

    def stop_before_phase_2(share, message):
        if "after learning by rote" in message:
            lab.registry.request_stop(run_id)

    worker.work(lab.registry, lab.storage, run_id, stop_before_phase_2)
    assert lab.registry.run(run_id).status == "stopped"
    monkeypatch.setattr(pipeline, "memorize", None)  # must not be called again
    lab.jobs.claim_foreground(run_id)
    worker.work(lab.registry, lab.storage, run_id)
    assert outcome(lab, run_id) == outcome(lab, finished)


def test_stop_raises_run_stopped(lab, quick):
    run_id = start(lab, quick)
    lab.registry.request_stop(run_id)
    with pytest.raises(RunStopped):
        run_pipeline(lab.registry, lab.storage, run_id)


def test_a_user_error_fails_the_run_with_its_sentence(lab, quick, tiny_folder, tmp_path):
    from dataclasses import replace

    folder = unknown_model(tiny_folder, tmp_path / "model")
    broken = replace(quick, model=ModelSpec(name=str(folder), device="cpu"))
    run_id = start(lab, broken)
    worker.work(lab.registry, lab.storage, run_id)
    run = lab.registry.run(run_id)
    assert run.status == "failed"
    assert "of the kind 'nosuch'" in run.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate"), "ran out of memory"),
        (MemoryError(), "ran out of memory"),
        (ZeroDivisionError("by zero"), "inside rotelab (ZeroDivisionError: by zero)"),
    ],
)
def test_a_fault_fails_the_run_and_names_the_remedy(lab, quick, monkeypatch, error, words):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(pipeline, "load_model", fail)
    run_id = start(lab, quick)
    worker.work(lab.registry, lab.storage, run_id)
    run = lab.registry.run(run_id)
    assert run.status == "failed"
    assert words in run.error


def test_what_the_base_model_knows_already_is_a_warning(lab, quick, monkeypatch):
    real = pipeline.probes.evaluate

    def knows_all(model, asked, batch):
        from dataclasses import replace

        for batch_found in real(model, asked, batch):
            yield [replace(p, correct=True) for p in batch_found]

    monkeypatch.setattr(pipeline.probes, "evaluate", knows_all)
    run_id = start(lab, quick)
    worker.work(lab.registry, lab.storage, run_id)
    assert any("already answers 8 of the facts" in w for w in lab.registry.run(run_id).warnings)


def test_the_worker_process_does_a_run_to_its_end(lab, quick):
    run_id = lab.jobs.enqueue(quick, lab.facts_for(quick))
    child = lab.jobs._children[run_id]
    polite = min(19, os.nice(0) + processes.NICE)
    assert until(lambda: psutil.Process(child.pid).nice() == polite, 60)
    session = Path(f"/proc/{child.pid}/autogroup")
    if session.exists():  # Linux shares the processor among sessions first
        assert until(lambda: session.read_text().split()[-1] == str(processes.NICE), 10)
    assert child.wait(timeout=120) == 0
    assert lab.registry.run(run_id).status == "finished", lab.storage.log_file(run_id).read_text()


def test_who_looks_on_is_told_which_adapter_is_being_trained():
    rote, words = MemorizeConfig(epochs=20), GeneralizeConfig(epochs=2, averaged=2)
    assert progress.round_words(rote, 3) == "round 3 of 20"
    assert progress.round_words(dataclasses.replace(words, averaged=1), 2) == "round 2 of 2"
    assert progress.round_words(words, 2) == "adapter 1 of 2, round 2 of 2 (their mean is kept)"
    assert (
        progress.round_words(dataclasses.replace(words, epochs=1), 2)
        == "adapter 2 of 2 (their mean is kept)"
    )
