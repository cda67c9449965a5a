"""Serves the page in its own process and opens it in a real browser: `from support.page import …`.

`served(home)` starts the page of a home folder; `browser_page(...)` opens it in Chromium, blocks
every other host and notes the attempts.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from rotelab.models.download import embedded_folder
from support.browser import launch_options
from support.paths import ROOT

START_S = 90
PATIENCE = 3 if "PYTEST_XDIST_WORKER" in os.environ else 1
"""How much longer to wait than a test asks for, where the whole suite runs: the other worker may
have both cores for a while. A test that passes is no slower for it."""
START = (sys.executable, str(ROOT / "app.py"), "--port", "0")
LOOPBACK = {"127.0.0.1", "localhost"}


@dataclass(frozen=True)
class Server:
    """A page that is being served.

    Args:
        url: its address.
        home: its `ROTELAB_HOME`.
        said: the file with its output.
        process: its process.
    """

    url: str
    home: Path
    said: Path
    process: subprocess.Popen


@dataclass
class Traffic:
    """Requests to other hosts, and errors in the page's console."""

    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def until(condition: Callable[[], Any], seconds: float = 30, what: str = "") -> Any:
    """Waits until a condition holds and returns its value; `PATIENCE` times as long at most.

    Raises:
        AssertionError: it did not hold in time.
    """
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what or condition}")


@contextlib.contextmanager
def served(
    home: Path,
    command: Sequence[str] = START,
    cwd: Path = ROOT,
    example: bool = False,
    **environment: str,
) -> Iterator[Server]:
    """Serves the page of `home` on a free port, and ends it afterwards.

    It uses the user's embedded model, which need not be fetched again, but a cache of its own for
    everything else. `command`, started in the folder `cwd`, may be another program that serves.
    `example`: with the recorded run among its runs, as for everybody else.
    """
    home.mkdir(parents=True, exist_ok=True)
    said = home / "said.txt"
    env = {**os.environ, "ROTELAB_HOME": str(home), "PYTHONUNBUFFERED": "1", **environment}
    if "ROTELAB_CACHE" not in env:
        models, cache = embedded_folder().parent, home / "cache"
        models.mkdir(parents=True, exist_ok=True)
        cache.mkdir(exist_ok=True)
        if not (cache / "models").is_symlink():
            (cache / "models").symlink_to(models, target_is_directory=True)
        env["ROTELAB_CACHE"] = str(cache)
    with said.open("wb") as out:
        process = subprocess.Popen(
            [*command, *([] if example else ["--no-example"])],
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env, cwd=cwd,
        )  # fmt: skip
    try:

        def address() -> str | None:
            text = said.read_text(errors="replace")
            assert process.poll() is None, f"the page ended:\n{text}"
            return next((w for w in text.split() if w.startswith("http://127.")), None)

        yield Server(until(address, START_S, "the page is up"), home, said, process)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _end_runs(home)


def _end_runs(home: Path) -> None:
    """Ends the runs that the page started: they outlive it, and would slow other tests down."""
    for other in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environment = other.environ()
            if environment.get("ROTELAB_HOME") == str(home) and "ROTELAB_RUN" in environment:
                other.kill()


@contextlib.contextmanager
def browser_page(
    url: str,
    width: int = 1280,
    height: int = 720,
    dark: bool = False,
    tab: str = "Facts",
    locale: str = "en-US",
    guarded: bool = True,
) -> Iterator[tuple[Any, Traffic]]:
    """Opens the page in headless Chromium; blocks and notes requests to any other host.

    A lab without runs opens on “Start here”, so this chooses a tab, unless the name is empty. If
    guarded, every request goes through this program, which takes time: benchmarks do without.
    """
    from playwright.sync_api import sync_playwright

    traffic = Traffic()

    def route(route: Any) -> None:
        address = urlsplit(route.request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.hostname not in LOOPBACK:
            traffic.foreign.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**launch_options())
        try:
            context = browser.new_context(
                viewport={"width": width, "height": height}, locale=locale
            )
            context.set_default_timeout(30_000 * PATIENCE)
            page = context.new_page()
            if guarded:
                page.route("**/*", route)
            page.on("pageerror", lambda error: traffic.errors.append(str(error)))
            page.goto(f"{url}/?__theme={'dark' if dark else 'light'}")
            page.get_by_role("tab").first.wait_for(timeout=60_000)
            if tab and "?" not in url:  # an address may name a run, and so its own tab
                page.get_by_role("tab", name=tab).first.click()
            yield page, traffic
        finally:
            browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One page for all tests in a file."""
    with served(tmp_path_factory.mktemp("page") / "home") as running:
        yield running
