"""Finds a Chromium or Chrome for the page's tests; as a script, installs one if there is none.

    python tests/support/browser.py

The order: the browser that `ROTELAB_BROWSER` names, an installed Chromium or Chrome, Playwright's
own. If there is none, the script installs Debian's package (with apt-get, as root), else
Playwright's own. Only the standard library is imported, so it runs anywhere.
"""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ON_PATH = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC_APPS = ("Chromium", "Google Chrome")
WINDOWS_FOLDERS = ("ProgramFiles", "ProgramFiles(x86)", "LOCALAPPDATA")
WINDOWS_PROGRAMS = (r"Google\Chrome\Application\chrome.exe", r"Chromium\Application\chrome.exe")

# Tests often run as root in a container, without a display; the browser itself must ask nobody.
ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# In a process of its own: Playwright refuses to start a second time inside a running one.
ASK_PLAYWRIGHT = """
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    print(playwright.chromium.executable_path)
"""


class NoBrowser(Exception):
    """There is no browser, or not the one that was asked for; the text says what to do."""


def find_browser() -> Path | None:
    """The browser to use, or None if there is none.

    Raises:
        NoBrowser: `ROTELAB_BROWSER` names something that is not there.
    """
    named = os.environ.get("ROTELAB_BROWSER")
    if named:
        program = shutil.which(named)
        if program is None:
            raise NoBrowser(
                f"ROTELAB_BROWSER names {named!r}, but there is no such program. "
                "Set it to the browser's full path, or unset it."
            )
        return Path(program)
    candidates = itertools.chain(
        _installed(), _playwrights_own()
    )  # lazy: asking Playwright is slow
    return next((path for path in candidates if _runs(path)), None)


def launch_options(headless: bool = True) -> dict[str, Any]:
    """Keyword arguments for Playwright's `chromium.launch()`.

    Raises:
        NoBrowser: there is none.
    """
    browser = find_browser()
    if browser is None:
        raise NoBrowser(f"No browser for the tests: run `{sys.executable} {__file__}` first.")
    return {"executable_path": str(browser), "headless": headless, "args": list(ARGS)}


def ensure_browser() -> Path:
    """The browser to use; installs one if there is none.

    Raises:
        NoBrowser: there is none and none could be installed.
    """
    browser = find_browser()
    if browser is None and _can_apt():
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]
        if _done(["apt-get", "update"], quiet) and _done(install, quiet):
            browser = find_browser()
    if browser is None and _done([sys.executable, "-m", "playwright", "install", "chromium"]):
        _ask_playwright.cache_clear()
        browser = find_browser()
    if browser is None:
        raise NoBrowser(
            "There is no Chromium or Chrome here, and none could be installed (see above). "
            "Install one, or set ROTELAB_BROWSER to its path, and run this again."
        )
    return browser


def _installed() -> Iterator[Path]:
    for name in ON_PATH:
        program = shutil.which(name)
        if program:
            yield Path(program)
    if sys.platform == "darwin":
        for folder in (Path("/Applications"), Path.home() / "Applications"):
            for app in MAC_APPS:
                yield folder / f"{app}.app" / "Contents" / "MacOS" / app
    if sys.platform == "win32":
        for variable in WINDOWS_FOLDERS:
            folder = os.environ.get(variable)
            if folder:
                for program in WINDOWS_PROGRAMS:
                    yield Path(folder, program)


def _playwrights_own() -> Iterator[Path]:
    path = _ask_playwright()
    if path is not None:
        yield path


@functools.cache
def _ask_playwright() -> Path | None:
    """The path that Playwright's own Chromium has or would have; None without Playwright."""
    try:
        answer = subprocess.run(
            [sys.executable, "-c", ASK_PLAYWRIGHT],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    path = answer.stdout.strip()
    return Path(path) if answer.returncode == 0 and path else None


def _runs(path: Path) -> bool:
    """Whether the browser starts: Ubuntu's `chromium-browser` may be a stub that prints a hint."""
    if not path.is_file():
        return False
    if sys.platform == "win32":  # there, `--version` opens a window
        return True
    try:
        answer = subprocess.run(
            [str(path), "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def _can_apt() -> bool:
    return shutil.which("apt-get") is not None and hasattr(os, "geteuid") and os.geteuid() == 0


def _done(command: list[str], env: dict[str, str] | None = None) -> bool:
    print("$", *command, file=sys.stderr, flush=True)
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=env)
    except OSError as error:
        print(error, file=sys.stderr)
        return False
    return ended.returncode == 0


def main() -> int:
    """Prints the browser's path; returns 1 and prints a sentence if there is none."""
    try:
        print(ensure_browser())
    except NoBrowser as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
