"""The registry: what is written is read again, by whoever, whatever stands beside it."""

import itertools
import json
import math
import re
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlite_utils import Database
from support.paths import ROOT
from support.rows import pack_of, prediction

from rotelab.config.names import TRANSITIONS
from rotelab.config.run_config import GeneralizeConfig, ModelSpec, RunConfig
from rotelab.errors import LabError, UnknownRun
from rotelab.evaluation.results import Score, Similarity
from rotelab.registry import FactRecall, Metric, Registry
from rotelab.registry.migrations import migrations
from rotelab.storage import Storage

SLOW = hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def run(registry):
    return registry.create_run(RunConfig(), pack_of())


def meddle(storage, sql, values=()):
    """Changes the file behind the registry's back."""
    db = sqlite3.connect(storage.database)
    db.execute(sql, values)
    db.commit()
    db.close()


def child(code: str, storage, *arguments: str) -> subprocess.Popen:
    head = """
        import sys
        sys.modules["pandas"] = sys.modules["numpy"] = None  # for speed: sqlite-utils wants them
        from pathlib import Path
        from rotelab.registry import Metric, Registry
        from rotelab.storage import Storage
        settings = Storage(Path(sys.argv[1]))
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(code),
         str(storage.home), *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def in_threads(count: int, work) -> list:
    """Runs work(i) in threads that begin together; gives results and errors in order."""
    together, results = threading.Barrier(count), [None] * count

    def one(i):
        together.wait()
        try:
            results[i] = work(i)
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# Storage and imports ----------------------------------------------------------------------------


def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv("ROTELAB_HOME", str(tmp_path))
    assert Storage.from_environment().database == tmp_path / "runs.db"
    monkeypatch.delenv("ROTELAB_HOME")
    assert Storage.from_environment().home == ROOT


@pytest.mark.parametrize("text", ["..", "a/b", "../x", "", "A", "a\n", "x" * 90, "a\\b"])
def test_a_run_folder_is_no_path(text, storage):
    with pytest.raises(LabError):
        storage.run_folder(text)


def test_no_heavy_imports():
    code = (
        "import sys, rotelab.runs.jobs, rotelab.registry, rotelab.storage\n"
        "print([m for m in ('torch', 'gradio', 'transformers', 'peft') if m in sys.modules])"
    )
    root = ROOT
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert out.stdout.strip() == "[]", out.stderr


# Runs --------------------------------------------------------------------------------------------


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


# The queue ---------------------------------------------------------------------------------------


def test_heartbeat(registry, run):
    assert registry.heartbeat(run), "a run that is not live is no longer this process's"
    registry.claim(run, 1, 0.0)
    assert not registry.heartbeat(run, phase="memorize", epoch=2, epochs=20, eta_s=3.5)
    assert not registry.heartbeat(run, step=5, steps=10, share=0.25, message="so far")
    row = registry.run(run)
    assert (row.phase, row.epoch, row.epochs, row.eta_s) == ("memorize", 2, 20, 3.5)
    assert (row.step, row.steps, row.share, row.message) == (5, 10, 0.25, "so far")
    assert row.heartbeat and not registry.stop_requested(run)
    assert registry.request_stop(run) == "stopping"
    assert registry.heartbeat(run) and registry.stop_requested(run)
    assert registry.request_stop(run) == "stopping"
    registry.set_status(run, "stopped")
    assert registry.heartbeat(run) and registry.request_stop(run) == "stopped"
    with pytest.raises(TypeError):
        registry.heartbeat(run, status="finished")


def test_one_run_at_a_time_and_in_turn(registry):
    runs = [registry.create_run(RunConfig(), pack_of()) for _ in range(3)]
    for run in runs:
        claimed = in_threads(8, lambda _: registry.claim_next())
        assert sorted(claimed, key=str) == sorted([run] + [None] * 7, key=str)
        registry.set_status(run, "finished")
    assert registry.claim_next() is None


def test_devices(registry):
    def add(device):
        return registry.create_run(RunConfig(model=ModelSpec(device=device)), pack_of())

    zero, one, auto, one_too = add("cuda"), add("cuda:1"), add("auto"), add("cuda:1")
    assert [registry.claim_next() for _ in range(3)] == [zero, one, None]
    registry.set_status(one, "finished")
    # auto waits for all devices; the later run does not overtake it
    assert registry.claim_next() is None
    registry.set_status(zero, "finished")
    assert registry.claim_next() == auto and registry.claim_next() is None
    registry.update_run(auto, device_used="cuda:0")  # now it is known which one auto took
    assert registry.claim_next() == one_too
    with pytest.raises(LabError, match=auto):
        registry.claim(add("cuda:0"), 1, 0.0)


def test_a_process_is_set_once(registry, run):
    assert not registry.set_process(run, 11, 1.0)
    registry.claim_next()
    assert registry.set_process(run, 11, 1.0) and registry.set_process(run, 11, 1.0)
    assert not registry.set_process(run, 12, 2.0)
    (live,) = registry.live_runs()
    assert (live.id, live.pid, live.pid_started, live.stop_requested) == (run, 11, 1.0, False)
    assert not registry.end_dead(run, 12, "interrupted", "x")
    assert registry.end_dead(run, 11, "interrupted", "x") and registry.live_runs() == []
    assert not registry.end_dead(run, 11, "interrupted", "x")


# Measurements ------------------------------------------------------------------------------------

METRICS = st.lists(
    st.builds(
        Metric,
        st.sampled_from(["memorize", "generalize", "evaluation"]),
        st.integers(0, 5),
        st.sampled_from(["loss", "recall"]),
        st.floats(width=32),
        st.integers(0, 3),
    ),
    max_size=12,
)


@SLOW
@given(batches=st.lists(METRICS, max_size=4))
def test_metrics_are_a_table_that_polls_lose_nothing_of(registry, batches):
    run = registry.create_run(RunConfig(), pack_of())
    expected, polled, seen = {}, {}, 0
    for batch in batches:
        registry.add_metrics(run, batch)
        expected |= by_place(batch)
        new = registry.metrics(run, after=seen)
        polled |= by_place(new)
        seen = max([seen, *(m.seq for m in new)])
    stored = registry.metrics(run)
    assert by_place(stored) == polled == expected
    phases = ["memorize", "generalize", "evaluation"]
    assert [m[:3] for m in stored] == sorted(
        expected, key=lambda place: (phases.index(place[0]), *place[1:])
    )
    losses = {place: value for place, value in expected.items() if place[2] == "loss"}
    assert by_place(registry.metrics(run, ["loss"])) == losses
    assert registry.metrics(run, []) == [] and registry.metrics(run, after=seen) == []


def by_place(rows):
    """Metrics by place. As text, because NaN equals nothing; -0.0 is stored as 0.0."""
    return {m[:3]: (str(m.value + 0.0), m.epoch) for m in rows}


def test_a_poll_reads_only_the_new_rows(registry, storage):
    plan = Database(storage.database).execute(
        "EXPLAIN QUERY PLAN SELECT * FROM metrics WHERE run_id = 'x' AND seq > 5"
    )
    assert "metrics_seq" in plan.fetchall()[0][-1]


def test_measurements_of_no_run(registry):
    with pytest.raises(UnknownRun):
        registry.add_metrics("nobody", [Metric("memorize", 1, "loss", 0.5)])
    with pytest.raises(UnknownRun):
        registry.add_fact_recall("nobody", "memorize", 1, [])
    with pytest.raises(UnknownRun):
        registry.add_evaluation("nobody", "base", {}, [])
    with pytest.raises(UnknownRun):
        registry.add_similarities("nobody", [])


def test_fact_recall(registry, run):
    assert registry.fact_recall(run, "memorize") == []
    registry.add_fact_recall(run, "memorize", 0, [FactRecall(0, 0.0, False)])
    registry.add_fact_recall(run, "memorize", 2, [FactRecall(i, 0.1, False) for i in (2, 1, 0)])
    newer = [FactRecall(1, 0.5, True, said="Ma…"), FactRecall(0, 1, True)]
    registry.add_fact_recall(run, "memorize", 2, newer)
    latest = [FactRecall(0, 1.0, True, 2), FactRecall(1, 0.5, True, 2, "Ma…")]
    assert registry.fact_recall(run, "memorize") == registry.fact_recall(run, "memorize", 2)
    assert registry.fact_recall(run, "memorize") == latest
    assert registry.fact_recall(run, "memorize", "all") == [FactRecall(0, 0.0, False, 0), *latest]
    assert registry.fact_recall(run, "generalize") == []


def test_an_evaluation_is_replaced_whole_or_not_at_all(registry, run):
    first = {"key_token": Score(2, 0.5, 0.25), "unrelated": Score(1, 0.0, math.nan)}
    registry.add_evaluation(run, "memorized", first, [prediction(0), prediction(1, rank=3)])
    registry.add_evaluation(run, "base", {"key_token": Score(1, 0, 0)}, [prediction(5)])
    assert list(registry.scores(run)) == ["base", "memorized"]
    assert math.isnan(registry.scores(run)["memorized"]["unrelated"].object_probability)

    broken = [prediction(7), prediction(8, answer=None)]
    with pytest.raises(sqlite3.IntegrityError):
        registry.add_evaluation(run, "memorized", {"key_token": Score(9, 1, 1)}, broken)
    assert registry.scores(run)["memorized"]["key_token"] == first["key_token"]
    assert [(p.fact_index, p.rank) for p in registry.predictions(run, "memorized")] == [
        (0, None), (1, 3),
    ]  # fmt: skip

    registry.add_evaluation(run, "memorized", {"test": Score(1, 1, 1)}, [prediction(9)])
    assert registry.scores(run)["memorized"] == {"test": Score(1, 1.0, 1.0)}
    assert [p.fact_index for p in registry.predictions(run)] == [5, 9]


def test_what_was_not_asked_for_is_none_and_what_was_comes_back(registry, run):
    plain, full = Score(2, 0.5, 0.25), Score(2, 0.5, 0.25, 1.0, 0.75, 0.0)
    rows = [
        prediction(0),
        prediction(1, chosen=True, rank=0, normalized=0.5, contains=False, generated="I said so"),
        prediction(2, chosen=False, contains=True),
    ]
    registry.add_evaluation(run, "base", {"key_token": plain, "unrelated": full}, rows)
    assert registry.scores(run)["base"] == {"key_token": plain, "unrelated": full}
    found = registry.predictions(run)
    assert [(p.chosen, p.rank, p.normalized, p.contains, p.generated) for p in found] == [
        (None, None, None, None, None), (True, 0, 0.5, False, "I said so"),
        (False, None, None, True, None),
    ]  # fmt: skip
    assert found[1].chosen is True and found[2].contains is True
    assert [p.fact_index for p in registry.predictions(run, search="SAID so")] == [1]


def test_scores_of_an_older_file_stay(storage):
    storage.home.mkdir()
    db = Database(storage.database)
    migrations.apply(db, stop_before="m005_choice")
    db.execute("INSERT INTO contents VALUES ('sha256:x', 'a', 'b')")
    db.execute(
        "INSERT INTO runs (id, created, pack_name, model, seed, device, content_hash, config) "
        "VALUES ('old', '', 'mother', 'embedded', 0, 'cpu', 'sha256:x', '{}')"
    )
    db.execute("INSERT INTO scores VALUES ('old', 'base', 'key_token', 3, 0.5, 0.25)")
    db.conn.commit()
    db.close()
    assert Registry(storage).scores("old") == {"base": {"key_token": Score(3, 0.5, 0.25)}}


def test_predictions_are_filtered(registry, run):
    rows = [
        prediction(i, correct=i % 2 == 0, answer=f"100% {i}", probe="ab"[i % 2]) for i in range(6)
    ]
    registry.add_evaluation(run, "generalized", {}, rows)

    def found(**how):
        return [p.fact_index for p in registry.predictions(run, **how)]

    assert found(probe="a") == [0, 2, 4] and found(only_wrong=True) == [1, 3, 5]
    assert (
        found(search="0% 3") == [3] and found(search="person 2") == [2] and found(search="_") == []
    )
    assert found(limit=2, offset=3) == [3, 4] and found(limit=-1) == list(range(6))
    assert found(checkpoint="base") == [] and registry.count_predictions(run, probe="b") == 3
    assert registry.predictions(run)[0] == prediction(
        0, answer="100% 0", probe="a", checkpoint="generalized"
    )


def test_similarities(registry, run):
    registry.add_similarities(run, [Similarity("generalized", 1, "test", 0.5)])
    registry.add_similarities(run, [Similarity("base", 2, "test", 0.1)])
    registry.add_similarities(run, [Similarity("generalized", 1, "test", 0.75)])
    assert registry.similarities(run) == [
        ("base", 2, "test", 0.1),
        ("generalized", 1, "test", 0.75),
    ]


def test_the_list_shows_the_test_accuracy(registry, run):
    assert registry.runs()[0].test_accuracy is None
    scores = {"test_prompts_heldout": Score(10, 0.7, 0.6)}
    registry.add_evaluation(run, "generalized", scores, [])
    assert registry.runs()[0].test_accuracy == registry.run(run).test_accuracy == 0.7


# Fact sets ---------------------------------------------------------------------------------------


def test_versions_are_never_overwritten(registry):
    first, second = pack_of("Ada", name="mine"), pack_of("Bo", name="mine")
    assert registry.save_fact_set(" mine ", first, base_version=0) == 1
    assert registry.save_fact_set("mine", first) == 1, "the same content is no new version"
    assert registry.save_fact_set("mine", second, base_version=1, note="corrected") == 2
    with pytest.raises(LabError, match="Someone saved version 2"):
        registry.save_fact_set("mine", pack_of("Cy"), base_version=1)
    with pytest.raises(LabError, match="no version 5"):
        registry.save_fact_set("mine", pack_of("Cy"), base_version=5)
    assert registry.save_fact_set("mine", first, base_version=2) == 3
    assert [registry.fact_set("mine", v) for v in (1, 2, 3, None)] == [first, second, first, first]
    registry.save_fact_set("another", first)
    assert [(s.name, s.version, s.facts) for s in registry.fact_sets()] == [
        ("another", 1, 1), ("mine", 3, 1),
    ]  # fmt: skip
    assert [(s.version, s.note) for s in registry.fact_sets("mine")] == [
        (3, ""), (2, "corrected"), (1, ""),
    ]  # fmt: skip
    for name, version in (("mine", 4), ("nobody's", None)):
        with pytest.raises(LabError, match="There is no fact set"):
            registry.fact_set(name, version)


def test_two_browsers_save_at_once(registry):
    registry.save_fact_set("mine", pack_of("start"))
    saved = in_threads(
        8, lambda i: registry.save_fact_set("mine", pack_of(f"Edit {i}"), base_version=1)
    )
    assert saved.count(2) == 1 and sum(isinstance(s, LabError) for s in saved) == 7
    assert registry.fact_set("mine") == pack_of(f"Edit {saved.index(2)}", name="mine")


@pytest.mark.parametrize(
    "name", ["", "  ", "a/b", "..\\x", "x" * 61, "tab\there", "zero\u200bwidth", "\ud800"]
)
def test_names_that_are_refused(registry, name):
    with pytest.raises(LabError):
        registry.save_fact_set(name, pack_of())
    assert registry.fact_sets() == []


@pytest.mark.parametrize("name", ["x" * 60, "'; DROP TABLE runs; --", "Mütter, 1. Fassung", "<b>"])
def test_names_are_data(registry, name):
    registry.save_fact_set(name, pack_of())
    assert registry.fact_set(name).name == name == registry.fact_sets()[0].name


# The file ----------------------------------------------------------------------------------------


def test_what_is_not_a_database_is_left_alone(storage):
    storage.home.mkdir()
    storage.database.write_bytes(b"my diary, not a database " * 100)
    with pytest.raises(LabError, match="not a rotelab database. Move it away"):
        Registry(storage)
    assert storage.database.read_bytes().startswith(b"my diary")


def test_a_home_that_is_a_file(storage):
    storage.home.write_text("")
    with pytest.raises(LabError, match="can't be opened.*ROTELAB_HOME"):
        Registry(storage)


def test_a_home_that_can_not_be_written(storage, registry, run, monkeypatch):
    # Not by permissions: the tests may be run by root, whom they don't stop.
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda name, **how: connect(name.replace("mode=rw", "mode=ro"), **how)
    )
    assert registry.run(run).id == run
    with pytest.raises(LabError, match="read-only"):
        registry.update_run(run, name="x")


def test_a_damaged_file(storage, registry):
    for i in range(40):
        registry.create_run(RunConfig(), pack_of(f"Person {i}"))
    registry.close()
    size = storage.database.stat().st_size
    with storage.database.open("r+b") as file:
        for page in range(4096, size, 4096):
            file.seek(page)
            file.write(b"\xff" * 2048)
    with pytest.raises(LabError, match="damaged. Replace it by a backup"):
        Registry(storage).runs()


def test_a_full_disk(storage, registry, monkeypatch):
    real = Registry._connect

    def small(self, create=False):
        connection = real(self, create)
        connection.execute("PRAGMA max_page_count = 1")  # SQLite takes what is there already
        return connection

    monkeypatch.setattr(Registry, "_connect", small)
    with pytest.raises(LabError, match="is full. Free some space"):
        for i in range(200):
            registry.create_run(RunConfig(), pack_of(f"Person {i}"))
    monkeypatch.undo()
    assert registry.create_run(RunConfig(), pack_of())


def test_a_locked_file(storage, registry, run):
    holder = sqlite3.connect(storage.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    hasty = Registry(storage, busy_s=0.1)
    assert hasty.run(run).id == run, "who only reads does not wait"
    with pytest.raises(LabError, match="locked by another program"):
        hasty.update_run(run, name="x")
    patient = threading.Thread(target=registry.update_run, args=(run,), kwargs={"name": "x"})
    patient.start()
    holder.execute("COMMIT")
    patient.join()
    assert registry.run(run).name == "x"
    holder.close()


def test_a_file_that_has_gone_is_not_made_anew(storage, registry, run):
    for path in storage.home.iterdir():
        path.unlink()
    with pytest.raises(LabError, match="can't be opened"):
        registry.runs()
    assert not storage.database.exists()


def test_a_file_without_its_tables(storage, registry):
    meddle(storage, "DROP TABLE scores")
    with pytest.raises(LabError, match="no such table: scores"):
        registry.runs()


def test_a_file_of_a_newer_rotelab(storage, registry):
    db = Database(storage.database)
    columns = {"migration_set": "rotelab", "name": "m999_the_future", "applied_at": ""}
    db.table("_sqlite_migrations").insert(columns)
    db.close()
    with pytest.raises(LabError, match="newer rotelab"):
        Registry(storage)


def test_an_older_file_is_brought_up_to_date(storage):
    storage.home.mkdir()
    db = Database(storage.database)
    migrations.apply(db, stop_before="m003_fact_sets")
    db.close()
    assert Registry(storage).save_fact_set("mine", pack_of()) == 1
    assert Registry(storage).fact_set("mine").facts == pack_of().facts


def test_the_file_is_as_it_should_be(storage, registry, run):
    with registry.read() as db:
        ask = {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in (
            "journal_mode", "foreign_keys", "synchronous", "busy_timeout",
        )}  # fmt: skip
    assert ask == {
        "journal_mode": "wal", "foreign_keys": 1, "synchronous": 1, "busy_timeout": 30000,
    }  # fmt: skip
    with pytest.raises(RuntimeError), registry.write() as db:
        db.execute("DELETE FROM runs")
        raise RuntimeError
    assert registry.count_runs() == 1


def test_all_open_a_new_file_at_once(storage):
    code = "print('ready', flush=True); input(); print(Registry(settings).count_runs())"
    children = [child(code, storage) for _ in range(3)]
    for process in children:
        assert process.stdout.readline() == "ready\n"
    for process in children:
        process.stdin.write("\n")
        process.stdin.flush()
    opened = in_threads(6, lambda _: Registry(storage).count_runs())
    assert opened == [0] * 6
    assert [process.communicate(timeout=20)[0].strip() for process in children] == ["0"] * 3


def test_the_switch_to_wal_waits_its_turn(storage):
    storage.home.mkdir()
    holder = sqlite3.connect(storage.database, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")  # SQLite gives up at once, whatever the timeout
    with pytest.raises(LabError, match="locked"):
        Registry(storage, busy_s=0.1)
    threading.Timer(0.3, holder.execute, ["COMMIT"]).start()
    assert Registry(storage).count_runs() == 0
    holder.close()


def test_many_write_and_nothing_is_lost(storage, registry, run):
    registry.claim(run, 1, 0.0)
    code = """
        registry, run, me = Registry(settings), sys.argv[2], sys.argv[3]
        print("ready", flush=True)
        input()
        for step in range(40):
            registry.add_metrics(run, [Metric("memorize", step, f"{me}-{i}", i) for i in range(3)])
            registry.heartbeat(run, step=step)
    """
    children = [child(code, storage, run, f"process {i}") for i in range(3)]
    for process in children:
        assert process.stdout.readline() == "ready\n"
    for process in children:
        process.stdin.write("\n")
        process.stdin.flush()

    def work(i):
        seen, count = 0, 0
        for step in range(40):
            registry.add_metrics(run, [Metric("generalize", step, f"thread {i}", 1.0)])
            registry.runs()
            new = registry.metrics(run, after=seen)
            seen, count = max(m.seq for m in new), count + len(new)
        return count

    counts = in_threads(8, work)
    assert [process.communicate(timeout=30)[0] for process in children] == [""] * 3
    assert all(isinstance(count, int) and count >= 40 for count in counts), counts
    rows = registry.metrics(run)
    assert len(rows) == 8 * 40 + 3 * 40 * 3
    assert len({m.seq for m in rows}) == len(rows)
    with registry.read() as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_thousand_runs_are_listed_quickly(registry, storage):
    first = registry.create_run(RunConfig(), pack_of())
    row = next(iter(Database(storage.database).query("SELECT * FROM runs")))
    with registry.write() as db:
        copies = ({**row, "number": None, "id": f"{first}-{i}"} for i in range(1000))
        db.table("runs").insert_all(copies)
    began = time.perf_counter()
    assert len(registry.runs(limit=-1)) == 1001
    assert time.perf_counter() - began < 1.0
    assert json.loads(row["config"]) == RunConfig().to_dict()


def test_the_queue_is_reordered(registry):
    ids = [registry.create_run(RunConfig(), pack_of("Ada")) for _ in range(4)]

    def order():
        waiting = registry.runs(limit=-1, status="queued")
        return [ids.index(r.id) for r in sorted(waiting, key=lambda r: r.queue_position)]

    assert registry.move_in_queue(ids[3], -1) == 2 and order() == [0, 1, 3, 2]
    assert registry.move_in_queue(ids[3], -99) == 0 and order() == [3, 0, 1, 2]
    assert registry.move_in_queue(ids[0], 1) == 2 and order() == [3, 1, 0, 2]
    assert registry.move_in_queue(ids[3], 99) == 3 and order() == [1, 0, 2, 3]
    assert registry.claim_next() == ids[1]
    with pytest.raises(LabError, match="does not wait"):
        registry.move_in_queue(ids[1], -1)
    # Who comes later is last, wherever the others were put.
    ids.append(registry.create_run(RunConfig(), pack_of("Ada")))
    assert order() == [0, 2, 3, 4]
    with pytest.raises(UnknownRun):
        registry.move_in_queue("20260101-000000-gone-0000", 1)
