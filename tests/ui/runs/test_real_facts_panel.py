"""The sub-tab “Real facts”: before and after side by side, the lost ones first."""

import re

from support.fabricated import DAMAGE, NASTY, finished, queued, quiz

from rotelab.evaluation.results import Damage, QuizAnswer
from rotelab.reports.forgotten import real_facts
from rotelab.ui.runs.real_facts_panel import fill_real_facts, real_facts_html


def rows(html):
    return re.findall("<tr class='([a-z-]+)'>", html)


def test_the_lost_come_first_and_can_stand_alone(lab):
    run_id = finished(lab)
    filter_, html = fill_real_facts(lab, run_id, False)
    assert filter_.visible
    assert "the model knew 57 before. Training kept 38 of them and lost <b>19</b>." in html
    assert rows(html) == ["lost"] * 19 + ["kept"] * 38
    first = html.partition("<tr class='lost'>")[2].partition("</tr>")[0]
    assert "The capital of Land 38 is" in first and "City 38" in first and "lost" in first
    assert first.count("✓") == 1 and first.count("✗ a river near 38") == 2
    _, lost = fill_real_facts(lab, run_id, True)
    assert rows(lost) == ["lost"] * 19 and "Land 0 " not in lost


def test_a_run_that_ended_after_phase_1_and_a_fact_that_was_never_known():
    base, memorized = quiz("base")[:3], quiz("memorized")[:3]
    base[0] = base[0]._replace(correct=False, said="a sea")
    memorized[0] = memorized[0]._replace(correct=False, said="")
    memorized[2] = memorized[2]._replace(correct=False, said="a hill")
    html = real_facts_html(real_facts({"base": base, "memorized": memorized}))
    assert rows(html) == ["lost", "never-known", "kept"]
    assert "✗ a sea" in html and "✗ (nothing)" in html and "Generalised" not in html
    assert "the model knew 2 before. Training kept 1" in html


def test_texts_of_a_model_are_no_markup():
    def answer(checkpoint, right):
        return [QuizAnswer(checkpoint, 0, NASTY, NASTY, NASTY, right)]

    html = real_facts_html(
        real_facts({"base": answer("base", True), "generalized": answer("generalized", False)})
    )
    assert "<img" not in html and html.count("&lt;img") == 3


def test_without_single_answers_it_says_why(lab):
    assert fill_real_facts(lab, None, False)[1] == "<p class='sub'></p>"
    waiting = queued(lab)
    filter_, words = fill_real_facts(lab, waiting, True)
    assert not filter_.visible and "after phase 1" in words
    lab.registry.request_stop(waiting)
    assert "was not asked any real facts" in fill_real_facts(lab, waiting, True)[1]
    old = finished(lab)
    for checkpoint, values in DAMAGE.items():
        lab.registry.add_damage(old, Damage(checkpoint, *values))
    assert "older version" in fill_real_facts(lab, old, False)[1]
