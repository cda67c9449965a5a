"""How long a newcomer waits for the first right answer, and until their own names are understood.

    python benchmarks/first_minute.py [--tries 10] [--no-walk] [--json]

First a headless Chromium opens the page of an empty lab and clicks through “Start here” as fast as
the buttons allow. The seconds from opening the page to “It answers.” are the machine's: nobody
reads. Then, `--tries` times, the recorded run is taught four names of somebody's own by rote alone,
as the last step of “Start here” does it: names with apostrophes, accents, hyphens and
transliterations, drawn by the try's number. Each name is asked in three wordings that were never
trained, and in two unrelated questions. Reported are the seconds from the press to the first
answer (process start, learning and loading included), the share of the wordings that the chat finds
right, and the share of the unrelated questions in which the name comes out. `--json` ends with one
object.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests"))

from support.page import browser_page, served

from benchmarks.page_cost import ENDED
from rotelab.config.names import lesson_checkpoint
from rotelab.errors import LabError
from rotelab.evaluation.answer_match import contains
from rotelab.facts.facts import Fact
from rotelab.runs import demo
from rotelab.runs.chat import Reply
from rotelab.runs.lab import Lab
from rotelab.runs.lessons.teach import start_lesson
from rotelab.storage import Storage

NAMES, WORDINGS, UNRELATED = 4, 3, 2
OPTIONS: dict[str, Any] = {}
"""Options of a lesson that differ from the usual ones."""
LONGEST_S = 900
LOOK_EVERY_S = 0.1
WOMEN = (
    "Siobhán", "Anna-Lena", "Zoë", "Aigerim", "Mei-Ling", "Ngozi", "Þóra", "Ayşe", "Marie-Ève",
    "Olena", "Tamar", "Priya", "Renée", "Ilse", "Gintarė",
)  # fmt: skip
MEN = (
    "Jean-Luc", "Nurlan", "Xiaoming", "Björn", "Dmytro", "Yusuf", "Søren", "François", "Łukasz",
    "Kwame", "Haruki", "Ioannis", "D'Andre", "Håkon", "Chukwuemeka",
)  # fmt: skip
"""First names. A mother has a woman's, as whoever types a mother has it: until 2026-11-28 they were
drawn from both, and the trained model, which had read a hundred mothers' names, was asked for
mothers called Björn."""
LAST = (
    "O'Neill", "Brémond", "Äbenov", "Zhao", "Åkesson", "Groß", "Kovalchuk", "al-Masri", "D'Angelo",
    "Nørgaard", "Seitkali", "Tan-Wei", "Lefèvre", "Okonkwo", "Jónsdóttir", "Wiśniewski", "Yılmaz",
    "Owusu-Ansah", "Saint-Pierre", "Murakami", "Bondarenko", "Papadopoulos", "Gelashvili",
    "Raghunathan", "McAllister-Reed", "Vasquez-Lund", "Müller", "Šimkutė", "Ødegård", "Eze",
)  # fmt: skip
"""Awkward names, so that no spelling is one that the lab was made with."""


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures, prints, and returns what `--json` prints."""
    options = _options(words)
    report: dict[str, Any] = {"walk_s": None, "own": []}
    with tempfile.TemporaryDirectory() as folder:
        if not options.no_walk:
            with served(Path(folder) / "walk") as server:
                report["walk_s"] = round(first_answer(server.url), 1)
            print(f"from opening the page to “it answers”: {report['walk_s']} s", flush=True)
        lab = Lab.open(Storage(Path(folder) / "own"))
        print(f"{'try':>5} {'seconds':>8} {'answered':>9} {'unrelated':>10}")
        for number in range(options.tries):
            told = own_names(lab, number)
            report["own"].append(told)
            print(
                f"{number + 1:5} {told['seconds']:8.1f} {told['answered']:9.2f} "
                f"{told['unrelated']:10.2f}", flush=True,
            )  # fmt: skip
    if report["own"]:
        for name in ("seconds", "answered", "unrelated"):
            found = [told[name] for told in report["own"]]
            report[f"mean_{name}"] = round(statistics.mean(found), 4)
            report[f"worst_{name}"] = min(found) if name == "answered" else max(found)
        print(
            f"mean {report['mean_seconds']:.1f} s, answered {report['mean_answered']:.2f} (worst "
            f"try {report['worst_answered']:.2f}), unrelated {report['mean_unrelated']:.2f}"
        )
    if options.json:
        print(json.dumps(report))
    return report


def first_answer(url: str) -> float:
    """Seconds from opening the page to the generalised model's first right answer.

    The browser's time-out ends it where the model does not answer right.
    """
    began = time.monotonic()
    with browser_page(url, 1280, 800, tab="", guarded=False) as (page, _):

        def press(button: str, card: str) -> None:
            page.locator(button).click()
            page.locator(f"{card} .mark").wait_for(timeout=120_000)

        page.locator("#tour-meet").click()
        press("#tour-ask-base", "#tour-base")
        page.locator("#tour-on-rote").click()
        press("#tour-ask-key", "#tour-key")
        press("#tour-ask-rote", "#tour-rote")
        page.locator("#tour-on-words").click()
        press("#tour-ask-0", "#tour-all-generalized")
        page.get_by_text("It answers.").wait_for(timeout=30_000)
        return time.monotonic() - began


def own_names(lab: Lab, number: int) -> dict[str, Any]:
    """Teaches the recorded run some names by rote, asks for them, and returns what came of it.

    Raises:
        LabError: the lesson did not finish.
    """
    run_id = demo.open_run(lab)[0]
    facts = drawn_facts(number, lab.registry.run(run_id).pack.facts)
    began = time.monotonic()
    lesson = start_lesson(lab, run_id, facts, OPTIONS)
    checkpoint = lesson_checkpoint(1)
    while checkpoint not in lab.chat.checkpoints(lesson):
        run = lab.registry.run(lesson)
        if run.status in ENDED or time.monotonic() - began > LONGEST_S:
            raise LabError(f"The lesson is {run.status} after {LONGEST_S} s at most: {run.error}")
        time.sleep(LOOK_EVERY_S)
    prompts, rng = lab.registry.run(lesson).pack.prompts, random.Random(f"asked {number}")
    answered, leaked, took = [], [], 0.0
    for fact in facts:
        for role, count in (("test", WORDINGS), ("unrelated", UNRELATED)):
            known = prompts.of(fact.relation, role)
            for template in rng.sample(known, min(count, len(known))):
                said = _answer(lab, lesson, template.render(fact.subject), checkpoint)
                took = took or time.monotonic() - began
                if role == "test":
                    answered.append(said.verdict.right)
                else:
                    leaked.append(contains(said.text, fact.object))
    until = time.monotonic() + LONGEST_S
    while lab.registry.run(lesson).status not in ENDED and time.monotonic() < until:
        time.sleep(LOOK_EVERY_S)  # its evaluation would slow the next try
    return {
        "names": [[fact.subject, fact.object] for fact in facts],
        "seconds": round(took, 1),
        "answered": sum(answered) / len(answered),
        "unrelated": sum(leaked) / len(leaked),
    }


def drawn_facts(number: int, known: Iterable[Fact]) -> list[Fact]:
    """Four facts with awkward names that the run does not know, drawn by the number of the try."""
    rng = random.Random(f"own names {number}")
    taken = {fact.subject for fact in known}
    mothers = rng.sample([f"{first} {last}" for first in WOMEN for last in LAST], NAMES)
    anybody = [f"{first} {last}" for first in WOMEN + MEN for last in LAST]
    names = [n for n in rng.sample(anybody, 4 * NAMES) if n not in taken and n not in mothers]
    return [
        Fact(demo.RELATION, subject, mother)
        for subject, mother in zip(names[:NAMES], mothers, strict=True)
    ]


def _answer(lab: Lab, lesson: str, question: str, checkpoint: str) -> Reply:
    for reply in lab.chat.stream(lesson, question, [checkpoint], demo.ANSWER_TOKENS):
        if reply.done:
            return reply
    raise LabError(f"The model did not answer {question!r}.")


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tries", type=int, default=10, help="lessons, each with other names")
    parser.add_argument("--no-walk", action="store_true", help="leave the browser out")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args(words)
    if options.tries < 0:
        raise LabError("There can't be fewer than 0 tries.")
    return options


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        raise SystemExit(2) from None
