"""What a reader does with a run on the Runs tab: repeat, stop, rename, archive or delete it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from rotelab.errors import LabError
from rotelab.runs.export.bundle import import_bundle
from rotelab.runs.lab import Lab
from rotelab.ui.components import (
    QUIET,
    bound,
    escape,
    run_choices,
    say_taken_out,
    size_words,
)
from rotelab.ui.i18n import _, ngettext
from rotelab.ui.runs.detail import RunDetail, fill_detail
from rotelab.ui.runs.table import RunTable, choose


def again(lab: Lab, run_id: str | None) -> list[Any]:
    """Starts the chosen run again; fills `started` and `run`.

    Raises:
        LabError: no run is chosen, its settings are damaged, or no process can be started.
    """
    new = lab.run_again(_chosen(run_id))
    gr.Info(
        _("A new run with the same settings is in the queue. The Train tab shows its progress.")
    )
    return [new, choose(lab, new)]


def import_run(lab: Lab, path: str | None) -> Any:
    """Imports a run from a bundle and shows it; fills `run`.

    Raises:
        LabError: the file is not a valid bundle; nothing is written then.
    """
    if not path:
        raise LabError(_("Choose a .rotelab.zip file, made by “Export the whole run”."))
    came = import_bundle(lab.registry, lab.storage, Path(path))
    gr.Info(escape(came.sentence))
    return choose(lab, came.run_id)


def ask_delete(lab: Lab, run_id: str | None) -> list[Any]:
    """Shows what deleting would remove, and asks for confirmation.

    Raises:
        LabError: no run is chosen, or it is running or queued.
    """
    run = lab.registry.run(_chosen(run_id))
    if run.live or run.status == "queued":
        raise LabError(_("This run is still queued or running. Stop it first, then delete it."))
    answers = f"{lab.registry.count_predictions(run.id):,}"
    words = _(
        "Delete this run for good? This removes its {n} answers, its curves and its adapters, and "
        "frees {size} on disk. The facts stay."
    )
    size = size_words(lab.bytes_of(run.id))
    return [gr.Group(visible=True), words.format(n=answers, size=size)]


def delete_chosen(lab: Lab, run_id: str | None) -> list[Any]:
    """Deletes the chosen run; fills `run` and hides the question.

    Raises:
        LabError: it is running, or its files can't be deleted.
    """
    lab.delete(_chosen(run_id))
    return [gr.Dropdown(choices=run_choices(lab), value=None), gr.Group(visible=False)]


def save_words(lab: Lab, run_id: str | None, name: str, note: str, tags: str) -> list[Any]:
    """Saves the chosen run's name, note and tags; fills its detail.

    Raises:
        LabError: no run is chosen, or a text is too long.
    """
    lab.rename(_chosen(run_id), name or "", note or "", tags or "")
    gr.Info(_("Saved."))
    return fill_detail(lab, run_id)


def archive(lab: Lab, run_id: str | None) -> list[Any]:
    """Moves the chosen run into the archive, or out of it.

    Raises:
        LabError: no run is chosen.
    """
    run = lab.registry.run(_chosen(run_id))
    lab.registry.update_run(run.id, archived=not run.archived)
    gr.Info(
        _("Taken out of the archive.")
        if run.archived
        else _("Archived. Tick “Archived runs” to see it in the table.")
    )
    return fill_detail(lab, run_id)


def stop(lab: Lab, run_id: str | None) -> list[Any]:
    """Asks the chosen run to stop.

    Raises:
        LabError: no run is chosen, or the registry can't be written.
    """
    lab.jobs.stop(_chosen(run_id))
    return fill_detail(lab, run_id)


def resume(lab: Lab, run_id: str | None) -> list[Any]:
    """Puts the chosen run back in the queue.

    Raises:
        LabError: no run is chosen, or it can't be resumed.
    """
    lab.jobs.resume(_chosen(run_id))
    return fill_detail(lab, run_id)


def take_sweep_out(lab: Lab, run_id: str | None) -> list[Any]:
    """Takes all waiting runs of the chosen run's sweep out of the queue.

    Raises:
        LabError: no run is chosen, or the registry can't be written.
    """
    run = lab.registry.run(_chosen(run_id))
    say_taken_out(lab.registry.stop_waiting(run.sweep_id or ""))
    return fill_detail(lab, run_id)


def put_sweep_back(lab: Lab, run_id: str | None) -> list[Any]:
    """Puts all runs of the chosen run's sweep that ended early back in the queue, in their order.

    Raises:
        LabError: no run is chosen, or one can't be resumed.
    """
    run = lab.registry.run(_chosen(run_id))
    _waiting, left = lab.registry.sweep_queue(run.sweep_id or "")
    for each in left:
        lab.jobs.resume(each)
    words = ngettext("{n} run is back in the queue.", "{n} runs are back in the queue.", len(left))
    gr.Info(words.format(n=len(left)))
    return fill_detail(lab, run_id)


def move(lab: Lab, by: int, run_id: str | None) -> list[Any]:
    """Moves the chosen, queued run forwards or backwards in the queue.

    Raises:
        LabError: no run is chosen, or it is not queued.
    """
    ahead = lab.registry.move_in_queue(_chosen(run_id), by)
    words = ngettext("{n} run starts before it.", "{n} runs start before it.", ahead)
    gr.Info(words.format(n=ahead) if ahead else _("It is the next to start."))
    return fill_detail(lab, run_id)


def wire_actions(
    lab: Lab, chosen: gr.State, started: gr.State, table: RunTable, view: RunDetail
) -> None:
    """Connects the detail's buttons, and the one that imports a run.

    Args:
        lab: registry and jobs.
        chosen: holds the chosen run's id.
        started: takes the id of a run that was started again.
        table: has the chooser of runs.
        view: the detail.
    """
    private = {"api_visibility": "private"}
    for button, handler in (
        (view.stop, stop),
        (view.resume, resume),
        (view.archive, archive),
        (view.sweep_out, take_sweep_out),
        (view.sweep_back, put_sweep_back),
    ):
        button.click(bound(handler, lab), chosen, view.filled, **private)
    for button, by in ((view.sooner, -1), (view.later, 1)):
        button.click(bound(move, lab, by), chosen, view.filled, **private)
    words = [chosen, view.name, view.note, view.tags]
    view.save.click(bound(save_words, lab), words, view.filled, **private)
    view.again.click(bound(again, lab), chosen, [started, table.run], **private)
    view.delete.click(bound(ask_delete, lab), chosen, [view.confirm, view.question], **private)
    view.keep.click(lambda: gr.Group(visible=False), None, view.confirm, **QUIET)
    view.sure.click(bound(delete_chosen, lab), chosen, [table.run, view.confirm], **private)
    table.upload.upload(
        bound(import_run, lab), table.upload, table.run, show_progress="full", **private
    )


def _chosen(run_id: str | None) -> str:
    if not run_id:
        raise LabError(_("Choose a run first: click its row in the table."))
    return run_id
