"""The registry's sweeps: stored whole, kept out of the queue, deleted with their last run."""

import sqlite3

import pytest
from sqlite_utils import Database
from support.rows import pack_of, prediction

from rotelab.config.run_config import GeneralizeConfig, RunConfig
from rotelab.errors import DeviceTaken, LabError, UnknownRun
from rotelab.evaluation.results import Score, Similarity
from rotelab.registry import FactRecall, Metric, Registry
from rotelab.registry.migrations import migrations
from rotelab.registry.sweeps import PlannedRun

AXES = {"generalize.k": [1, 2], "seed": [0]}
PLAN = [PlannedRun(RunConfig(generalize=GeneralizeConfig(k=k)), pack_of(), f"k={k}") for k in AXES[
    "generalize.k"
]]  # fmt: skip


@pytest.fixture
def sweep(registry):
    return registry.create_sweep(AXES, RunConfig(seed=7), PLAN, "  Mine ")


def test_a_sweep_comes_back_whole(registry, sweep):
    row = registry.sweep(sweep)
    assert (row.id, row.name, row.axes, row.config) == (sweep, "Mine", AXES, RunConfig(seed=7))
    assert (row.runs, row.statuses) == (2, {"queued": 2}) and row.created.endswith("+00:00")
    runs = registry.sweep_runs(sweep)
    assert [run.config.generalize.k for run in runs] == [1, 2]
    assert [(run.sweep_id, run.sweep_position, run.name) for run in runs] == [
        (sweep, 0, "k=1"), (sweep, 1, "k=2"),
    ]  # fmt: skip
    assert all(run.held and run.pack == pack_of() for run in runs)
    assert [run.id for run in registry.runs(search=sweep)] == [runs[1].id, runs[0].id]
    alone = registry.run(registry.create_run(RunConfig(), pack_of()))
    assert (alone.sweep_id, alone.sweep_position, alone.held) == (None, None, False)


def test_a_sweep_is_written_whole_or_not_at_all(registry):
    broken = [*PLAN, PlannedRun(RunConfig(), None)]
    with pytest.raises(AttributeError):
        registry.create_sweep(AXES, RunConfig(), broken)
    assert registry.sweeps() == [] and registry.count_runs() == 0


def test_sweeps_are_listed_and_found(registry, monkeypatch):
    with pytest.raises(UnknownRun, match="no sweep yet"):
        registry.resolve_sweep("latest")
    drawn = iter(["sweep-1", "sweep-1", "sweep-2"])
    monkeypatch.setattr("rotelab.registry.sweeps.new_id", lambda prefix: next(drawn))
    ids = [registry.create_sweep(AXES, RunConfig(), PLAN[:n]) for n in (1, 2)]
    assert ids == ["sweep-1", "sweep-2"]
    assert [row.id for row in registry.sweeps()] == ids[::-1]
    assert [row.runs for row in registry.sweeps(limit=1)] == [2]
    assert registry.resolve_sweep("latest") == registry.resolve_sweep(ids[1]) == ids[1]
    assert registry.resolve_sweep(" sweep-1 ") == ids[0]
    assert registry.resolve_sweep("sweep-2") == ids[1]
    with pytest.raises(UnknownRun, match="More than one sweep begins with 'sweep-'"):
        registry.resolve_sweep("sweep-")
    with pytest.raises(UnknownRun, match="Which sweep"):
        registry.resolve_sweep("")
    for text in ("nobody", "sweep-%"):
        with pytest.raises(UnknownRun, match="There is no sweep"):
            registry.resolve_sweep(text)
    with pytest.raises(UnknownRun):
        registry.sweep("latest")


def test_runs_that_their_sweep_will_start_are_counted_apart(registry, sweep):
    waits = registry.create_run(RunConfig(), pack_of())
    assert registry.count_runs(status="queued", held=False) == 1
    assert registry.runs(order="queue")[0].id == waits, "the queue starts it first"
    assert registry.runs_before(waits) == 0
    assert {registry.runs_before(run.id) for run in registry.sweep_runs(sweep)} == {0}


def test_what_a_sweep_starts_itself_nobody_else_starts(registry, sweep):
    first, second = registry.sweep_runs(sweep)
    assert registry.claim_next() is None
    assert registry.runs(held=False) == [] and registry.count_runs() == 2
    other = registry.create_run(RunConfig(), pack_of())
    assert registry.resolve("latest") == other == registry.claim_next()
    with pytest.raises(DeviceTaken, match=other):
        registry.claim(first.id, 1, 0.0)
    registry.set_status(other, "stopped")
    registry.claim(first.id, 1, 0.0)
    registry.set_status(first.id, "failed", "It fell over.")
    assert registry.sweep(sweep).statuses == {"failed": 1, "queued": 1}
    registry.requeue(first.id)  # by hand, from the page
    assert registry.claim_next() == first.id and registry.run(second.id).held


def test_phase_1_is_copied_in_place_of_what_was_there(registry, sweep):
    source, target = (run.id for run in registry.sweep_runs(sweep))
    rows = [Metric("memorize", step, "loss", 1 / step, 1) for step in (1, 2)]
    registry.add_metrics(source, [*rows, Metric("generalize", 1, "loss", 9.0, 1)])
    registry.add_fact_recall(source, "memorize", 1, [FactRecall(0, 0.5, True)])
    registry.add_metrics(target, [Metric("memorize", 7, "loss", 3.0, 1)])
    registry.take_phase1(target, source, "origin")
    copied = [(m.phase, m.step, m.value) for m in registry.metrics(target)]
    assert copied == [("memorize", 1, 1.0), ("memorize", 2, 0.5)]
    assert registry.fact_recall(target, "memorize") == registry.fact_recall(source, "memorize")
    assert registry.run(target).shared_phase1_from == "origin"
    registry.take_phase1(target, source, "origin")  # again does no harm
    assert len(registry.metrics(target)) == 2
    registry.own_phase1(target)
    assert registry.run(target).shared_phase1_from is None
    with pytest.raises(UnknownRun):
        registry.take_phase1("20200101-000000-none-0000", source, source)


def test_an_evaluation_is_copied_in_its_order(registry, sweep):
    source, target = (run.id for run in registry.sweep_runs(sweep))
    answers = [prediction(2, answer="Bo"), prediction(0), prediction(1, rank=3)]
    for checkpoint in ("base", "memorized"):
        scores = {"key_token": Score(3, 0.5, 0.25)}
        registry.add_evaluation(source, checkpoint, scores, answers)
        registry.add_similarities(source, [Similarity(checkpoint, 0, "delta", 0.1)])
    registry.take_evaluation(target, source, "memorized")
    assert list(registry.scores(target)) == ["memorized"]
    mine = registry.scores(source)["memorized"]
    assert registry.scores(target)["memorized"] == mine
    found = registry.predictions(target)
    assert found == registry.predictions(source, "memorized")
    assert [p.fact_index for p in found] == [2, 0, 1]
    assert [s.checkpoint for s in registry.similarities(target)] == ["memorized"]
    assert len(registry.predictions(source)) == 6
    with pytest.raises(AssertionError):
        registry.take_evaluation(target, source, "generalized")


def test_a_sweep_goes_with_its_last_run(registry, sweep):
    first, second = (run.id for run in registry.sweep_runs(sweep))
    registry.delete_run(first)
    assert [run.id for run in registry.sweep_runs(sweep)] == [second]
    assert registry.sweep(sweep).runs == 1
    registry.delete_run(second)
    assert registry.sweeps() == []
    alone = registry.create_run(RunConfig(), pack_of())
    registry.delete_run(alone)


def test_damaged_axes_and_settings_hide_nothing_else(registry, storage, sweep):
    other = registry.create_sweep(AXES, RunConfig(), PLAN)
    db = sqlite3.connect(storage.database)
    db.execute("UPDATE sweeps SET axes = '[', config = '{' WHERE id = ?", [sweep])
    db.commit()
    db.close()
    assert [row.axes for row in registry.sweeps()] == [AXES, {}]
    with pytest.raises(LabError, match=f"stored with sweep {sweep} can't be read"):
        _ = registry.sweep(sweep).config
    assert registry.sweep(other).config == RunConfig()


def test_runs_of_an_older_file_belong_to_no_sweep(storage):
    storage.home.mkdir()
    db = Database(storage.database)
    migrations.apply(db, stop_before="m006_sweeps")
    db.execute("INSERT INTO contents VALUES ('h', '', '')")
    db.execute(
        "INSERT INTO runs (id, created, pack_name, model, seed, device, content_hash, config) "
        "VALUES ('old', '', 'mother', 'embedded', 0, 'cpu', 'h', '{}')"
    )
    db.conn.commit()
    db.close()
    registry = Registry(storage)
    assert registry.run("old").sweep_id is None and registry.sweeps() == []
    assert registry.create_sweep(AXES, RunConfig(), PLAN)
