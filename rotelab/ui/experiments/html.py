"""An experiment as HTML: what it asks, what it costs, how far it is and what it found."""

from __future__ import annotations

from rotelab.errors import LabError, UnknownRun
from rotelab.experiments import Experiment, runner
from rotelab.registry import ExperimentRow
from rotelab.reports.formats import Table, cell_text, worded
from rotelab.runs.lab import Lab
from rotelab.runs.progress import estimate
from rotelab.ui.components import duration, escape, note, progress_bar, roughly, status_word
from rotelab.ui.i18n import N_, _, ngettext
from rotelab.ui.wording import percent, slower_words

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


def cost_html(lab: Lab, name: str, run_id: str | None) -> str:
    """Which runs an experiment would train before it measures, and about how long that takes.

    Raises:
        LabError: the registry can't be read.
    """
    if not run_id:
        return ""
    try:
        missing, needed = runner.runs_to_make(lab, name, run_id)
    except UnknownRun:  # deleted in the meantime
        return ""
    except LabError as error:
        return note(str(error), "bad")
    if not needed:
        return _cost(_("Needs no other run: it measures this one."))
    if not missing:
        return _cost(_("All {n} runs that it compares have been trained already.").format(n=needed))
    words = [ngettext("Trains <b>{n} run</b>.", "Trains <b>{n} runs</b>.", len(missing))]
    if len(missing) < needed:
        words.append(_("{done} of {m} have been trained already."))
    estimates = [estimate(lab, run.config, run.pack) for run in missing]
    guesses = [guess.seconds for guess in estimates]
    if None not in guesses:
        words.append(_("That takes about <b>{time}</b>, measuring not included."))
        words += filter(None, [slower_words(estimates[0])])
    words.append(_("If you stop it, what is done is kept."))
    said = " ".join(words).format(
        n=len(missing),
        done=needed - len(missing),
        m=needed,
        time=roughly(sum(guess or 0 for guess in guesses)),
    )
    return _cost(said)


def state_html(row: ExperimentRow) -> str:
    """How far an experiment is, or how it ended."""
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


def _cost(words: str) -> str:
    return f"<p class='sub' role='status'>{words}</p>"


def _terms(parts: dict[str, str]) -> str:
    rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in parts.items())
    return f"<dl>{rows}</dl>"
