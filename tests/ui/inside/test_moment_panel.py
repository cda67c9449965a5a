"""The moment of understanding on the page: the question, when it was, and the slider."""

import pytest
from support.fabricated import NASTY, finished
from support.page import browser_page, served, until

from rotelab.evaluation.results import LayerChance, Similarity, SpotAnswer
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.inside.moment_panel import fill_moment


def learn(lab, run_id, right=True, question=NASTY):
    """Two checks of phase 1 and three of phase 2, the last two right."""
    rows = [
        LayerChance(phase, step, layer, chance * layer / 4, 1 if right and chance > 0.5 else 9)
        for phase, step, chance in (
            ("memorize", 0, 0.0), ("memorize", 20, 0.1), ("generalize", 3, 0.2),
            ("generalize", 6, 0.7), ("generalize", 9, 0.9),
        )
        for layer in range(5)
    ]  # fmt: skip
    lab.registry.add_live_checks(run_id, [], rows)
    run = lab.registry.run(run_id)
    fact = run.config.split(run.pack.facts).held_out[0]
    index = run.pack.facts.index(fact)
    asked = SpotAnswer("generalize", 9, 2, 1, "test", index, question, fact.object, "x", True)
    lab.registry.add_spot_answers(run_id, [asked])


def test_the_question_and_the_moment_are_said(lab):
    run_id = finished(lab)
    assert not fill_moment(lab, run_id)[0].visible and not fill_moment(lab, None)[0].visible
    learn(lab, run_id)
    part, about, slider, figure = fill_moment(lab, run_id)
    assert part.visible and figure is not None
    assert "From step 6 of phase 2 on, <b>it answers right</b>" in about
    assert "from layer 0 on" in about and "No sentence of phase 2 is about it." in about
    assert "<img" not in about and "&lt;img" in about
    assert 'max="4"' in slider and "Time of asking" in slider
    assert slider.count("<span>") == 2, "only the first and the last have room"


def test_a_run_that_never_understood_says_so(lab):
    run_id = finished(lab)
    learn(lab, run_id, right=False)
    assert "still not its first choice" in fill_moment(lab, run_id)[1]


@pytest.mark.browser
def test_one_scrubs_over_the_boundary(tmp_path):
    home = tmp_path / "home"
    lab = Lab.open(Storage(home))
    run_id = finished(lab, "looked into")
    learn(lab, run_id, question="Whose child is she?")
    rows = [Similarity("generalized", layer, "key-test", 0.5) for layer in range(5)]
    lab.registry.add_similarities(run_id, rows)
    with served(home) as server, browser_page(server.url, tab="Look inside") as (page, traffic):
        plot = page.locator("#plot-moment .js-plotly-plot")
        plot.wait_for(timeout=60_000)
        title = plot.locator(".gtitle")
        until(lambda: title.text_content() == "Phase 2, step 9", 30, "it stands at the end")
        slider = page.locator(".player[data-plot='plot-moment'] input")
        until(lambda: slider.input_value() == "4", 30, "so does the slider")
        slider.focus()
        for step, name in ((3, "Phase 2, step 6"), (2, "Phase 2, step 3"), (1, "Phase 1, step 20")):
            page.keyboard.press("ArrowLeft")
            until(lambda name=name: title.text_content() == name, 20, name)
            x = "document.querySelector('#plot-moment .js-plotly-plot').data[0].x[0]"
            until(lambda x=x, step=step: page.evaluate(x) == step, 20, "the line moves")
            plot.locator(".heatmaplayer image").first.wait_for(state="attached")
        assert slider.get_attribute("aria-valuetext") == "Phase 1, step 20"
        assert traffic.errors == []
