"""The results of an experiment on the tab: which there are, the one on show, and what the clock
finds new about it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from rotelab.errors import LabError, UnknownRun
from rotelab.experiments import experiment, runner
from rotelab.experiments.results import recorded
from rotelab.experiments.results.html_page import file_name, write_html
from rotelab.experiments.results.view import view_of
from rotelab.registry import ExperimentRow
from rotelab.reports.figures.export import with_tables
from rotelab.runs.lab import Lab
from rotelab.ui.components import ago, given_name, note, run_name, status_word
from rotelab.ui.experiments.group_panel import live_rows, queue_news
from rotelab.ui.experiments.html import recorded_html, state_html, tables_html
from rotelab.ui.i18n import N_, _

MAX_RESULTS = 50

NONE_MADE = N_(
    "This experiment has not been made yet. Choose a finished run (the Train tab makes one) and "
    "press Start."
)


def list_results(lab: Lab, name: str, seen: list[Any], with_recorded: bool = False) -> list[Any]:
    """The results of an experiment, one of them on show.

    The one on show stays; otherwise the running one is shown, otherwise the newest that finished
    under the experiment's current version, otherwise the recorded one, otherwise the newest.

    Raises:
        LabError: the registry or the recorded result can't be read.
    """
    rows = lab.registry.experiment_rows(name, MAX_RESULTS)
    version = experiment(name).version
    kept = [recorded.PREFIX + name] if with_recorded and name in recorded.all_recorded() else []
    ids = [*(row.id for row in rows), *kept]
    best = [row.id for row in rows if row.status == "running"]
    best += [row.id for row in rows if row.status == "finished" and row.version == version]
    best += kept
    chosen = seen[0] if seen and seen[0] in ids else next(iter([*best, *ids]), None)
    choices = [*_labelled(lab, rows), *((_recorded_label(one), one) for one in kept)]
    return [gr.Dropdown(choices=choices, value=chosen), *show(lab, chosen)]


def show(lab: Lab, experiment_id: str | None) -> list[Any]:
    """An experiment's progress and results; in the order of `ExperimentsTab.shown`."""
    no_page = [gr.Button(visible=False), gr.DownloadButton(visible=False)]
    nothing = ["", gr.Plot(value=None, visible=False), gr.Button(visible=False), *no_page]
    if not experiment_id:
        return [[], note(_(NONE_MADE)), *nothing]
    try:
        row = None
        if not experiment_id.startswith(recorded.PREFIX):
            row = lab.registry.experiment_row(experiment_id)
            if row.status != "finished":
                stop = gr.Button(visible=row.status in ("running", "queued"))
                return [_progress_of(row), state_html(row), *nothing[:2], stop, *no_page]
        view = view_of(lab, experiment_id)
    except UnknownRun:
        return [[], note(_("It has been deleted together with its run.")), *nothing]
    except LabError as error:
        return [[experiment_id], note(str(error), "bad"), *nothing]
    tables = view.found.tables()
    figure = with_tables(view.found.figure(), file_name(view).removesuffix(".html"), tables)
    progress = _progress_of(row) if row else [view.id, "recorded", 1.0, ""]
    return [
        progress, state_html(row) if row else recorded_html(view), tables_html(tables),
        gr.Plot(value=figure, visible=True), nothing[2], gr.Button(visible=True), no_page[1],
    ]  # fmt: skip


def save_page(lab: Lab, seen: list[Any]) -> Any:
    """Writes the result on show as one HTML file and offers it.

    Raises:
        LabError: nothing is on show, or the file can't be written.
    """
    if not seen:
        raise LabError(_("There is no result on show."))
    view = view_of(lab, seen[0])
    path = write_html(view, lab.storage.exports / file_name(view))
    return gr.DownloadButton(
        _("Download {file}").format(file=path.name), value=str(path), visible=True
    )


def choose_recorded(lab: Lab, shown: bool, name: str, seen: list[Any]) -> list[Any]:
    """Shows or hides recorded results from now on.

    Raises:
        LabError: the home folder can't be written.
    """
    recorded.choose(lab.storage, shown)
    return list_results(lab, name, seen, shown)


def poll(
    lab: Lab, name: str, seen: list[Any], lined: list[list[str]], with_recorded: bool = False
) -> Any:
    """What the clock does: updates the running experiment on show where it has moved on, and what
    is running and waiting.

    Where nothing of the registry is on show, it looks for an experiment that was started elsewhere,
    say on the command line. Otherwise nothing changes.

    Raises:
        LabError: the registry can't be read or written.
    """
    live = live_rows(lab)
    if live:
        runner.running(lab)  # marks an experiment whose process is gone as ended
    shown = _news_on_show(lab, name, seen, with_recorded)
    queue = gr.skip()
    if live or lined:
        queue = queue_news(lab, lined)
        if queue[2] == lined and len(live) < 2:
            queue = gr.skip()
    if shown == gr.skip() and queue == gr.skip():
        return gr.skip()
    return [
        *(shown if shown != gr.skip() else [gr.skip()] * 8),
        *(queue if queue != gr.skip() else [gr.skip()] * 4),
    ]


# Parts -------------------------------------------------------------------------------------------


def _news_on_show(lab: Lab, name: str, seen: list[Any], with_recorded: bool) -> Any:
    """The results and the one on show where that has moved on; `gr.skip()` where not."""
    if not seen or seen[1:2] == ["recorded"]:
        rows = lab.registry.experiment_rows(name, 1)
        begun = rows and (not seen or rows[0].status == "running")
        return list_results(lab, name, [], with_recorded) if begun else gr.skip()
    if len(seen) < 4 or seen[1] not in ("running", "queued"):
        return gr.skip()
    row = lab.registry.experiment_row(seen[0])
    now = _progress_of(row)
    if now == list(seen):
        return gr.skip()
    if row.status == seen[1] == "running":
        return [gr.skip(), now, state_html(row), *[gr.skip()] * 5]
    return list_results(lab, name, [row.id], with_recorded)


def _progress_of(row: ExperimentRow) -> list[Any]:
    """What `ExperimentsTab.seen` holds of an experiment."""
    return [row.id, row.status, row.share, row.message]


def _labelled(lab: Lab, rows: list[ExperimentRow]) -> list[tuple[str, str]]:
    """(label, id) of an experiment's results."""
    found = []
    for row in rows:
        about = _run_name(lab, row.run_id) if row.run_id else f"{row.pack_name}{_seed(row)}"
        status = status_word(row.status)
        found.append((f"{about} · {status} · {ago(row.created)} · {row.id}", row.id))
    return found


def _recorded_label(recorded_id: str) -> str:
    kept = recorded.recorded(recorded_id.removeprefix(recorded.PREFIX))
    return _("Recorded, comes with rotelab · {date}").format(date=kept.recorded[:10])


def _seed(row: ExperimentRow) -> str:
    try:
        return ", " + _("seed {seed}").format(seed=row.config.seed)
    except LabError:  # the stored settings are damaged
        return ""


def _run_name(lab: Lab, run_id: str) -> str:
    run = lab.registry.run(run_id)
    return given_name(run.name) or f"{run_name(run)} ({run.pack_name})"
