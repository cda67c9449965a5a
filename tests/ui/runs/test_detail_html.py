"""The run's scores and answers as the page shows them: columns for what was measured, no others."""

from support.fabricated import finished, queued

from rotelab.config.names import MORE_MEASURES
from rotelab.evaluation.results import Damage, Prediction, Score
from rotelab.reports.intervals import Interval, intervals_of_run
from rotelab.runs.lab import Lab
from rotelab.ui.components import interval_html
from rotelab.ui.runs.detail_html import ANSWER_HEADERS, answer_cells, head_html
from rotelab.ui.runs.scores_html import damage_html, scores_html


def heads(html):
    return [html.count(f">{measure.short}</th>") for measure in MORE_MEASURES.values()]


def test_measures_that_were_not_taken_have_no_column(own_home):
    lab = Lab.open()
    html = scores_html(lab.registry.scores(finished(lab)))
    assert heads(html) == [0, 0, 0] and "colspan='2'" in html
    assert not any(measure.hint in html for measure in MORE_MEASURES.values())


def test_a_measure_that_was_taken_has_a_column_and_a_definition():
    scores = {"base": {"key_token": Score(4, 0.5, 0.25, choice_accuracy=0.75)},
              "generalized": {"key_token": Score(4, 0.5, 0.25)}}  # fmt: skip
    html = scores_html(scores)
    assert heads(html) == [3, 0, 0] and "colspan='3'" in html
    assert ">75 %<" in html and ">–<" in html
    assert [measure.hint in html for measure in MORE_MEASURES.values()] == [True, False, False]
    whole = {"base": {"key_token": Score(4, 0.5, 0.25, 0.75, 0.31, 0.88)}}
    html = scores_html(whole)
    assert heads(html) == [3, 3, 3] and ">31 %<" in html and ">88 %<" in html


def test_figures_have_their_intervals_and_what_these_are(own_home):
    lab = Lab.open()
    run_id = finished(lab)
    scores, intervals = (
        lab.registry.scores(run_id),
        intervals_of_run(lab.registry.fact_sums(run_id)),
    )
    html = scores_html(scores, intervals)
    assert "<b>75 %</b><span class='interval' title='95 % interval: how far" in html
    assert "67.5 %<span" in html and ">[55, 90]</span>" in html and "In brackets:" in html
    plain = scores_html(scores)
    assert "interval" not in plain and "In brackets" not in plain
    head = head_html(lab.registry.run(run_id), scores, intervals=intervals)
    assert "95 % interval over facts: 55 % to 90 %. Before: 0 %." in head
    assert "interval" not in head_html(lab.registry.run(run_id), scores)


def test_an_interval_in_percent():
    assert interval_html(None) == ""
    assert ">[−0.4, 12.5]<" in interval_html(Interval(-0.004, 0.125), 1)
    signed = interval_html(Interval(-0.0001, 0.125), 1, True, 'what "it" is')
    assert signed == ("<span class='interval' title='what &quot;it&quot; is'>[0.0, +12.5]</span>")


def test_forgetting_is_shown_beside_the_scores(own_home):
    lab = Lab.open()
    html = damage_html(lab.registry.damage(finished(lab)))
    assert html.count("<tr>") == 4 and html.count(">67 %<") == 1 and ">40.2<" in html
    assert "57 questions" in html and "<b>67 %</b><span class='interval'" in html
    assert html.count("class='interval'") == 3, "of the quiz alone"
    assert damage_html({}) == "", "an older run says nothing"
    broken = {"generalized": Damage("generalized", float("nan"), 9, 0.0, 57, float("nan"), 9)}
    assert ">nan<" in damage_html(broken)


def test_an_answer_shows_the_multiple_choice_and_the_free_answer(own_home):
    lab = Lab.open()
    run_id = queued(lab)
    about = ("test_prompts_heldout", 0, "mother", "Ann", "Bo", "Whose child is Ann?")
    rows = [
        Prediction(*about, "the sea…", False, 0.01),
        Prediction(*about, "the sea…", False, 0.01, 4, chosen=False, normalized=0.2, contains=True,
                   generated="the sea, or Bo"),
        Prediction(*about, "Bo", True, 0.9, chosen=True, contains=True),
    ]  # fmt: skip
    lab.registry.add_evaluation(run_id, "base", {}, rows)
    cells = [dict(zip(ANSWER_HEADERS, row, strict=True))
             for row in answer_cells(lab, run_id, {}, 10, 0)]  # fmt: skip
    shown = [(c["It answered"], c["Right?"], c["Probability"]) for c in cells]
    assert shown == [
        ("the sea…", "✗", "1.0 %"),
        ("the sea, or Bo", "✗, but it comes later; not chosen (place 5)",
         "1.0 % (20.0 % of the candidates)"),
        ("Bo", "✓; chosen", "90.0 %"),
    ]  # fmt: skip
