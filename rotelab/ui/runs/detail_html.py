"""One run in detail, as HTML and tables: all that the registry knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rotelab.config.names import (
    CHECKPOINTS,
    MEASURES,
    MORE_MEASURES,
    PARTS,
    PROBE_NAMES,
    checkpoint_name,
    probe_name,
)
from rotelab.errors import LabError
from rotelab.evaluation.results import Damage, Prediction
from rotelab.registry import RunRow, RunSummary
from rotelab.runs.lab import Lab
from rotelab.ui.components import (
    checkpoint_badge,
    duration,
    escape,
    run_name,
    status_badge,
    status_word,
)
from rotelab.ui.i18n import N_, _
from rotelab.ui.wording import (
    headline,
    percent,
    settings_rows,
    status_sentence,
)

RUN_HEADERS = [
    N_("Status"),
    N_("Name"),
    N_("Facts"),
    N_("Model"),
    "k",
    N_("Score"),
    N_("Started"),
    N_("Took"),
    N_("Id"),
]
ANSWER_HEADERS = [
    N_("Model"),
    N_("Kind of question"),
    N_("Question"),
    N_("Right answer"),
    N_("It answered"),
    N_("Right?"),
    N_("Probability"),
]
LOG_BYTES = 20_000

DAMAGE_WORDS = {
    "perplexity": (N_("Plain prose"), N_("Perplexity: how much it is surprised by plain prose.")),
    "quiz": (N_("Real facts"), N_("Of a quiz of real facts, how many it answers right at once.")),
    "divergence": (N_("Distance"), N_("How far the next word's odds are from base (KL, nats).")),
}
"""What else the model knew: what each measure is called, and what it says."""

CSS = """
table {border-collapse: collapse; width: 100%; font-size: .95rem; border: none}
th, td {text-align: left; padding: .35rem .6rem; vertical-align: top; overflow-wrap: anywhere;
  border: none; border-bottom: 1px solid var(--border-color-primary)}
tr, thead, tbody {border: none}
td.key {white-space: nowrap}
.columns {display: flex; flex-wrap: wrap; gap: .5rem 2.5rem}
.columns > div {flex: 1 1 26rem; min-width: 0}
.columns > div:first-child {flex: 2 1 36rem}
td.number, th.number {text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap}
tbody th[scope=row] {font-weight: 400}
tr.changed :is(td, th) {font-weight: 600; background: var(--background-fill-secondary)}
td.sub, p.sub {color: var(--body-text-color-subdued); font-weight: 400}
h2 {margin: .9rem 0 .3rem}
.big {font-size: 1.3rem; font-weight: 600; margin: .2rem 0}
.title {font-size: 1.15rem; font-weight: 600; overflow-wrap: anywhere}
.note {margin: .5rem 0}
"""


def run_cells(runs: list[RunSummary]) -> list[list[str]]:
    """The table's rows, in the order of `RUN_HEADERS`. A damaged run gets its row too."""
    return [_run_cells(run) for run in runs]


def head_html(run: RunRow, scores: Any, ahead: int = 0) -> str:
    """Name, status in words, error, what came of it, warnings."""
    title = escape(run_name(run))
    html = (
        f"<div class='title'>{title} · {escape(run.pack_name)} · {escape(run.model)} "
        f"{status_badge(run.status)}</div>"
        f"<p class='sub'>{escape(status_sentence(run, ahead))} Id: {escape(run.id)}</p>"
    )
    if run.error:
        html += f"<div class='note note-bad'>{escape(run.error)}</div>"
    html += _sweep_line(run)
    words = headline(scores)
    if words:
        html += f"<p class='big'>{escape(words[0])}</p><p>{escape(' '.join(words[1:]))}</p>"
    for warning in run.warnings:
        html += f"<div class='note note-warn'>{escape(warning)}</div>"
    if run.note:
        html += f"<div class='note'>{escape(run.note)}</div>"
    if run.tags:
        chips = " ".join(f"<span class='chip'>{escape(tag)}</span>" for tag in run.tags)
        html += f"<p class='chips'>Tags: {chips}</p>"
    return html


def scores_html(scores: Any) -> str:
    """Every score at the three checkpoints, with what each question and each figure means."""
    if not scores:
        words = _("Nothing asked yet; scores come with the first questions.")
        return f"<p class='sub'>{words}</p>"
    more = [name for name in MORE_MEASURES if _measured(scores, name)]
    heads = "".join(
        f"<th class='number' scope='col' colspan='{2 + len(more)}'>{checkpoint_badge(c)}</th>"
        for c in CHECKPOINTS
    )
    columns = [_("right"), _("probability"), *(_(MORE_MEASURES[name].short) for name in more)]
    names = "".join(f"<th class='number'>{words}</th>" for words in columns)
    html = (
        f"<table><thead><tr><th rowspan='2' scope='col'>{_('What was asked')}</th>{heads}</tr><tr>"
        + names * len(CHECKPOINTS)
        + "</tr></thead><tbody>"
    )
    for probe, words in PROBE_NAMES.items():
        cells = ""
        for checkpoint in CHECKPOINTS:
            score = scores.get(checkpoint, {}).get(probe)
            accuracy = percent(score.generation_accuracy) if score else "–"
            likely = f"{100 * score.object_probability:.1f} %" if score else "–"
            cells += f"<td class='number'><b>{accuracy}</b></td><td class='number'>{likely}</td>"
            for name in more:
                value = percent(getattr(score, name)) if score else "–"
                cells += f"<td class='number'>{value}</td>"
        asked = max((s[probe].n for s in scores.values() if probe in s), default=0)
        html += (
            f"<tr><td><b>{_(words.long)}</b><br><span class='sub'>{_(words.hint)} "
            f"{_('{n} questions.').format(n=asked)}</span></td>{cells}</tr>"
        )
    explained = [*MEASURES.values(), *(MORE_MEASURES[name] for name in more)]
    definitions = "".join(f"<p class='sub'>{_(measure.hint)}</p>" for measure in explained)
    return f"{html}</tbody></table>{definitions}"


def damage_html(found: Mapping[str, Damage]) -> str:
    """What learning did to all the rest, at each checkpoint; nothing where nobody looked."""
    if not found:
        return ""
    heads = "".join(f"<th class='number' scope='col'>{checkpoint_badge(c)}</th>" for c in found)
    html = (
        f"<h4>{_('What else it knew')}</h4><table><thead><tr><th></th>{heads}</tr></thead><tbody>"
    )
    for measure, (name, hint) in DAMAGE_WORDS.items():
        values = [getattr(row, measure) for row in found.values()]
        cells = [percent(v) if measure == "quiz" else f"{v:.3g}" for v in values]
        hint = _(hint)
        if measure == "quiz":
            asked = max(row.questions for row in found.values())
            hint += " " + _("{n} questions.").format(n=asked)
        html += f"<tr><td><b>{_(name)}</b><br><span class='sub'>{hint}</span></td>"
        html += "".join(f"<td class='number'><b>{cell}</b></td>" for cell in cells) + "</tr>"
    return f"{html}</tbody></table>"


def settings_html(run: RunRow) -> str:
    """Every option, those that differ from the usual marked, with what the command line calls it;
    then times and versions."""
    try:
        rows = settings_rows(run.config)
    except LabError as error:
        html = f"<div class='note note-bad'>{escape(error)}</div>"
    else:
        heads = (_("Setting"), _("Value"), _("On the command line"), "")
        html = "<table><thead><tr>"
        html += "".join(f"<th scope='col'>{head}</th>" for head in heads) + "</tr></thead><tbody>"
        group = ""
        for row in rows:
            if row.group != group:
                html += f"<tr><th colspan='4' scope='colgroup'>{escape(row.group)}</th></tr>"
                group = row.group
            mark = f"changed; usually {escape(row.usual)}" if row.differs else ""
            html += (
                f"<tr{' class=changed' if row.differs else ''}>"
                f"<th scope='row' title='{escape(row.help)}'>{escape(row.label)}</th>"
                f"<td>{escape(row.value)}</td><td><code>{escape(row.given)}</code></td>"
                f"<td class='sub'>{mark}</td></tr>"
            )
        html += "</tbody></table>"
    return (
        f"<div class='columns'><div>{html}</div><div><h2>{_('Time')}</h2>{_times(run)}"
        f"<h2>{_('Where and with what')}</h2>{_versions(run)}</div></div>"
    )


def answer_cells(lab: Lab, run_id: str, filters: dict[str, Any], limit: int, offset: int) -> Any:
    """Single answers, in the order of `ANSWER_HEADERS`."""
    found = lab.registry.predictions(run_id, limit=limit, offset=offset, **filters)
    return [
        [
            _(checkpoint_name(p.checkpoint).long),
            _(probe_name(p.probe).long),
            p.prompt,
            p.object,
            p.answer if p.generated is None else p.generated,
            _mark(p.probe, p.correct) + _more_marks(p),
            f"{100 * p.probability:.1f} %" + _among_candidates(p),
        ]
        for p in found
    ]


def log_tail(lab: Lab, run_id: str) -> str:
    """The end of what the run's process printed."""
    try:
        path = lab.storage.log_file(run_id)
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
    except (OSError, LabError):
        return "No log yet. A run made on the command line prints there instead."
    # A progress bar overwrites its line with carriage returns; the last state is enough.
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return "\n".join(lines[-200:]).strip() or "The log is empty."


def local_time(moment: str | None) -> str:
    """An ISO 8601 time as this machine's clock showed it."""
    try:
        return datetime.fromisoformat(moment or "").astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return ""


def took(run: RunSummary) -> str:
    """How long the run worked, as far as it is known."""
    seconds = run.total_s
    if seconds is None and run.started and run.finished:
        try:
            span = datetime.fromisoformat(run.finished) - datetime.fromisoformat(run.started)
            seconds = span.total_seconds()
        except (ValueError, TypeError):
            seconds = None
    return duration(seconds) if isinstance(seconds, int | float) else ""


def _run_cells(run: RunSummary) -> list[str]:
    k = "" if run.k is None else str(run.k)
    accuracy = "" if run.test_accuracy is None else percent(run.test_accuracy)
    return [
        status_word(run.status),
        run_name(run),
        run.pack_name,
        run.model,
        k,
        accuracy,
        local_time(run.started or run.created),
        took(run),
        run.id,
    ]


def _mark(probe: str, correct: bool) -> str:
    if probe == "unrelated":  # here the object must not come out
        return "✗ leaked" if correct else "✓ did not leak"
    return "✓" if correct else "✗"


def _sweep_line(run: RunRow) -> str:
    if run.sweep_id is None:
        return ""
    words = f"Run {(run.sweep_position or 0) + 1} of the sweep {run.sweep_id}."
    if run.shared_phase1_from:
        words += f" Phase 1 was taken from run {run.shared_phase1_from}, which learned it for both."
    return f"<p class='sub'>{escape(words)}</p>"


def _more_marks(answer: Prediction) -> str:
    """What the multiple choice and the free answer say, as far as they were asked for."""
    words = ""
    if answer.contains and not answer.correct:
        words += ", but it comes later"
    if answer.chosen is not None:
        words += "; chosen" if answer.chosen else "; not chosen"
        words += f" (place {answer.rank + 1})" if answer.rank else ""
    return words


def _among_candidates(answer: Prediction) -> str:
    if answer.normalized is None:
        return ""
    return f" ({100 * answer.normalized:.1f} % of the candidates)"


def _measured(scores: Any, name: str) -> bool:
    found = (s for probes in scores.values() for s in probes.values())
    return any(getattr(score, name) is not None for score in found)


def _times(run: RunRow) -> str:
    rows = [(_("Made"), local_time(run.created)), (_("Started"), local_time(run.started))]
    rows.append((_("Ended"), local_time(run.finished)))
    rows.append(("Imported", local_time(run.imported)))
    for part, name in PARTS.items():
        if isinstance(run.seconds.get(part), int | float):
            shared = part == "phase1" and run.shared_phase1_from and not run.seconds[part]
            rows.append((_(name.long), _("taken over") if shared else duration(run.seconds[part])))
    return _plain_table([(label, value) for label, value in rows if value])


def _versions(run: RunRow) -> str:
    rows = [(_("Device"), run.device_used or run.device), ("Facts' hash", run.content_hash)]
    if run.parent_id:
        rows.append(("Started again from", run.parent_id))
    return _plain_table([*rows, *((name, str(v)) for name, v in run.versions.items())])


def _plain_table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(
        f"<tr><td class='key'>{escape(a)}</td><td>{escape(b)}</td></tr>" for a, b in rows
    )
    return f"<table><tbody>{cells}</tbody></table>"
