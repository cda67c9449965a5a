"""A result as one HTML file: whole, without another host, and what people wrote is no markup."""

import re
from dataclasses import dataclass, replace

import plotly.graph_objects as go
import pytest
from support.browser import launch_options
from support.fabricated import NASTY, finished

from rotelab.errors import LabError
from rotelab.experiments import Table
from rotelab.experiments.results.html_page import file_name, html_page, write_html
from rotelab.experiments.results.view import view_of
from rotelab.experiments.runner import begin, carry_out
from rotelab.reports.formats import Estimate
from rotelab.reports.intervals import Interval


@dataclass(frozen=True)
class Nasty:
    def tables(self):
        row = (NASTY, Estimate(0.5, Interval(0.25, 0.75)))
        return [Table(f"Table {NASTY}", ("name", NASTY), (row,))]

    def figure(self):
        return go.Figure(go.Bar(x=[NASTY, "</script><b>"], y=[1, 2], name=NASTY))


@pytest.fixture
def view(lab, one_more):
    made = begin(lab, "head-count", finished(lab))
    carry_out(lab, made)
    return view_of(lab, made)


def test_the_page_says_all_that_a_reader_needs(view):
    page = html_page(replace(view, found=Nasty(), sizes=NASTY))
    assert "How many?" in page and "Count them." in page and "0.50 [0.25, 0.75]" in page
    assert "python -m rotelab experiment head-count" in page and view.id in page
    assert "CPU cores" in page and f"rotelab {view.version}" in page
    assert "<img src=x" not in page and "</script><b>" not in page
    # Nothing is fetched: no file, style sheet or script of another address.
    assert not re.search(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=", page)
    assert "Recorded: this result" not in page
    assert "Recorded: this result" in html_page(replace(view, recorded=True))


def test_it_is_written_whole_or_not_at_all(view, tmp_path):
    path = write_html(view, tmp_path / "new" / file_name(view))
    assert path.read_text("utf-8").endswith("</html>\n")
    assert [p.name for p in path.parent.iterdir()] == [f"head-count-{view.id}.html"]
    with pytest.raises(LabError, match="can't be written"):
        write_html(view, path / "below a file.html")


@pytest.mark.browser
def test_a_browser_draws_it_without_a_network(view, tmp_path):
    from playwright.sync_api import sync_playwright

    path, asked, errors = write_html(view, tmp_path / "page.html"), [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**launch_options())
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        drawing = page.locator(".js-plotly-plot .main-svg").first
        drawing.wait_for()
        assert drawing.bounding_box()["height"] > 200
        browser.close()
    assert not errors and all(url.startswith(("file:", "data:", "blob:")) for url in asked)
