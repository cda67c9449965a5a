"""A later lesson in the Runs tab, as HTML: its figures, and which run it continues."""

from __future__ import annotations

from collections.abc import Sequence

from rotelab.config.names import MEASURES, probe_name
from rotelab.evaluation.results import Score
from rotelab.runs.lessons.results import OLD_ONES, LessonResult
from rotelab.ui.components import checkpoint_badge, escape
from rotelab.ui.i18n import N_, _
from rotelab.ui.wording import percent, questions_word

NEW_NAMES = {
    "key_token": N_("New facts through the key token"),
    "train_prompts": N_("New facts, taught wordings"),
    "test_prompts": N_("New facts, new wordings"),
    "unrelated": N_("New facts, unrelated questions: lower is better"),
}
"""What a lesson's figures are called, by the names of `runs.lessons.results.NEW`."""


def lesson_html(found: LessonResult) -> str:
    """What a lesson did: its new facts after it, the old ones before and after it; empty where
    nothing was asked yet.

    Args:
        found: its figures; may lack some.
    """
    if not found.new and not found.old:
        return ""
    before, after = found.checkpoints
    new = "".join(_new_row(name, score) for name, score in found.new.items())
    old = "".join(_old_row(name, *scores) for name, scores in found.old.items())
    new_heads = _heads([(checkpoint_badge(after), len(MEASURES))])
    old_heads = _heads([(checkpoint_badge(c), len(MEASURES)) for c in (before, after)])
    names = "".join(f"<th class='number'>{_(name.short)}</th>" for name in MEASURES.values())
    definitions = "".join(f"<p class='sub'>{_(name.hint)}</p>" for name in MEASURES.values())
    asked = f"<th rowspan='2' scope='col'>{_('What was asked')}</th>"
    return (
        f"<h4>{_('The new facts, learned by rote alone')}</h4>"
        f"<table><thead><tr>{asked}{new_heads}</tr><tr>{names}</tr></thead>"
        f"<tbody>{new}</tbody></table>"
        f"<h4>{_('The facts known before, before and after the lesson')}</h4>"
        f"<table><thead><tr>{asked}{old_heads}</tr><tr>{names * 2}</tr></thead>"
        f"<tbody>{old}</tbody></table>{definitions}"
    )


def lesson_line(lesson: LessonResult | None) -> str:
    """Which lesson it is, and of which run; empty for any other run."""
    if lesson is None:
        return ""
    if lesson.parent_run_id is None:
        words = _("Lesson {n}. The run that it continues is gone.").format(n=lesson.number)
    else:
        words = _("Lesson {n}; it continues run {run}. No sentence in words was read.").format(
            n=lesson.number, run=lesson.parent_run_id
        )
    return f"<p class='sub'>{escape(words)}</p>"


def _heads(columns: Sequence[tuple[str, int]]) -> str:
    return "".join(
        f"<th class='number' scope='col' colspan='{wide}'>{words}</th>" for words, wide in columns
    )


def _new_row(name: str, score: Score) -> str:
    return _named_row(_(NEW_NAMES[name]), score.n, _measures(score))


def _old_row(name: str, before: Score, after: Score) -> str:
    words = _(probe_name(OLD_ONES[name]).long)
    return _named_row(words, after.n, _measures(before) + _measures(after))


def _named_row(words: str, asked: int, cells: str) -> str:
    hint = f"<span class='sub'>{questions_word(asked)}</span>"
    return f"<tr><td><b>{words}</b><br>{hint}</td>{cells}</tr>"


def _measures(score: Score) -> str:
    return (
        f"<td class='number'><b>{percent(score.generation_accuracy)}</b></td>"
        f"<td class='number'>{100 * score.object_probability:.1f} %</td>"
    )
