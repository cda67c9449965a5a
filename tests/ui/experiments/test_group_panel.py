"""A group queued with one press: what is offered, its total time, and the line of what waits."""

from types import SimpleNamespace

import gradio as gr
import pytest
from support.fabricated import finished

from rotelab.errors import LabError
from rotelab.experiments import experiments, runner
from rotelab.experiments.planning.cost import Cost
from rotelab.ui.components import roughly
from rotelab.ui.experiments import group_panel
from rotelab.ui.experiments.catalogue import Entry, entries


def clicked(group):
    return SimpleNamespace(group=group)


def test_the_offer_says_which_and_how_long_before_anything_is_queued(lab):
    known = {name: Entry(Cost(seconds=1200.0), "") for name in experiments()}
    known["damage"] = Entry(Cost(seconds=60.0), "own")
    known["audit"] = Entry(Cost(refused="no"), "")
    known["contradiction"] = Entry(Cost(seconds=None), "recorded")
    panel, names, words, button = group_panel.offer("a-run", known, clicked("readers"))
    readers = [one.name for one in experiments().values() if one.origin == "readers"]
    assert panel.visible and names == [n for n in readers if n not in ("damage", "audit")]
    assert roughly((len(names) - 1) * 1200) in words and "For 1 of them no time" in words
    assert "Not on this run: Audit of meanings." in words
    assert "done or under way: Collateral damage." in words
    assert str(len(names)) in button.value and button.interactive
    assert lab.registry.experiment_rows() == []
    done = {name: Entry(Cost(seconds=1.0), "own") for name in experiments()}
    _, names, words, button = group_panel.offer("a-run", done, clicked("readers"))
    assert names == [] and "Nothing of this group" in words and not button.interactive
    with pytest.raises(LabError, match="no group"):
        group_panel.offer("a-run", known, clicked("<b>"))
    with pytest.raises(LabError, match="Choose a finished run"):
        group_panel.offer(None, known, clicked("readers"))


def test_one_press_queues_them_and_the_line_says_so(lab, monkeypatch):
    monkeypatch.setattr(runner, "launch", lambda lab, experiment_id: None)
    run_id = finished(lab)
    panel, *_, line, clear, lined, moved = group_panel.queue_group(
        lab, ["damage", "memfree", "audit"], run_id
    )
    assert not panel.visible and clear.visible and moved != gr.skip()
    assert [status for _, status in lined] == ["running", "queued", "queued"]
    assert "Running: Collateral damage (0 %)." in line and "2 wait: Forbid the exact" in line
    known = entries(lab, run_id, recorded=False)
    assert [known[n].mark for n in ("damage", "memfree")] == ["running", "queued"]
    assert "memfree" not in group_panel.to_make("related papers", known)
    assert group_panel.queue_news(lab, lined)[3] == gr.skip(), "no news"
    line, clear, lined, _ = group_panel.clear_queue(lab)
    assert line == "" and not clear.visible and len(lined) == 1
