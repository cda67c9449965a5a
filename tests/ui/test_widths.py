"""Every tab on a phone, a tablet, a projector (at 200 % zoom too) and a large screen.

`support.widths` says what counts as a fault. One server and one page a state; the window is resized
in place, as a person does it.
"""

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from support.fabricated import finished, running
from support.page import browser_page, served, until
from support.widths import faults_at

from rotelab.runs.lab import Lab
from rotelab.storage import Storage

SCREENS = {
    "phone": (390, 844),
    "projector at 200 %": (640, 360),
    "tablet": (820, 1180),
    "projector": (1280, 720),
    "large screen": (1920, 1080),
}
LONG = (
    "Grandmothers of the Österreichisch-Ungarische Donaudampfschifffahrtsgesellschaft, take two, "
    "rank 128, no replay"
)
RUNS = 28
"""More than a page of the table of runs."""
TOUR = ("tour-meet", "tour-on-rote", "tour-on-words", "tour-on-own")
"""The buttons that lead from step to step."""


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Iterator[tuple[str, str, list[str]]]:
    """The address of a page over many runs, every third with a long name and one at work, whose
    process is a stand-in that does nothing; the id of a finished run, and of two others."""
    home = tmp_path_factory.mktemp("widths") / "home"
    lab = Lab.open(Storage(home))
    made = [finished(lab, f"{LONG} {i}" if i % 3 == 0 else f"run {i}") for i in range(RUNS)]
    at_work = running(lab, f"{LONG}, at work")
    idle = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        lab.registry.set_process(at_work, idle.pid, psutil.Process(idle.pid).create_time())
        with served(home, example=True) as server:
            yield server.url, made[0], made[1:3]
    finally:
        idle.communicate(b"\n", timeout=30)


def open_tab(page, name: str) -> None:
    """Opens a tab by its id, and everything in it that is folded."""
    page.locator(f"#tab-{name}-button").first.click()
    panel = page.locator(f"#tab-{name}")
    until(lambda: (panel.bounding_box() or {}).get("height", 0) > 60, what=name)
    unfold(page)


def unfold(page) -> None:
    """Opens what is folded on the tab that is shown."""
    folded = page.locator(".label-wrap:not(.open):visible")
    for _ in range(folded.count()):  # one that is open is no longer among them
        folded.first.click()


def sub_tabs(page, within: str) -> Iterator[str]:
    """Opens one sub-tab after the other; yields their names."""
    for tab in page.locator(f"{within} [role=tablist] [role=tab]:visible").all():
        tab.click()
        until(lambda tab=tab: tab.get_attribute("aria-selected") == "true", what="sub-tab")
        unfold(page)
        yield tab.inner_text()


def places(page) -> Iterator[str]:
    """Opens every tab but *Runs*, with its sub-tabs and steps; yields what is open."""
    open_tab(page, "start")
    yield "Start here"
    for step, button in enumerate(TOUR, 2):
        page.locator(f"#{button}").click()
        page.locator(f"#{button}").wait_for(state="hidden")
        yield f"Start here, step {step}"
    open_tab(page, "facts")
    page.locator("#facts-table .body-cell").first.wait_for()
    yield from (f"Facts, {name}" for name in sub_tabs(page, "#tab-facts"))
    for name in ("train", "chat", "representations", "experiments"):
        open_tab(page, name)
        yield name


def look_everywhere(page, where: Iterator[str], screens=tuple(SCREENS)) -> list[str]:
    """Faults of all places on some screens, by default all, one line each."""
    found = []
    for place in where:
        for screen in screens:
            size = SCREENS[screen]
            found += [f"{place}, {screen}: {fault}" for fault in faults_at(page, *size)]
        # Chosen from here: on a phone, most tabs stand in a menu.
        page.set_viewport_size({"width": 1280, "height": 720})
    return found


@pytest.mark.browser
def test_every_width_shows_many_runs_with_long_names(many):
    url, done, others = many
    with browser_page(url, tab="") as (page, traffic):
        found = look_everywhere(page, places(page))

        def of_a_run() -> Iterator[str]:
            page.goto(f"{url}/?run={done}&compare={','.join(others)}")
            page.locator("#compare-scores table").first.wait_for(timeout=60_000)
            yield from (f"Runs, {name}" for name in sub_tabs(page, "#run-tabs"))

        def for_an_audience() -> Iterator[str]:
            open_tab(page, "train")
            page.locator("#live-large input").check()
            page.locator("body.for-audience #live-names").wait_for()
            yield "Train, for an audience"

        found += look_everywhere(page, of_a_run())
        found += look_everywhere(page, for_an_audience())
        assert not traffic.errors
    assert not found, "\n".join(found)


@pytest.mark.browser
def test_every_width_shows_an_empty_lab_in_a_language_with_long_words(tmp_path):
    with (
        served(tmp_path / "home") as server,
        browser_page(server.url, locale="de-DE", tab="") as (page, traffic),
    ):

        def no_runs() -> Iterator[str]:
            open_tab(page, "runs")
            yield "Runs"

        # Long words are a matter of narrow columns.
        screens = ("phone", "tablet", "projector")
        found = look_everywhere(page, places(page), screens)
        found += look_everywhere(page, no_runs(), screens)
        assert not traffic.errors
    assert not found, "\n".join(found)


BROKEN = {
    "the page scrolls sideways": "<p style='width:3000px'>wide</p>",
    "off the screen": "<p style='position:absolute; left:-50px'>left of it</p>",
    "narrow column": "<p style='width:5em'>one two three four five six seven eight nine ten</p>",
    "broken word": "<p style='width:3em; word-break:break-all'>Grandmothers</p>",
    "cut off": "<p style='width:5em; overflow:hidden; white-space:nowrap'>one two three four</p>",
    "cut to bits": "<p style='width:2em; overflow:hidden; text-overflow:ellipsis'>Grandmother</p>",
    "lies on": "<div class='lc'><span style='position:absolute'>one</span><span>two</span></div>",
    "tiny": "<div class='lc'><span style='font-size:5px'>small</span></div>",
    "beyond its chart": "<div class='lc' style='width:3em'><span style='margin-left:4em'>out</span>"
    "</div>",
}
"""What each fault looks like."""


@pytest.mark.browser
def test_each_fault_is_seen():
    from playwright.sync_api import sync_playwright
    from support.browser import launch_options

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**launch_options())
        page = browser.new_page()
        page.set_content("<p>Nothing is wrong with a short text.</p>")
        seen = {"": faults_at(page, 820, 600)}
        for fault, html in BROKEN.items():
            page.set_content(html)
            seen[fault] = faults_at(page, 820, 600)
        browser.close()
    assert seen.pop("") == []
    assert [fault for fault, said in seen.items() if fault not in " ".join(said)] == []
