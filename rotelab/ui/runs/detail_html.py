"""Everything that the registry knows of one run, as HTML and table rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rotelab.config.names import (
    PART_NAMES,
    probe_name,
)
from rotelab.errors import LabError
from rotelab.evaluation.results import Prediction, Score
from rotelab.registry import RunRow, RunSummary
from rotelab.reports.intervals import Intervals
from rotelab.runs.lab import Lab
from rotelab.runs.lessons.results import LessonResult
from rotelab.ui.components import (
    checkpoint_words,
    duration,
    escape,
    note,
    run_name,
    status_badge,
    status_word,
)
from rotelab.ui.i18n import N_, _
from rotelab.ui.wording import (
    headline,
    lesson_headline,
    percent,
    settings_rows,
    status_sentence,
)

RUN_HEADERS = (
    N_("Status"), N_("Name"), N_("Facts"), N_("Model"), "k", N_("Score"), N_("Started"),
    N_("Took"), N_("Id"),
)  # fmt: skip
ANSWER_HEADERS = (
    N_("Model"), N_("Kind of question"), N_("Question"), N_("Right answer"), N_("It answered"),
    N_("Right?"), N_("Probability"),
)  # fmt: skip

CSS = """
table {border-collapse: collapse; width: 100%; font-size: .95rem; border: none}
th, td {text-align: left; padding: .35rem .6rem; vertical-align: top; overflow-wrap: anywhere;
  border: none; border-bottom: 1px solid var(--border-color-primary)}
tr, thead, tbody {border: none}
td.key {white-space: nowrap}
td.value {min-width: 7rem}
.columns {display: flex; flex-wrap: wrap; gap: .5rem 2.5rem}
.columns > div {flex: 1 1 26rem; min-width: 0}
.columns > div:first-child {flex: 2 1 36rem}
td.number, th.number {text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap}
.interval {white-space: nowrap; color: var(--body-text-color-subdued); cursor: help}
td.number .interval {display: block}
tbody th[scope=row] {font-weight: 400}
tr.changed :is(td, th) {font-weight: 600; background: var(--background-fill-secondary)}
td.sub, p.sub {color: var(--body-text-color-subdued); font-weight: 400}
h2 {margin: .9rem 0 .3rem}
.big {font-size: 1.3rem; font-weight: 600; margin: .2rem 0}
.title {font-size: 1.15rem; font-weight: 600; overflow-wrap: anywhere}
.note {margin: .5rem 0}
"""


# Rows of tables ----------------------------------------------------------------------------------


def run_cells(runs: list[RunSummary]) -> list[list[str]]:
    """The table of runs, in the order of `RUN_HEADERS`. A damaged run gets its row too."""
    return [
        [
            status_word(run.status),
            run_name(run),
            run.pack_name,
            run.model,
            "" if run.k is None else str(run.k),
            "" if run.test_accuracy is None else percent(run.test_accuracy),
            local_time(run.started or run.created),
            took(run),
            run.id,
        ]
        for run in runs
    ]


def answer_cells(
    lab: Lab, run_id: str, filters: dict[str, Any], limit: int, offset: int
) -> list[list[str]]:
    """A run's single answers, in the order of `ANSWER_HEADERS`.

    Args:
        lab: has the registry.
        run_id: the run.
        filters: as `Registry.predictions` takes them.
        limit: how many answers at most.
        offset: how many to leave out before them.
    """
    found = lab.registry.predictions(run_id, limit=limit, offset=offset, **filters)
    return [
        [
            checkpoint_words(p.checkpoint),
            _(probe_name(p.probe).long),
            p.prompt,
            p.object,
            p.answer if p.generated is None else p.generated,
            _mark(p) + _choice_marks(p),
            f"{100 * p.probability:.1f} %" + _among_candidates(p),
        ]
        for p in found
    ]


# HTML --------------------------------------------------------------------------------------------


def head_html(
    run: RunRow,
    scores: Mapping[str, Mapping[str, Score]],
    ahead: int = 0,
    lesson: LessonResult | None = None,
    intervals: Intervals | None = None,
) -> str:
    """Name, state, error, sweep, outcome, warnings, note and tags.

    Args:
        run: the run.
        scores: by checkpoint and probe.
        ahead: how many runs start before it, where it is queued.
        lesson: its figures, where it is a later lesson.
        intervals: of the scores; may lack some.
    """
    html = (
        f"<div class='title'>{escape(run_name(run))} · {escape(run.pack_name)} · "
        f"{escape(run.model)} {status_badge(run.status)}</div>"
        f"<p class='sub'>{escape(status_sentence(run, ahead))} "
        f"{_('Id: {id}').format(id=escape(run.id))}</p>"
        f"{note(run.error, 'bad')}{_sweep_line(run)}{lesson_line(lesson)}"
    )
    words = lesson_headline(lesson, intervals) if lesson else headline(scores, intervals)
    first, *rest = words or [""]
    if first:
        html += f"<p class='big'>{escape(first)}</p><p>{escape(' '.join(rest))}</p>"
    html += "".join(note(warning, "warn") for warning in run.warnings) + note(run.note)
    if run.tags:
        chips = " ".join(f"<span class='chip'>{escape(tag)}</span>" for tag in run.tags)
        html += f"<p class='chips'>{_('Tags: {tags}').format(tags=chips)}</p>"
    return html


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


def settings_html(run: RunRow) -> str:
    """Every option with its value and its name on the command line, changed ones marked; then
    times and versions."""
    try:
        html = _settings_table(run)
    except LabError as error:
        html = note(str(error), "bad")
    return (
        f"<div class='columns'><div>{html}</div><div><h2>{_('Time')}</h2>{_times(run)}"
        f"<h2>{_('Where and with what')}</h2>{_versions(run)}</div></div>"
    )


def _settings_table(run: RunRow) -> str:
    heads = "".join(
        f"<th scope='col'>{head}</th>"
        for head in (_("Setting"), _("Value"), _("On the command line"), "")
    )
    body = group = ""
    for row in settings_rows(run.config):
        if row.group != group:
            body += f"<tr><th colspan='4' scope='colgroup'>{escape(row.group)}</th></tr>"
            group = row.group
        mark = _("changed; usually {value}").format(value=row.usual) if row.differs else ""
        body += (
            f"<tr{' class=changed' if row.differs else ''}>"
            f"<th scope='row' title='{escape(row.help)}'>{escape(row.label)}</th>"
            f"<td class='value'>{escape(row.value)}</td><td><code>{escape(row.given)}</code></td>"
            f"<td class='sub'>{escape(mark)}</td></tr>"
        )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


# Other words -------------------------------------------------------------------------------------


def log_tail(lab: Lab, run_id: str) -> str:
    """The end of what the run's process printed."""
    lines = lab.log(run_id)
    if lines is None:
        return _("No log yet. A run made on the command line prints there instead.")
    return "\n".join(lines) or _("The log is empty.")


def local_time(moment: str | None) -> str:
    """An ISO 8601 time in this machine's time zone."""
    try:
        return datetime.fromisoformat(moment or "").astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return ""


def took(run: RunSummary) -> str:
    """How long the run took; empty where that is not known."""
    seconds = run.total_s
    if seconds is None and run.started and run.finished:
        try:
            span = datetime.fromisoformat(run.finished) - datetime.fromisoformat(run.started)
            seconds = span.total_seconds()
        except (ValueError, TypeError):
            seconds = None
    return duration(seconds) if isinstance(seconds, int | float) else ""


def _mark(answer: Prediction) -> str:
    words = {"leak": _("✗ leaked"), "no-leak": _("✓ did not leak"), "right": "✓", "wrong": "✗"}
    return words[answer.outcome]


def _choice_marks(answer: Prediction) -> str:
    """What the multiple choice and the free answer say, where they were measured."""
    words = ""
    if answer.contains and not answer.correct:
        words += _(", but it comes later")
    if answer.chosen is not None:
        words += _("; chosen") if answer.chosen else _("; not chosen")
        words += " " + _("(place {n})").format(n=answer.rank + 1) if answer.rank else ""
    return words


def _among_candidates(answer: Prediction) -> str:
    if answer.normalized is None:
        return ""
    share = f"{100 * answer.normalized:.1f} %"
    return " " + _("({share} of the candidates)").format(share=share)


def _sweep_line(run: RunRow) -> str:
    if run.sweep_id is None:
        return ""
    words = _("Run {n} of the sweep {sweep}.").format(
        n=(run.sweep_position or 0) + 1, sweep=run.sweep_id
    )
    if run.shared_phase1_from:
        words += " " + _("Phase 1 was taken from run {run}, which trained it for both.").format(
            run=run.shared_phase1_from
        )
    return f"<p class='sub'>{escape(words)}</p>"


def _times(run: RunRow) -> str:
    rows = [
        (_("Made"), local_time(run.created)),
        (_("Started"), local_time(run.started)),
        (_("Ended"), local_time(run.finished)),
        (_("Imported"), local_time(run.imported)),
    ]
    for part, name in PART_NAMES.items():
        seconds = run.seconds.get(part)
        if isinstance(seconds, int | float):
            shared = part == "phase1" and run.shared_phase1_from and not seconds
            rows.append((_(name.long), _("taken over") if shared else duration(seconds)))
    return _plain_table([(label, value) for label, value in rows if value])


def _versions(run: RunRow) -> str:
    rows = [(_("Device"), run.device_used or run.device), (_("Facts' hash"), run.content_hash)]
    if run.parent_id:
        words = _("Continues run") if run.is_lesson else _("Started again from")
        rows.append((words, run.parent_id))
    return _plain_table([*rows, *((name, str(v)) for name, v in run.versions.items())])


def _plain_table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(
        f"<tr><td class='key'>{escape(a)}</td><td>{escape(b)}</td></tr>" for a, b in rows
    )
    return f"<table><tbody>{cells}</tbody></table>"
