"""The sub-tab “Name, files and log”: a run's name, note, tags, files, merged model and log."""

from __future__ import annotations

from typing import Any

import gradio as gr

from rotelab.config.names import CHECKPOINTS
from rotelab.errors import LabError
from rotelab.registry import RunRow
from rotelab.runs.export.merged_zip import merged_bytes, zip_model
from rotelab.runs.export.value_checks import ENDED
from rotelab.runs.lab import MAX_TAGS, Lab
from rotelab.ui.components import checkpoint_words, size_words
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
    made |= _build_model()
    made["log"] = gr.Textbox(
        label=_("End of the run's log"), interactive=False, lines=10, max_lines=16,
        elem_id="run-log", elem_classes="mono",
    )  # fmt: skip
    with gr.Row():
        made["log_again"] = gr.Button(_("Read the log again"), size="md", scale=0, min_width=200)
    return made


def _build_model() -> dict[str, Any]:
    """The merged model: of which checkpoint, how large it is, and the file."""
    made: dict[str, Any] = {}
    made["model_of"] = gr.Dropdown(
        _choices(CHECKPOINTS[1:]), value=CHECKPOINTS[-1], label=_("The model itself"),
        visible=False, elem_id="run-model-of",
    )  # fmt: skip
    made["model_words"] = gr.HTML(visible=False, padding=False, elem_id="run-model-words")
    with gr.Row():
        made["model"] = gr.Button(
            _("Merge the adapters into one model"), visible=False, size="md", scale=0,
            min_width=240, elem_id="run-model",
        )  # fmt: skip
        made["model_file"] = gr.DownloadButton(
            _("Download"), visible=False, variant="primary", size="md", scale=0, min_width=300,
            elem_id="run-model-file",
        )  # fmt: skip
    return made


def model_parts(lab: Lab, run: RunRow) -> list[Any]:
    """The values of `model_of`, `model_words`, `model` and `model_file` for a run; hidden where it
    has no adapters here, or has not ended."""
    there = [c for c in lab.chat.checkpoints(run.id) if c != CHECKPOINTS[0]]
    shown = bool(there) and run.status in ENDED
    if not shown:
        return no_model_parts()
    return [
        gr.Dropdown(choices=_choices(there), value=there[-1], visible=True),
        gr.HTML(f"<p class='hint'>{_model_words(run)}</p>", visible=True),
        gr.Button(visible=True),
        gr.DownloadButton(visible=False),
    ]


def no_model_parts() -> list[Any]:
    """The same, all hidden."""
    hidden = gr.DownloadButton(visible=False)
    return [gr.Dropdown(visible=False), gr.HTML(visible=False), gr.Button(visible=False), hidden]


def merge_model(lab: Lab, run_id: str | None, checkpoint: str) -> Any:
    """Merges a checkpoint into one model, packs it into a zip and offers it.

    Raises:
        LabError: as `zip_model`.
    """
    lab.chat.release()  # there may not be memory for two models
    path = zip_model(lab, run_id or "", checkpoint)
    words = _("Download the model ({size})").format(size=size_words(path.stat().st_size))
    return gr.DownloadButton(words, value=str(path), visible=True)


def _model_words(run: RunRow) -> str:
    words = _(
        "One zip: a Hugging Face folder with safetensors in float32, tokenizer and model card, "
        "which loads without rotelab."
    )
    try:
        size = merged_bytes(run.config.model)
    except LabError:  # its settings are damaged; the head says so
        size = None
    if size is None:
        return words
    about = _("About {size}, and three times that on this disk while it is written; {time}.")
    # Loading and merging take some seconds, the disk the rest.
    minutes = max(1, round((20 + size / 2.5e7) / 60))
    return f"{words} " + about.format(
        size=size_words(size), time=_("it takes about {n} min").format(n=minutes)
    )


def _choices(checkpoints) -> list[tuple[str, str]]:
    return [(checkpoint_words(c), c) for c in checkpoints]
