"""Settings: ranges, types, JSON, old settings, and access by path."""

import dataclasses
import json
import math

import pytest

from rotelab.config.option_paths import flat, help_of, text_of, with_setting, with_values
from rotelab.config.run_config import (
    USUAL_CANDIDATES,
    EvaluationConfig,
    GeneralizeConfig,
    MemorizeConfig,
    ModelSpec,
    RunConfig,
)
from rotelab.errors import ConfigError

CLASSES = [ModelSpec, MemorizeConfig, GeneralizeConfig, EvaluationConfig, RunConfig]
OPTIONS = [
    (cls, field)
    for cls in CLASSES
    for field in dataclasses.fields(cls)
    if "label" in field.metadata
]
IDS = [f"{cls.__name__}.{field.name}" for cls, field in OPTIONS]
RANGES = [
    (cls, field, end)
    for cls, field in OPTIONS
    for end in ("low", "high")
    if field.metadata[end] is not None
]


def test_the_defaults_are_the_recipes():
    config = RunConfig()
    assert (config.pack, config.facts, config.generalize.k) == ("mother", 0, 50)
    assert config.model == ModelSpec("embedded", "auto", "auto")


@pytest.mark.parametrize("cls, field", OPTIONS, ids=IDS)
def test_every_option_has_a_label_and_a_sentence(cls, field):
    assert field.metadata["label"].strip()
    sentence = field.metadata["help"]
    assert sentence.endswith(".") and sentence[0] == sentence[0].strip()


@pytest.mark.parametrize(
    "cls, field, end", RANGES, ids=[f"{c.__name__}.{f.name}-{end}" for c, f, end in RANGES]
)
def test_the_ends_of_a_range_belong_to_it_and_nothing_beyond(cls, field, end):
    last = field.metadata[end]
    cls(**{field.name: last})
    step = 1 if field.type == "int" else max(abs(last), 1) * 1e-6
    with pytest.raises(ConfigError, match=rf"\({field.name}\) must be") as caught:
        cls(**{field.name: last - step if end == "low" else last + step})
    assert field.metadata["label"] in str(caught.value)


WRONG = {"int": [1.0, "1", True, None], "float": ["1", True, None], "str": [1, None, "", " "],
         "bool": [1, "yes", None]}  # fmt: skip


@pytest.mark.parametrize("cls, field", OPTIONS, ids=IDS)
def test_a_value_of_another_type_is_refused(cls, field):
    for value in WRONG[field.type]:
        with pytest.raises(ConfigError, match=rf"\({field.name}\) must "):
            cls(**{field.name: value})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ConfigError, match="must be between"):
        MemorizeConfig(learning_rate=value)


def test_choices_are_named():
    with pytest.raises(ConfigError, match="must be one of normal, s-o, o; it is 'all'"):
        MemorizeConfig(loss="all")
    with pytest.raises(ConfigError, match="must be one of auto, float32, bfloat16"):
        ModelSpec(dtype="float16")


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().seed = 1


def test_settings_survive_json():
    config = RunConfig(
        pack="capital",
        facts=20,
        seed=7,
        model=ModelSpec("folder", "cpu", "float32"),
        memorize=MemorizeConfig(epochs=3, loss="s-o", stop_at_full_recall=True),
        generalize=GeneralizeConfig(k=5, locality_weight=0),
        evaluation=EvaluationConfig(test_prompts=1),
    )
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_what_is_left_out_has_its_default():
    assert RunConfig.from_dict({}) == RunConfig()
    config = RunConfig.from_dict({"memorize": {"epochs": 3}})
    assert config.memorize == MemorizeConfig(epochs=3)


def test_stored_settings_that_lack_an_option_mean_what_was_done_before_there_was_one():
    data = RunConfig().to_dict()
    for part in ("memorize", "generalize"):
        del data[part]["spare"]
    config = RunConfig.from_stored(data)
    assert config.memorize.spare == config.generalize.spare == 0
    del data["generalize"]["least_steps"]
    assert RunConfig.from_stored(data).generalize.least_steps == 0
    assert RunConfig.from_stored(RunConfig().to_dict()) == RunConfig()
    assert "spare" not in data["memorize"], "what is stored stays as it was"
    with pytest.raises(ConfigError):
        RunConfig.from_stored([])


GONE = {
    "memorize": {"own_text": 4, "own_text_weight": 50.0},
    "generalize": {"word_dropout": 0.2, "own_text": 2, "own_text_weight": 1.0},
}


def test_stored_settings_with_options_that_are_gone_still_open():
    data = RunConfig(seed=7).to_dict()
    for part, options in GONE.items():
        data[part] |= options
    assert RunConfig.from_stored(data) == RunConfig(seed=7)
    assert data["memorize"]["own_text"] == 4, "what is stored stays as it was"
    data["memorize"]["own_texts"] = 4
    with pytest.raises(ConfigError, match="'own_texts' is not an option"):
        RunConfig.from_stored(data)


@pytest.mark.parametrize("path", [f"{part}.{name}" for part in GONE for name in GONE[part]])
def test_a_new_run_can_t_ask_for_options_that_are_gone(path):
    part, name = path.split(".")
    with pytest.raises(ConfigError, match="sets nothing"):
        with_setting(RunConfig(), f"{path}={GONE[part][name]}")
    with pytest.raises(ConfigError, match=f"'{name}' is not an option"):
        RunConfig.from_dict({part: {name: GONE[part][name]}})


@pytest.mark.parametrize(
    "data, match",
    [
        ({"epochs": 3}, "'epochs' is not an option of RunConfig"),
        ({"memorize": {"epoch": 3}}, "'epoch' is not an option of MemorizeConfig"),
        ({"memorize": {"epochs": -1}}, r"\(epochs\) must be between 0 and 500"),
        ({"memorize": 3}, "MemorizeConfig must be a table of options; it is 3"),
        ({"model": None}, "ModelSpec must be a table of options"),
        ([], "RunConfig must be a table of options"),
        (None, "RunConfig must be a table of options"),
    ],
)
def test_damaged_settings_are_refused(data, match):
    with pytest.raises(ConfigError, match=match):
        RunConfig.from_dict(data)


@pytest.mark.parametrize(
    "candidates, normalized, choices",
    [(0, False, 0), (7, False, 7), (0, True, USUAL_CANDIDATES), (7, True, 7)],
)
def test_normalising_needs_candidates_and_takes_the_usual_number(candidates, normalized, choices):
    assert EvaluationConfig(candidates=candidates, normalized=normalized).choices == choices


def test_any_option_can_be_set_by_text():
    config = RunConfig()
    for text in ("memorize.lora_plus=2", "generalize.layers=3-9", "seed=7"):
        config = with_setting(config, text)
    assert (config.memorize.lora_plus, config.generalize.layers, config.seed) == (2.0, "3-9", 7)
    assert with_setting(config, "memorize.stop_at_full_recall=true").memorize.stop_at_full_recall
    for wrong in ("", "seed", "nothing=1", "memorize=1", "memorize.rank=x", "memorize.rank=0",
                  "memorize.stop_at_full_recall=maybe", "model.dtype=int8"):  # fmt: skip
        with pytest.raises(ConfigError):
            with_setting(config, wrong)


def test_any_options_can_be_changed_at_once():
    changes = {"seed": 3, "memorize.rank": 8, "generalize.k": 2, "evaluation.damage": False}
    config = with_values(RunConfig(), changes)
    assert flat(config) == flat(RunConfig()) | changes
    with pytest.raises(ConfigError, match="must be at least 1|between 1"):
        with_values(config, {"memorize.rank": 0})
    for path in ("memorize", "memorize.nothing", "nothing.rank", "rank", ""):
        with pytest.raises(ConfigError, match="not an option"):
            with_values(config, {path: 1})


def test_every_value_survives_as_text():
    for path, value in flat(RunConfig()).items():
        assert with_setting(RunConfig(), f"{path}={text_of(value)}") == RunConfig()
        assert help_of(path).endswith(".")
