"""The page's address follows tab, run and question, and leads back; theme and language stay."""

import sys
import warnings
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import gradio as gr
import pytest
from support.fabricated import finished, queued
from support.page import ROOT, browser_page, served, until

from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.address import linked_run
from rotelab.ui.chat import chat_tab
from rotelab.ui.experiments import experiments_tab
from rotelab.ui.inside import inside_tab
from rotelab.ui.train.live_panel import Seen, update_panel


def address(**query):
    """A request of a page with such an address."""
    return SimpleNamespace(query_params=query)


def test_the_run_of_an_address_belongs_to_one_tab(lab):
    run_id = queued(lab)
    assert linked_run(lab, address(run=run_id), "runs") == run_id, "without a tab, it is Runs"
    assert linked_run(lab, address(run=run_id), "chat") == ""
    assert linked_run(lab, address(run=run_id[:-1], tab="chat"), "chat") == run_id
    assert linked_run(lab, address(run=run_id, tab="chat"), "runs") == ""
    assert linked_run(lab, address(tab="chat"), "chat") == linked_run(lab, None, "chat") == ""
    with pytest.warns(UserWarning, match="&lt;b&gt;"):
        assert linked_run(lab, address(run="<b>", tab="chat"), "chat") == ""


@pytest.mark.parametrize(
    ("module", "tab"),
    [(chat_tab, "chat"), (inside_tab, "representations"), (experiments_tab, "experiments")],
)
def test_a_tab_opens_with_the_run_of_the_address(lab, module, tab):
    old, new = finished(lab), finished(lab)
    asked = address(run=old, tab=tab)
    assert module.refresh(lab, None, [], asked)[0].value == old
    assert module.refresh(lab, None, [])[0].value == new
    # What a person chose since stays.
    assert "value" not in module.refresh(lab, new, [], asked)[0]._constructor_args[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert module.refresh(lab, None, [], address(run="gone", tab=tab))[0].value == new


def test_train_watches_the_run_of_the_address(lab):
    old, new = finished(lab), finished(lab)
    asked = address(run=old, tab="train")
    assert update_panel(lab, "", Seen(), asked)[0] == old
    assert update_panel(lab, "", Seen())[0] == new
    assert update_panel(lab, new, Seen(), asked)[0] == gr.skip()


def url(page):
    """The page's address now; `page.url` is only as new as the last thing asked of the browser."""
    return page.evaluate("location.href")


def at(page):
    """What the page's address says, theme apart."""
    query = {name: value for name, (value,) in parse_qs(urlsplit(url(page)).query).items()}
    return {name: value for name, value in query.items() if name != "__theme"}


def dark(page):
    return page.evaluate("document.body.classList.contains('dark')")


@pytest.fixture(scope="module")
def under_a_path(tmp_path_factory):
    home = tmp_path_factory.mktemp("address") / "home"
    lab = Lab.open(Storage(home))
    ids = [finished(lab, name) for name in ("first", "second")]
    command = (sys.executable, str(ROOT / "app.py"), "--port", "0", "--root-path", "/lab")
    with served(home, command) as server:
        yield server, ids


@pytest.mark.browser
def test_the_address_leads_back_and_themes_stay(under_a_path):
    server, (first, second) = under_a_path
    root = f"{server.url.removesuffix('/').removesuffix('/lab')}/lab"

    def open_tab(name):
        page.get_by_role("tab", name=name).first.click()

    def on_show(query):
        until(lambda: at(page) == query, 60, f"{query} in the address, which says {url(page)}")

    with browser_page(root, tab="") as (page, traffic):
        assert at(page) == {}, "a first visit's address stays as it is"
        open_tab("3 Chat")
        on_show({"tab": "chat", "run": second})
        page.locator("#chat-examples button").first.wait_for(timeout=60_000)

        page.locator("#chat-run input").click()
        page.get_by_role("option", name="first").click()
        on_show({"tab": "chat", "run": first})
        page.locator("#chat-question textarea").fill("Who is Mary Bahri’s mother? & more")
        here = {"tab": "chat", "run": first, "question": "Who is Mary Bahri’s mother? & more"}
        on_show(here)
        link = url(page)
        assert urlsplit(link).path.rstrip("/") == "/lab"
        open_tab("5 Runs")
        on_show({"tab": "runs", "run": second})
        until(lambda: "second" in page.locator("#run-head").inner_text(), 60)
        page.go_back()
        on_show(here)
        page.locator("#chat-question").wait_for()
        page.go_back()
        page.locator("#chat-question").wait_for(state="hidden")
        page.go_forward()
        on_show(here)

        # On a phone the last tabs are in a menu.
        page.set_viewport_size({"width": 390, "height": 844})
        page.locator("#page-tabs .overflow-menu:visible").first.wait_for()
        page.go_back()
        page.locator("#chat-question").wait_for(state="hidden")
        page.go_forward()
        page.locator("#chat-question").wait_for()
        page.evaluate("window.rotelabAddress.press('runs')")
        on_show({"tab": "runs", "run": second})
        page.go_back()
        on_show(here)
        page.set_viewport_size({"width": 1280, "height": 720})

        # Dark at once, figures too; and the address that came with a theme lets go of it.
        assert not dark(page) and "__theme=light" in url(page)
        open_tab("5 Runs")
        tick = page.locator("#run-bars .xtick text").first
        tick.wait_for()
        colours = "e => [getComputedStyle(e).fill, getComputedStyle(document.body).color]"
        light = tick.evaluate(colours)
        theme = page.get_by_label("Theme")
        assert theme.input_value() == "light" and theme.evaluate("e => e.tabIndex") == 0
        theme.focus()
        theme.press("D")
        until(lambda: dark(page), 10)
        assert "__theme" not in url(page) and tick.evaluate(colours) != light
        page.reload()
        until(lambda: "second" in page.locator("#run-head").inner_text(), 60, "the same tab")
        assert dark(page) and page.get_by_label("Theme").input_value() == "dark"
        page.get_by_label("Theme").select_option("system")
        until(lambda: not dark(page), 10)
        page.emulate_media(color_scheme="dark")
        until(lambda: dark(page), 10, "the system's theme is followed")

        # In another browser, a link shows the same; it asks nothing by itself.
        other = page.context.browser.new_context().new_page()
        other.goto(link)
        question = other.locator("#chat-question textarea")
        question.wait_for(timeout=60_000)
        until(lambda: question.input_value() == here["question"], 30)
        until(lambda: "first" in other.locator("#chat-run input").input_value(), 60)
        assert at(other) == here and other.locator("#chat-asked .asked-line").count() == 0
        assert Lab.open(Storage(server.home)).registry.chat_history(first) == []
        assert traffic.errors == []
