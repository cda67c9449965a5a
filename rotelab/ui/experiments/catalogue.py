"""The list of all experiments: grouped by where they come from, searched, each with its time on
this machine, what it needs, and whether there is a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import gradio as gr

from rotelab.errors import UnknownRun
from rotelab.experiments import Experiment, Origin, experiment, experiments
from rotelab.experiments.planning.cost import Cost, cost_of
from rotelab.experiments.results.recorded import all_recorded
from rotelab.registry import ExperimentRow
from rotelab.runs.lab import Lab
from rotelab.ui.components import escape, note, roughly
from rotelab.ui.i18n import N_, _, ngettext, one_decimal
from rotelab.ui.wording import percent

GROUPS: dict[Origin, str] = {
    "paper": N_("The paper"),
    "readers": N_("Its readers’ questions"),
    "related papers": N_("Related papers"),
}
"""Where experiments come from, in the order of the list."""

CLICKS = """element.addEventListener("click", event => {
    const one = event.target.closest("[data-experiment]");
    const group = event.target.closest("[data-group]");
    if (one) {
        for (const other of element.querySelectorAll("[aria-current]"))
            other.removeAttribute("aria-current");
        one.setAttribute("aria-current", "true");
        trigger("click", {experiment: one.dataset.experiment});
    } else if (group) trigger("apply", {group: group.dataset.group});
});"""
"""Tells the server what was clicked; the choice is marked at once."""


@dataclass(frozen=True)
class Entry:
    """What is known of one experiment for the chosen run.

    Args:
        cost: what it would cost; None while no run is chosen.
        mark: `running`, `queued`, `own` (a result on this run), `other` (one on another run),
            `recorded`, or empty.
        share: how much of a running one is done.
    """

    cost: Cost | None
    mark: str
    share: float = 0.0


def entries(lab: Lab, run_id: str | None, recorded: bool) -> dict[str, Entry]:
    """What is known of every experiment.

    Args:
        lab: the lab.
        run_id: the chosen run.
        recorded: whether recorded results are shown.

    Raises:
        LabError: the registry or a recorded result can't be read.
    """
    made: dict[str, list[ExperimentRow]] = {}
    for row in lab.registry.experiment_rows(limit=-1):
        made.setdefault(row.experiment, []).append(row)
    kept = all_recorded() if recorded else {}
    try:
        run = lab.registry.run(run_id) if run_id else None
    except UnknownRun:  # deleted in the meantime
        run = None
    found = {}
    for name, one in experiments().items():
        rows = made.get(name, [])
        live = next((row for row in rows if row.status == "running"), None)
        mark = _mark(one, rows, run_id) or ("recorded" if name in kept else "")
        cost = cost_of(lab, name, run, rows) if run else None
        found[name] = Entry(cost, mark, live.share if live else 0.0)
    return found


def catalogue_html(known: Mapping[str, Entry], search: str, chosen: str) -> str:
    """The list.

    Args:
        known: from `entries`; it may be empty.
        search: words that an experiment must contain, all of them.
        chosen: the experiment on show.
    """
    groups = []
    for origin, title in GROUPS.items():
        named = [one for one in experiments().values() if one.origin == origin]
        shown = [one for one in named if matches(one, search)]
        if shown:
            groups.append(_group_html(origin, _(title), shown, known, chosen))
    if not groups:
        return note(_("No experiment has all of these words. Clear the search to see them all."))
    return f"<nav class='catalogue' aria-label='{_('Experiments')}'>{''.join(groups)}</nav>"


def matches(one: Experiment, search: str) -> bool:
    """Whether an experiment's texts contain every word of a search."""
    texts = (one.name, one.title, one.question, one.hypothesis, one.needs, one.reading, one.paper)
    text = " ".join(texts).casefold()
    return all(word in text for word in (search or "").casefold().split())


def picked(event: gr.EventData) -> str:
    """The experiment that was clicked.

    Raises:
        LabError: there is none by that name.
    """
    return experiment(str(event.experiment)).name


def cost_words(cost: Cost) -> str:
    """What an experiment would train before it measures, and about how long all takes, as HTML."""
    if cost.refused:
        return note(cost.refused, "bad")
    if not cost.needed:
        words = [_("Needs no other run: it measures this one.")]
    elif not cost.trains:
        words = [_("All {n} runs that it compares have been trained already.")]
    else:
        words = [ngettext("Trains <b>{n} run</b>.", "Trains <b>{n} runs</b>.", cost.trains)]
        if cost.trains < cost.needed:
            words.append(_("{done} of {m} have been trained already."))
    if cost.seconds is not None:
        only_runs = cost.trains and cost.seconds == cost.training
        words.append(
            _("That takes about <b>{time}</b>, measuring not included.")
            if only_runs
            else _("It takes about <b>{time}</b> on this machine.")
        )
        if cost.slower > 1:
            words.append(
                _("Other programs use it just now: {times} times as long as usual, counted in.")
            )
    if cost.trains:
        words.append(_("If you stop it, what is done is kept."))
    said = " ".join(words).format(
        n=cost.trains or cost.needed,
        done=cost.needed - cost.trains,
        m=cost.needed,
        time=roughly(cost.seconds),
        times=one_decimal(cost.slower),
    )
    return f"<p class='sub' role='status'>{said}</p>"


# Parts -------------------------------------------------------------------------------------------


def _mark(one: Experiment, rows: Sequence[ExperimentRow], run_id: str | None) -> str:
    """The most telling thing about an experiment's executions, newest first."""
    for status in ("running", "queued"):
        if any(row.status == status for row in rows):
            return status
    done = [row for row in rows if row.status == "finished" and row.version == one.version]
    if any(run_id and row.run_id == run_id for row in done):
        return "own"
    return "other" if done else ""


def _group_html(
    origin: str, title: str, shown: Sequence[Experiment], known: Mapping[str, Entry], chosen: str
) -> str:
    items = "".join(f"<li>{_item_html(one, known.get(one.name), chosen)}</li>" for one in shown)
    hint = _("Says how long they take together, then makes them one after the other")
    return (
        f"<section><div class='head'><h3>{escape(title)}</h3><button type='button' "
        f"data-group='{escape(origin)}' title='{escape(hint)}'>{_('Run all overnight')}</button>"
        f"</div><ul>{items}</ul></section>"
    )


def _item_html(one: Experiment, entry: Entry | None, chosen: str) -> str:
    current = " aria-current='true'" if one.name == chosen else ""
    said = [f"<span>{escape(part)}</span>" for part in _facts(entry)]
    if entry and entry.mark:
        said.append(_mark_html(entry))
    return (
        f"<button type='button' data-experiment='{escape(one.name)}'{current} "
        f"title='{escape(one.question)}'><b>{escape(one.title)}</b>"
        f"<span class='facts'>{''.join(said)}</span></button>"
    )


def _facts(entry: Entry | None) -> list[str]:
    """How long it takes, and what it needs."""
    cost = entry.cost if entry else None
    if cost is None:
        return []
    if cost.refused:
        return [_("not on this run")]
    time = _("time unknown") if cost.seconds is None else f"≈ {roughly(cost.seconds)}"
    if not cost.needed:
        return [time, _("this run alone")]
    if not cost.trains:
        return [time, _("runs are there")]
    return [time, ngettext("trains {n} run", "trains {n} runs", cost.trains).format(n=cost.trains)]


def _mark_html(entry: Entry) -> str:
    words = {
        "running": f"{_('running')} {percent(entry.share)}",
        "queued": _("waiting"),
        "own": f"✓ {_('result')}",
        "other": f"✓ {_('result on another run')}",
        "recorded": _("recorded result"),
    }
    return f"<span class='mark mark-{entry.mark}'>{escape(words[entry.mark])}</span>"
