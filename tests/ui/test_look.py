"""How the page can be seen and used: contrast and labels (axe-core), the keyboard."""

import subprocess
import sys

import psutil
import pytest
from support.axe import serious
from support.fabricated import finished, running
from support.page import browser_page, served, until

from rotelab.runs.lab import Lab
from rotelab.storage import Storage

TABS = {
    "Start here": "#tour .tour-facts",
    "Facts": "#facts-add",
    "Train": "#live-curves .lc-line",
    "Chat": "#chat-base .answer",
    "Look inside": "#representations-note .note",
    "Runs": "#run-head .title",
}
"""Each tab, and what is there once it is drawn."""
SUB_TABS = (
    "Curves", "Every answer", "Real facts", "Settings and time", "Name, files and log", "Sweep",
)  # fmt: skip


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A page over a finished run and one at work, whose process is a stand-in that does nothing;
    and the id of the first."""
    home = tmp_path_factory.mktemp("look") / "home"
    lab = Lab.open(Storage(home))
    done = finished(lab, "done")
    at_work = running(lab, "at work")
    idle = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        lab.registry.set_process(at_work, idle.pid, psutil.Process(idle.pid).create_time())
        with served(home) as server:
            yield server, done
    finally:
        idle.communicate(b"\n", timeout=30)


def open_tab(page, name):
    """Opens a tab and waits until it is drawn."""
    page.get_by_role("tab", name=name).first.click()
    page.locator(f"{TABS[name]}:visible").first.wait_for(timeout=60_000)


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
def test_no_tab_shuts_anybody_out(busy, dark):
    # The dark theme has other colours and the same elements.
    rules = ("color-contrast",) if dark else ()
    (server, done), found = busy, {}
    with browser_page(server.url, 1280, 720, dark, tab="") as (page, traffic):

        def look(place):
            found.update({f"{place}: {line}": None for line in serious(page, *rules)})

        for name in TABS:
            open_tab(page, name)
            look(name)
            if name == "Start here":
                page.locator("#tour-meet").click()
                page.locator("#tour-base:visible").wait_for()
                look("Start here, step 2")
            elif name == "Facts":
                page.get_by_role("tab", name="Wordings").click()
                page.get_by_text("Invent more facts").click()
                page.locator("#prompts-add").wait_for()
                look("Facts, wordings")
            elif name == "Train":
                page.get_by_text("Advanced").click()
                page.locator("#live-stop").click()
                page.locator("#live-sure").wait_for()
                look("Train, advanced and stopping")
        page.goto(f"{server.url}/?run={done}&__theme={'dark' if dark else 'light'}")
        page.locator("#run-bars .main-svg").first.wait_for(timeout=60_000)
        look("Runs, a finished one")
        for name in SUB_TABS:
            sub = page.locator("#run-tabs").get_by_role("tab", name=name).first
            sub.click()
            until(lambda sub=sub: sub.get_attribute("aria-selected") == "true", what=name)
            look(f"Runs, {name}")
        assert not traffic.foreign and not traffic.errors
    assert not found, "\n".join(found)


FOCUS = """() => {
    const at = document.activeElement, box = at.closest(".wrap:has(> .wrap-inner)");
    const ringed = [at, box].some(e => e && getComputedStyle(e).outlineStyle !== "none");
    return [at.id || at.closest("[id]")?.id || at.textContent, ringed];
}"""
"""What has the keyboard's focus (its id or that of its part), and whether it is seen to have it."""


@pytest.mark.browser
def test_training_is_started_from_the_keyboard_alone(busy):
    server, _ = busy
    registry = Lab.open(Storage(server.home)).registry
    with browser_page(server.url, tab="") as (page, _):
        page.get_by_role("tab", name="Train").first.wait_for()
        way = []
        while len(way) < 40 and (not way or way[-1][0] != "train-start"):
            page.keyboard.press("Tab")
            way.append(page.evaluate(FOCUS))
            if way[-1][0] == "tab-train-button":
                page.keyboard.press("Enter")
                for part in ("#train-preset input", "#train-pack input", "#train-start"):
                    page.locator(part).first.wait_for()
        assert [name for name, ringed in way if not ringed] == []
        order = list(dict.fromkeys(name for name, _ in way if name.startswith("train-")))
        assert order == ["train-preset", "train-pack", "train-start"]
        lists = page.locator("[role=listbox]:visible")
        until(lambda: not lists.count(), what="the list that was passed is closed again")
        page.keyboard.press("Enter")
        # The device is taken, so it waits.
        until(lambda: registry.count_runs(status=["queued"]) == 1, what="a run was started")
        until(lambda: "waiting" in page.locator("#live-head").inner_text().lower(), what="shown")
