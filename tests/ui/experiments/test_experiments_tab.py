"""The Experiments tab: results and progress from its handlers, then in a real browser."""

import gradio as gr
import pytest
from support.fabricated import finished
from support.page import browser_page, served, until
from support.taught import taught_run

from rotelab.errors import LabError
from rotelab.experiments.runner import begin, carry_out
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.components import note
from rotelab.ui.experiments import experiments_tab, results


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tiny_folder):
    """A lab with one really trained tiny run."""
    lab = Lab.open(Storage(tmp_path_factory.mktemp("taught")))
    return lab, taught_run(lab, tiny_folder)


def test_the_tab_shows_results_and_how_an_experiment_ended(lab, one_more):
    assert results.list_results(lab, "head-count", [])[2] == note(results.NONE_MADE)
    with pytest.raises(LabError, match="there is none yet"):
        experiments_tab.start_experiment(lab, "head-count", None)
    assert results.poll(lab, "head-count", [], []) == gr.skip()
    first, second = (begin(lab, "head-count", finished(lab, name)) for name in ("<b>", "new"))
    lab.registry.update_experiment(second, share=0.25, message="<i>counting</i>")
    made, seen, state, _, _, stop, *_ = results.list_results(lab, "head-count", [])
    assert [i for _, i in made.choices] == [second, first] and made.value == second
    assert stop.visible and "25 %" in state and "&lt;i&gt;counting" in state
    # Begun elsewhere, on the command line say, where the page shows nothing yet.
    news = results.poll(lab, "head-count", [], [])
    lined = news[10]
    assert news[1] == seen and lined == [[first, "running"], [second, "running"]]
    for one in (first, second):
        lab.registry.end_experiment(one, "failed")
    assert results.poll(lab, "head-count", [], [])[10] == gr.skip(), "nothing runs"
    third = begin(lab, "head-count", lab.registry.experiment_row(second).run_id)
    seen, lined = [third, "running", 0.0, ""], [[third, "running"]]
    assert results.poll(lab, "head-count", seen, lined) == gr.skip(), "no news"
    carry_out(lab, third)
    _, seen, state, tables, figure, stop, page, _, _, _, lined, moved = results.poll(
        lab, "head-count", seen, lined
    )
    assert lined == [] and moved != gr.skip() and page.visible
    assert "Finished in" in state and "<td>20</td>" in tables and not stop.visible
    assert figure.visible and seen[1] == "finished"
    assert results.poll(lab, "head-count", seen, lined) == gr.skip()
    # The result on show stays when a newer one comes.
    assert results.list_results(lab, "head-count", [first, "running", 0.0, ""])[0].value == first
    lab.registry.delete_run(lab.registry.experiment_row(second).run_id)
    assert "deleted" in results.show(lab, second)[1]


def _open(page, title):
    page.locator("#experiment-choice button", has_text=title).first.click()


@pytest.mark.browser
def test_an_experiment_is_started_on_the_page(taught):
    lab, run_id = taught
    with (
        served(lab.storage.home) as server,
        browser_page(server.url, tab="Experiments") as (page, traffic),
    ):
        _open(page, "Collateral damage")
        chosen = page.locator("#experiment-run input")
        until(lambda: "mother" in chosen.input_value(), 30, "the run")
        page.locator("#experiment-start").click()
        state = page.locator("#experiment-state")
        state.get_by_text("%").wait_for(timeout=30_000)
        assert page.locator("#experiment-stop").is_visible()
        state.get_by_text("Finished in").wait_for(timeout=120_000)
        assert run_id in state.inner_text()
        table = page.locator("#experiment-tables table").first
        assert table.locator("tbody tr").count() == 3 and "quiz right" in table.inner_text()
        assert not page.locator("#experiment-stop").is_visible()
        drawing = page.locator("#plot-experiment .js-plotly-plot .main-svg").first
        drawing.wait_for(timeout=30_000)
        assert drawing.bounding_box()["height"] > 200
        until(lambda: "✓ result" in page.locator("[aria-current]:visible").inner_text(), 20)
        page.locator("#experiment-page").click()
        with page.expect_download() as sent:
            page.locator("#experiment-page-file").click()
        assert sent.value.suggested_filename.startswith("damage-exp-")
        search = page.locator("#experiment-search input, #experiment-search textarea")
        search.fill("memfree exact words")
        until(lambda: page.locator("#experiment-choice li").count() == 1, 20, "the search")
        search.fill("")
        until(lambda: page.locator("#experiment-choice li").count() > 10, 20, "all again")
        page.locator("[data-group=readers]").click()
        offer = page.locator("#experiment-group")
        offer.get_by_text("in all on this machine").wait_for()
        assert "Collateral damage" in offer.locator(".hint").last.inner_text(), "it is done"
        offer.get_by_role("button", name="Cancel").click()
        offer.wait_for(state="hidden")
        _open(page, "Depth of rote learning")
        state.get_by_text("has not been made yet").wait_for()
        _open(page, "Collateral damage")
        state.get_by_text("Finished in").wait_for()
        assert not traffic.foreign and not traffic.errors
    assert "Traceback" not in server.said.read_text()


def test_the_registry_is_asked_once_for_the_results(lab, one_more, monkeypatch):
    begin(lab, "head-count", finished(lab))
    asked = []
    real = lab.registry.experiment_rows
    monkeypatch.setattr(
        type(lab.registry), "experiment_rows", lambda self, *a: (asked.append(a), real(*a))[1]
    )
    results.list_results(lab, "head-count", [])
    assert len(asked) == 1
