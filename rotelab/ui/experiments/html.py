"""An experiment as HTML: what it asks, what it costs, how far it is and what it found."""

from __future__ import annotations

from rotelab.errors import LabError, UnknownRun
from rotelab.experiments import Experiment, runner
from rotelab.registry import ExperimentRow
from rotelab.reports.tables import Table, cell_text, worded
from rotelab.runs.lab import Lab
from rotelab.runs.progress import estimate
from rotelab.ui.components import duration, escape, note, progress_bar, roughly

SAFE = "It goes on when this page is closed or loaded again."
TONES = {"finished": "good", "failed": "bad", "interrupted": "warn", "stopped": "warn"}


def about_html(about: Experiment) -> str:
    """An experiment's title, question, hypothesis and needs."""
    return (
        f"<div class='experiment'><h2>{escape(about.title)}</h2>"
        f"<p class='asked'>{escape(about.question)}</p>"
        f"{_terms({'Expected': about.hypothesis, 'Needs': about.needs})}</div>"
    )


def reading_html(about: Experiment) -> str:
    """How an experiment's figures are read, and what the paper reports."""
    paper = {"The paper": about.paper} if about.paper else {}
    return f"<div class='experiment'>{_terms({'How to read it': about.reading} | paper)}</div>"


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
        return _cost("Makes no run: it looks at this one.")
    if not missing:
        return _cost(f"All {needed} runs that it compares are there already.")
    guesses = [estimate(lab, run.config, run.pack).seconds for run in missing]
    there = (
        f" ({needed - len(missing)} of {needed} are there already)" if len(missing) < needed else ""
    )
    runs = "1 run" if len(missing) == 1 else f"{len(missing)} runs"
    words = f"Makes <b>{runs}</b>{there}"
    if None not in guesses:
        words += f", which takes about <b>{roughly(sum(guesses))}</b>, measuring not counted"
    return _cost(f"{words}. What is done is kept if you stop it.")


def state_html(row: ExperimentRow) -> str:
    """How far an experiment is, or how it ended."""
    if row.status == "running":
        share = min(1.0, max(0.0, row.share))
        words = row.message or "getting ready"
        return (
            f"<div class='note' role='status'><b>{round(100 * share)} %</b> · "
            f"{escape(words)} · {SAFE}{progress_bar(share, 'Progress of the experiment')}</div>"
        )
    words = {
        "finished": f"Finished in {duration(row.seconds)}.",
        "stopped": "Stopped. Press Start to make it again; runs that are done are kept.",
    }.get(row.status, f"{row.status.capitalize()}.")
    said = f"{words} {row.error}".strip()
    ids = [run_id for _, run_id in row.arms]
    measured = "Measured on" if row.status == "finished" else "Began with"
    if len(ids) == 1:
        return note(f"{said} {measured} run {ids[0]}.", TONES.get(row.status, ""))
    runs = "".join(f"<li>{escape(f'{label}: {run_id}')}</li>" for label, run_id in row.arms)
    kind = f" note-{TONES[row.status]}" if row.status in TONES else ""
    return (
        f"<div class='note{kind}' role='status'>{escape(said)}<details><summary>{measured} "
        f"{len(ids)} runs</summary><ul>{runs}</ul></details></div>"
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


def _cost(words: str) -> str:
    return f"<p class='sub' role='status'>{words}</p>"


def _terms(parts: dict[str, str]) -> str:
    rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in parts.items())
    return f"<dl>{rows}</dl>"
