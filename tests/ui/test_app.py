"""The page's frame: errors as sentences, first start, serving to this machine only, all tabs."""

import inspect
import json
import logging
import math
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gradio as gr
import pytest
from support.page import ROOT, Server, browser_page, served, server, until  # noqa: F401

from rotelab.config.names import CHECKPOINT_NAMES
from rotelab.errors import LabError, ModelUnavailable
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.app import build_app, header_html
from rotelab.ui.components import (
    ago,
    bound,
    duration,
    escape,
    roughly,
    run_choices,
    shown,
    status_badge,
)
from rotelab.ui.model_setup import Provisioning, setup_html
from rotelab.ui.server import (
    QUEUE_RESTS_S,
    free_socket,
    keep_queue_moving,
    log_to_file,
    make_server_app,
)

TABS = ["Start here", "Facts", "Train", "Chat", "Look inside", "Runs", "Experiments"]

# Errors ------------------------------------------------------------------------------------------


def test_a_lab_error_is_shown_as_its_sentence_escaped():
    @shown
    def handler():
        raise LabError("“<b>x</b>” is not a name.")

    with pytest.raises(gr.Error) as caught:
        handler()
    assert caught.value.message == "“&lt;b&gt;x&lt;/b&gt;” is not a name."
    assert not caught.value.print_exception and caught.value.duration


def test_a_generators_error_is_shown_after_what_it_yielded():
    @shown
    def handler():
        yield 1
        raise LabError("Enough.")

    said = handler()
    assert next(said) == 1
    with pytest.raises(gr.Error, match="Enough"):
        next(said)


def test_a_fault_of_ours_is_logged_and_leaks_nothing(caplog):
    @shown
    def handler():
        raise ValueError("/secret/path")

    with caplog.at_level(logging.ERROR), pytest.raises(gr.Error) as caught:
        handler()
    assert "secret" not in caught.value.message and "fault" in caught.value.title
    assert "/secret/path" in caplog.text


def test_bound_handlers_keep_their_annotations():
    def handler(lab, text, request: gr.Request):
        return lab, text, request

    given = bound(handler, "the lab")
    request = gr.Request()
    args, *_ = gr.helpers.special_args(given, ["words"], request=request)
    assert given(*args) == ("the lab", "words", request)


# Words -------------------------------------------------------------------------------------------


def test_times_for_people():
    now = datetime(2026, 1, 1, tzinfo=UTC)

    def back(**span):
        return ago((now - timedelta(**span)).isoformat(), now)

    assert back(seconds=5) == "just now"
    assert (back(minutes=5), back(hours=3), back(days=1), back(days=9)) == (
        "5 min ago", "3 h ago", "1 day ago", "9 days ago",
    )  # fmt: skip
    assert ago(None) == ago("rubbish") == ""
    assert [duration(s) for s in (8, 125, 3780, None, float("nan"))] == [
        "8 s", "2 min 05 s", "1 h 03 min", "–", "–",
    ]  # fmt: skip
    # What is only guessed is not given to the second.
    assert [roughly(s) for s in (3, 47, 84, 89, 90, 125, 3299, 3780, 3600, None, math.nan)] == [
        "10 s", "50 s", "80 s", "90 s", "2 min", "2 min", "55 min", "1 h 00 min",
        "1 h 00 min", "–", "–",
    ]  # fmt: skip


def test_marks_never_let_html_through():
    assert "<script" not in status_badge("<script>") and escape('"<&') == "&quot;&lt;&amp;"


def test_the_header_names_the_three_states():
    assert all(name.long in header_html() for name in CHECKPOINT_NAMES.values())


def test_no_runs_no_choices():
    assert run_choices(Lab.open()) == []


# First start -------------------------------------------------------------------------------------


def test_set_up_shows_progress_then_is_ready():
    go = threading.Event()

    def provision(progress):
        progress(0.5, "Fetching <it>")
        assert go.wait(20)
        return Path()

    set_up = Provisioning(provision, lambda: False)
    assert not set_up.now.ready
    set_up.start()
    until(lambda: set_up.now.share == 0.5)
    set_up.start()  # a second press starts nothing
    html = setup_html(set_up.now)
    assert "50%" in html and "Fetching &lt;it&gt;" in html
    go.set()
    until(lambda: set_up.now.ready)


def test_a_failed_set_up_says_why_and_can_be_tried_again():
    outcomes = [ModelUnavailable("Connect to the network."), ValueError("ours"), None]

    def provision(progress):
        outcome = outcomes.pop(0)
        if outcome:
            raise outcome
        return Path()

    set_up = Provisioning(provision, lambda: False)
    set_up.start()
    until(lambda: set_up.now.failed)
    assert "Connect to the network" in setup_html(set_up.now)
    set_up.start()
    until(lambda: set_up.now.failed and "could not be set up" in set_up.now.text)
    set_up.start()
    until(lambda: set_up.now.ready)


def test_nothing_is_set_up_twice():
    def provision(progress):
        raise AssertionError("not again")

    set_up = Provisioning(provision, lambda: True)
    set_up.start()
    assert set_up.now.ready


@pytest.mark.parametrize("there", [True, False])
def test_what_comes_after_the_set_up_is_done_once(there):
    done = threading.Event()
    calls = []
    ready = [there]

    def provision(progress):
        ready[0] = True
        return Path()

    def afterwards():
        calls.append(ready[0])
        done.set()

    set_up = Provisioning(provision, lambda: there, afterwards=afterwards)
    set_up.start()
    assert done.wait(20)
    set_up.start()
    assert calls == [True]


# Serving -----------------------------------------------------------------------------------------


def test_a_busy_port_gives_the_next_free_one():
    first = free_socket(0)
    port = first.getsockname()[1]
    second = free_socket(port)
    assert second.getsockname()[0] == "127.0.0.1"
    assert second.getsockname()[1] > port
    first.close()
    second.close()


def test_the_queue_goes_on_after_an_error():
    lab, stop, calls = Lab.open(), threading.Event(), []

    class Jobs:
        def poll(self):
            calls.append(1)
            if len(calls) == 1:
                raise LabError("the disk is full")
            stop.set()

    broken = Lab(lab.storage, lab.registry, Jobs(), lab.chat)
    stop_waits = stop.wait
    stop.wait = lambda seconds: stop_waits(0)
    thread = threading.Thread(target=keep_queue_moving, args=(broken, stop), daemon=True)
    thread.start()
    thread.join(20)
    assert len(calls) == 2


def test_faults_go_to_the_log_file():
    path = log_to_file(Lab.open())
    assert path.name == "page.log"
    handler = next(
        h for h in logging.getLogger("rotelab.page").handlers if isinstance(h, logging.FileHandler)
    )
    logging.getLogger("rotelab.page").removeHandler(handler)
    handler.close()


def test_the_page_has_no_public_endpoint():
    demo = build_app(Lab.open())
    public = [fn.api_name for fn in demo.fns.values() if fn.api_visibility != "private"]
    assert public == []
    assert demo.get_api_info() == {"named_endpoints": {}, "unnamed_endpoints": {}}


def test_gradios_queue_rests_while_it_is_empty(tmp_path):
    lab = Lab.open(Storage(tmp_path / "home"))
    demo = build_app(lab)
    make_server_app(lab, demo, 0)
    assert demo._queue.sleep_when_free == QUEUE_RESTS_S
    assert "sleep_when_free" in inspect.getsource(type(demo._queue).start_processing)


def test_its_own_script_may_only_ask_for_news():
    """Functions that a component's script can call have no name in the list above."""
    demo = build_app(Lab.open())
    asked = {
        (block.elem_id, name)
        for block in demo.blocks.values()
        for name in dir(block)
        if getattr(getattr(block, name, None), "_is_server_fn", False)
    }
    panels = ("live-head", "chat-teach-live", "tour-own-live")
    assert asked == {(panel, "news") for panel in panels}


def test_the_page_is_built_before_torch_is_imported():
    code = (
        "import sys; from rotelab.runs.lab import Lab; from rotelab.ui.app import build_app;"
        "build_app(Lab.open()); print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=dict(os.environ), capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr


def status(url: str, data: bytes | None = None, **headers: str) -> int:
    """The HTTP status of a request with these headers."""
    request = urllib.request.Request(url, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_only_this_machine_is_answered(server: Server):  # noqa: F811
    assert status(server.url) == 200
    assert status(server.url, Host="evil.example") == 400
    join = f"{server.url}/gradio_api/queue/join"
    body = json.dumps({"data": [], "fn_index": 0, "session_hash": "x"}).encode()
    kind = {"Content-Type": "application/json"}
    assert status(join, body, Origin="http://evil.example", **kind) == 403
    assert status(join, body, Origin="http://localhost:9", **kind) == 403


def test_the_registry_is_never_served(server: Server):  # noqa: F811
    assert (server.home / "runs.db").is_file()
    for path in (server.home / "runs.db", server.home / "runs", ROOT / "app.py", "/etc/passwd"):
        assert status(f"{server.url}/gradio_api/file={path}") in (403, 404)
    # `docs` is the documentation (ui/manual); FastAPI would list the server's own routes there.
    for extra in ("redoc", "docs/oauth2-redirect", "openapi.json", "monitoring", "gradio_api/runs"):
        assert status(f"{server.url}/{extra}") in (403, 404), extra


def test_a_script_stands_before_gradios_own(server: Server):  # noqa: F811
    asked = urllib.request.Request(server.url, headers={"Accept-Encoding": "gzip, br"})
    with urllib.request.urlopen(asked) as answer:  # fails where its length is wrong
        page = answer.read().decode()
    calm = (ROOT / "assets" / "slow_clocks.js").read_text(encoding="utf-8")
    assert page.index(calm) < page.index('type="module"') and page.strip().endswith("</html>")


def test_it_says_one_line_with_the_address(server: Server):  # noqa: F811
    said = server.said.read_text()
    assert [line for line in said.splitlines() if server.url in line] != []
    assert "Traceback" not in said


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
def test_all_tabs_open_and_ask_nobody_else(server: Server, dark: bool):  # noqa: F811
    with browser_page(server.url, dark=dark) as (page, traffic):
        for name in TABS:
            tab = page.get_by_role("tab", name=name).first
            tab.click()
            until(lambda tab=tab: tab.get_attribute("aria-selected") == "true", what=name)
            panel = page.get_by_role("tabpanel").filter(visible=True).first
            until(lambda panel=panel: (panel.bounding_box() or {}).get("height", 0) > 60, what=name)
        assert page.locator(".toast-body.error").count() == 0
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, "the page scrolls sideways"
        assert traffic.foreign == [] and traffic.errors == []


@pytest.mark.browser
def test_a_page_at_rest_asks_for_no_frames(server: Server):  # noqa: F811
    """Gradio's own would, sixty times a second (`assets/slow_clocks.js`)."""
    counted = """window.asked = 0;
        const own = window.requestAnimationFrame.bind(window);
        window.requestAnimationFrame = (work) => { window.asked += 1; return own(work); };"""
    with browser_page(server.url, tab="") as (page, traffic):
        page.add_init_script(counted)
        page.reload()
        page.get_by_role("tab", name="1 Facts").click()

        def at_rest():
            before = page.evaluate("window.asked")
            page.wait_for_timeout(1000)
            return before and page.evaluate("window.asked") - before < 10

        until(at_rest, 30, "the page rests")
        assert traffic.errors == []


@pytest.mark.browser
def test_plotly_is_read_before_a_figure_is_shown(server: Server):  # noqa: F811
    with browser_page(server.url, tab="") as (page, traffic):
        page.wait_for_function("() => Boolean(window.Plotly)", timeout=60_000)
        assert page.locator(".js-plotly-plot").count() == 0
        assert traffic.errors == []


@pytest.mark.browser
def test_from_facts_one_goes_on_to_training_with_them(server: Server):  # noqa: F811
    with browser_page(server.url) as (page, _):
        page.locator("#facts-pack input").click()
        page.get_by_role("option", name="genre").click()
        name = page.locator("#facts-name").locator("input, textarea")
        until(lambda: name.input_value() == "my genre", what="genre is open")
        page.locator("#facts-train").click()
        train = page.get_by_role("tab", name="Train").first
        until(lambda: train.get_attribute("aria-selected") == "true", what="the Train tab")
        panel = page.get_by_role("tabpanel").filter(visible=True).first
        chooser = panel.get_by_label("Facts", exact=True).first
        until(lambda: "genre" in chooser.input_value(), what="genre is chosen there")


@pytest.mark.browser
def test_a_first_start_without_network_says_so_and_offers_another_try(tmp_path):
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    cache = {"ROTELAB_CACHE": str(tmp_path / "cache"), "PIP_EXTRA_INDEX_URL": ""}
    with (
        served(tmp_path / "fresh", **nowhere, **cache) as fresh,
        browser_page(fresh.url) as (page, traffic),
    ):
        page.get_by_text("Connect to the network").wait_for(timeout=60_000)
        page.locator("#setup-retry").click()
        page.get_by_text("First start").wait_for(timeout=60_000)
        page.get_by_text("Connect to the network").wait_for(timeout=60_000)
        assert "Connect to the network" in fresh.said.read_text()
        assert traffic.foreign == []
