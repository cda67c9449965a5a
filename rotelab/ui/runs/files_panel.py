"""The sub-tab “Name, files and log”: a run's name, note and tags, its files and its log."""

from __future__ import annotations

from typing import Any

import gradio as gr

from rotelab.runs.lab import MAX_TAGS
from rotelab.ui.i18n import _


def build_files() -> dict[str, Any]:
    """Lays out the sub-tab; returns its components by their names in `RunDetail`."""
    made: dict[str, Any] = {}
    with gr.Row():
        made["name"] = gr.Textbox(label=_("Name"), max_lines=1, max_length=80, elem_id="run-name")
        made["note"] = gr.Textbox(label=_("Note"), max_lines=4, max_length=2000, scale=2,
                                  elem_id="run-note")  # fmt: skip
    made["tags"] = gr.Textbox(
        label=_("Tags"), placeholder=_("such as: talk, baseline"), max_lines=1, max_length=600,
        info=_("Separated by commas, at most {n}; the search above finds them.").format(n=MAX_TAGS),
        elem_id="run-tags",
    )  # fmt: skip
    with gr.Row():
        made["save"] = gr.Button(
            _("Save name, note and tags"), size="md", elem_id="run-save", scale=0, min_width=240
        )
    made["places"] = gr.Textbox(
        label=_("Where the trained adapters are on this machine"), interactive=False, lines=2,
        buttons=["copy"], elem_id="run-places",
    )  # fmt: skip
    with gr.Row():
        made["zip"] = gr.Button(
            _("Pack the adapters as a zip"), visible=False, size="md", scale=0, min_width=240,
            elem_id="run-zip",
        )  # fmt: skip
        made["download"] = gr.DownloadButton(
            _("Download"), visible=False, variant="primary", size="md", scale=0, min_width=300,
            elem_id="run-download",
        )  # fmt: skip
    with gr.Row():
        made["bundle"] = gr.Button(
            _("Export the whole run"), visible=False, size="md", scale=0, min_width=240,
            elem_id="run-bundle",
        )  # fmt: skip
        made["with_adapters"] = gr.Checkbox(
            True, label=_("With the adapters, so that it can be asked elsewhere"), visible=False,
            elem_id="run-with-adapters", container=False,
        )  # fmt: skip
        made["bundle_file"] = gr.DownloadButton(
            _("Download"), visible=False, variant="primary", size="md", scale=0, min_width=300,
            elem_id="run-bundle-file",
        )  # fmt: skip
    made["log"] = gr.Textbox(
        label=_("End of the run's log"), interactive=False, lines=10, max_lines=16,
        elem_id="run-log", elem_classes="mono",
    )  # fmt: skip
    with gr.Row():
        made["log_again"] = gr.Button(_("Read the log again"), size="md", scale=0, min_width=200)
    return made
