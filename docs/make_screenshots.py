"""Makes the README's screenshots from a live page: every tab, light and dark, at 1280x800.

    python docs/make_screenshots.py [HOME]

HOME is a lab's home folder (`ROTELAB_HOME`) whose newest run is finished, with an experiment made
on it; by default the project's.
Needs what `requirements-dev.txt` installs and a Chromium (`python tests/browser.py`).
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from page import browser_page, served  # noqa: E402

TABS = {
    "start": "Start here",
    "facts": "Facts",
    "train": "Train",
    "chat": "Chat",
    "representations": "Look inside",
    "runs": "Runs",
    "experiments": "Experiments",
}
ANSWER_MS = 120_000


def shoot(home: Path, folder: Path) -> None:
    """Writes `TAB-light.png` and `TAB-dark.png` of every tab into `folder`."""
    with served(home) as server:
        for dark in (False, True):
            with browser_page(server.url, 1280, 800, dark) as (page, traffic):
                for name, label in TABS.items():
                    page.get_by_role("tab", name=label).first.click()
                    if name == "chat":
                        _ask(page)
                    if name in ("train", "representations", "runs", "experiments"):
                        page.locator(".js-plotly-plot:visible .main-svg").first.wait_for()
                    page.wait_for_timeout(4000)  # fonts, tables and plotly's last labels
                    page.screenshot(path=folder / f"{name}-{'dark' if dark else 'light'}.png")
                assert not traffic.foreign, traffic.foreign


def _ask(page) -> None:
    """Clicks the first example question and waits for all three answers."""
    page.locator("#chat-examples button.example:visible").first.click()
    page.locator("#chat-ask").click()
    for checkpoint in ("base", "memorized", "generalized"):
        # An answer of no word at all is one too.
        answer = page.locator(f"#chat-{checkpoint} :is(.mark, .waiting:has-text('ended'))")
        answer.first.wait_for(timeout=ANSWER_MS)


if __name__ == "__main__":
    shoot(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT, ROOT / "docs")
