"""A sweep from the Train tab: what its lists make, how long it takes, and its runs in the queue."""

import pytest
from support.fabricated import finished

from rotelab.config.run_config import GeneralizeConfig, RunConfig
from rotelab.errors import LabError
from rotelab.runs.lab import Lab
from rotelab.ui.runs.actions import put_sweep_back, take_sweep_out
from rotelab.ui.runs.detail import RunDetail, fill_detail
from rotelab.ui.train import live_panel
from rotelab.ui.train.form import values_of
from rotelab.ui.train.sweep_form import read_sweep_form, start_sweep, sweep_words

FORM = values_of(RunConfig(facts=20, generalize=GeneralizeConfig(k=5)))


@pytest.fixture
def idle(lab, monkeypatch):
    """A lab that starts no process; says which runs it would have."""
    started = []
    monkeypatch.setattr(lab.jobs, "_spawn", started.append)
    return lab, started


def test_lists_become_axes_and_a_single_value_the_forms_own():
    axes, base = read_sweep_form([], ["two-adapter", "no-such"][:1], "1, 5", "", *FORM)
    assert axes == {"recipe": ["two-adapter"], "generalize.k": [1, 5]} and base.facts == 20
    axes, base = read_sweep_form(["genre"], [], "10", "0, 1,2", *FORM)
    assert axes == {"seed": [0, 1, 2]} and (base.pack, base.generalize.k) == ("genre", 10)
    for lists in (([], [], "", ""), (["genre"], [], "5", "1")):
        with pytest.raises(LabError, match="two values or more"):
            read_sweep_form(*lists, *FORM)
    for k, said in (("1,,5", "not a list"), ("1, x", "must be a"), ("5, 5", "twice")):
        with pytest.raises(LabError, match=said):
            read_sweep_form([], [], k, "", *FORM)


def test_runs_and_time_are_said_before(lab):
    words, button = sweep_words(lab, [], [], "", "", *FORM)
    assert words == "" and not button.interactive
    words, button = sweep_words(lab, ["mother", "genre"], [], "1, 5", "0, 1, 2", *FORM)
    assert "12 runs" in words and "in all on this machine" in words
    assert button.interactive and button.value == "Start the sweep (12 runs)"
    once = sweep_words(lab, [], [], "1, 5", "", *FORM)[0]
    assert once != words and "2 runs" in once
    words, button = sweep_words(lab, [], [], "1, 500", "", *FORM)
    assert "none would be left to test" in words and not button.interactive
    words, button = sweep_words(lab, [], [], "5", "", *FORM)
    assert "two values or more" in words and "note-bad" not in words and not button.interactive


def test_the_queue_makes_its_runs_as_any_others(idle):
    lab, started = idle
    before = lab.registry.create_run(RunConfig(facts=20), lab.find_pack("mother"))
    first, said = start_sweep(lab, "night", [], ["two-adapter", "published"], "1, 5", "", *FORM)
    assert "4 runs" in said and started == [before], "whoever came first is first"
    row = lab.registry.run(first)
    runs = lab.registry.sweep_runs(row.sweep_id)
    assert [run.config.generalize.k for run in runs] == [1, 5, 1, 5]
    assert [run.name.split()[:2] for run in runs] == [["night", f"recipe={r}"] for r in (
        "two-adapter", "two-adapter", "published", "published")]  # fmt: skip
    assert not any(run.held for run in runs) and all(run.status == "queued" for run in runs)
    lab.registry.set_status(before, "stopped")
    lab.jobs.start_next()
    assert started[1:] == [first]
    assert lab.registry.sweep(row.sweep_id).axes["recipe"] == ["two-adapter", "published"]


def test_a_whole_sweep_leaves_the_queue_and_comes_back(idle):
    lab, started = idle
    other = lab.registry.create_run(RunConfig(facts=20), lab.find_pack("mother"))
    first, _said = start_sweep(lab, "night", [], [], "1, 2, 5", "", *FORM)
    sweep_id = lab.registry.run(first).sweep_id

    def states():
        return [run.status for run in lab.registry.sweep_runs(sweep_id)]

    def buttons(run_id):
        shown = dict(zip(RunDetail.FILLED, fill_detail(lab, run_id), strict=True))
        return shown["sweep_out"].visible, shown["sweep_back"].visible

    lab.registry.set_status(other, "finished")
    lab.jobs.start_next()
    assert started == [other, first] and states() == ["running", "queued", "queued"]
    assert buttons(first) == (True, False) and buttons(other) == (False, False)
    waits = lab.registry.create_run(RunConfig(facts=20), lab.find_pack("mother"))
    *_others, button = live_panel.update_panel(lab, first, live_panel.Seen())
    assert button.visible
    *_others, button = live_panel.take_sweep_out(lab, first)
    assert not button.visible
    assert states() == ["running", "stopped", "stopped"], "the one that runs goes on"
    assert lab.registry.run(waits).status == "queued", "other runs stay"
    last = lab.registry.sweep_runs(sweep_id)[-1].id
    assert buttons(last) == (False, True) and buttons(first) == (False, False)
    assert "before it began" in fill_detail(lab, last)[0]
    put_sweep_back(lab, last)
    assert states() == ["running", "queued", "queued"]
    take_sweep_out(lab, last)
    assert states() == ["running", "stopped", "stopped"]


def test_a_wrong_list_starts_nothing(idle):
    lab, started = idle
    with pytest.raises(LabError, match="none would be left to test"):
        start_sweep(lab, "", [], [], "5, 500", "", *FORM)
    assert started == [] and lab.registry.count_runs() == 0


def test_the_time_is_that_of_all_runs(lab):
    finished(lab)  # so that it is measured
    short = sweep_words(lab, [], [], "5", "0, 1", *FORM)[0]
    long = sweep_words(lab, [], [], "5", ", ".join(map(str, range(200))), *FORM)[0]
    assert "200 runs" in long and short.split("about <b>")[1] != long.split("about <b>")[1]
    assert isinstance(lab, Lab)
