"""The Train tab: one form for both phases, and a panel that follows the training."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.option_paths import with_setting
from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError
from rotelab.models.preflight.memory import fit
from rotelab.models.preflight.model_files import check_model
from rotelab.reports.forgotten import recipe_cost
from rotelab.runs import demo
from rotelab.runs.lab import Lab
from rotelab.runs.progress import estimate
from rotelab.ui.components import QUIET, bound, escape, note, roughly
from rotelab.ui.i18n import N_, _, ngettext, one_decimal
from rotelab.ui.train.as_code import build_as_code, code_of
from rotelab.ui.train.form import (
    PRESET_FIELDS,
    PRESETS,
    RECIPE_FIELDS,
    Form,
    apply_preset,
    apply_recipe,
    build_choice,
    build_form,
    config_from,
    leave_recipe,
    preset_values,
    values_of,
)
from rotelab.ui.train.live_panel import (
    LivePanel,
    Seen,
    build_live_panel,
    update_panel,
    wire_live_panel,
)
from rotelab.ui.train.own_names import OwnNames, build_own_names, own_lead
from rotelab.ui.train.sweep_form import SweepForm, build_sweep_form, start_sweep, sweep_words
from rotelab.ui.wording import percent, slower_words

INTRO = N_(
    "First the model learns facts **by rote**, through a key token that means nothing. Then **a "
    "few sentences** show it what the token means."
)


@dataclass(frozen=True)
class TrainTab:
    """The tab's components, as far as other code needs them.

    Args:
        pack: the chooser of fact packs.
        started: takes the id of a run that was just started.
        form: the form.
        panel: the live panel.
        estimated: says how long the run will take.
        own: the short run on a person's own names.
    """

    pack: gr.Dropdown
    started: gr.State
    form: Form
    panel: LivePanel
    estimated: gr.HTML
    own: OwnNames

    @property
    def settings(self) -> list[Any]:
        """The outputs of `put_into_form`."""
        return [*self.form.inputs, self.form.preset, self.form.recipe]

    @property
    def started_outputs(self) -> list[Any]:
        """The outputs of `start` and `watch`."""
        return [self.started, *self.panel.outputs[1:], self.panel.watching]

    @property
    def refresh_inputs(self) -> list[Any]:
        """What `refresh` is told."""
        return self.form.inputs

    @property
    def refresh_outputs(self) -> list[Any]:
        """The outputs of `refresh`."""
        return [self.pack, self.estimated, self.own.lead]


def build_train_tab(lab: Lab) -> TrainTab:
    """Lays out the tab and connects its parts.

    Args:
        lab: has the fact packs and starts the runs.
    """
    started = gr.State("")
    gr.Markdown(_(INTRO), elem_id="train-intro")
    with gr.Row():
        with gr.Column(scale=4, min_width=330, elem_id="train-form"):
            gr.Markdown(_("### A new run"))
            preset, pack = build_choice(lab.pack_names())
            # Start is above the details, so that a lecturer never has to scroll for it.
            estimated = gr.HTML(css_template=ESTIMATE_CSS, elem_id="train-estimate")
            button = gr.Button(
                _("Start training"), variant="primary", size="lg", elem_id="train-start"
            )
            with gr.Accordion(_("Details"), open=True, elem_id="train-details"):
                form = build_form(preset, pack)
                name = gr.Textbox(
                    label=_("Name (if you like)"),
                    placeholder=_("for example: before lunch"),
                    max_lines=1,
                    max_length=80,
                    elem_id="train-name",
                )
            code = build_as_code(RunConfig(pack=pack.value or RunConfig().pack))
            sweep = build_sweep_form(lab.pack_names())
            own = build_own_names(lab)
        with gr.Column(scale=7, min_width=420, elem_id="train-live"):
            panel = build_live_panel(lab)
    estimated.value = _first_words(lab, pack.value)
    tab = TrainTab(pack, started, form, panel, estimated, own)
    _wire(lab, tab, name, button)
    gr.on(
        [field.change for field in form.inputs], code_of, form.inputs, code.outputs,
        trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    count = len(tab.started_outputs)

    def starts(rows: Sequence[Sequence[Any]]) -> list[Any]:
        return start_own(lab, rows, count)

    own.start.click(
        bound(starts), own.table, [own.remark, *tab.started_outputs], trigger_mode="once",
        api_visibility="private", show_progress_on=own.start,
    )  # fmt: skip
    _wire_sweep(lab, tab, sweep)
    return tab


def refresh(lab: Lab, *values: Any) -> list[Any]:
    """Reads the list of fact packs again, and how long the runs of the form take by now; in the
    order of `TrainTab.refresh_outputs`.

    Raises:
        LabError: the registry can't be read.
    """
    words = estimated_words(lab, *values) if values else gr.skip()
    return [gr.Dropdown(choices=lab.pack_names()), words, own_lead(lab)]


def start(lab: Lab, name: str, *values: Any) -> list[Any]:
    """Starts a run, or queues it, and shows it; in the order of `TrainTab.started_outputs`.

    Raises:
        LabError: an option or a fact is invalid, or no process can be started.
    """
    config = config_from(values)
    run_id = lab.jobs.enqueue(config, lab.facts_for(config), name=(name or "").strip()[:80])
    return watch(lab, run_id)


def start_own(lab: Lab, rows: Sequence[Sequence[Any]], count: int) -> list[Any]:
    """Starts the short run on a person's own names and shows it, or says what is wrong with them.

    Args:
        lab: starts the run.
        rows: the table.
        count: how many outputs `watch` has; they follow the remark.
    """
    try:
        run_id = demo.start_own(lab, rows)
    except LabError as error:
        return [note(str(error), "bad"), *[gr.skip()] * count]
    return ["", *watch(lab, run_id)]


def start_many(lab: Lab, name: str, *values: Any) -> list[Any]:
    """Puts a sweep into the queue and shows its first run: a sentence, then
    `TrainTab.started_outputs`.

    Raises:
        LabError: as `sweep_form.start_sweep`.
    """
    run_id, said = start_sweep(lab, name, *values)
    return [said, *watch(lab, run_id)]


def watch(lab: Lab, run_id: str) -> list[Any]:
    """Shows a run that was just started; in the order of `TrainTab.started_outputs`.

    Raises:
        LabError: the registry can't be read.
    """
    return [run_id, *update_panel(lab, run_id, Seen())[1:], run_id]


def estimated_words(lab: Lab, *values: Any) -> str:
    """How long a run with the form's values will take, and what such runs cost of what the model
    knew; or what is wrong with the values. As HTML.

    Raises:
        LabError: the registry can't be read.
    """
    try:
        config = config_from(values)
        check_model(config.model, config.method)
        pack = lab.facts_for(config)
    except LabError as error:
        return f"<p class='estimate note note-bad' role='alert'>{escape(error)}</p>"
    guess = estimate(lab, config, pack)
    if guess.seconds is None:
        words = _(
            "No estimate: this model has not yet finished a run on this machine. A model that is "
            "not here yet is downloaded first."
        )
        return f"<p class='estimate'>{words}</p>{_memory(config)}{_cost(lab, config)}"
    words = (
        _("Takes about <b>{time}</b> (an estimate, from your newest runs with this model).")
        if guess.measured
        else _(
            "Takes about <b>{time}</b> (a rough estimate for two CPU cores; the next one is "
            "measured on this machine)."
        )
    )
    said = " ".join([words.format(time=roughly(guess.seconds)), slower_words(guess)])
    presets = _preset_times(lab, config)
    return f"<p class='estimate'>{said}</p>{presets}{_memory(config)}{_cost(lab, config)}"


def _preset_times(lab: Lab, config: RunConfig) -> str:
    """How long each preset takes with these facts and all other settings as they are."""
    relations = lab.find_pack(config.pack).facts.relations
    most = min(len(relation.facts) for relation in relations)
    found = []
    for preset in PRESETS:
        changed = config
        for name, value in preset_values(preset, most).items():
            changed = with_setting(changed, f"{name}={value}")
        seconds = estimate(lab, changed, lab.facts_for(changed)).seconds
        found.append(f"{_(preset).partition(' (')[0]}: {roughly(seconds)}")
    return f"<p class='estimate hint'>{escape(' · '.join(found))}</p>"


def _memory(config: RunConfig) -> str:
    """The memory that a run needs against what is free, as HTML; empty where that is not known."""
    found = fit(config)
    if found is None:
        return ""
    figures = {"needed": one_decimal(found.needed), "there": one_decimal(found.there)}
    if found.fits:
        words = _("Needs about <b>{needed} GB</b> of memory; {there} GB are free on its device.")
        return f"<p class='estimate'>{words.format(**figures)}</p>"
    words = _(
        "Needs about <b>{needed} GB</b> of memory, but only {there} GB are free on its device. "
        "Close other programs, choose a smaller model, or use <i>Gradient checkpointing</i> or "
        "<i>Stored weights</i> under <i>Advanced</i>."
    )
    return f"<p class='estimate note note-bad' role='alert'>{words.format(**figures)}</p>"


def _cost(lab: Lab, config: RunConfig) -> str:
    """What earlier runs trained in the same way lost of what the model knew; empty without any."""
    found = recipe_cost(lab.registry, config)
    if found is None:
        return ""
    words = ngettext(
        "{n} earlier run trained in this way kept <b>{kept}</b> of the real facts that the model "
        "knew; its perplexity on plain prose was <b>{times}</b> times what it had been.",
        "{n} earlier runs trained in this way kept <b>{kept}</b> of the real facts that the model "
        "knew; their perplexity on plain prose was <b>{times}</b> times what it had been "
        "(medians).",
        found.runs,
    ).format(n=found.runs, kept=percent(found.kept), times=f"{found.perplexity:.2f}")
    return f"<p class='estimate'>{words}</p>"


ESTIMATE_CSS = """
.estimate {margin: .2rem 0; overflow-wrap: anywhere}
"""


def _first_words(lab: Lab, pack_name: str | None) -> str:
    if not pack_name:
        return ""
    return estimated_words(lab, *values_of(RunConfig(pack=pack_name)))


def _wire_sweep(lab: Lab, tab: TrainTab, sweep: SweepForm) -> None:
    asked = [*sweep.lists, *tab.form.inputs]
    gr.on(
        [part.change for part in asked], bound(sweep_words, lab), asked,
        [sweep.words, sweep.start], trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    sweep.start.click(
        bound(start_many, lab), [sweep.name, *asked], [sweep.words, *tab.started_outputs],
        trigger_mode="once", api_visibility="private", show_progress_on=sweep.start,
    )  # fmt: skip


def _wire(lab: Lab, tab: TrainTab, name: gr.Textbox, button: gr.Button) -> None:
    form, panel = tab.form, tab.panel
    chosen = [form.fields[field] for field in PRESET_FIELDS]
    gr.on(
        [form.preset.input, tab.pack.change],
        bound(apply_preset, lab),
        [form.preset, tab.pack],
        chosen,
        **QUIET,
    )
    for field in chosen:
        # A number changed by hand matches no preset any more.
        field.input(lambda: None, None, form.preset, **QUIET)
    decided = [form.fields[field] for field in RECIPE_FIELDS]
    form.recipe.input(apply_recipe, form.recipe, [form.recipe, *decided], **QUIET)
    for option, field in zip(RECIPE_FIELDS, decided, strict=True):
        field.input(
            functools.partial(leave_recipe, option), [form.recipe, field], form.recipe, **QUIET
        )
    gr.on(
        [field.change for field in form.inputs],
        bound(estimated_words, lab),
        form.inputs,
        tab.estimated,
        trigger_mode="always_last",
        **QUIET,
    )
    button.click(
        bound(start, lab),
        [name, *form.inputs],
        tab.started_outputs,
        api_visibility="private",
        show_progress_on=button,
    )
    wire_live_panel(lab, panel)
