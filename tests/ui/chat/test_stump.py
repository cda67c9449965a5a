"""Stump the model, on the page: the scoreboard, what goes wrong, and wordings that are kept."""

import gradio as gr
import pytest
from support.fabricated import NASTY, finished
from support.page import browser_page, served, until
from support.taught import taught_run

from rotelab.registry import Stump
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.chat import stump
from rotelab.ui.chat.stump import attempt, begin, choose, keep


def tried(lab, run_id, *outcomes, question=NASTY):
    for outcome in outcomes:
        row = Stump(0, question, "generalized", NASTY, "", outcome)
        lab.registry.add_stump(run_id, row)


def test_the_board_counts_everything_and_lists_the_newest(lab):
    run_id = finished(lab)
    name, board, save, _said = choose(lab, run_id)
    assert len(name.choices) == 20 and board == "" and not save.visible
    held_out = lab.registry.run(run_id).config.split(lab.registry.run(run_id).pack.facts).held_out
    assert name.choices[0][0] == held_out[0].subject
    assert name.value == name.choices[0][1]
    tried(lab, run_id, "answered", question="The oldest?")
    tried(lab, run_id, *["answered"] * 6, "missed", "leaked", "leaked", "forgotten")
    tried(lab, run_id, "", question="The newest?")
    _name, board, save, _said = choose(lab, run_id)
    counts = [part.split("</b>")[0] for part in board.split("stump-count")[1:]]
    assert [count.split("<b>")[1] for count in counts] == ["7", "1", "2", "1"]
    assert board.count("<li") == stump.SHOWN and "4 more, counted above" in board and save.visible
    assert "The oldest?" not in board and board.index("The newest?") < board.index("&lt;img")
    assert "<img" not in board


def test_without_a_run_there_is_nothing_to_choose(lab):
    assert choose(lab, None)[0].choices == []
    assert "no run yet" in attempt(lab, None, None, "Who?")[0]
    assert begin(lab, None, None, "Who?") == gr.skip()


def test_what_went_wrong_stays_in_the_board(lab):
    run_id = finished(lab)
    board, save, box = attempt(lab, run_id, 0, "  ")
    assert "Type a wording" in board and (save, box) == (gr.skip(), gr.skip())
    assert "Choose a name" in attempt(lab, run_id, None, "Who?")[0]
    assert "No wording is new" in keep(lab, run_id)


def test_keeping_says_where_the_wordings_are(lab):
    run_id = finished(lab)
    name = lab.registry.run(run_id).pack.facts[0].subject
    tried(lab, run_id, "missed", question=f"And {name}'s mum?")
    said = keep(lab, run_id)
    assert "1 wording is now among the prompts of “my mother” (version 1)" in said
    assert "my mother" in lab.pack_names()


@pytest.mark.browser
def test_an_audience_tries_a_wording(tmp_path, tiny_folder):
    home = tmp_path / "home"
    lab = Lab.open(Storage(home))
    run_id = taught_run(lab, tiny_folder, "taught")
    with served(home) as server, browser_page(server.url, tab="Chat") as (page, traffic):
        page.get_by_role("button", name="Stump the model").click()
        name = page.locator("#stump-name input")
        until(lambda: name.input_value(), 60, "a name is chosen")
        box = page.locator("#stump-question :is(input, textarea)")
        box.fill(f"So who is {name.input_value()}'s mother?")
        page.locator("#stump-go").click()
        page.locator("#stump-board .stump-score").wait_for(timeout=60_000)
        until(lambda: box.input_value() == "", 30, "the box takes the next one")
        assert len(lab.registry.stumps(run_id)) == 1
        page.locator("#stump-save").click()
        page.locator("#stump-saved").get_by_text("my mother").wait_for(timeout=30_000)
        assert traffic.errors == [] and traffic.foreign == []
