"""The words of the live panel as HTML: the run's state, how much it recalls, and its outcome."""

from __future__ import annotations

from collections.abc import Mapping

from rotelab.config.names import checkpoint_name, lesson_number
from rotelab.errors import LabError
from rotelab.evaluation.results import Score
from rotelab.registry import RunSummary
from rotelab.registry.live import HELD_OUT
from rotelab.reports.forgotten import known_before, lost_by, real_facts
from rotelab.runs.lab import Lab
from rotelab.runs.lessons.results import lesson_result
from rotelab.ui.components import (
    escape,
    note,
    progress_bar,
    roughly,
    run_name,
    runs_ahead,
    status_badge,
)
from rotelab.ui.i18n import N_, _, ngettext
from rotelab.ui.wording import headline, lesson_headline, percent, preparing, status_sentence

NAMED = 4
"""Most lost real facts that are named; the Runs tab has all of them."""
TO_CHAT = "train-to-chat"
"""The element id of the button that asks the run on show in Chat; it is pressed from here."""
SAFE = N_("It is safe to reload or close this page: training goes on.")


def nothing_yet_html() -> str:
    """The panel in a lab without runs."""
    words = _(
        "No run yet. Choose the facts on the left and press <b>Start training</b>: this panel then "
        "shows the model learning, step by step."
    )
    return f"<p class='live-empty'>{words}</p>"


def head_html(lab: Lab, run: RunSummary, frame: str) -> str:
    """The words above the curves; `assets/live.js` reads from them which run is on show.

    Args:
        lab: has the run's scores and metrics.
        run: the run on show.
        frame: digest of what only Gradio's own event can change (`live_panel`).

    Raises:
        LabError: the registry can't be read.
    """
    waiting = lab.registry.count_runs(status="queued", archived=None, held=False)
    waiting -= run.status == "queued" and not run.held
    ahead = runs_ahead(lab, run)
    scores = {} if _unfinished(run) else lab.registry.scores(run.id)
    done = 1.0 if run.status == "finished" else min(1.0, max(0.0, run.share or 0.0))
    title = escape(run_name(run))
    details = _details(run, done, waiting)
    return (
        f"<div class='live-head' data-run='{escape(run.id)}' data-frame='{frame}'>"
        "<div class='live-words'>"
        f"<div class='live-title'>{title} · {escape(run.pack_name)} · {escape(run.model)} "
        f"{status_badge(run.status)}</div>"
        f"<div class='live-status' aria-live='polite'>{escape(status_sentence(run, ahead))}</div>"
        f"{progress_bar(done, _('Progress of the run'))}"
        f"<div class='live-small'>{details}</div>{_real_facts(lab, run)}</div>"
        f"<div class='live-recall'><b>{percent(_recalled(lab, run, scores))}</b>"
        f"{_('of the facts recalled<br>through the key token')}</div>"
        f"{_understood_html(lab, run, scores)}</div>"
        f"{_notes(lab, run, scores)}"
    )


def _unfinished(run: RunSummary) -> bool:
    return run.live or run.status == "queued"


def _details(run: RunSummary, done: float, waiting: int) -> str:
    """The small words under the bar: share done, time left, what it is doing, how many wait."""
    found = [_("{share} done").format(share=percent(done))] if run.live else []
    if run.live and run.eta_s is not None:
        found.append(_("about {time} left").format(time=roughly(run.eta_s)))
    if doing := preparing(run):
        found.append(escape(doing))
    if waiting > 0:
        words = ngettext("{n} more run waits.", "{n} more runs wait.", waiting)
        found.append(words.format(n=waiting))
    words = " · ".join(found)
    if not _unfinished(run):
        return words
    # An audience does not need it; a style sheet hides it there, with what parts it from the rest.
    return f"{words}<span class='live-safe'>{' · ' if words else ''}{_(SAFE)}</span>"


def _real_facts(lab: Lab, run: RunSummary) -> str:
    """How many real facts are left after the newest evaluation, and which were lost; empty before
    phase 1 is evaluated."""
    facts = real_facts(lab.registry.quiz_answers(run.id))
    if not facts:
        return ""
    newest = list(facts[0].answers)[-1]
    known, lost = known_before(facts), lost_by(facts, newest)
    if not known:  # a model that knew none of them can lose none
        return ""
    words = _("Of {known} real facts that it knew before, {kept} are left {when}.").format(
        known=known,
        kept=f"<b>{known - len(lost)}</b>",
        when=escape(_(checkpoint_name(newest).hint)),
    )
    if lost:
        named = "; ".join(escape(fact.sentence) for fact in lost[:NAMED])
        if len(lost) > NAMED:
            named += "; " + _("{n} more").format(n=len(lost) - NAMED)
        lost_words = _("Lost: {facts}.").format(facts=named)
        words += f" <span class='live-named'>{lost_words}</span>"
    return f"<div class='live-small live-lost'>{words}</div>"


def _notes(lab: Lab, run: RunSummary, scores: Mapping[str, Mapping[str, Score]]) -> str:
    """What went wrong, what came of it, what to do next, and the run's warnings."""
    notes = note(run.error, "bad")
    if _unfinished(run):
        return notes
    words = _headline(lab, run, scores)
    if words:
        following = (
            f"<button type='button' class='way' data-press='{TO_CHAT}'>"
            f"{_('Ask it yourself →')}</button>"
            f"<button type='button' class='way second' data-tab='runs'>"
            f"{_('Every single answer it gave')}</button>"
        )
        notes += (
            f"<div class='note note-good'><p class='live-big'>{escape(words[0])}</p>"
            f"<p>{escape(' '.join(words[1:]))}</p><p class='ways'>{following}</p></div>"
        )
    try:
        warnings = lab.registry.run(run.id).warnings
    except LabError:  # the row is damaged; the Runs tab says so
        warnings = ()
    return notes + "".join(note(warning, "warn") for warning in warnings)


def _headline(lab: Lab, run: RunSummary, scores: Mapping[str, Mapping[str, Score]]) -> list[str]:
    if any(map(lesson_number, scores)):
        return lesson_headline(lesson_result(lab.registry, run.id))
    return headline(scores)


def _recalled(lab: Lab, run: RunSummary, scores: Mapping[str, Mapping[str, Score]]) -> float | None:
    """The newest measured share of facts recalled through the key token."""
    if run.status == "finished":
        # Measured on all facts; recall during training covers the rehearsed ones only.
        last = next(filter(lesson_number, reversed(scores)), "generalized")
        score = scores.get(last, {}).get("key_token")
        if score:
            return score.generation_accuracy
    return lab.registry.newest_metric(run.id, "recall")


def _understood_html(lab: Lab, run: RunSummary, scores: Mapping[str, Mapping[str, Score]]) -> str:
    """The newest measured share of held-out facts answered in words; empty before the first."""
    share = None
    if run.status == "finished":
        score = scores.get("generalized", {}).get("test_prompts_heldout")
        share = score.generation_accuracy if score else None
    if share is None:
        share = lab.registry.newest_metric(run.id, HELD_OUT)
    if share is None or any(map(lesson_number, scores)):
        return ""
    words = _("of held-out questions<br>answered in words")
    return f"<div class='live-recall live-understood'><b>{percent(share)}</b>{words}</div>"
