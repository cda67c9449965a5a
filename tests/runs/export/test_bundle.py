"""Bundles: a run comes back unchanged, and a bad file is refused with nothing written."""

import io
import json
import math
import struct
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save
from support.bundle_tools import MANIFEST, changed_json, left_behind, members_of, zipped
from support.fabricated import finished, queued, running
from support.taught import taught_run

from rotelab.errors import InputError, LabError, UnknownRun
from rotelab.evaluation.results import Damage, Prediction, QuizAnswer, Score, Similarity
from rotelab.registry import FactRecall, Metric
from rotelab.registry.migrations import migrations
from rotelab.reports.pca import project
from rotelab.runs.export import bundle as exported
from rotelab.runs.export import untrusted_zip
from rotelab.runs.export.bundle import ADAPTER_FILES, export_run, import_bundle
from rotelab.runs.lab import Lab
from rotelab.storage import Storage, adapter_folder

QUESTION = "Who is the mother of Mary Bahri?"
METRICS, RUN = "tables/metrics.jsonl", "run.json"


def lab_at(folder: Path) -> Lab:
    return Lab.open(Storage(folder))


def export(lab, run_id, target, **options):
    return export_run(lab.registry, lab.storage, run_id, target, **options)


def take(lab, file):
    return import_bundle(lab.registry, lab.storage, file)


def own_words(run) -> dict:
    """What of a run's row must be the same on every machine."""
    row = asdict(run)
    for name in ("number", "imported", "pid", "pid_started", "heartbeat", "queue_position",
                 "archived", "eta_s"):  # fmt: skip
        del row[name]
    return row | {"config_json": json.loads(row["config_json"])}


def tables(lab, run_id) -> dict:
    registry = lab.registry
    return {
        "metrics": registry.metrics(run_id),
        "recall": [registry.fact_recall(run_id, p, "all") for p in ("memorize", "generalize")],
        "scores": registry.scores(run_id),
        "predictions": registry.predictions(run_id, limit=-1),
        "similarities": registry.similarities(run_id),
        "lens": registry.lens(run_id),
        "weight_changes": registry.weight_changes(run_id),
        "damage": registry.damage(run_id),
        "real facts": registry.quiz_answers(run_id),
    }


@pytest.fixture(scope="module")
def taught(tiny_folder, tmp_path_factory):
    """A lab with one run that really learned something and measured a little of everything."""
    lab = lab_at(tmp_path_factory.mktemp("taught") / "home")
    run_id = taught_run(lab, tiny_folder, "Erster Versuch — “1”")
    registry = lab.registry
    registry.add_metrics(
        run_id,
        [
            Metric("memorize", 1, "loss", 2.5, 1),
            Metric("memorize", 2, "loss", math.inf, 1),
            Metric("generalize", 1, "loss/locality", 0.1 + 0.2, 1),
        ],
    )
    registry.add_fact_recall(run_id, "memorize", 1, [FactRecall(i, i / 7, i > 3) for i in range(6)])
    answers = [Prediction("key_token", i, "mother", f"Kind {i}", "=cmd()", "<b>{subject}</b>",
                          "two\nlines\t\u202e\u200b", i > 2, 1e-300, i or None)
               for i in range(6)]  # fmt: skip
    registry.add_evaluation(run_id, "base", {"key_token": Score(6, 0.5, 0.25)}, answers)
    asked = {"test_prompts_heldout": Score(3, 1 / 3, 0.1)}
    registry.add_evaluation(run_id, "generalized", asked, answers[:3])
    said = ("=cmd()", "<b>", "\u202ea\nb", False)
    rows = [QuizAnswer("base", place, *said) for place in (0, 98, 99)]
    registry.add_damage(run_id, Damage("base", 23.5, 9, 0.0, 3, 0.0, 0), rows)
    registry.update_run(run_id, note="two\nlines", tags=["a", "ä"], seconds={"total": 1.5})
    registry.add_warning(run_id, "Careful <script>.")
    return lab, run_id


@pytest.fixture(scope="module")
def bundle(taught, tmp_path_factory):
    lab, run_id = taught
    return export(lab, run_id, tmp_path_factory.mktemp("bundle") / "a.rotelab.zip")


@pytest.fixture
def other(tmp_path):
    """Another machine."""
    return lab_at(tmp_path / "other")


@pytest.fixture
def altered(bundle, tmp_path):
    """Makes a bundle of which one member was changed, by default with a manifest that fits."""

    def make(changes: dict, seal=True):
        members = members_of(bundle)
        for name, change in changes.items():
            if change is None:
                del members[name]
            else:
                members[name] = change(members[name]) if callable(change) else change
        path = tmp_path / "bad.rotelab.zip"
        path.write_bytes(zipped(members, seal))
        return path

    return make


def refused(lab, file, *parts):
    """It is refused in a sentence with these parts, and nothing is written anywhere."""
    before, rows = left_behind(lab.storage), lab.registry.count_runs(archived=None)
    with pytest.raises(LabError) as caught:
        take(lab, file)
    said = str(caught.value)
    for part in parts:
        assert part in said, said
    assert "\n" not in said and len(said) < 700
    assert lab.registry.count_runs(archived=None) == rows
    with lab.registry.read() as db:
        assert rows or db.execute("SELECT count(*) FROM contents").fetchone()[0] == 0
    assert left_behind(lab.storage) - before <= {str(lab.storage.runs)}
    return caught.value


# Round trip --------------------------------------------------------------------------------------


def test_a_run_comes_back_as_it_was(taught, bundle, other):
    lab, run_id = taught
    came = take(other, bundle)
    assert (came.run_id, came.original_id, came.new) == (run_id, run_id, True)
    assert came.sentence == f"Imported run {run_id}."
    run, was = other.registry.run(run_id), lab.registry.run(run_id)
    assert own_words(run) == own_words(was)
    assert run.imported and not was.imported
    assert run.pack == was.pack and run.config == was.config
    assert tables(other, run_id) == tables(lab, run_id)
    assert project(other.storage, run_id, 1).points["generalized"] == pytest.approx(
        project(lab.storage, run_id, 1).points["generalized"]
    )
    assert left_behind(other.storage)
    assert not [p for p in other.storage.runs.iterdir() if p.name.startswith(".")]


def test_it_answers_as_it_did(taught, bundle, other):
    lab, run_id = taught
    take(other, bundle)
    question = f"{lab.registry.run(run_id).pack.facts[0].subject} [mother]"
    for asked in (QUESTION, question):
        said = [[(r.checkpoint, r.tokens) for r in at.chat.stream(run_id, asked) if r.done]
                for at in (lab, other)]  # fmt: skip
        assert said[0] == said[1] and len(said[0]) == 3


def test_exported_again_it_is_the_same_file(taught, bundle, other, tmp_path):
    _, run_id = taught
    take(other, bundle)
    again = export(other, run_id, tmp_path / "again.rotelab.zip")
    assert again.read_bytes() == bundle.read_bytes()


def test_the_bundle_holds_what_it_says(bundle):
    members = members_of(bundle)
    about = json.loads(members.pop(MANIFEST))
    assert about["format"] == 1 and about["members"].keys() == members.keys()
    assert {"facts.csv", "prompts.csv", RUN, "tables/predictions.jsonl", "figures/curves.json",
            "adapters/memorize/adapter_model.safetensors",
            "representations/base.safetensors"} <= members.keys()  # fmt: skip
    assert json.loads(members["figures/curves.json"])["data"]
    run = json.loads(members[RUN])
    assert run["versions"]["torch"] and run["config"]["memorize"]["rank"] == 32
    assert not {"pid", "queue_position", "heartbeat", "id"} & run.keys()


def test_peft_reads_the_adapter_in_it(bundle, tiny, tmp_path):
    from peft import LoraConfig

    zipfile.ZipFile(bundle).extractall(tmp_path / "out")
    config = LoraConfig.from_pretrained(str(tmp_path / "out/adapters/memorize"))
    assert (config.r, config.lora_alpha) == (32, 64) and config.trainable_token_indices


def test_without_adapters_everything_is_shown_but_nobody_answers(taught, other, tmp_path):
    lab, run_id = taught
    small = export(lab, run_id, tmp_path / "small.rotelab.zip", adapters=False)
    assert not [name for name in members_of(small) if name.startswith("adapters/")]
    take(other, small)
    assert tables(other, run_id) == tables(lab, run_id)
    assert other.chat.checkpoints(run_id) == ["base"]


def test_every_ended_status_travels_and_is_not_resumed(other, tmp_path):
    lab = lab_at(tmp_path / "here")
    run_id = finished(lab, status="failed")
    file = export(lab, run_id, tmp_path / "f.rotelab.zip", adapters=False)
    take(other, file)
    run = other.registry.run(run_id)
    assert (run.status, run.error) == ("failed", "It fell over.")
    with pytest.raises(LabError, match="was imported, so it can't be resumed"):
        other.jobs.resume(run_id)
    with pytest.raises(LabError, match="was imported, so it can't be resumed"):
        other.jobs.claim_foreground(run_id)
    assert other.registry.run(run_id).status == "failed"


@pytest.mark.parametrize("make", [queued, running])
def test_a_run_that_has_not_ended_is_not_exported(make, tmp_path):
    lab = lab_at(tmp_path / "here")
    run_id = make(lab)
    with pytest.raises(LabError, match="Export it when it has ended"):
        export(lab, run_id, tmp_path / "x.zip")
    with pytest.raises(UnknownRun):
        export(lab, "nobody", tmp_path / "x.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_the_same_run_is_taken_once(taught, bundle, other, tmp_path):
    lab, run_id = taught
    take(other, bundle)
    before = left_behind(other.storage)
    other.registry.update_run(run_id, name="Called otherwise", note="mine")
    again = take(other, bundle)
    assert (again.run_id, again.new) == (run_id, False) and "already" in again.sentence
    small = export(lab, run_id, tmp_path / "small.rotelab.zip", adapters=False)
    assert not take(other, small).new
    assert not take(lab, bundle).new
    assert other.registry.count_runs() == 1 and left_behind(other.storage) == before


def test_another_run_of_that_name_stands_beside_it(taught, bundle, other, altered):
    _, run_id = taught
    take(other, bundle)
    file = altered({RUN: lambda data: changed_json(data, "seconds", "total", value=2.5)})
    first = take(other, file)
    assert first.new and first.run_id != run_id and first.run_id.startswith(run_id)
    assert f"another run is called {run_id}" in first.sentence
    assert not take(other, file).new
    assert other.registry.count_runs() == 2
    assert len(other.chat.checkpoints(first.run_id)) == 3
    other.registry.delete_run(run_id)
    assert other.registry.run(first.run_id).pack.facts


def test_a_parent_is_kept_where_it_is_known(other, tmp_path):
    lab = lab_at(tmp_path / "here")
    parent = finished(lab)
    config = lab.registry.run(parent)
    child = lab.registry.create_run(config.config, config.pack, parent_id=parent)
    lab.registry.request_stop(child)
    files = {r: export(lab, r, tmp_path / f"{r}.zip", adapters=False) for r in (parent, child)}
    take(other, files[child])
    assert other.registry.run(child).parent_id is None
    third = lab_at(tmp_path / "third")
    take(third, files[parent])
    take(third, files[child])
    assert third.registry.run(child).parent_id == parent


def test_a_run_with_an_experiment_on_it_travels_without_it(other, tmp_path):
    here = lab_at(tmp_path / "here")
    run_id = finished(here)
    run = here.registry.run(run_id)
    here.registry.create_experiment("damage", 1, run.config, "mother", [("", run_id)], run_id)
    file = export(here, run_id, tmp_path / "asked.rotelab.zip", adapters=False)
    assert "tables/experiments.jsonl" not in members_of(file)
    # Older versions wrote such a member, and could not import it again.
    members = {**members_of(file), "tables/experiments.jsonl": b'["experiment"]\n["damage"]\n'}
    file.write_bytes(zipped(members))
    assert take(other, file).new
    assert other.registry.experiment_rows() == []


def test_columns_and_tables_to_come_travel_too(taught, tmp_path):
    def later(lab):
        with lab.registry.write() as db:
            db.execute("ALTER TABLE scores ADD COLUMN accuracy_to_come REAL")
            db.execute("ALTER TABLE runs ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'")
            db.execute("CREATE TABLE extras (run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE "
                       "CASCADE, place INTEGER NOT NULL, value REAL, PRIMARY KEY (run_id, place)) "
                       "STRICT")  # fmt: skip
            db.execute("CREATE TABLE groups (id INTEGER PRIMARY KEY) STRICT")
            db.execute("ALTER TABLE runs ADD COLUMN group_id INTEGER REFERENCES groups(id)")

    old, here, there = (lab_at(tmp_path / name) for name in ("old", "here", "there"))
    run_id, older = finished(here), finished(old)
    later(here)
    later(there)
    with here.registry.write() as db:
        db.execute("UPDATE scores SET accuracy_to_come = 0.5")
        db.execute("INSERT INTO groups VALUES (1)")
        db.execute("UPDATE runs SET group_id = 1, mood = 'wild'")
        db.execute("INSERT INTO extras VALUES (?, 1, 2.5)", [run_id])
    file = export(here, run_id, tmp_path / "new.rotelab.zip", adapters=False)
    take(there, file)
    with there.registry.read() as db:
        assert db.execute("SELECT DISTINCT accuracy_to_come FROM scores").fetchall() == [(0.5,)]
        assert db.execute("SELECT mood, group_id FROM runs").fetchall() == [("wild", None)]
        assert db.execute("SELECT place, value FROM extras").fetchall() == [(1, 2.5)]
    refused(old, file, "newer rotelab")
    assert take(there, export(old, older, tmp_path / "old.rotelab.zip", adapters=False)).new


# Refusals: the archive ---------------------------------------------------------------------------


def with_name(bundle, name, **about):
    """The bundle with one more member of that name, straight as it stands."""
    members = members_of(bundle)
    out = io.BytesIO(zipped(members))
    with zipfile.ZipFile(out, "a") as untrusted_zip:
        info = zipfile.ZipInfo("placeholder")
        for key, value in about.items():
            setattr(info, key, value)
        info.filename = name
        untrusted_zip.writestr(info, b"evil")
    return out.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt", "/etc/evil", "..\\evil.txt", "C:\\evil", "adapters/../../evil",
        "adapters/memorize/../evil", "./facts.csv", "facts.csv/", "FACTS.CSV", "sub/facts.csv",
        "tables/sqlite_master.jsonl", "tables/runs.jsonl", "log.txt", "a\x00b", "",
        "\u202efacts.csv",
        "adapters/memorize/adapter_model.bin", "figures/x.html", "; DROP TABLE runs",
    ],
)  # fmt: skip
def test_a_name_that_does_not_belong_is_refused(name, bundle, other, tmp_path):
    file = tmp_path / "bad.rotelab.zip"
    file.write_bytes(with_name(bundle, name))
    refused(other, file, "which is not part of a run")
    assert not list(tmp_path.rglob("*evil*"))


def test_a_link_is_refused(bundle, other, tmp_path):
    members = members_of(bundle)
    del members["figures/curves.json"]
    out = io.BytesIO(zipped(members))
    with zipfile.ZipFile(out, "a") as untrusted_zip:
        info = zipfile.ZipInfo("figures/curves.json")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        untrusted_zip.writestr(info, b"/etc/passwd")
    file = tmp_path / "bad.rotelab.zip"
    file.write_bytes(out.getvalue())
    refused(other, file, "'figures/curves.json' as a link or a folder")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_is_refused(bundle, other, tmp_path):
    file = tmp_path / "bad.rotelab.zip"
    file.write_bytes(with_name(bundle, "facts.csv"))
    refused(other, file, "holds 'facts.csv' twice")


def test_a_missing_member_is_refused(altered, other):
    refused(other, altered({"facts.csv": None}, seal=False), "lacks 'facts.csv'")
    for name in ("facts.csv", "prompts.csv", RUN, METRICS, "tables/predictions.jsonl",
                 "adapters/memorize/meta.json"):  # fmt: skip
        refused(other, altered({name: None}), f"has no {name}")
    refused(other, altered({MANIFEST: None}, seal=False), "has no manifest.json")
    phase1 = {f"adapters/memorize/{name}": None for name in ADAPTER_FILES}
    refused(other, altered(phase1), "has the adapter generalize without memorize")


def test_a_member_that_the_manifest_lacks_is_refused(altered, other):
    def forget(data):
        return changed_json(data, "members", "figures/curves.json", value=...)

    file = altered({MANIFEST: forget}, seal=False)
    refused(other, file, "holds 'figures/curves.json', which its manifest lacks")


@pytest.mark.parametrize("name", ["facts.csv", RUN, METRICS, "adapters/memorize/meta.json",
                                  "representations/base.safetensors"])  # fmt: skip
def test_a_wrong_hash_is_refused(name, altered, other):
    file = altered({name: lambda data: data.replace(b"e", b"f", 1)}, seal=False)
    refused(other, file, f"/{name}: is not what the manifest says")


@pytest.mark.parametrize(
    "path, value, words",
    [
        (["format"], 2, "format 2"), (["format"], "1", "format '1'"), (["format"], True, "format"),
        (["format"], ..., "format None"), (["kind"], "other", "not that of a run's bundle"),
        (["run"], "../x", "not a run's id"), (["run"], 7, "not a run's id"),
        (["run"], "a" * 99, "not a run's id"), (["members"], [], "does not list"),
        (["members", "facts.csv"], "x", "no SHA-256"),
        (["members", "facts.csv", "size"], -1, "is not what the manifest says"),
        (["members", "facts.csv", "size"], True, "no SHA-256"),
        (["members", "facts.csv", "sha256"], "A" * 64, "no SHA-256"),
        (["members", "../evil"], {"sha256": "0" * 64, "size": 1}, "lacks '../evil'"),
        (["members", "manifest.json"], {"sha256": "0" * 64, "size": 1}, "is not what the manifest"),
    ],
)  # fmt: skip
def test_a_manifest_that_is_not_ours_is_refused(path, value, words, altered, other):
    change = {MANIFEST: lambda data: changed_json(data, *path, value=value)}
    refused(other, altered(change, seal=False), words)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"\xff\xfe{}", b"[" * 100_000, b'{"a":1,"a":2}', b"NaN",
             b'{"kind":"\\ud800"}', b"1" * 9000],
)  # fmt: skip
@pytest.mark.parametrize("name", [MANIFEST, RUN, "adapters/memorize/meta.json",
                                  "adapters/memorize/adapter_config.json"])  # fmt: skip
def test_json_that_is_none_is_refused(name, text, altered, other):
    refused(other, altered({name: text}, seal=name != MANIFEST), name)


def test_a_bomb_is_refused_while_it_is_read(altered, other):
    error = refused(other, altered({"facts.csv": b"a" * 5_000_000}), "unpacks to far more")
    assert error.source.endswith("/facts.csv")
    refused(other, altered({MANIFEST: b" " * 4_000_000}, seal=False), "unpacks to far more")


def test_what_is_too_large_is_refused(altered, other, monkeypatch):
    noise = bytes(np.random.default_rng(0).integers(32, 127, 6_000_000, np.uint8))
    refused(other, altered({RUN: noise}), "is too large (5,")
    monkeypatch.setattr(untrusted_zip, "MAX_TOTAL", 50_000)
    refused(other, altered({}), "is too large (")


def test_a_header_that_lies_about_sizes_is_found_out(bundle, other, tmp_path):
    """The sizes in the list of members are a stranger's word."""
    data = bytearray(zipped(members_of(bundle)))
    at = data.index(b"PK\x01\x02")
    for said in (0, 10):
        struct.pack_into("<I", data, at + 24, said)
        file = tmp_path / "bad.rotelab.zip"
        file.write_bytes(data)
        refused(other, file, "bad.rotelab.zip")


def test_a_list_of_members_without_end_is_refused(other, tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as untrusted_zip:
        for i in range(25_000):
            untrusted_zip.writestr(f"{i}", b"")
    file = tmp_path / "many.rotelab.zip"
    file.write_bytes(out.getvalue())
    refused(other, file, "its list of members is too long")
    with zipfile.ZipFile(file, "w") as untrusted_zip:
        for i in range(200):
            untrusted_zip.writestr(f"{i}", b"")
    refused(other, file, "more than 100 files")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"PK", b"PK\x05\x06" + b"\0" * 18, b"PK\x05\x06" + b"\xff" * 18,
        b"relation,subject,object\n", b"\0" * 3000,
    ],
)  # fmt: skip
def test_what_is_no_zip_is_refused(data, other, tmp_path):
    file = tmp_path / "x\n<b>.zip"
    file.write_bytes(data)
    refused(other, file, "x?<b>.zip")


def test_files_that_can_not_be_read(other, tmp_path):
    refused(other, tmp_path / "none.zip", "there is no such file")
    refused(other, tmp_path, "can't be read")


def test_a_cut_or_flipped_bundle_is_refused(bundle, other, tmp_path):
    whole, file = bundle.read_bytes(), tmp_path / "cut.zip"
    rng = np.random.default_rng(1)
    for cut in rng.integers(0, len(whole), 25):
        file.write_bytes(whole[:cut])
        refused(other, file)


# Refusals: what stands in it ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, value, column",
    [
        (["status"], "queued", "status"), (["status"], "running", "status"),
        (["status"], 1, "status"), (["status"], ..., "status"), (["pack_name"], ..., "pack_name"),
        (["config"], [], "config"), (["config"], ..., "config"),
        (["config", "seed"], "0", "config"),
        (["config", "seed"], 2**40, "config"), (["config", "new"], 1, "config"),
        (["config", "memorize", "rank"], 10**9, "config"),
        (["config", "model", "name"], "\\\\evil\\share", "config"),
        (["config", "model", "name"], "a\x1b[2J", "config"),
        (["config", "generalize", "k"], 10_000, None), (["name"], "two\nlines", "name"),
        (["name"], "x" * 300, "name"), (["name"], None, "name"), (["note"], 5, "note"),
        (["note"], "x" * 200_000, "note"), (["tags"], "abc", "tags"), (["tags"], [1], "tags"),
        (["created"], "yesterday", "created"), (["created"], None, "created"),
        (["finished"], "9999-12-31T23:59:59+00:00", "finished"),
        (["seconds"], {"total": -1}, "seconds"), (["seconds"], {"total": True}, "seconds"),
        (["seconds"], {"<b>": 1}, "seconds"), (["seconds"], [], "seconds"),
        (["versions"], {"torch": 2}, "versions"), (["warnings"], {"a": 1}, "warnings"),
        (["epoch"], 1.5, "epoch"), (["epoch"], -1, "epoch"), (["share"], 2.0, "share"),
        (["share"], 10**400, "share"), (["share"], None, "share"),
        (["parent_id"], "../x", "parent_id"), (["pid"], 1, None), (["imported"], "x", None),
        (["id"], "mine", None), (["content_hash"], "x", None),
    ],
)  # fmt: skip
def test_a_row_with_a_wrong_value_is_refused(path, value, column, altered, other):
    file = altered({RUN: lambda data: changed_json(data, *path, value=value)})
    error = refused(other, file)
    if column:
        assert isinstance(error, InputError) and error.column == column


@pytest.mark.parametrize(
    "table, column, value",
    [
        ("metrics", "step", "1"), ("metrics", "step", -1), ("metrics", "step", 1.0),
        ("metrics", "step", True), ("metrics", "step", None), ("metrics", "step", 2**70),
        ("metrics", "value", "NaN"), ("metrics", "value", []), ("metrics", "value", 10**400),
        ("metrics", "name", "<img src=x>"), ("metrics", "phase", ""), ("metrics", "phase", 5),
        ("fact_recall", "fact_index", 6), ("fact_recall", "fact_index", -1),
        ("fact_recall", "recalled", 2), ("fact_recall", "probability", 1.5),
        ("scores", "checkpoint", "best"), ("scores", "generation_accuracy", 7),
        ("predictions", "answer", 1), ("predictions", "answer", "x" * 200_000),
        ("predictions", "correct", None), ("predictions", "rank", -2),
        ("similarities", "layer", 10**9), ("similarities", "checkpoint", None),
        ("quiz_answers", "place", 100), ("quiz_answers", "correct", 2),
        ("quiz_answers", "said", None), ("quiz_answers", "checkpoint", "best"),
    ],
)  # fmt: skip
def test_a_table_with_a_wrong_value_is_refused(table, column, value, altered, other):
    def change(data):
        lines = data.splitlines()
        names, row = json.loads(lines[0]), json.loads(lines[2])
        row[names.index(column)] = value
        return b"\n".join([*lines[:2], json.dumps(row).encode(), *lines[3:]])

    error = refused(other, altered({f"tables/{table}.jsonl": change}), f"tables/{table}.jsonl")
    assert (error.row, error.column) == (2, column)


@pytest.mark.parametrize(
    "change, row, words",
    [
        (lambda data: b"", None, "JSON"),
        (lambda data: b"{}\n" + data, None, "names of its columns"),
        (lambda data: data.replace(b'"seq"', b'"new"', 1), None, "newer rotelab"),
        (lambda data: data.replace(b'"seq"', b'"step"', 1), None, "appears twice"),
        (lambda data: b'["phase"]\n', None, "has no column"),
        (lambda data: data + b"[1]\n", 4, "must have 6 values"),
        (lambda data: data + b"{}\n", 4, "must have 6 values"),
        (lambda data: data + b"\n", 4, "JSON"),
        (lambda data: data + b"[" * 50_000 + b"\n", 4, "nested too deeply"),
        (lambda data: data + b'["\\ud800",1,"a",1,1,1]\n', 4, "JSON"),
        (lambda data: data + b'["a",1,"a",NaN,1,1]\n', 4, "NaN"),
    ],
)  # fmt: skip
def test_a_table_that_is_none_is_refused(change, row, words, altered, other):
    assert refused(other, altered({METRICS: change}), METRICS, words).row == row


def test_a_cell_of_ten_megabytes_names_its_row_and_column(altered, other):
    noise = bytes(np.random.default_rng(0).integers(97, 122, 10_000_000, np.uint8))

    def change(data):
        return data + b'["memorize", 9, "' + noise + b'", 1.0, 1, 4]\n'

    error = refused(other, altered({METRICS: change}), "is longer than 1,000,000 bytes")
    assert (error.row, error.column) == (4, "name")


def test_a_row_that_stands_twice_is_refused(altered, other):
    file = altered({METRICS: lambda data: data + data.splitlines(keepends=True)[1]})
    refused(other, file, "Row 4 of the run's table metrics comes twice")


def test_facts_and_prompts_are_read_like_any_file(altered, other):
    bad = altered({"facts.csv": b"relation,subject,object\nmother,Ann,\n"})
    error = refused(other, bad, "facts.csv, row 1, column 'object'")
    assert (error.row, error.column) == (1, "object")
    refused(other, altered({"prompts.csv": b"relation,role\n"}), "prompts.csv")
    refused(other, altered({"facts.csv": b"\xff\xfe"}), "is not UTF-8")


WEIGHTS = "adapters/memorize/adapter_model.safetensors"


@pytest.mark.parametrize(
    "name, change",
    [
        ("meta.json", {"rank": 10**6}), ("meta.json", {"adapter": "generalize"}),
        ("meta.json", {"relations": ["capital"]}), ("meta.json", {"format": 2}),
        ("meta.json", {"sha256": "0" * 64}), ("meta.json", {"run": "../x"}),
        ("adapter_config.json", {"target_modules": ".*"}),
        ("adapter_config.json", {"target_modules": ["../x"]}),
        ("adapter_config.json", {"lora_alpha": "32"}),
        ("adapter_config.json", {"lora_alpha": 1e9}),
        ("adapter_config.json", {"lora_alpha": float("nan")}),
        ("adapter_config.json", {"layers_to_transform": [-1]}),
        ("adapter_config.json", {"layers_to_transform": "all"}),
        ("adapter_config.json", {"trainable_token_indices": {"a": [1]}}),
    ],
)  # fmt: skip
def test_an_adapter_that_says_something_else_is_refused(name, change, altered, other):
    inside = f"adapters/memorize/{name}"
    file = altered({inside: lambda data: json.dumps(json.loads(data) | change).encode()})
    refused(other, file, inside)


def test_what_else_stands_beside_an_adapter_is_left_behind(taught, altered, other):
    _, run_id = taught
    extra = {"auto_mapping": {"parent_library": "os"}, "base_model_name_or_path": "evil/model"}
    inside = "adapters/memorize/adapter_config.json"
    take(other, altered({inside: lambda data: json.dumps(json.loads(data) | extra).encode()}))
    kept = adapter_folder(other.storage, run_id, "memorized") / "adapter_config.json"
    assert "evil" not in kept.read_text() and "auto_mapping" not in kept.read_text()


def reweighted(change):
    """The changes that put other weights into the bundle, hash and all."""

    def weights(data):
        return save(change(load(data)))

    def both(members):
        import hashlib

        data = weights(members[WEIGHTS])
        meta = json.loads(members["adapters/memorize/meta.json"])
        meta["sha256"] = hashlib.sha256(data).hexdigest()
        return {WEIGHTS: data, "adapters/memorize/meta.json": json.dumps(meta).encode()}

    return both


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t | {"evil.weight": np.zeros((2, 2), np.float32)}, "no part of an adapter"),
        (lambda t: t | {"x.lora_A.weight": np.zeros((2, 2), np.float32)}, "no part of an adapter"),
        (lambda t: {n: v.astype(np.int32) for n, v in t.items()}, "no part of an adapter"),
        (lambda t: {n: v.reshape(-1) for n, v in t.items()}, "no part of an adapter"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused(change, words, bundle, altered, other):
    refused(other, altered(reweighted(change)(members_of(bundle))), WEIGHTS, words)


@pytest.mark.parametrize("name", [WEIGHTS, "representations/memorized.safetensors"])
@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x80\x04N.", b"\xff" * 100, b"\x08" + b"\0" * 7 + b'{"a":{}}', b"\x10" + b"\0" * 7,
    ],
)  # fmt: skip
def test_safetensors_that_are_none_are_refused(name, data, altered, other):
    refused(other, altered({name: data}), name, "can't be read as safetensors")


@pytest.mark.parametrize(
    "tensors, views",
    [
        ({"states": np.zeros((2, 3), np.float16)}, None),
        ({"states": np.zeros((1, 2, 3), np.float32)}, [["mother", "key", 0, "x"]]),
        ({"states": np.zeros((2, 2, 3), np.float16)}, [["mother", "key", 0, "x"]]),
        ({"states": np.zeros((1, 2, 3), np.float16)}, [["mother", "key", 99, "x"]]),
        ({"states": np.zeros((1, 2, 3), np.float16)}, [["other", "key", 0, "x"]]),
        ({"states": np.zeros((1, 2, 3), np.float16)}, [["mother", "key", 0, 7]]),
        ({"states": np.zeros((1, 2, 3), np.float16)}, [["mother", "key", 0]]),
        ({"states": np.zeros((1, 2, 3), np.float16)}, {}),
        ({"other": np.zeros((1, 2, 3), np.float16)}, [["mother", "key", 0, "x"]]),
    ],
)  # fmt: skip
def test_hidden_states_that_do_not_fit_are_refused(tensors, views, altered, other):
    name = "representations/base.safetensors"
    refused(other, altered({name: save(tensors, {"views": json.dumps(views)})}), name)


# Nothing left behind -----------------------------------------------------------------------------


def test_a_failure_at_the_last_step_leaves_nothing(bundle, other, monkeypatch):
    real = exported.put_in_place

    def fail(source, target):
        if source.name == "kept":
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(exported, "put_in_place", fail)
    refused(other, bundle, "No space left on device")


def test_a_transaction_that_fails_takes_the_files_back(bundle, other, monkeypatch):
    from sqlite_utils import Database

    monkeypatch.setattr(Database, "commit", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        take(other, bundle)
    monkeypatch.undo()
    assert other.registry.count_runs() == 0
    assert list(other.storage.runs.iterdir()) == []


def test_a_folder_without_a_row_is_not_written_over(taught, bundle, other):
    _, run_id = taught
    folder = other.storage.run_folder(run_id)
    folder.mkdir(parents=True)
    (folder / "mine").write_text("mine")
    came = take(other, bundle)
    assert came.run_id != run_id and (folder / "mine").read_text() == "mine"


def test_an_old_registry_learns_that_runs_can_be_imported(tmp_path):
    assert "m007_imported" in {m.name for m in migrations.pending(_memory())}
    lab = lab_at(tmp_path / "home")
    assert lab.registry.run(finished(lab)).imported == ""


def _memory():
    from sqlite_utils import Database

    return Database(memory=True)


def test_every_limit_is_kept_by_our_own_exports(taught, tmp_path, other):
    lab, run_id = taught
    long = replace(lab.registry.run(run_id).config, pack="x" * 300)
    pack = lab.registry.run(run_id).pack
    odd = lab.registry.create_run(long, replace(pack, name="a\nb"), name="line\nbreak " + "x" * 500)
    lab.registry.request_stop(odd)
    take(other, export(lab, odd, tmp_path / "odd.rotelab.zip"))
    assert other.registry.run(odd).name.startswith("line break xxx")
    assert other.registry.add_similarities(odd, [Similarity("base", 0, "delta", 0.5)]) is None
