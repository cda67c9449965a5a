"""A sweep from the page: lists of values over the form's settings, how many runs and hours they
make, and the button that puts them into the queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import gradio as gr

from rotelab.config.option_paths import with_setting
from rotelab.config.recipes import OFFERED
from rotelab.config.run_config import RunConfig
from rotelab.config.sweep_grid import RECIPE, SEED, Axes, grid, read_axes, split_values
from rotelab.errors import LabError
from rotelab.models.preflight.model_files import check_model
from rotelab.runs.lab import Lab
from rotelab.runs.progress import estimate
from rotelab.runs.sweeps import plan
from rotelab.ui.components import note, roughly
from rotelab.ui.i18n import N_, _, ngettext
from rotelab.ui.train.form import config_from

LEAD = N_(
    "Many runs of the settings above, one for every combination of these values. What is left "
    "empty stays as above."
)
FAR_S = 20 * 3600
"""From so many seconds on, the day is said too."""


@dataclass(frozen=True)
class SweepForm:
    """The components.

    Args:
        packs: names of the packs.
        recipes: names of the recipes.
        k: values of k, with commas between them.
        seeds: the seeds, likewise.
        name: what to call the sweep.
        words: how many runs and hours that makes.
        start: queues them.
    """

    packs: gr.Dropdown
    recipes: gr.Dropdown
    k: gr.Textbox
    seeds: gr.Textbox
    name: gr.Textbox
    words: gr.HTML
    start: gr.Button

    @property
    def lists(self) -> list[Any]:
        """The inputs of `sweep_words`, before the form's."""
        return [self.packs, self.recipes, self.k, self.seeds]


def build_sweep_form(pack_names: Sequence[str]) -> SweepForm:
    """Lays out the part, closed at first, inside the current column.

    Args:
        pack_names: the packs that can be chosen.
    """
    with gr.Accordion(_("A sweep: many runs at once"), open=False, elem_id="train-sweep"):
        gr.HTML(f"<p class='hint'>{_(LEAD)}</p>", padding=False)
        k = gr.Textbox(
            label=_("Values of k"), placeholder="1, 10, 50", max_lines=1, max_length=200,
            elem_id="train-sweep-k",
        )  # fmt: skip
        seeds = gr.Textbox(
            label=_("Seeds"), placeholder="0, 1, 2", max_lines=1, max_length=200,
            info=_("Means and their intervals are taken over them."), elem_id="train-sweep-seeds",
        )  # fmt: skip
        packs = gr.Dropdown(
            list(pack_names), value=[], multiselect=True, label=_("Packs of facts"),
            elem_id="train-sweep-packs",
        )  # fmt: skip
        recipes = gr.Dropdown(
            list(OFFERED), value=[], multiselect=True, label=_("Recipes"),
            elem_id="train-sweep-recipes",
        )  # fmt: skip
        name = gr.Textbox(
            label=_("Name of the sweep (if you like)"), max_lines=1, max_length=60,
            elem_id="train-sweep-name",
        )  # fmt: skip
        words = gr.HTML(padding=False, elem_id="train-sweep-words")
        start = gr.Button(_("Start the sweep"), interactive=False, elem_id="train-sweep-start")
    return SweepForm(packs, recipes, k, seeds, name, words, start)


def read_sweep_form(
    packs: Sequence[str], recipes: Sequence[str], k: str, seeds: str, *values: Any
) -> tuple[Axes, RunConfig]:
    """The axes, and the settings that all runs have in common.

    A list with a single value is no axis: it replaces the form's own.

    Args:
        packs: names of packs; `recipes`, names of recipes.
        k: values with commas between them; `seeds` too.
        values: of the form, in the order of `Form.inputs`.

    Raises:
        LabError: no list has two values, or `read_axes` refuses one.
    """
    base = config_from(values)
    given: list[tuple[str, list[str]]] = []
    for path, texts in (
        ("pack", list(packs or ())),
        (RECIPE, list(recipes or ())),
        ("generalize.k", split_values("generalize.k", k) if (k or "").strip() else []),
        (SEED, split_values(SEED, seeds) if (seeds or "").strip() else []),
    ):
        if len(texts) == 1 and path != RECIPE:
            base = with_setting(base, f"{path}={texts[0]}")
        elif texts:
            given.append((path, texts))
    if all(len(texts) < 2 for _, texts in given):
        raise LabError(_sentence())
    return read_axes(given, base), base


def sweep_words(lab: Lab, *values: Any) -> list[Any]:
    """How many runs the lists make and how long they take, or what is wrong; and the button.

    Args:
        lab: knows how fast this machine is.
        values: of `SweepForm.lists`, then of the form.

    Raises:
        LabError: the registry can't be read.
    """
    if not any(values[:4]):
        return ["", gr.Button(_("Start the sweep"), interactive=False)]
    try:
        axes, base = read_sweep_form(*values)
        configs = grid(axes, base)
        seconds = _seconds(lab, configs)
    except LabError as error:
        tone = "" if str(error) == _sentence() else "bad"
        return [note(str(error), tone), gr.Button(_("Start the sweep"), interactive=False)]
    count = ngettext("{n} run", "{n} runs", len(configs)).format(n=len(configs))
    if seconds is None:
        said = _("<b>{runs}</b>. No time is known: this model has not yet finished a run here.")
        said = said.format(runs=count)
    else:
        ready = datetime.now() + timedelta(seconds=seconds)
        at = ready.strftime("%Y-%m-%d %H:%M" if seconds > FAR_S else "%H:%M")
        said = _(
            "<b>{runs}</b>, about <b>{time}</b> in all on this machine, one after the other, so "
            "until about {ready}; less where runs share their phase 1. They go on when this page "
            "is closed."
        ).format(runs=count, time=roughly(seconds), ready=at)
    words = _("Start the sweep ({runs})").format(runs=count)
    return [f"<p class='estimate' role='status'>{said}</p>", gr.Button(words, interactive=True)]


def start_sweep(lab: Lab, name: str, *values: Any) -> tuple[str, str]:
    """Puts a sweep's runs into the queue; returns the id of the first, and a sentence as HTML.

    Args:
        lab: makes the runs.
        name: what to call the sweep.
        values: as `sweep_words` takes them.

    Raises:
        LabError: a list, an option or a fact is invalid, or no process can be started.
    """
    axes, base = read_sweep_form(*values)
    check_model(base.model, base.method)
    sweep_id = plan(lab, axes, base, (name or "").strip(), in_queue=True)
    lab.jobs.start_next()
    runs = lab.registry.sweep_runs(sweep_id)
    said = _(
        "{runs} are in the queue. On the Runs tab, the sub-tab Sweep of any of them shows the "
        "figures as they come."
    )
    count = ngettext("{n} run", "{n} runs", len(runs)).format(n=len(runs))
    return runs[0].id, note(said.format(runs=count), "good")


def _sentence() -> str:
    return _("Give at least one list with two values or more, such as 1, 10, 50.")


def _seconds(lab: Lab, configs: Sequence[RunConfig]) -> float | None:
    """How long these runs take together; None where nothing is known about the model.

    Raises:
        LabError: the facts of one don't fit its settings.
    """
    known: dict[RunConfig, float | None] = {}  # a seed makes no difference to the time
    total = 0.0
    for config in configs:
        alike = replace(config, seed=0)
        if alike not in known:
            known[alike] = estimate(lab, config, lab.facts_for(config)).seconds
        seconds = known[alike]
        if seconds is None:
            return None
        total += seconds
    return total
