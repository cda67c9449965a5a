"""The form for a new run: a field for each option of `RunConfig`, presets and recipes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from rotelab.config import recipes
from rotelab.config.option_paths import field_of, flat, option_names, with_values
from rotelab.config.recipes import OFFERED, recipe_of
from rotelab.config.run_config import EMBEDDED, RunConfig
from rotelab.errors import ConfigError, LabError
from rotelab.models.catalogue import CATALOGUE, CatalogueEntry, devices
from rotelab.runs.lab import Lab
from rotelab.ui.i18n import N_, _
from rotelab.ui.wording import whole

COMMON = ("facts", "generalize.k", "memorize.epochs", "generalize.epochs", "seed")
GROUPS = (
    ("memorize", N_("Phase 1: rote learning")),
    ("generalize", N_("Phase 2: sentences")),
    ("model", N_("Model")),
    ("evaluation", N_("Questions asked after each phase")),
)

QUICK, STANDARD, DEEP = N_("Quick look (20 facts)"), N_("Standard (100 facts)"), N_("Deep")
PRESETS = (QUICK, STANDARD, DEEP)
PRESET_HINT = N_(
    "Quick look shows the idea, Standard is the paper's size, Deep repeats the facts three times "
    "as often."
)


@dataclasses.dataclass(frozen=True)
class Form:
    """The form's components.

    Args:
        preset: chooses a preset; empty where a number was changed by hand.
        recipe: chooses a recipe; empty where the settings match none.
        fields: each option's component by its dotted path, such as `memorize.epochs`.
    """

    preset: gr.Radio
    recipe: gr.Radio
    fields: dict[str, Any]

    @property
    def inputs(self) -> list[Any]:
        """The components, in the order of `config_from`'s values."""
        return list(self.fields.values())


def build_choice(pack_names: Sequence[str]) -> tuple[gr.Radio, gr.Dropdown]:
    """Lays out the two choices that a newcomer needs: how much to train, and on which facts.

    Args:
        pack_names: the fact packs to choose from.
    """
    preset = gr.Radio(
        [(_(preset), preset) for preset in PRESETS],
        value=STANDARD,
        label=_("How much"),
        info=_(PRESET_HINT),
        elem_id="train-preset",
    )
    pack = gr.Dropdown(
        list(pack_names),
        value=_first_choice(pack_names),
        label=_(field_of("pack").metadata["label"]),
        info=_(field_of("pack").metadata["help"]),
        elem_id="train-pack",
    )
    return preset, pack


def build_form(preset: gr.Radio, pack: gr.Dropdown) -> Form:
    """Lays out the other options inside the current column.

    Args:
        preset: made by `build_choice`.
        pack: made by `build_choice`.
    """
    made: dict[str, Any] = {"pack": pack}
    made["model.name"] = gr.Dropdown(
        [(_model_label(model), model.name) for model in CATALOGUE],
        value=EMBEDDED,
        allow_custom_value=True,
        label=_("Model"),
        info=_(
            "Choose one (billions of parameters, memory it needs), or type any other Hugging Face "
            "name or the path of a folder."
        ),
        elem_id="train-model",
    )
    for pair in (("facts", "generalize.k"), ("memorize.epochs", "generalize.epochs")):
        with gr.Row():
            for name in pair:
                made[name] = _component(name)
    recipe = gr.Radio(
        list(recipes.OFFERED),
        value=recipes.DEFAULT,
        label=_("Recipe"),
        info=recipe_line(recipes.DEFAULT),
        elem_id="train-recipe",
    )
    with gr.Accordion(_("Advanced"), open=False, elem_id="train-advanced"):
        with gr.Row():
            for name in ("seed", "method", "stages"):
                made[name] = _component(name)
        for part, heading in GROUPS:
            gr.Markdown(f"## {_(heading)}")
            for name in option_names():
                if name.startswith(f"{part}.") and name not in made and name not in COMMON:
                    made[name] = _component(name)
    return Form(preset, recipe, {name: made[name] for name in option_names()})


def config_from(values: Sequence[Any]) -> RunConfig:
    """The configuration that the form's values describe.

    Args:
        values: in the order of `Form.inputs`.

    Raises:
        ConfigError: a number is missing, out of range, or a fraction where only whole numbers
            make sense.
    """
    given = zip(option_names(), values, strict=True)
    return with_values(RunConfig(), {name: _read(field_of(name), value) for name, value in given})


def values_of(config: RunConfig) -> list[Any]:
    """The reverse of `config_from`: the values of `Form.inputs`, in their order."""
    return list(flat(config).values())


def preset_values(preset: str, smallest: int) -> dict[str, int]:
    """The options that a preset sets, fitted to the number of facts.

    Args:
        preset: one of `PRESETS`.
        smallest: how many facts the smallest relation has.
    """
    wanted = 20 if preset == QUICK else 100
    used = min(wanted, smallest)
    usual = RunConfig()
    # With few facts an epoch of phase 1 is short, so the same amount of practice takes more epochs.
    # Phase 2 makes up for that itself (`generalize.least_steps`).
    rote = {QUICK: 1.5, DEEP: 3}.get(preset, 1)
    return {
        "facts": wanted if smallest > wanted else 0,
        "generalize.k": max(1, used // 2),
        "memorize.epochs": round(usual.memorize.epochs * rote),
        "generalize.epochs": usual.generalize.epochs,
    }


def apply_preset(lab: Lab, preset: str | None, pack_name: str | None) -> list[Any]:
    """The values of the fields that a preset sets (`PRESET_FIELDS`).

    Raises:
        LabError: the pack can't be read.
    """
    if not preset or not pack_name:
        return [gr.skip()] * len(PRESET_FIELDS)
    facts = lab.find_pack(pack_name).facts
    values = preset_values(preset, min(len(relation.facts) for relation in facts.relations))
    return [values[name] for name in PRESET_FIELDS]


PRESET_FIELDS = ("facts", "generalize.k", "memorize.epochs", "generalize.epochs")


def recipe_line(name: str | None) -> str:
    """A sentence on what a recipe does."""
    if not name:
        return _("Settings of your own. Choose a recipe to have its settings again.")
    return _(recipes.find(name).line)


def apply_recipe(name: str | None) -> list[Any]:
    """The recipe's sentence, and the values of the fields that it sets (`RECIPE_FIELDS`)."""
    if not name:
        return [gr.skip()] * (1 + len(RECIPE_FIELDS))
    return [gr.Radio(info=recipe_line(name)), *recipes.values(name).values()]


RECIPE_FIELDS = tuple(recipes.options())


def leave_recipe(option: str, name: str | None, value: Any) -> Any:
    """The choice of recipes once a setting was changed by hand: none, unless it is as before.

    Args:
        option: one of `RECIPE_FIELDS`.
        name: the chosen recipe.
        value: of the option's field. A dropdown sends it when it loses the focus, too.
    """
    if not name or recipes.values(name)[option] == value:
        return gr.skip()
    return gr.Radio(value=None, info=recipe_line(None))


def _model_label(model: CatalogueEntry) -> str:
    """A model in the list: “Qwen/Qwen2.5-1.5B  (1.5 B, 7 GB)”."""
    size = f"{model.parameters:g} B, {model.memory_gb} GB"
    if model.name == EMBEDDED:
        size = _("comes with the lab, {size}").format(size=size)
    return f"{model.name}  ({size})"


def _component(name: str) -> Any:
    """The component of an option, by the option's type."""
    f = field_of(name)
    words: Mapping[str, Any] = {
        "label": _(f.metadata["label"]),
        "info": _(f.metadata["help"]),
        "value": f.default,
        "elem_id": "train-" + name.replace(".", "-").replace("_", "-"),
        "min_width": 160,
    }
    if name == "model.device":
        return gr.Dropdown(list(devices()), allow_custom_value=True, **words)
    if f.metadata["choices"]:
        return gr.Dropdown(list(f.metadata["choices"]), **words)
    if f.type == "bool":
        return gr.Checkbox(**words)
    if f.type in ("int", "float"):
        # No bounds here: `RunConfig` checks the range and names the field in its error.
        return gr.Number(step=1 if f.type == "int" else 0.0001, **words)
    return gr.Textbox(max_lines=1, **words)


def _read(f: dataclasses.Field, value: Any) -> Any:
    """A component's value as its option's type.

    Raises:
        ConfigError: a number is missing, or is a fraction where it must be whole.
    """
    label = f.metadata["label"]
    if f.type == "int":
        return whole(label, value)
    if f.type == "float":
        if value is None:
            raise ConfigError(f"{label}: fill in a number.")
        return float(value)
    if f.type == "str":
        return str(value or "").strip()
    return value


def _first_choice(pack_names: Sequence[str]) -> str | None:
    usual = RunConfig().pack
    return usual if usual in pack_names else next(iter(pack_names), None)


def put_into_form(lab: Lab, run_id: str) -> list[Any]:
    """Puts a run's settings into the form, to be changed and started again; in the order of
    `TrainTab.settings`.

    Raises:
        LabError: no run is chosen, its settings are damaged, or its facts are not in the lab.
    """
    if not run_id:
        raise LabError(_("Choose a run first: click its row in the table."))
    run = lab.registry.run(run_id)
    config = run.config
    try:
        pack = lab.facts_for(config)
    except LabError as error:
        raise LabError(
            _(
                "The facts “{facts}” of this run can't be put into the form ({reason}) “Run "
                "again”, beside this button, uses the run's own copy of them."
            ).format(facts=config.pack, reason=error)
        ) from error
    if pack.content_hash != run.content_hash:
        gr.Warning(
            _(
                "The facts “{facts}” have changed since this run. The form uses them as they are "
                "now; “Run again” uses them as they were."
            ).format(facts=config.pack)
        )
    values = dict(zip(option_names(), values_of(config), strict=True))
    names = lab.pack_names()
    values["pack"] = gr.Dropdown(
        choices=names if config.pack in names else [*names, config.pack], value=config.pack
    )
    recipe = recipe_of(config)
    return [
        *values.values(),
        None,
        gr.Radio(value=recipe if recipe in OFFERED else None, info=recipe_line(recipe)),
    ]
