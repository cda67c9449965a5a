"""The registry's runs: stored, found, listed, changed, deleted."""

import itertools
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database
from support.counting import calls_of, statements_of
from support.registry_tools import SLOW, meddle
from support.rows import pack_of, prediction

from rotelab.config.names import TRANSITIONS
from rotelab.config.run_config import GeneralizeConfig, ModelSpec, RunConfig
from rotelab.errors import LabError, UnknownRun
from rotelab.evaluation.results import Score
from rotelab.registry import Metric


def test_a_run_comes_back_whole(registry):
    config = RunConfig(seed=7, generalize=GeneralizeConfig(k=1), model=ModelSpec(device="cuda:1"))
    pack = pack_of("Ødegård, Åse", "李娜", name="../My Facts!")
    parent = registry.create_run(RunConfig(), pack_of())
    run_id = registry.create_run(config, pack, parent_id=parent, name="  first try ")
    row = registry.run(run_id)
    assert re.fullmatch(r"\d{8}-\d{6}-my-facts-[0-9a-f]{4}", run_id)
    assert (row.config, row.pack, row.content_hash) == (config, pack, pack.content_hash)
    assert (row.name, row.status, row.parent_id, row.seed) == ("first try", "queued", parent, 7)
    assert (row.device, row.device_used, row.model) == ("cuda:1", "", "embedded")
    assert row.versions["torch"] and row.versions["python"] and row.versions["rotelab"]
    assert row.created.endswith("+00:00") and row.started is None and not row.live


def test_ids_sort_and_never_clash(registry, monkeypatch):
    draws = iter(["2026-a", "2026-a", "2026-b", "2026-b", "2026-c"])
    monkeypatch.setattr("rotelab.registry.queue.new_id", lambda name: next(draws))
    ids = [registry.create_run(RunConfig(), pack_of()) for _ in range(3)]
    assert ids == ["2026-a", "2026-b", "2026-c"]
    assert ids == sorted(ids) and registry.resolve("latest") == ids[-1]
    assert [run.id for run in registry.runs()] == ids[::-1]


def test_a_missing_parent_leaves_nothing(registry):
    with pytest.raises(UnknownRun):
        registry.create_run(RunConfig(), pack_of(), parent_id="20200101-000000-x-0000")
    assert registry.count_runs() == 0


def test_resolve(registry, storage):
    with pytest.raises(UnknownRun, match="no run yet"):
        registry.resolve("latest")
    a, b = (registry.create_run(RunConfig(), pack_of()) for _ in range(2))
    meddle(storage, "UPDATE runs SET id = '20260101-000000-a' WHERE id = ?", [a])
    meddle(storage, "UPDATE runs SET id = '20260101-000000-ab' WHERE id = ?", [b])
    assert registry.resolve("20260101-000000-a") == "20260101-000000-a"  # whole beats longer
    assert registry.resolve(" 20260101-000000-AB ".lower()) == "20260101-000000-ab"
    with pytest.raises(UnknownRun, match="More than one.*20260101-000000-a, 20260101-000000-ab"):
        registry.resolve("2026")
    with pytest.raises(UnknownRun, match="Which run"):
        registry.resolve("  ")
    with pytest.raises(UnknownRun):
        registry.run("2026")  # only resolve() takes a beginning


@SLOW
@given(text=st.text())
def test_resolve_takes_any_text(registry, text):
    with pytest.raises(UnknownRun):
        registry.resolve(text)
    assert registry.runs(search=text) == []


def test_status_moves_only_as_it_may(registry, storage, run):
    for before, after in itertools.product(TRANSITIONS, TRANSITIONS):
        with registry.write() as db:
            db.execute("UPDATE runs SET status = ?", [before])
        if after == before or after in TRANSITIONS[before]:
            registry.set_status(run, after)
            assert registry.run(run).status == after
        else:
            with pytest.raises(LabError, match=f"is {before}; it can't become {after}"):
                registry.set_status(run, after)
            assert registry.run(run).status == before


def test_status_keeps_the_times(registry, run):
    registry.set_status(run, "running")
    started = registry.run(run).started
    registry.set_status(run, "failed", error="Out of memory.")
    row = registry.run(run)
    assert row.started == started and row.finished >= started and row.error == "Out of memory."
    registry.requeue(run)
    row = registry.run(run)
    assert (row.status, row.error, row.finished, row.started) == ("queued", "", None, started)
    with pytest.raises(LabError, match="queued"):
        registry.requeue(run)


def test_update_run(registry, run):
    changes = {
        "name": "n", "note": "half a character: \ud800", "tags": ["a", "b"], "archived": True,
        "device_used": "cpu", "seconds": {"phase1": 1.5}, "warnings": ["w"], "error": "e",
    }  # fmt: skip
    registry.update_run(run, **changes)
    registry.add_warning(run, "v")
    registry.add_warning(run, "v")
    registry.add_seconds(run, "phase1", 2)
    registry.add_seconds(run, "phase2", 1)
    row = registry.run(run)
    assert (row.name, row.note, row.tags) == ("n", "half a character: ?", ("a", "b"))
    assert row.archived and row.device_used == "cpu" and row.error == "e"
    assert row.seconds == {"phase1": 3.5, "phase2": 1.0} and row.warnings == ("w", "v")
    with pytest.raises(TypeError):
        registry.update_run(run, status="finished")
    with pytest.raises(UnknownRun):
        registry.update_run("20200101-000000-x-0000", name="n")


def test_lists_are_searched_and_cut(registry):
    names = ["50% done", "50 done", "snake_case", "snakeXcase"]
    ids = [registry.create_run(RunConfig(), pack_of(), name=name) for name in names]
    registry.set_status(ids[1], "stopped")
    registry.update_run(ids[3], archived=True, tags=["keeper"])

    def found(**how):
        return [run.name for run in registry.runs(**how)]

    assert found() == ["snake_case", "50 done", "50% done"]
    assert found(search="50%") == ["50% done"] and found(search="E_C") == ["snake_case"]
    assert found(status="stopped") == ["50 done"]
    assert found(status=("stopped", "queued"), archived=None) == names[::-1]
    assert found(archived=True) == found(archived=True, search="keeper") == ["snakeXcase"]
    assert found(limit=1, offset=1) == ["50 done"] and found(search=ids[0]) == ["50% done"]
    assert registry.count_runs(search=" done") == 2 and registry.count_runs(archived=None) == 4


@pytest.mark.parametrize(
    "damage",
    [
        "config = '{\"seed\": '",
        "config = 'null'",
        "tags = 'x', seconds = '[', warnings = '7', versions = ''",
        "name = CAST(x'ff41' AS TEXT)",
    ],
)
def test_a_damaged_run_hides_no_other(registry, storage, run, damage):
    other = registry.create_run(RunConfig(), pack_of())
    meddle(storage, f"UPDATE runs SET {damage} WHERE id = ?", [run])
    assert [r.id for r in registry.runs()] == [other, run]
    assert registry.runs()[0].error == ""
    row = registry.run(run)
    if damage.startswith("config"):
        with pytest.raises(LabError, match=f"settings stored with run {run}"):
            _ = row.config
    if "seed" in damage:
        assert "damaged" in registry.runs()[1].error and "damaged" in row.error
    registry.set_status(run, "stopped")
    registry.delete_run(run)


def test_damaged_facts_are_a_sentence(registry, storage, run):
    meddle(storage, "UPDATE contents SET facts_csv = 'x'")
    with pytest.raises(LabError, match="can't be read"):
        _ = registry.run(run).pack


def test_delete(registry, storage, run):
    twin = registry.create_run(RunConfig(), pack_of(), parent_id=run)  # the same frozen facts
    registry.add_metrics(run, [Metric("memorize", 1, "loss", 0.5)])
    registry.add_evaluation(run, "base", {"key_token": Score(1, 1, 1)}, [prediction()])
    registry.claim(run, 1, 0.0)
    with pytest.raises(LabError, match="still running"):
        registry.delete_run(run)
    registry.set_status(run, "finished")
    registry.delete_run(run)
    assert registry.metrics(run) == [] and registry.scores(run) == {}
    assert registry.count_predictions(run) == 0
    assert registry.run(twin).pack == pack_of() and registry.run(twin).parent_id is None
    registry.delete_run(twin)
    assert Database(storage.database).table("contents").count == 0
    with pytest.raises(UnknownRun):
        registry.delete_run(run)


def test_runs_made_from_a_run_are_found(registry, run):
    made = [registry.create_run(RunConfig(), pack_of(), parent_id=run) for _ in range(2)]
    later = registry.create_run(RunConfig(), pack_of(), parent_id=made[0])
    assert registry.runs_after(run) == made
    assert registry.runs_after(made[0]) == [later] and registry.runs_after(later) == []


def test_a_run_with_the_same_settings_is_found(registry, storage):
    config = RunConfig(seed=3, generalize=GeneralizeConfig(k=5))
    made = registry.create_run(config, pack_of())
    facts = registry.run(made).content_hash
    assert registry.same_run(config, facts) is None, "it has not finished"
    for status in ("running", "finished"):
        registry.set_status(made, status)
    assert registry.same_run(replace(config, pack="another"), facts) == made
    for other in (replace(config, seed=4), replace(config, generalize=GeneralizeConfig(k=6))):
        assert registry.same_run(other, facts) is None
    assert registry.same_run(config, "sha256:others") is None
    # As an older version stored it, which did not have all of today's options.
    stored = json.loads(registry.run(made).config_json)
    del stored["generalize"]["batch_size"]
    meddle(storage, "UPDATE runs SET config = ? WHERE id = ?", [json.dumps(stored), made])
    assert registry.same_run(config, facts) == made
    meddle(storage, "UPDATE runs SET config = '{' WHERE id = ?", [made])
    assert registry.same_run(config, facts) is None


@pytest.mark.parametrize(
    ("asked", "reads_all"),
    [
        ("FROM runs WHERE status = 'finished' ORDER BY number DESC LIMIT 30", False),
        ("FROM runs WHERE archived = 0", False),
        ("FROM runs WHERE archived = 0 ORDER BY number DESC LIMIT 25", False),
        ("FROM runs WHERE parent_id = 'x' ORDER BY number", False),
        ("FROM runs WHERE sweep_id IN ('x') GROUP BY sweep_id, status", False),
        ("FROM runs WHERE note = 'x'", True),
    ],
)
def test_no_list_reads_or_sorts_all_runs(registry, asked, reads_all):
    with registry.read() as db:
        plan = db.execute(f"EXPLAIN QUERY PLAN SELECT count(*) {asked}").fetchall()
        if "ORDER" in asked:
            plan = db.execute(f"EXPLAIN QUERY PLAN SELECT id, note {asked}").fetchall()
    steps = [step[-1] for step in plan]
    assert any("SCAN" in step or "TEMP B-TREE" in step for step in steps) == reads_all, steps


def test_a_thousand_runs_are_listed_with_one_question(registry, storage):
    first = registry.create_run(RunConfig(), pack_of())
    row = next(iter(Database(storage.database).query("SELECT * FROM runs")))
    with registry.write() as db:
        copies = ({**row, "number": None, "id": f"{first}-{i}"} for i in range(1000))
        db.table("runs").insert_all(copies)
    with statements_of(registry) as asked:
        assert len(registry.runs(limit=-1)) == 1001
    assert len(asked) == 1
    few, all_of_them = (calls_of(lambda n=n: registry.runs(limit=n)) for n in (250, 1000))
    assert all_of_them < 4.5 * few
    assert json.loads(row["config"]) == RunConfig().to_dict()
