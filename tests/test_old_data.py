"""A lab made by an older version opens as it was; see tests/data/before_packages/README.md."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from support.command_line import rotelab
from support.quick_runs import losses
from support.tiny import make_tiny_llama

from rotelab.config.reproduce import command_of
from rotelab.reports.sweep_results import read_sweep
from rotelab.runs import sweeps, worker
from rotelab.runs.export.bundle import export_run, import_bundle
from rotelab.runs.lab import Lab
from rotelab.storage import Storage, has_adapters, state_folder
from rotelab.ui.runs.detail import fill_detail

DATA = Path(__file__).parent / "data" / "before_packages"
RECORDED = json.loads((DATA / "recorded.json").read_text(encoding="utf-8"))
WHOLE, EXPORTED, SWEEP = RECORDED["whole"], RECORDED["exported"], RECORDED["sweep"]
DROPPED = ("own_text", "own_text_weight", "word_dropout")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder that has the stored model under its stored name."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("before_packages")
    make_tiny_llama(folder / "tiny-llama")
    return folder


@pytest.fixture(autouse=True)
def in_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def shared_lab(folder):
    """The old home, opened once for the tests that only read it."""
    return open_copy(folder / "home")


@pytest.fixture
def own_lab(own_home):
    """The same, for a test that changes it."""
    return open_copy(own_home)


def open_copy(home):
    home.mkdir()
    shutil.copy(DATA / "runs.db", home)
    shutil.copytree(DATA / "runs", home / "runs")
    return Lab.open(Storage(home))


def plain(value):
    """As it comes back from JSON: rows and tuples become lists."""
    return json.loads(json.dumps(value))


def scores(lab, run_id):
    found = lab.registry.scores(run_id)
    return {c: {probe: s._asdict() for probe, s in probes.items()} for c, probes in found.items()}


def answers(lab, run_id):
    return [
        (p.checkpoint, p.probe, p.prompt, p.answer, p.probability)
        for p in lab.registry.predictions(run_id, limit=-1)
    ]


def damage(lab, run_id):
    return {c: d._asdict() for c, d in lab.registry.damage(run_id).items()}


def close(value):
    """Numbers made anew on another processor differ in their last digits."""
    if isinstance(value, float):
        return pytest.approx(value, rel=1e-3, abs=1e-12)
    if isinstance(value, dict):
        return {name: close(inner) for name, inner in value.items()}
    return [close(inner) for inner in value] if isinstance(value, list) else value


def assert_answers_as_recorded(lab, run_id, chat):
    for question, expected in chat.items():
        replies = {
            r.checkpoint: r
            for r in lab.chat.stream(run_id, question, max_new_tokens=24, speaking=())
        }
        assert list(replies) == ["base", "memorized", "generalized"]
        for checkpoint, reply in replies.items():
            found = {
                "ids": [token.id for token in reply.tokens],
                "probabilities": [token.probability for token in reply.tokens],
                "text": reply.text,
                "known": reply.verdict.known,
            }
            assert found == close(expected[checkpoint]), (question, checkpoint)


def test_the_data_was_written_with_the_dropped_options(shared_lab):
    """Else nothing below would show that they are left out."""
    runs = [WHOLE["run"], *RECORDED["interrupted"].values(), *SWEEP["runs"]]
    assert sorted(run.id for run in shared_lab.registry.runs()) == sorted(runs)
    for run_id in runs:
        run = shared_lab.registry.run(run_id)
        for name in DROPPED:
            assert f'"{name}"' in run.config_json
            assert not hasattr(run.config.generalize, name)
            assert not hasattr(run.config.memorize, name)


def test_runs_are_listed_and_shown(shared_lab):
    listed = {run.id: run for run in shared_lab.registry.runs()}
    assert {run.name for run in listed.values()} >= {"whole", "killed in phase 1"}
    for run_id in listed:
        assert fill_detail(shared_lab, run_id)
    run = shared_lab.registry.run(WHOLE["run"])
    assert (run.status, run.name, len(run.pack.facts)) == ("finished", "whole", 6)
    assert has_adapters(shared_lab.storage, run.id)
    shown = [getattr(part, "value", part) for part in fill_detail(shared_lab, run.id)]
    assert "whole" in shown and WHOLE["command"] in shown
    said = rotelab("runs", "--json", home=shared_lab.storage.home)
    assert said.code == 0, said.err
    assert {run["id"] for run in json.loads(said.out)} == set(listed)


def test_measurements_are_those_that_were_recorded(shared_lab):
    registry, run_id = shared_lab.registry, WHOLE["run"]
    found = {
        "scores": scores(shared_lab, run_id),
        "answers": answers(shared_lab, run_id),
        "losses": losses(shared_lab, run_id),
        "similarities": registry.similarities(run_id),
        "lens": registry.lens(run_id),
        "weight_changes": registry.weight_changes(run_id),
        "damage": damage(shared_lab, run_id),
        "spot_answers": registry.spot_answers(run_id),
    }
    for part, rows in found.items():
        assert rows, part
        assert plain(rows) == WHOLE[part], part


def test_the_command_is_the_one_that_was_shown_then(shared_lab):
    assert command_of(shared_lab.registry.run(WHOLE["run"]).config) == WHOLE["command"]


def test_the_chat_answers_what_it_answered_then(shared_lab):
    assert_answers_as_recorded(shared_lab, WHOLE["run"], WHOLE["chat"])
    known = [reply["known"] for reply in WHOLE["chat"].values() for reply in reply.values()]
    assert "by rote" in known, "the adapters change what is said"
    history = shared_lab.registry.chat_history(WHOLE["run"])
    assert [(a.question, a.checkpoint, a.answer) for a in history] == [
        (question, checkpoint, reply["text"])
        for question, replies in WHOLE["chat"].items()
        for checkpoint, reply in replies.items()
    ]


@pytest.mark.parametrize("phase", RECORDED["interrupted"])
def test_an_interrupted_run_resumes_to_the_numbers_of_an_unbroken_one(own_lab, phase, monkeypatch):
    from rotelab.runs import pipeline

    went_on_from = []

    def noted(folder):
        state = real(folder)
        went_on_from.append(state and state.phase)
        return state

    real = pipeline.load_state
    monkeypatch.setattr(pipeline, "load_state", noted)
    run_id = RECORDED["interrupted"][phase]
    assert own_lab.registry.run(run_id).status == "interrupted"
    assert state_folder(own_lab.storage, run_id).is_dir()
    own_lab.jobs.claim_foreground(run_id)
    worker.work(own_lab.registry, own_lab.storage, run_id)
    run = own_lab.registry.run(run_id)
    assert (run.status, run.error) == ("finished", "")
    assert went_on_from[0] == {"phase 1": "memorize", "phase 2": "generalize"}[phase]
    expected = RECORDED["unbroken"]
    assert plain(losses(own_lab, run_id)) == close(expected["losses"])
    assert scores(own_lab, run_id) == close(expected["scores"])
    assert plain(answers(own_lab, run_id)) == close(expected["answers"])
    assert damage(own_lab, run_id) == close(expected["damage"])


def test_the_sweep_is_listed_reported_and_finished(shared_lab):
    assert [row.id for row in shared_lab.registry.sweeps()] == [SWEEP["id"]]
    assert [run.id for run in shared_lab.registry.sweep_runs(SWEEP["id"])] == list(SWEEP["runs"])
    for run_id, expected in SWEEP["runs"].items():
        assert scores(shared_lab, run_id) == expected["scores"]
    assert read_sweep(shared_lab.registry, SWEEP["id"])
    said = rotelab("report", SWEEP["id"], home=shared_lab.storage.home)
    assert said.code == 0, said.err
    assert "epochs" in said.out
    assert sweeps.unfinished_runs(shared_lab, SWEEP["id"]) == []


def test_the_experiment_has_its_result(shared_lab):
    row = shared_lab.registry.experiment_row(RECORDED["experiment"]["id"])
    assert (row.experiment, row.status) == ("audit", "finished")
    assert row.result == RECORDED["experiment"]["result"]
    said = rotelab("experiments", "--json", home=shared_lab.storage.home)
    assert said.code == 0 and row.id in said.out, said.err


def test_the_bundle_is_imported_with_its_adapters(lab, tmp_path):
    imported = import_bundle(lab.registry, lab.storage, DATA / "bundle.rotelab.zip")
    assert (imported.run_id, imported.new) == (EXPORTED["run"], True)
    run = lab.registry.run(imported.run_id)
    assert (run.status, run.name) == ("finished", "exported")
    assert not any(name in command_of(run.config) for name in DROPPED)
    assert scores(lab, run.id) == EXPORTED["scores"]
    assert damage(lab, run.id) == EXPORTED["damage"]
    assert_answers_as_recorded(lab, run.id, EXPORTED["chat"])
    # What is exported from here is taken in elsewhere, and is the same run.
    again = export_run(lab.registry, lab.storage, run.id, tmp_path / "again.rotelab.zip")
    assert not import_bundle(lab.registry, lab.storage, again).new
    assert not import_bundle(lab.registry, lab.storage, DATA / "bundle.rotelab.zip").new
