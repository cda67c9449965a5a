"""The scores of a run or of a later lesson, and what else its model still knows, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rotelab.config.names import (
    CHECKPOINTS,
    MEASURES,
    MORE_MEASURES,
    PROBE_NAMES,
    DisplayName,
    probe_name,
)
from rotelab.evaluation.results import Damage, Score
from rotelab.reports.intervals import Interval, Intervals, interval_at, quiz_interval
from rotelab.runs.lessons.results import NEW, OLD_ONES, LessonResult
from rotelab.ui.components import checkpoint_badge, interval_html
from rotelab.ui.i18n import N_, _
from rotelab.ui.wording import percent, questions_word

DAMAGE_WORDS = {
    "perplexity": (
        N_("Plain prose"),
        N_("Perplexity: how much it is surprised by plain prose."),
    ),
    "quiz": (
        N_("Real facts"),
        N_("Of a quiz of real facts, how many it answers right at once."),
    ),
    "divergence": (
        N_("Distance"),
        N_("How far the next word's odds are from the base model's (KL, nats)."),
    ),
}
"""Name and meaning of each measure of forgetting."""
NEW_NAMES = {
    "key_token": N_("New facts through the key token"),
    "train_prompts": N_("New facts, taught wordings"),
    "test_prompts": N_("New facts, new wordings"),
    "unrelated": N_("New facts, unrelated questions: lower is better"),
}
"""What a lesson's figures are called, by the names of `runs.lessons.results.NEW`."""


def scores_html(
    scores: Mapping[str, Mapping[str, Score]], intervals: Intervals | None = None
) -> str:
    """All scores at the three checkpoints, with the meaning of each question and each measure.

    Args:
        scores: by checkpoint and probe.
        intervals: of the scores; may lack some.
    """
    if not scores:
        words = _("Nothing asked yet; scores come with the first questions.")
        return f"<p class='sub'>{words}</p>"
    more = [field for field in MORE_MEASURES if _measured(scores, field)]
    shown = MEASURES | {field: MORE_MEASURES[field] for field in more}
    heads = "".join(
        f"<th class='number' scope='col' colspan='{len(shown)}'>{checkpoint_badge(c)}</th>"
        for c in CHECKPOINTS
    )
    names = "".join(f"<th class='number'>{_(name.short)}</th>" for name in shown.values())
    known = intervals or {}
    rows = "".join(_score_row(scores, known, probe, more) for probe in PROBE_NAMES)
    definitions = _definitions(shown.values(), known)
    return (
        f"<table><thead><tr><th rowspan='2' scope='col'>{_('What was asked')}</th>{heads}</tr>"
        f"<tr>{names * len(CHECKPOINTS)}</tr></thead><tbody>{rows}</tbody></table>{definitions}"
    )


def lesson_html(found: LessonResult, intervals: Intervals | None = None) -> str:
    """What a lesson did: its new facts after it, the old ones before and after it; empty where
    nothing was asked yet.

    Args:
        found: its figures; may lack some.
        intervals: of the scores; may lack some.
    """
    if not found.new and not found.old:
        return ""
    known = intervals or {}
    before, after = found.checkpoints
    new = "".join(
        _named_row(_(NEW_NAMES[name]), score.n, _measures(score, known, after, NEW[name]))
        for name, score in found.new.items()
    )
    old = "".join(
        _named_row(
            _(probe_name(OLD_ONES[name]).long), scores[1].n,
            "".join(_measures(score, known, at, OLD_ONES[name])
                    for at, score in zip(found.checkpoints, scores, strict=True)),
        )
        for name, scores in found.old.items()
    )  # fmt: skip
    new_heads = _heads([(checkpoint_badge(after), len(MEASURES))])
    old_heads = _heads([(checkpoint_badge(c), len(MEASURES)) for c in (before, after)])
    names = "".join(f"<th class='number'>{_(name.short)}</th>" for name in MEASURES.values())
    definitions = _definitions(MEASURES.values(), known)
    asked = f"<th rowspan='2' scope='col'>{_('What was asked')}</th>"
    return (
        f"<h4>{_('The new facts, learned by rote alone')}</h4>"
        f"<table><thead><tr>{asked}{new_heads}</tr><tr>{names}</tr></thead>"
        f"<tbody>{new}</tbody></table>"
        f"<h4>{_('The facts known before, before and after the lesson')}</h4>"
        f"<table><thead><tr>{asked}{old_heads}</tr><tr>{names * 2}</tr></thead>"
        f"<tbody>{old}</tbody></table>{definitions}"
    )


def _heads(columns: Sequence[tuple[str, int]]) -> str:
    return "".join(
        f"<th class='number' scope='col' colspan='{wide}'>{words}</th>" for words, wide in columns
    )


def _named_row(words: str, asked: int, cells: str) -> str:
    hint = f"<span class='sub'>{questions_word(asked)}</span>"
    return f"<tr><td><b>{words}</b><br>{hint}</td>{cells}</tr>"


def _measures(score: Score, intervals: Intervals, checkpoint: str, probe: str) -> str:
    """The cells of a lesson's figures at one checkpoint."""
    right, likely = (interval_at(intervals, checkpoint, probe, field) for field in MEASURES)
    return _figure(percent(score.generation_accuracy), right) + _figure(
        f"{100 * score.object_probability:.1f} %", likely, 1, False
    )


def _definitions(measures: Iterable[DisplayName], intervals: Intervals) -> str:
    """What the columns mean, and the brackets in them."""
    hints = [_(name.hint) for name in measures]
    if intervals:
        hints.append(
            _(
                "In brackets: the 95 % interval, in percent. It says how far a figure could be off "
                "by the luck of which facts were asked; what another seed or other wordings would "
                "change is not in it."
            )
        )
    return "".join(f"<p class='sub'>{hint}</p>" for hint in hints)


def _score_row(
    scores: Mapping[str, Mapping[str, Score]], intervals: Intervals, probe: str, more: list[str]
) -> str:
    cells = ""
    for checkpoint in CHECKPOINTS:
        score = scores.get(checkpoint, {}).get(probe)
        for field in ("generation_accuracy", "object_probability", *more):
            likely = field == "object_probability"
            value = "–"
            if score:
                found = getattr(score, field)
                value = f"{100 * found:.1f} %" if likely else percent(found)
            known = interval_at(intervals, checkpoint, probe, field) if score else None
            cells += _figure(value, known, int(likely), field == "generation_accuracy")
    asked = max((s[probe].n for s in scores.values() if probe in s), default=0)
    name = PROBE_NAMES[probe]
    return (
        f"<tr><td><b>{_(name.long)}</b><br><span class='sub'>{_(name.hint)} {questions_word(asked)}"
        f"</span></td>{cells}</tr>"
    )


def _figure(value: str, interval: Interval | None, digits: int = 0, bold: bool = True) -> str:
    """A cell with a figure, and its interval below."""
    figure = f"<b>{value}</b>" if bold else value
    return f"<td class='number'>{figure}{interval_html(interval, digits)}</td>"


def damage_html(found: Mapping[str, Damage]) -> str:
    """What training did to the model's other knowledge; nothing where that was not measured.

    Args:
        found: by checkpoint.
    """
    if not found:
        return ""
    heads = "".join(f"<th class='number' scope='col'>{checkpoint_badge(c)}</th>" for c in found)
    rows = ""
    for measure, (name, hint) in DAMAGE_WORDS.items():
        meaning, cells = _(hint), ""
        if measure == "quiz":
            meaning += f" {questions_word(max(row.questions for row in found.values()))}"
        for row in found.values():
            value = getattr(row, measure)
            if measure == "quiz":
                cells += _figure(percent(value), quiz_interval(row))
            else:
                cells += _figure(f"{value:.3g}", None)
        rows += f"<tr><td><b>{_(name)}</b><br><span class='sub'>{meaning}</span></td>{cells}</tr>"
    return (
        f"<h4>{_('What else it knew')}</h4><table><thead><tr><th></th>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _measured(scores: Mapping[str, Mapping[str, Score]], field: str) -> bool:
    found = (s for probes in scores.values() for s in probes.values())
    return any(getattr(score, field) is not None for score in found)
