"""The commands about a run that there is; no process is started here (tests/runs/test_jobs.py)."""

import json

import pytest
import typer
from support.command_line import refused, rotelab

from rotelab.api import progress
from rotelab.config.run_config import RunConfig
from rotelab.errors import UnknownRun
from rotelab.runs.jobs import Jobs


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch):
    monkeypatch.setattr(Jobs, "start_next", lambda jobs: None)


@pytest.fixture
def runs(lab, mother):
    """Three runs that wait, in their order."""
    return [lab.registry.create_run(RunConfig(), mother, name=name) for name in ("a", "b", "c")]


def waiting(said):
    return [run["name"] for run in json.loads(said.out)]


def test_the_queue_is_listed_and_a_run_moves_in_it(lab, runs):
    assert waiting(rotelab("queue", "--json")) == ["a", "b", "c"]
    assert waiting(rotelab("queue", runs[2], "--sooner", 2, "--json")) == ["c", "a", "b"]
    assert waiting(rotelab("queue", runs[2], "--later", 1, "--json")) == ["a", "c", "b"]
    said = rotelab("queue").out.splitlines()
    assert said[0].split()[:2] == [runs[0], "queued"]
    refused(rotelab("queue", runs[0]), "--sooner or --later")
    refused(rotelab("queue", "--later", 1), "--sooner or --later")


def test_a_waiting_run_is_stopped_and_queued_again_by_a_beginning_of_its_id(lab, runs):
    lab.registry.set_status(runs[0], "stopped")
    said = json.loads(rotelab("stop", "latest", "--json").out)
    assert (said["id"], said["status"]) == (runs[2], "stopped")
    beginnings = (runs[0][:n] for n in range(1, 80))
    unique = next(b for b in beginnings if not any(other.startswith(b) for other in runs[1:]))
    assert json.loads(rotelab("resume", unique, "--json").out)["id"] == runs[0]
    assert lab.registry.run(runs[0]).status == "queued"
    assert rotelab("resume", runs[2]).out == f"{runs[2]} queued\n"
    refused(rotelab("resume", runs[1]), "queued")
    refused(rotelab("stop", "nothing-like-that"), "There is no run")


def test_stop_without_waiting_only_asks(lab, runs, monkeypatch):
    monkeypatch.setattr(Jobs, "stop_and_wait", None)
    assert rotelab("stop", runs[0], "--no-wait").out == f"{runs[0]} stopped\n"


def test_a_run_is_made_again_and_a_new_one_is_only_queued(lab, runs):
    new = json.loads(rotelab("again", runs[0], "--json").out)
    assert (new["status"], new["parent_id"], new["name"]) == ("queued", runs[0], "a (again)")
    said = rotelab("run", "--queue", "--facts", 8, "--k", 4, "--name", "later").out.strip()
    run = lab.registry.run(said)
    assert (run.status, run.name, run.config.generalize.k, run.pid) == ("queued", "later", 4, None)
    assert json.loads(rotelab("run", "--queue", "--json").out)["status"] == "queued"


def test_name_note_and_tags_change_one_by_one(lab, runs):
    one = runs[0]
    rotelab("tag", one, "talk", "base  line")
    rotelab("note", one, "first try")
    said = json.loads(rotelab("rename", one, " my  run ", "--json").out)
    assert (said["name"], said["note"], said["tags"]) == (
        "my run",
        "first try",
        ["talk", "base line"],
    )
    said = rotelab("tag", one, "new", "--remove", "TALK").out
    assert said == f"{one} base line, new\n"
    assert rotelab("tag", one).out == said
    assert json.loads(rotelab("note", one, "", "--json").out)["note"] == ""
    refused(rotelab("tag", one, "--remove", "gone"), "has no tag gone")
    refused(rotelab("rename", one, "x" * 81), "81 characters")
    run = lab.registry.run(one)
    assert (run.name, run.note, run.tags) == ("my run", "", ("base line", "new"))


def test_archived_runs_are_listed_by_themselves(lab, runs):
    assert json.loads(rotelab("archive", runs[0], "--json").out)["archived"] is True
    assert waiting(rotelab("runs", "--json")) == ["c", "b"]
    assert waiting(rotelab("runs", "--archived", "--json")) == ["a"]
    rotelab("archive", runs[0], "--undo")
    assert waiting(rotelab("runs", "--json", "--search", "a")) != []
    assert waiting(rotelab("runs", "--archived", "--json")) == []


def test_delete_asks_first(lab, runs, monkeypatch):
    one = runs[0]
    refused(rotelab("delete", one, "--yes"), "still queued", "Stop it first")
    lab.registry.set_status(one, "stopped")
    folder = lab.storage.run_folder(one)
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("12345678", encoding="utf-8")
    asked = []
    monkeypatch.setattr(typer, "confirm", lambda text, err: asked.append(text))
    refused(rotelab("delete", one), "Nothing was deleted.")
    assert f"Delete run {one} “a” for good?" in asked[0]

    def nobody(*_, **__):
        raise typer.Abort

    monkeypatch.setattr(typer, "confirm", nobody)
    refused(rotelab("delete", one), "Give --yes")
    assert lab.registry.run(one) and folder.is_dir()
    said = json.loads(rotelab("delete", one, "--yes", "--json").out)
    assert said == {"run_id": one, "deleted": True, "bytes": 8}
    assert not folder.exists()
    with pytest.raises(UnknownRun):
        lab.registry.run(one)


def test_the_log_is_printed_from_its_end(lab, runs):
    refused(rotelab("log", runs[0]), "has no log")
    path = lab.storage.log_file(runs[0])
    path.parent.mkdir(parents=True)
    path.write_text("one\n 10 %\r 90 %\ntwo\nthree\n", encoding="utf-8")
    assert rotelab("log", runs[0]).out == "one\n 90 %\ntwo\nthree\n"
    assert rotelab("log", runs[0], "--lines", 2).out == "two\nthree\n"
    said = json.loads(rotelab("log", runs[0], "--lines", 1, "--json").out)
    assert said == {"run_id": runs[0], "log": ["three"]}


class Steps:
    """Stands for time: every wait carries out the next step."""

    def __init__(self, *steps):
        self.steps = list(steps)

    def sleep(self, seconds):
        self.steps.pop(0)()


def test_a_run_is_followed_to_its_end(lab, runs, monkeypatch, capsys):
    one = runs[0]
    registry = lab.registry
    steps = Steps(
        lambda: registry.claim(one, 1, 0.0),
        lambda: registry.heartbeat(one, share=0.5, message="Phase 1: epoch 3"),
        lambda: registry.set_status(one, "finished"),
    )
    monkeypatch.setattr(progress, "time", steps)
    monkeypatch.setattr(Jobs, "poll", lambda jobs: None)
    monkeypatch.setattr(Jobs, "reconcile", lambda jobs: [])
    said = rotelab("follow", one)
    assert (said.code, said.out, steps.steps) == (0, f"{one} finished\n", [])
    assert "Phase 1: epoch 3" in said.err


def test_following_says_how_else_it_ended_and_ctrl_c_leaves_the_run_alone(lab, runs, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(progress, "time", Steps(interrupted))
    said = rotelab("follow", runs[1])
    assert said.code == 0 and "goes on" in said.err
    assert lab.registry.run(runs[1]).status == "queued"
    lab.registry.set_status(runs[1], "failed", "The disk is full.")
    said = rotelab("follow", runs[1])
    assert said.code == 2 and "The disk is full." in said.err
    said = json.loads(rotelab("follow", runs[1], "--json").out)
    assert said["status"] == "failed"


def test_every_command_about_a_run_has_json():
    from typer.main import get_command

    from rotelab.cli.main import app

    for name in (
        "follow", "stop", "resume", "again", "queue", "rename", "tag", "note", "archive", "delete",
        "log", "run", "runs",
    ):  # fmt: skip
        flags = {flag for param in get_command(app).commands[name].params for flag in param.opts}
        assert "--json" in flags, name
