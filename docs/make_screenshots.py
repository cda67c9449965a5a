"""Takes the screenshots in `docs/images/` from a live page: every tab, light and dark, at 1280x800;
and writes `docs/tour.md`, which shows all of them.

    python docs/make_screenshots.py [HOME]
    python docs/make_screenshots.py --tour    # the words alone; a test checks that they are current

HOME is a lab's home folder (`ROTELAB_HOME`) whose newest run is finished; by default a new one,
which has the recorded run that comes with rotelab and its recorded results.
Needs what `requirements-dev.txt` installs and a Chromium (`python tests/support/browser.py`).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import psutil  # noqa: E402
from PIL import Image  # noqa: E402
from support.page import browser_page, served  # noqa: E402

OWN_NAMES = "own-names"
"""The picture of the tour's last step."""


class Tab(NamedTuple):
    """A tab of the page.

    Args:
        name: of its files.
        label: what stands on it.
        caption: what can be done there, in one sentence.
        look: what to look at first.
        more: further pictures, by the names of their files, and what each shows.
    """

    name: str
    label: str
    caption: str
    look: str
    more: tuple[tuple[str, str], ...] = ()


TABS = (
    Tab(
        "start",
        "Start here",
        "A five-step tour for people who have never trained a model, on a recorded run with real "
        "adapters, so that every click answers within seconds.",
        "Ask, teach by rote, ask again, teach a few sentences, ask once more. At the end you teach "
        "it names of your own, by rote alone, and ask about them, here or in Chat.",
        ((OWN_NAMES, "The last step: names of your own"),),
    ),
    Tab(
        "facts",
        "Facts",
        "What the model is to learn: take a shipped pack, write facts, have them invented, or "
        "import a file of almost any kind.",
        "The tables take typing and pasting as in a spreadsheet. A saved set keeps all its "
        "versions, and a row with a fault says what is wrong with it.",
    ),
    Tab(
        "train",
        "Train",
        "Both phases from one form, and a model that you can watch while it learns: recall, loss "
        "and held-out facts over both phases, a cell for each fact, answers to fixed questions.",
        "Point at a cell for the fact, its probability and what the model says now. *For an "
        "audience* shows it on one screen in large letters, with a box to ask the model while it "
        "trains. Reloading or closing the page stops nothing.",
    ),
    Tab(
        "chat",
        "Chat",
        "One question, three answers side by side: from the model as it came, after rote "
        "learning, and after a few sentences in words.",
        "The tint of each word piece is its probability. The badge below says whether an answer "
        "was known by rote, taught in words, or never taught in words, and how likely the right "
        "answer was. *Teach it more* adds names of yours; *Stump the model* counts what it misses.",
    ),
    Tab(
        "representations",
        "Look inside",
        "How alike the model finds a key token and questions in words, layer by layer and "
        "checkpoint by checkpoint; where an answer takes shape, and when; where a fact sits; a map "
        "of all prompts.",
        "In the rightmost state, the key token comes close to wordings of its own relation that "
        "were never trained, and not to unrelated ones. Every figure is saved as CSV, PNG or SVG.",
    ),
    Tab(
        "runs",
        "Runs",
        "Every run that was ever made, with its result, curves, every single answer, settings, "
        "files and log. Compare runs, or take one to another machine as one file.",
        "Select a row and open the sub-tabs under the table.",
    ),
    Tab(
        "experiments",
        "Experiments",
        "Questions from the paper, its readers and related papers, each put to a finished run with "
        "one click.",
        "Hypothesis and reading stand beside the numbers, so that you notice a surprise. Recorded "
        "results come with rotelab, to be read before you train.",
    ),
)
ANSWER_MS = 120_000
QUIET, LOOK_S, LOOKS = 0.15, 5, 120
"""The page says beside a time where other programs slow it, and no picture shows that. So it is
opened when less than this share of the cores was wanted in the last minute; looked at so often, in
seconds, and so many times at most."""
RARE_ONES_TOO = Image.Quantize.MAXCOVERAGE
"""The swatches of the three checkpoints are small, and must not fade into the greys."""
COLOURS = 256
"""Of a picture: as many as a page of this kind needs, at half the bytes of all."""


def shoot(home: Path, folder: Path) -> None:
    """Writes `TAB-light.png` and `TAB-dark.png` of every tab into `folder`.

    Raises:
        SystemExit: other programs use this machine all the time.
    """
    with served(home, example=True) as server:
        for dark in (False, True):
            theme = "dark" if dark else "light"
            _wait_for_quiet()
            with browser_page(server.url, 1280, 800, dark) as (page, traffic):
                for name, label, *_ in TABS:
                    _open(page, name, label)
                    _take(page, folder / f"{name}-{theme}.png")
                    if name == "start":
                        _last_step(page)
                        _take(page, folder / f"{OWN_NAMES}-{theme}.png")
                assert not traffic.foreign, traffic.foreign


def _open(page, name: str, label: str) -> None:
    """Chooses a tab, and waits until it shows what it has."""
    if name == "experiments":
        _wait_for_quiet()  # its times are found anew
    page.get_by_role("tab", name=label).first.click()
    if name == "chat":
        _ask(page)
    if name == "experiments":
        page.locator("#experiment-choice").get_by_text("Collateral damage").click()
    if name in ("train", "representations", "runs", "experiments"):
        page.locator(".js-plotly-plot .main-svg:visible, .lc-line:visible").first.wait_for()
    page.wait_for_timeout(4000)  # fonts, tables and plotly's last labels


def _wait_for_quiet() -> None:
    for _look in range(LOOKS):
        if psutil.getloadavg()[0] < QUIET * (os.cpu_count() or 1):
            return
        time.sleep(LOOK_S)
    raise SystemExit("Other programs use this machine, and the page says so. Stop them first.")


def _last_step(page) -> None:
    """Goes through the tour to its last step."""
    for button in ("meet", "on-rote", "on-words", "on-own"):
        page.locator(f"#tour-{button}").click()
    page.locator("#tour-own-table .body-cell").first.wait_for()
    page.wait_for_timeout(2000)


def _take(page, picture: Path) -> None:
    """Saves a picture of the page, in few colours."""
    page.screenshot(path=picture)
    few = Image.open(picture).convert("RGB").quantize(COLOURS, RARE_ONES_TOO, dither=0)
    few.save(picture, optimize=True)


def tour() -> str:
    """The text of `docs/tour.md`: every tab, its caption and its pictures."""
    parts = [
        "# A tour of the page",
        "Every tab in one picture. `python docs/make_screenshots.py` writes this page and takes "
        "the pictures, from a live page.",
    ]
    for tab in TABS:
        parts += [f"## {tab.label}", tab.caption, tab.look]
        parts += [_picture(*one) for one in ((tab.name, f"The tab {tab.label}"), *tab.more)]
    return "\n\n".join(parts) + "\n"


def _picture(name: str, says: str) -> str:
    """A picture in both themes; the site shows the one that fits its own."""
    shown = "\n".join(
        f"![{says}](images/{name}-{theme}.png#only-{theme})" for theme in ("light", "dark")
    )
    return f'<div class="shot" markdown>\n{shown}\n</div>'


def _ask(page) -> None:
    """Clicks the first example question, and waits for all three answers and for how likely the
    right one was."""
    page.locator("#chat-examples button.example:visible").first.click()
    for checkpoint in ("base", "memorized", "generalized"):
        # An answer of no word at all is one too.
        answer = page.locator(f"#chat-{checkpoint} :is(.mark, .waiting:has-text('ended'))")
        answer.first.wait_for(timeout=ANSWER_MS)
        likely = page.locator(f"#chat-{checkpoint} .evidence:not([aria-busy])")
        likely.wait_for(timeout=ANSWER_MS)


def main(arguments: list[str]) -> None:
    """Writes the tour, and takes the pictures unless only the tour is asked for."""
    (DOCS / "tour.md").write_text(tour(), encoding="utf-8")
    if arguments == ["--tour"]:
        return
    with tempfile.TemporaryDirectory() as fresh:
        shoot(Path(arguments[0] if arguments else fresh), DOCS / "images")


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    main(sys.argv[1:])
