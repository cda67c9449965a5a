"""Training before an audience: names in colours, questions while it trains, all on one screen."""

import re

import pytest
from support.fabricated import NASTY, finished, queued, running, small_pack
from support.page import browser_page, served, until

from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError
from rotelab.evaluation.results import Understood
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.packs import Pack
from rotelab.registry import FactRecall, Metric
from rotelab.registry.live import HELD_OUT
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.train import audience, live_panel
from rotelab.ui.train.audience_html import ANSWERS, NAMES, asked_html, names_html, names_of


def understood(lab, run_id, right, step=3):
    """Some facts asked in words; those in `right` answered."""
    rows = [Understood("generalize", step, i, i > 1, 0.5, i in right) for i in range(5)]
    lab.registry.add_live_checks(run_id, rows, [])


def states(lab, run_id):
    names = names_of(lab, lab.registry.run(run_id))
    return {name.text: name.state for name in names}


def test_a_name_goes_from_unknown_to_by_heart_to_understood(lab):
    run_id = running(lab, epochs=2)  # nothing is recalled yet
    subjects = [fact.subject for fact in lab.registry.run(run_id).pack.facts]
    assert set(states(lab, run_id).values()) == {""}
    known = [FactRecall(i, 0.9, i < 3) for i in range(20)]
    lab.registry.add_fact_recall(run_id, "memorize", 9, known)
    assert [states(lab, run_id)[who] for who in subjects[:4]] == ["rote"] * 3 + [""]
    understood(lab, run_id, {1, 2})
    found = states(lab, run_id)
    assert [found[s] for s in subjects[:4]] == ["rote", "understood", "understood", ""]
    understood(lab, run_id, {2}, step=4)  # the newest answer counts
    assert states(lab, run_id)[subjects[1]] == "rote"
    last = [Understood("generalize", 5, 19, True, 0.5, False)]
    lab.registry.add_live_checks(run_id, last, [])
    names = names_of(lab, lab.registry.run(run_id))
    assert [n.asked for n in names] == [True] * 6 + [False] * 14, "those that are asked come first"
    assert names[5].text == subjects[19]


def test_after_the_run_all_names_are_known_from_its_evaluation(lab):
    run_id = finished(lab)
    found = list(states(lab, run_id).values())
    assert 10 < found.count("understood") < 20 and found.count("") == 0
    html = names_html(lab, lab.registry.run(run_id))
    assert html.count("<li") == 20 and f"<b>{found.count('understood')}</b>" in html


def test_of_many_names_some_are_shown_and_all_are_counted(lab):
    run_id = queued(lab, facts=60)
    html = names_html(lab, lab.registry.run(run_id))
    assert html.count("<li") == NAMES and "and 36 more names" in html
    assert "not known yet <b>60</b>" in html


def test_a_name_is_text_and_never_markup(lab):
    facts = FactSet(Fact("mother", f"<i>{n}</i>", f"object {n}") for n in range(6))
    pack = Pack("mine", facts, small_pack().prompts)
    run_id = lab.registry.create_run(RunConfig(pack="mine"), pack)
    html = names_html(lab, lab.registry.run(run_id))
    assert "<i>" not in html and html.count("&lt;i&gt;") == 6


def test_a_question_waits_and_then_has_its_answer(lab):
    run_id = running(lab)
    box, html = audience.begin(lab, run_id, f"  {NASTY} ")
    assert box == "" and "as soon as training has a moment" in html and "<img" not in html
    (row,) = lab.registry.live_questions(run_id)
    answered = row._replace(
        phase="generalize", step=12, checkpoint="generalized", answer=NASTY, known="leak"
    )
    lab.registry.answer_live(run_id, [answered])
    html = asked_html(lab, lab.registry.run(run_id))
    assert "in phase 2, step 12" in html and "A leak" in html and "<img" not in html
    for number in range(5):
        audience.begin(lab, run_id, f"Number {number}?")
    html = asked_html(lab, lab.registry.run(run_id))
    assert html.count("<li") == ANSWERS and html.index("Number 4") < html.index("Number 3")


def test_a_question_needs_a_run_and_words(lab):
    with pytest.raises(LabError, match="no run to ask"):
        audience.begin(lab, "", "Who?")
    with pytest.raises(LabError, match="Type a question"):
        audience.begin(lab, running(lab), "  ")


def test_a_run_that_ended_says_so_and_can_be_asked_again(lab):
    run_id = running(lab)
    audience.begin(lab, run_id, "Too late?")
    lab.registry.set_status(run_id, "stopped")
    assert "the run ended first" in asked_html(lab, lab.registry.run(run_id))


def test_a_finished_run_is_asked_at_once(lab, quick):
    from rotelab.runs import worker

    run_id = lab.jobs.start_foreground(quick, lab.facts_for(quick))
    worker.work(lab.registry, lab.storage, run_id)
    subject = lab.registry.run(run_id).pack.facts[0].subject
    audience.begin(lab, run_id, f"{subject} [mother]")
    html = audience.answer(lab, run_id)
    (row,) = lab.registry.live_questions(run_id)
    assert row.answer is not None and row.checkpoint == "generalized" and "Generalised" in html


def test_only_pages_before_an_audience_are_sent_its_parts(lab):
    run_id = running(lab)
    lab.registry.add_metrics(run_id, [Metric("generalize", 3, HELD_OUT, 0.25, 1)])
    head = live_panel.update_panel(lab, run_id, live_panel.Seen())[3]
    assert "of held-out questions" in head and "25 %" in head
    frame = re.search("data-frame='(.*?)'", head)[1]
    asked = {"run": run_id, "frame": frame, "versions": {}}
    assert "names" not in live_panel.news(lab, asked)["parts"]
    parts = live_panel.news(lab, asked | {"large": True})["parts"]
    assert "au-names" in parts["names"][1] and parts["asked"][1] == ""
    versions = {name: version for name, (version, _) in parts.items()}
    again = live_panel.news(lab, asked | {"large": True, "versions": versions})["parts"]
    assert again == {}
    understood(lab, run_id, {1})
    again = live_panel.news(lab, asked | {"large": True, "versions": versions})["parts"]
    assert list(again) == ["names"]


@pytest.mark.browser
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1920, 1080)])
def test_all_of_it_stands_on_one_screen_in_letters_for_the_last_row(tmp_path, width, height):
    home = tmp_path / "home"
    lab = Lab.open(Storage(home))
    run_id = finished(lab, "before an audience")
    understood(lab, run_id, {1, 2, 3})
    lab.registry.add_metrics(run_id, [Metric("generalize", s, HELD_OUT, s / 13) for s in (3, 13)])
    with (
        served(home) as server,
        browser_page(server.url, width, height, tab="Train") as (page, traffic),
    ):
        page.locator("#live-large input").check()
        names = page.locator("#live-names .au-names li")
        until(lambda: names.count() == 20, 60, "the names are shown")
        page.locator("#live-curves .lc-words.lc-line").wait_for()
        for part in ("head", "curves", "names", "ask"):
            box = page.locator(f"#live-{part}").bounding_box()
            assert box["y"] >= 0 and box["x"] + box["width"] <= width + 1
            assert box["y"] + box["height"] <= height, f"{part} ends below the screen"
        letters = names.first.evaluate("e => parseFloat(getComputedStyle(e).fontSize)")
        assert letters >= height / 46
        bottom = page.locator("#live-curves").bounding_box()
        assert bottom["y"] + bottom["height"] > 0.85 * height, "the screen is used"
        assert not page.locator("#live-spots").is_visible()

        page.locator("#live-question :is(input, textarea)").fill("Who is it?")
        page.keyboard.press("Enter")
        page.locator("#live-asked").get_by_text("Who is it?").wait_for(timeout=60_000)
        page.locator("#live-large input").uncheck()
        page.locator("#train-form").wait_for()
        assert not page.locator("#live-names").is_visible()
        assert traffic.foreign == [] and traffic.errors == []
