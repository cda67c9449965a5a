"""An experiment as HTML: what it asks, how far it is and what it found."""

from __future__ import annotations

from rotelab.experiments import Experiment
from rotelab.experiments.results.view import ResultView
from rotelab.registry import ExperimentRow
from rotelab.reports.formats import Table, cell_text, worded
from rotelab.ui.components import duration, escape, note, progress_bar, status_word
from rotelab.ui.i18n import N_, _
from rotelab.ui.wording import percent

SAFE = N_("It goes on when this page is closed or loaded again.")
TONES = {"finished": "good", "failed": "bad", "interrupted": "warn", "stopped": "warn"}


def about_html(about: Experiment) -> str:
    """An experiment's title, question, hypothesis and needs."""
    return (
        f"<div class='experiment'><h2>{escape(about.title)}</h2>"
        f"<p class='asked'>{escape(about.question)}</p>"
        f"{_terms({_('Expected'): about.hypothesis, _('Needs'): about.needs})}</div>"
    )


def reading_html(about: Experiment) -> str:
    """How an experiment's figures are read, and what the paper reports."""
    paper = {_("The paper"): about.paper} if about.paper else {}
    return f"<div class='experiment'>{_terms({_('How to read it'): about.reading} | paper)}</div>"


def recorded_html(view: ResultView) -> str:
    """That a result came with the lab, and how it was made."""
    said = _("Recorded: this result comes with rotelab; you did not make it.")
    lines = _terms({name: text for name, text in view.lines()})
    return (
        f"<div class='note note-warn' role='status'>{escape(said)} {escape(view.made[:10])}, "
        f"{escape(view.sizes)}.<details><summary>{_('How it was made')}</summary>{lines}"
        f"<pre>{escape(view.command)}</pre></details></div>"
    )


def state_html(row: ExperimentRow) -> str:
    """How far an experiment is, or how it ended."""
    if row.status == "queued":
        return note(_("It waits for its turn and starts by itself."))
    if row.status == "running":
        share = min(1.0, max(0.0, row.share))
        words = row.message or _("getting ready")
        return (
            f"<div class='note' role='status'><b>{percent(share)}</b> · {escape(words)} · "
            f"{_(SAFE)}{progress_bar(share, _('Progress of the experiment'))}</div>"
        )
    said = f"{_ending(row)} {row.error}".strip()
    ids = [run_id for _label, run_id in row.arms]
    done = row.status == "finished"
    if len(ids) == 1:
        runs = _("Measured on run {run}.") if done else _("Began with run {run}.")
        return note(f"{said} {runs.format(run=ids[0])}", TONES.get(row.status, ""))
    runs = _("Measured on {n} runs") if done else _("Began with {n} runs")
    each = "".join(f"<li>{escape(f'{label}: {run_id}')}</li>" for label, run_id in row.arms)
    kind = f" note-{TONES[row.status]}" if row.status in TONES else ""
    return (
        f"<div class='note{kind}' role='status'>{escape(said)}<details><summary>"
        f"{runs.format(n=len(ids))}</summary><ul>{each}</ul></details></div>"
    )


def tables_html(tables: list[Table]) -> str:
    """The tables of a result."""
    return f"<div class='found'>{''.join(map(_table, tables))}</div>"


def _table(table: Table) -> str:
    kinds = [" class='words'" if words else "" for words in worded(table)]
    heads = "".join(
        f"<th scope='col'{kind}>{escape(name)}</th>"
        for kind, name in zip(kinds, table.columns, strict=True)
    )
    rows = "".join(f"<tr>{_cells(kinds, row)}</tr>" for row in table.rows)
    return (
        f"<table><caption>{escape(table.title)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _cells(kinds: list[str], row: tuple) -> str:
    return "".join(
        f"<td{kind}>{escape(cell_text(cell))}</td>" for kind, cell in zip(kinds, row, strict=True)
    )


def _ending(row: ExperimentRow) -> str:
    """How an experiment ended, in a sentence."""
    if row.status == "finished":
        return _("Finished in {time}.").format(time=duration(row.seconds))
    if row.status == "stopped":
        return _("Stopped. Press Start to make it again; runs that are done are kept.")
    return f"{status_word(row.status).capitalize()}."


def _terms(parts: dict[str, str]) -> str:
    rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in parts.items())
    return f"<dl>{rows}</dl>"
