"""How long a newcomer waits for the first right answer, and for a short run on their own names.

    python benchmarks/first_minute.py [--tries 5] [--no-walk] [--json]

First a headless Chromium opens the page of an empty lab and clicks through “Start here” as fast as
the buttons allow. The seconds from opening the page to “It answers.” are the machine's: nobody
reads. Then the short run of the last step is repeated `--tries` times, each time with other names
(`rotelab.facts.synthetic`, another seed; four facts count as typed in by hand). Reported are its
seconds from the click to the end, process start and evaluation included, and how much it answers
through the key token, in the wordings of phase 2, and in test wordings about facts that phase 2
never saw. `--json` ends with one object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests"))

from support.page import browser_page, served

from benchmarks.page_cost import ENDED
from rotelab.errors import LabError
from rotelab.facts import synthetic
from rotelab.runs import demo
from rotelab.runs.lab import Lab
from rotelab.storage import Storage

TYPED = 4
LONGEST_S = 900
LOOK_EVERY_S = 0.2
PROBES = {
    "key": "key_token",
    "train": "train_prompts_heldout",
    "test": "test_prompts_heldout",
    "unrelated": "unrelated",
}


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
        print(f"{'names':>5} {'seconds':>8} " + " ".join(f"{name:>9}" for name in PROBES))
        for number in range(options.tries):
            told = own_run(lab, number)
            report["own"].append(told)
            figures = " ".join(f"{told[name]:9.2f}" for name in PROBES)
            print(f"{number + 1:5} {told['seconds']:8.1f} {figures}", flush=True)
    if report["own"]:
        for name in ("seconds", *PROBES):
            report[f"median_{name}"] = statistics.median(told[name] for told in report["own"])
        print(f"median {report['median_seconds']:.1f} s, test wordings {report['median_test']:.2f}")
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


def own_run(lab: Lab, number: int) -> dict[str, float]:
    """Makes one short run and returns its seconds and accuracies.

    Raises:
        LabError: the run did not finish.
    """
    invented = synthetic.invent(demo.RELATION, demo.OWN_FACTS, 1000 + number)
    typed = [[fact.subject, fact.object] for fact in invented[:TYPED]]
    began = time.monotonic()
    run_id = demo.start_own(lab, [*typed, *demo.own_rows()[TYPED:]])
    while (run := lab.registry.run(run_id)).status not in ENDED:
        if time.monotonic() - began > LONGEST_S:
            raise LabError(f"The run {run_id} has not ended within {LONGEST_S} s.")
        time.sleep(LOOK_EVERY_S)
    took = time.monotonic() - began
    if run.status != "finished":
        raise LabError(f"The run ended as {run.status}: {run.error}")
    scores = lab.registry.scores(run_id)["generalized"]
    told = {name: scores[probe].generation_accuracy for name, probe in PROBES.items()}
    return {"seconds": round(took, 1), **told}


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tries", type=int, default=5, help="short runs, each with other names")
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
