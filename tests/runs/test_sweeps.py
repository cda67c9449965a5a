"""Sweeps on a tiny model: reuse between runs, continuing after a failure, and refusals."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from support.command_line import nothing_saved, refused, rotelab
from support.paths import ROOT
from support.runs_of_sweeps import everything

from rotelab.config.option_paths import label_of
from rotelab.config.run_config import RunConfig
from rotelab.config.sweep_grid import MAX_RUNS, cell_name, grid, parse_axis, read_axes
from rotelab.errors import LabError
from rotelab.models.adapter_files import read_meta
from rotelab.reports.sweep_results import read_sweep
from rotelab.runs import pipeline, progress, sweeps, worker
from rotelab.runs.export.bundle import export_run, import_bundle
from rotelab.runs.lab import Lab
from rotelab.runs.reuse import adopt_finished_runs
from rotelab.storage import Storage, adapter_folder, states_file


@pytest.fixture
def base(quick):
    return replace(quick, facts=6, generalize=replace(quick.generalize, k=3))


def quiet(*how_far):
    """Watches nothing."""


def swept(lab, base, **axes):
    """A sweep that came to its end, and its runs."""
    sweep_id = sweeps.plan(lab, {path.replace("__", "."): v for path, v in axes.items()}, base)
    assert sweeps.run_sweep(lab, sweep_id, quiet)
    return sweep_id, lab.registry.sweep_runs(sweep_id)


def alone(lab, config):
    """A run of its own with the same settings."""
    run_id = lab.jobs.start_foreground(config, lab.facts_for(config))
    worker.work(lab.registry, lab.storage, run_id)
    return run_id


def adapter(lab, run_id, checkpoint):
    folder = adapter_folder(lab.storage, run_id, checkpoint)
    return load_file(folder / "adapter_model.safetensors")


def states(lab, run_id, checkpoint):
    return load_file(states_file(lab.storage, run_id, checkpoint))["states"]


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def trainings(monkeypatch):
    """Counts how often phase 1 is learned from now on."""
    learned, real = [], pipeline.memorize

    def counted(*args, **kwargs):
        learned.append(1)
        return real(*args, **kwargs)

    monkeypatch.setattr(pipeline, "memorize", counted)
    return learned


def evaluations(monkeypatch):
    """Notes which checkpoints are asked from now on."""
    asked, real = [], pipeline.probes.evaluate

    def noted(model, *args):
        asked.append(model.checkpoint)
        return real(model, *args)

    monkeypatch.setattr(pipeline.probes, "evaluate", noted)
    return asked


# Sharing -----------------------------------------------------------------------------------------


def test_what_is_shared_equals_what_a_run_of_its_own_gives(lab, base, monkeypatch):
    learned, asked = trainings(monkeypatch), evaluations(monkeypatch)
    _, (first, second) = swept(lab, base, generalize__prompts_per_fact=[2, 1])
    assert (first.status, second.status) == ("finished", "finished")
    assert len(learned) == 1 and asked == ["base", "memorized", "generalized", "generalized"]
    assert (first.shared_phase1_from, second.shared_phase1_from) == (None, first.id)
    assert second.seconds["phase1"] == 0.0 < first.seconds["phase1"]

    own = alone(lab, second.config)
    assert len(learned) == 2 and lab.registry.run(own).shared_phase1_from is None
    assert everything(lab, second.id) == everything(lab, own)
    for checkpoint in ("memorized", "generalized"):
        assert equal(adapter(lab, second.id, checkpoint), adapter(lab, own, checkpoint))
    for checkpoint in ("base", "memorized", "generalized"):
        mine, its = (states(lab, run_id, checkpoint) for run_id in (second.id, own))
        assert torch.equal(mine, its)


def test_another_k_asks_anew_and_shares_the_training_only(lab, base, monkeypatch):
    learned, asked = trainings(monkeypatch), evaluations(monkeypatch)
    _, (first, second) = swept(lab, base, generalize__k=[3, 2])
    assert len(learned) == 1 and asked == ["base", "memorized", "generalized"] * 2
    assert second.shared_phase1_from == first.id
    counts = lab.registry.scores(second.id)["memorized"]
    assert counts["train_prompts_heldout"].n == 4 and counts["train_prompts_heldin"].n == 2
    assert everything(lab, second.id) == everything(lab, alone(lab, second.config))


def test_another_phase_1_shares_the_base_model_s_answers_only(lab, base, monkeypatch):
    learned, asked = trainings(monkeypatch), evaluations(monkeypatch)
    _, (first, second) = swept(lab, base, memorize__epochs=[2, 3])
    assert len(learned) == 2 and second.shared_phase1_from is None
    assert asked == ["base", "memorized", "generalized", "memorized", "generalized"]
    answers = [lab.registry.predictions(r.id, "base", limit=-1) for r in (first, second)]
    assert answers[0] == answers[1] and answers[0]


@pytest.mark.parametrize("path, values", [("seed", [0, 1]), ("facts", [6, 8])])
def test_other_seeds_and_other_facts_share_nothing(lab, base, path, values, monkeypatch):
    learned, asked = trainings(monkeypatch), evaluations(monkeypatch)
    _, runs = swept(lab, base, **{path: values})
    assert len(learned) == 2 and len(asked) == 6
    assert [run.shared_phase1_from for run in runs] == [None, None]


def test_runs_that_belong_to_no_sweep_share_nothing(lab, base, monkeypatch):
    learned = trainings(monkeypatch)
    alone(lab, base)
    alone(lab, base)
    assert len(learned) == 2


def test_a_damaged_adapter_is_not_taken_over(lab, base, monkeypatch):
    learned = trainings(monkeypatch)
    sweep_id = sweeps.plan(lab, {"generalize.prompts_per_fact": [2, 1]}, base)
    first, second = lab.registry.sweep_runs(sweep_id)
    lab.jobs.claim_foreground(first.id)
    worker.work(lab.registry, lab.storage, first.id)
    folder = adapter_folder(lab.storage, first.id, "memorized")
    with (folder / "adapter_model.safetensors").open("ab") as file:
        file.write(b"x")
    assert sweeps.run_sweep(lab, sweep_id, quiet)
    second = lab.registry.run(second.id)
    assert (second.status, second.shared_phase1_from, len(learned)) == ("finished", None, 2)


def test_deleting_the_run_that_was_shared_leaves_the_other_whole(lab, base):
    from shutil import rmtree

    _, (first, second) = swept(lab, base, generalize__prompts_per_fact=[2, 1])
    before = adapter(lab, second.id, "memorized")
    meta = read_meta(adapter_folder(lab.storage, second.id, "memorized"))
    assert (meta["run"], meta["shared_phase1_from"]) == (second.id, first.id)
    assert read_meta(adapter_folder(lab.storage, first.id, "memorized"))["run"] == first.id
    lab.registry.delete_run(first.id)
    rmtree(lab.storage.run_folder(first.id))
    assert equal(adapter(lab, second.id, "memorized"), before)
    assert lab.registry.run(second.id).shared_phase1_from == first.id


def test_what_the_base_model_knows_is_a_warning_of_every_run(lab, base, monkeypatch):
    from dataclasses import replace

    real = pipeline.probes.evaluate

    def knows_all(*args):
        for found in real(*args):
            yield [replace(p, correct=True) for p in found]

    monkeypatch.setattr(pipeline.probes, "evaluate", knows_all)
    _, runs = swept(lab, base, generalize__prompts_per_fact=[2, 1])
    assert all("already answers 6 of the facts" in run.warnings[0] for run in runs)


# Going on ----------------------------------------------------------------------------------------


def statuses(lab, sweep_id):
    return [run.status for run in lab.registry.sweep_runs(sweep_id)]


def test_a_failure_does_not_stop_the_others_and_is_tried_again(lab, base, monkeypatch):
    real = pipeline.generalize

    def fails_once(model, facts, held_in, *args):
        if len(held_in) == 3:
            raise LabError("The disk is full.")
        return real(model, facts, held_in, *args)

    learned = trainings(monkeypatch)
    monkeypatch.setattr(pipeline, "generalize", fails_once)
    sweep_id, runs = swept(lab, base, generalize__k=[3, 2, 1])
    assert [run.status for run in runs] == ["failed", "finished", "finished"]
    assert [run.shared_phase1_from for run in runs[1:]] == [runs[0].id] * 2
    assert [o.error for o in read_sweep(lab.registry, sweep_id).unfinished] == ["The disk is full."]
    monkeypatch.setattr(pipeline, "generalize", real)
    assert sweeps.run_sweep(lab, sweep_id, quiet)
    assert statuses(lab, sweep_id) == ["finished"] * 3
    assert len(learned) == 1
    again = lab.registry.run(runs[0].id)
    assert again.error == "" and again.shared_phase1_from is None


def test_ctrl_c_inside_a_run_leaves_a_sweep_that_goes_on_to_equal_numbers(lab, base, monkeypatch):
    monkeypatch.setattr(pipeline, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(progress, "RECORD_EVERY_S", 0.0)
    learned = trainings(monkeypatch)
    sweep_id = sweeps.plan(lab, {"generalize.prompts_per_fact": [2, 1], "seed": [0, 1]}, base)

    def interrupts(place, count, share, message):
        if place == 1 and "rote: round 3" in message:
            raise KeyboardInterrupt

    assert not sweeps.run_sweep(lab, sweep_id, interrupts)
    assert statuses(lab, sweep_id) == ["stopped", "queued", "queued", "queued"]
    assert lab.jobs.start_next() is None, "what waits for its sweep is nobody else's to start"
    assert sweeps.run_sweep(lab, sweep_id, quiet)
    runs = lab.registry.sweep_runs(sweep_id)
    assert [run.status for run in runs] == ["finished"] * 4
    assert [run.shared_phase1_from for run in runs] == [None, runs[0].id, None, runs[2].id]
    assert len(learned) == 3  # the first one went on where it was
    for run in (runs[0], runs[1]):
        assert everything(lab, run.id) == everything(lab, alone(lab, run.config))


def test_ctrl_c_between_two_runs(lab, base, monkeypatch):
    learned = trainings(monkeypatch)
    sweep_id = sweeps.plan(lab, {"generalize.prompts_per_fact": [2, 1]}, base)
    first, _ = lab.registry.sweep_runs(sweep_id)

    def interrupted():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sweeps.gc, "collect", interrupted)
        assert not sweeps.run_sweep(lab, sweep_id, quiet)
    assert statuses(lab, sweep_id) == ["finished", "queued"]
    before = everything(lab, first.id)
    assert sweeps.run_sweep(Lab.open(), sweep_id, quiet)
    assert statuses(lab, sweep_id) == ["finished", "finished"]
    assert everything(lab, first.id) == before and len(learned) == 1


def test_a_sweep_whose_process_was_killed_goes_on_to_equal_numbers(lab, base):
    sweep_id = sweeps.plan(lab, {"generalize.prompts_per_fact": [2, 1]}, base)
    code = """if True:
        import os, signal, sys, torch
        from rotelab.runs import progress, sweeps
        from rotelab.runs.lab import Lab

        def watch(place, count, share, message):
            if place == 2 and "what it means: adapter" in message:
                os.kill(os.getpid(), signal.SIGKILL)

        torch.set_num_threads(1)
        progress.RECORD_EVERY_S = 0.0
        sweeps.run_sweep(Lab.open(), sys.argv[1], watch)
    """
    ended = subprocess.run([sys.executable, "-c", code, sweep_id], cwd=ROOT, timeout=300)
    assert ended.returncode == -signal.SIGKILL
    assert lab.jobs.reconcile() == [lab.registry.sweep_runs(sweep_id)[1].id]
    assert statuses(lab, sweep_id) == ["finished", "interrupted"]
    assert sweeps.run_sweep(lab, sweep_id, quiet)
    _, second = lab.registry.sweep_runs(sweep_id)
    assert second.status == "finished"
    assert everything(lab, second.id) == everything(lab, alone(lab, second.config))


def test_an_interruption_while_taking_over_does_no_harm(lab, base, monkeypatch):
    from rotelab.runs import reuse

    def fails(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(reuse, "copy_adapter", fails)
        sweep_id, (first, second) = swept(lab, base, generalize__prompts_per_fact=[2, 1])
    assert (first.status, second.status) == ("finished", "failed")
    assert not adapter_folder(lab.storage, second.id, "memorized").exists()
    lab.registry.delete_run(first.id)  # so there is nothing left to share
    learned = trainings(monkeypatch)
    assert sweeps.run_sweep(lab, sweep_id, quiet)
    second = lab.registry.run(second.id)
    assert (second.status, second.shared_phase1_from, len(learned)) == ("finished", None, 1)
    assert everything(lab, second.id) == everything(lab, alone(lab, second.config))


def test_a_run_that_somebody_else_saw_to_is_passed_over(lab, base):
    sweep_id = sweeps.plan(lab, {"generalize.prompts_per_fact": [2, 1]}, base)
    second = lab.registry.sweep_runs(sweep_id)[1]

    def stops(place, count, share, message):
        if place == 1 and message == "Finished":
            lab.jobs.stop(second.id)

    assert sweeps.run_sweep(lab, sweep_id, stops)
    assert statuses(lab, sweep_id) == ["finished", "stopped"]
    assert [run.id for run in sweeps.unfinished_runs(lab, sweep_id)] == [second.id]


def test_a_device_that_is_taken_is_waited_for(lab, base, monkeypatch):
    other = lab.jobs.start_foreground(base, lab.facts_for(base))
    sweep_id = sweeps.plan(lab, {"seed": [0]}, base)
    said = []

    def waited(seconds):
        lab.registry.set_status(other, "stopped")

    monkeypatch.setattr(sweeps.time, "sleep", waited)
    assert sweeps.run_sweep(lab, sweep_id, lambda *how_far: said.append(how_far))
    assert said[0][:3] == (1, 1, 0.0) and f"Run {other} is using this device" in said[0][3]
    assert statuses(lab, sweep_id) == ["finished"]


# Axes --------------------------------------------------------------------------------------------


def test_runs_that_can_share_stand_together_and_the_seed_changes_last():
    axes = {"generalize.k": [1, 2], "seed": [0, 1], "memorize.epochs": [3, 6]}
    configs = grid(axes, RunConfig())
    cells = [(c.seed, c.memorize.epochs, c.generalize.k) for c in configs]
    assert cells == [
        (0, 3, 1), (0, 3, 2), (0, 6, 1), (0, 6, 2), (1, 3, 1), (1, 3, 2), (1, 6, 1), (1, 6, 2),
    ]  # fmt: skip
    assert cell_name(axes, configs[1]) == "k=2 seed=0 epochs=3"


def test_values_get_the_type_of_their_option():
    given = [
        ("memorize.learning_rate", ["1e-3", "0.003"]), ("memorize.loss", ["o", "normal"]),
        ("memorize.stop_at_full_recall", ["true", "false"]), ("pack", ["mother", "capital"]),
    ]  # fmt: skip
    axes = read_axes(given, RunConfig())
    assert list(axes.values()) == [
        [0.001, 0.003], ["o", "normal"], [True, False], ["mother", "capital"],
    ]  # fmt: skip
    assert len({json.dumps(c.to_dict()) for c in grid(axes, RunConfig())}) == 16
    assert label_of("generalize.k") == "Facts taught in words (k)" and label_of("x.y") == "x.y"
    assert parse_axis(" generalize.epochs = 1, 2") == ("generalize.epochs", ["1", "2"])


@pytest.mark.parametrize(
    "words, parts",
    [
        ([], ["at least one axis"]),
        (["--k", "1,two"], ["Facts taught in words (k) (generalize.k) must be a int"]),
        (["--k", "1,,2"], ["'1,,2' is not a list of values for generalize.k"]),
        (["--k", "0,1"], ["between 1 and 10000; it is 0"]),
        (["--k", "1,1"], ["generalize.k has a value twice"]),
        (["--k", "2,6"], ["Choose k below 6"]),
        (["--seeds", "0,-1"], ["Seed (seed) must be between 0"]),
        (["--axis", "nonsense"], ["'nonsense' is not an axis"]),
        (["--axis", "=1,2"], ["is not an axis"]),
        (["--axis", "generalize.nothing=1,2"], ["sets nothing"]),
        (["--axis", "generalize=1,2"], ["sets nothing"]),
        (["--axis", "model.device=cpu,cuda"], ["model.device can't vary"]),
        (["--axis", "recipe=lab"], ["'lab' is not a recipe"]),
        (
            ["--axis", "recipe=published", "--axis", "method=full,lora"],
            ["A recipe decides method", "can't both vary"],
        ),
        (["--k", "2,3", "--axis", "generalize.k=1"], ["generalize.k is given twice"]),
        (["--seeds", ",".join(map(str, range(MAX_RUNS + 1)))], ["at most 1000"]),
        (["--seeds", "0", "--loss", "all"], ["must be one of normal, s-o, o; it is 'all'"]),
        (["--seeds", "0", "--pack", "nobody"], ["there is no pack 'nobody'"]),
        (["--resume", "latest"], ["give no others with it"]),
    ],
)  # fmt: skip
def test_a_bad_axis_is_one_line_and_saves_nothing(words, parts, own_home):
    refused(rotelab("sweep", "--facts", 6, *words), *parts)
    nothing_saved(own_home)
    assert Lab.open().registry.sweeps() == []


def test_there_is_no_such_sweep(own_home):
    refused(rotelab("sweep", "--resume", "latest"), "There is no sweep yet")
    refused(rotelab("sweep", "--resume", "sweep-1"), "There is no sweep 'sweep-1'")


# Made elsewhere ----------------------------------------------------------------------------------


def test_what_another_machine_made_of_a_sweep_is_not_made_again(lab, base, tmp_path, monkeypatch):
    sweep_id = sweeps.plan(lab, read_axes([("seed", [0, 1])], base), base)
    first, second = lab.registry.sweep_runs(sweep_id)
    there = Lab.open(Storage(tmp_path / "elsewhere"))
    bundle = tmp_path / "run.zip"
    export_run(there.registry, there.storage, alone(there, second.config), bundle)
    made = import_bundle(lab.registry, lab.storage, bundle).run_id

    assert adopt_finished_runs(lab, sweep_id) == [made]
    learned = trainings(monkeypatch)
    assert sweeps.run_sweep(lab, sweep_id, quiet) and len(learned) == 1
    runs = lab.registry.sweep_runs(sweep_id)
    assert [run.id for run in runs] == [first.id, made]
    assert [(run.name, run.status) for run in runs] == [
        ("seed=0", "finished"), ("seed=1", "finished")
    ]  # fmt: skip
    assert len(lab.registry.runs()) == 2, "the one that was queued is gone"
    assert everything(lab, made)["scores"] == everything(lab, alone(lab, second.config))["scores"]


def test_only_a_finished_run_of_no_sweep_with_the_same_settings_is_taken_in(lab, base):
    other, _ = swept(lab, base, seed=[0])
    alone(lab, replace(base, seed=2, facts=5))
    sweep_id = sweeps.plan(lab, {"seed": [0, 2]}, base)
    lab.registry.create_run(replace(base, seed=2), lab.facts_for(base))  # waits in the queue
    assert adopt_finished_runs(lab, sweep_id) == []
    assert [run.status for run in lab.registry.sweep_runs(sweep_id)] == ["queued", "queued"]
    assert len(lab.registry.sweep_runs(other)) == 1


# The command line --------------------------------------------------------------------------------


def words_of(tiny_folder):
    return [
        "--facts", 6, "--phase1-rank", 4, "--phase2-rank", 2, "--prompts-per-fact", 1,
        "--test-prompts", 1, "--model", tiny_folder, "--device", "cpu",
    ]  # fmt: skip


def test_a_sweep_on_the_command_line(tiny_folder, own_home):
    torch.set_num_threads(1)
    axes = ["--phase1-epochs", "1,2", "--k", "2,3", "--name", "Small", "--json"]
    said = rotelab("sweep", *axes, *words_of(tiny_folder))
    assert said.code == 0, said
    result = json.loads(said.out)
    assert result["axes"] == {"memorize.epochs": [1, 2], "generalize.k": [2, 3]}
    ids = [run["run_id"] for run in result["runs"]]
    assert [run["shared_phase1_from"] for run in result["runs"]] == [None, ids[0], None, ids[2]]
    assert [run["seconds"]["phase1"] > 0 for run in result["runs"]] == [True, False, True, False]
    headline = result["tables"][0]
    assert headline["columns"][:3] == ["memorize.epochs", "generalize.k", "n"]
    assert [row[:3] for row in headline["rows"]] == [[1, 2, 1], [1, 3, 1], [2, 2, 1], [2, 3, 1]]
    assert "100 %" in said.err and "Traceback" not in said.err

    listed = rotelab("sweeps")
    assert result["sweep_id"] in listed.out and "4/4 finished" in listed.out
    (row,) = json.loads(rotelab("sweeps", "--json").out)
    assert (row["name"], row["runs"], row["statuses"]) == ("Small", 4, {"finished": 4})
    assert {run["name"] for run in json.loads(rotelab("runs", "--json").out)} == {
        f"Small epochs={e} k={k}" for e in (1, 2) for k in (2, 3)
    }

    text = rotelab("report", "sweep-latest")
    assert text.code == 0 and "test, held out" in text.out and "4 of 4 runs finished" in text.out
    again = rotelab("sweep", "--resume", "latest")
    assert again.out.strip() == text.out.strip() and "Finished before" not in again.err
    assert json.loads(rotelab("report", result["sweep_id"], "--json").out) == {
        "id": result["sweep_id"], "tables": result["tables"],
    }  # fmt: skip
    assert rotelab("report", ids[0], "--markdown").out.startswith(f"**{ids[0]}, finished")


def test_a_sweep_with_a_failure_prints_its_table_and_ends_with_2(tiny_folder, tmp_path, own_home):
    torch.set_num_threads(1)
    axes = ["--axis", f"model.name={tiny_folder},{tmp_path}", "--phase1-epochs", 1, "--k", 2]
    said = rotelab("sweep", *axes, *words_of(tiny_folder)[:-4], "--device", "cpu")
    assert (
        said.code == 2 and "has no config.json" in said.out and "1 of 2 runs finished" in said.out
    )
    last = said.err.splitlines()[-1]
    failed = next(r for r in Lab.open().registry.runs() if r.status == "failed")
    assert last.startswith(f"rotelab: 1 run did not finish: {failed.id}. `python -m rotelab sweep ")
    assert rotelab("sweep", "--resume", "latest").code == 2  # tried again, in vain


def test_ctrl_c_says_how_to_go_on(tiny_folder, own_home, monkeypatch):
    torch.set_num_threads(1)

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "load_model", interrupted)
        said = rotelab("sweep", "--seeds", "0,1", "--phase1-epochs", 1, "--k", 2,
                       *words_of(tiny_folder))  # fmt: skip
    assert (said.code, said.out) == (2, "")
    assert "Interrupted with 2 runs left. `python -m rotelab sweep --resume sweep-" in said.err
    assert rotelab("sweep", "--resume", "latest").code == 0
