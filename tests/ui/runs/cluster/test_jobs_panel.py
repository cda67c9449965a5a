"""The jobs of a sweep on the page: shown as last seen, looked at again, cancelled, never markup."""

from __future__ import annotations

from support.fabricated import NASTY

from rotelab.config.run_config import GeneralizeConfig, RunConfig
from rotelab.registry import ClusterJob
from rotelab.runs import sweeps
from rotelab.runs.cluster import board
from rotelab.ui.runs.cluster import jobs_panel


def given_away(lab):
    """A sweep of two runs on a cluster, one of them at work."""
    sweep_id = sweeps.plan(
        lab, {"seed": [0, 1]}, RunConfig(facts=20, generalize=GeneralizeConfig(k=5))
    )
    ids = [run.id for run in lab.registry.sweep_runs(sweep_id)]
    place = str(lab.storage.home / "cluster" / "x")
    assert lab.registry.give_to_cluster(ids, "local", place, {"engine": "local"}) == ids
    lab.registry.job_submitted(ids[0], "17_0")
    lab.registry.job_seen(ids[0], "running", 0.4, "Learning by rote")
    return sweep_id, ids


def test_jobs_are_shown_as_last_seen(lab):
    sweep_id, ids = given_away(lab)
    log = board.log_of(lab, ids[0])
    log.parent.mkdir(parents=True)
    log.write_text("line 1\n<b>line 2</b>\n", encoding="utf-8")
    words, buttons = jobs_panel.fill_jobs(lab, ids[0], sweep_id)
    assert words.visible and buttons.visible
    for part in (
        "17_0",
        "running",
        "40%",
        "not submitted yet",
        ids[1],
        "&lt;b&gt;line 2&lt;/b&gt;",
    ):
        assert part in words.value
    assert lab.registry.run(ids[0]).message == "Learning by rote"


def test_without_jobs_nothing_is_shown(lab):
    words, buttons = jobs_panel.fill_jobs(lab, "", None)
    assert not words.visible and not buttons.visible and words.value == ""


def test_the_buttons_look_and_cancel(lab, monkeypatch):
    sweep_id, ids = given_away(lab)
    looked = []
    monkeypatch.setattr(board, "look", lambda lab, which: looked.append(which))
    jobs_panel._look(lab, ids[1])
    assert looked == [sweep_id]
    words, _ = jobs_panel._cancel(lab, ids[1])
    assert not words.visible
    assert [lab.registry.run(i).status for i in ids] == ["stopped", "stopped"]


def test_what_a_cluster_says_is_never_markup():
    job = ClusterJob("r", "s", NASTY, NASTY, "", "{}", "waiting", 0.0, NASTY, "", 2)
    html = jobs_panel.jobs_html([job], [NASTY])
    assert "<img" not in html and "submitted 2 times" in html
