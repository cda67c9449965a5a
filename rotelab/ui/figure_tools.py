"""Controls of a figure: buttons that save it, and a slider that plays it.

Both work in the browser (`assets/plots.js`), without the server. `fetch_ahead` loads what a browser
needs for any figure before it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from rotelab.ui.components import QUIET, escape
from rotelab.ui.i18n import N_, _

PATIENCE_MS = 300
"""How long a page that has just opened is left alone."""

FORMATS = {
    "csv": ("CSV", N_("Save the numbers of this figure as a table")),
    "png": ("PNG", N_("Save this figure as a picture of 3300 pixels across, on white")),
    "svg": ("SVG", N_("Save this figure as a drawing that can be scaled, on white")),
}


def fetch_ahead(demo: gr.Blocks) -> None:
    """Lets the browser load Plotly once the page is there and it has nothing else to do.

    Gradio fetches it with the first figure that is shown, which then waits a good second for it
    (`benchmarks/opening.py`). Where Gradio keeps it under another name, that is how it stays.
    """
    path = plotly_file()
    if path is None:
        return
    js = f"""() => {{
        const idle = window.requestIdleCallback ?? (soon => setTimeout(soon, 200));
        const plotly = new URL("assets/{path.name}", document.baseURI);
        setTimeout(() => idle(() => import(plotly).catch(() => {{}})), {PATIENCE_MS});
    }}"""
    demo.load(None, None, None, js=js, **QUIET)


def plotly_file() -> Path | None:
    """The file in which Gradio ships Plotly; None unless exactly one file looks like it."""
    shipped = Path(gr.__file__).parent / "templates" / "frontend" / "assets"
    found = list(shipped.glob("PlotlyPlot-*.js"))
    return found[0] if len(found) == 1 else None


def build_plot(plot: str, label: str, **options: Any) -> gr.Plot:
    """A figure with the buttons that save it; they are visible while it shows something.

    Args:
        plot: the figure's element id.
        label: what it is called where it is not seen.
        options: further ones of `gr.Plot`.
    """
    with gr.Column(elem_classes="figure", min_width=0):
        shown = gr.Plot(label=label, show_label=False, elem_id=plot, **options)
        build_saving(plot, label)
    return shown


def build_saving(plot: str, label: str = "") -> gr.HTML:
    """Buttons that save a figure as CSV, PNG and SVG.

    Args:
        plot: the figure's element id; the figure has a table (`figures.export.with_table`).
        label: what a screen reader calls it.
    """
    buttons = "".join(
        f'<button type="button" data-save="{name}" data-plot="{escape(plot)}" '
        f'title="{escape(_(words))}">{kind}</button>'
        for name, (kind, words) in FORMATS.items()
    )
    group = _("Save {figure}").format(figure=label or _("this figure"))
    return gr.HTML(
        f'<div class="saving" role="group" aria-label="{escape(group)}">{_("Save as")} '
        f"{buttons}</div>",
        padding=False, elem_id=f"{plot}-saving",
    )  # fmt: skip


def player(
    plot: str, stops: Sequence[str], label: str = "", named: Sequence[str] | None = None
) -> str:
    """A button that plays a figure's frames, and a slider over them, as HTML.

    Args:
        plot: the figure's element id.
        stops: the frames' names; the figure stands at the last.
        label: what the slider moves through; the checkpoints, if empty.
        named: the names that stand under it, from its left end to its right; all, if None.
    """
    if len(stops) < 2:
        return ""
    last = len(stops) - 1
    names = "".join(f"<span>{escape(stop)}</span>" for stop in (stops if named is None else named))
    return (
        f'<div class="player" data-plot="{escape(plot)}">'
        f'<button type="button" data-play="{escape(plot)}">▶ {_("Play")}</button>'
        f'<div class="stops"><input type="range" min="0" max="{last}" step="1" value="{last}" '
        f'aria-label="{label or _("Checkpoint")}" aria-valuetext="{escape(stops[-1])}">'
        f'<div class="names" aria-hidden="true">{names}</div></div></div>'
    )


def build_how(text: str) -> None:
    """An explanation of how a figure is measured, collapsed under it."""
    with gr.Accordion(_("How this is measured"), open=False):
        gr.Markdown(text)
