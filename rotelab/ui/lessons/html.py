"""A lesson that is being learned, as HTML: how far it is, and each new name as it lights up."""

from __future__ import annotations

from collections.abc import Sequence

from rotelab.config.names import LESSON
from rotelab.facts.facts import Fact
from rotelab.registry import FactRecall, RunRow
from rotelab.ui.components import escape, progress_bar, roughly
from rotelab.ui.i18n import _, ngettext
from rotelab.ui.wording import preparing, status_sentence


def learning_html(
    run: RunRow, facts: Sequence[Fact], recalls: Sequence[FactRecall], ahead: int = 0
) -> str:
    """The lesson's state, a bar, and its new facts; `assets/live.js` reads from it which lesson it
    is.

    Args:
        run: the lesson.
        facts: its new facts.
        recalls: how well each is recalled now, by its index among all facts; empty at first.
        ahead: how many runs are before it, where it waits.
    """
    known = {r.fact_index: r for r in recalls}
    first = len(run.pack.facts) - len(facts)
    names = "".join(_name(fact, known.get(first + place)) for place, fact in enumerate(facts))
    right = sum(r.recalled for r in recalls)
    counted = ngettext("{n} of {m} name recalled", "{n} of {m} names recalled", len(facts))
    state = _state(run, ahead, right == len(facts))
    return (
        f"<div class='learning' data-lesson='{escape(run.id)}'>"
        f"<p class='learning-state' role='status'>{escape(state)}</p>"
        f"{progress_bar(_learned(run), _('Progress of the lesson'))}"
        f"<p class='hint'>{counted.format(n=right, m=len(facts))}{_time_left(run)}</p>"
        f"<ul class='learning-names'>{names}</ul></div>"
    )


def time_left_s(run: RunRow) -> float | None:
    """Seconds until the lesson's last learning step; None where that is not known.

    `eta_s` would count the questions as well, which are asked afterwards.
    """
    if run.phase != LESSON or not run.step or not run.steps or not run.eta_s or run.share >= 1:
        return None
    elapsed = run.eta_s * run.share / (1 - run.share)
    elapsed -= sum(float(run.seconds.get(part) or 0.0) for part in ("setup", "protect"))
    return max(0.0, elapsed) * (run.steps - run.step) / run.step


def _state(run: RunRow, ahead: int, all_recalled: bool) -> str:
    if run.status == "running" and run.phase == LESSON and run.step:
        if all_recalled:
            return _("All are recalled. More rounds make them firm; no sentence is read.")
        return _("Learning by rote. No sentence in words is read.")
    return status_sentence(run, ahead)


def _learned(run: RunRow) -> float:
    """The share of learning steps that are done."""
    if run.phase != LESSON or not run.steps:
        return 0.0
    return min(1.0, (run.step or 0) / run.steps)


def _time_left(run: RunRow) -> str:
    """The time that is left; before the first step, what is being done, which may take a while."""
    left = time_left_s(run)
    if left is not None:
        return " · " + _("about {time} left").format(time=roughly(left))
    doing = preparing(run)
    return f" · {escape(doing)}" if doing else ""


def _name(fact: Fact, recall: FactRecall | None) -> str:
    """A new fact; it lights up as its object becomes probable after subject and key token."""
    known = recall is not None and recall.recalled
    likely = recall.probability if recall else 0.0
    if known:
        words = f"{escape(fact.object)} ✓"
    else:
        words = escape(recall.said if recall and recall.said else "…")
    return (
        f"<li class='{'known' if known else ''}' style='--p:{likely:.2f}'>"
        f"<b>{escape(fact.subject)}</b><span>→ {words}</span></li>"
    )
