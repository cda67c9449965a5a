"""Recipes: each names only options of training, and works the same everywhere."""

import pytest
from typer.testing import CliRunner

from rotelab.config import recipes
from rotelab.config.option_paths import with_setting
from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig, ModelSpec, RunConfig
from rotelab.errors import ConfigError


def test_the_first_recipe_is_what_every_default_says():
    assert recipes.applied(recipes.DEFAULT, RunConfig()) == RunConfig()
    assert recipes.recipe_of(RunConfig()) == recipes.DEFAULT == "two-adapter"


@pytest.mark.parametrize("recipe", recipes.RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_names_real_options_that_are_a_recipe_s_business(recipe):
    usual = recipes.options()
    for name, value in recipe.changes.items():
        assert name in usual and value != usual[name]
        assert type(value) is type(usual[name])
    assert recipe.line.endswith(".")


@pytest.mark.parametrize("name", recipes.NAMES)
def test_a_recipe_says_how_and_leaves_how_much_alone(name):
    mine = RunConfig(
        pack="capital",
        facts=30,
        seed=7,
        model=ModelSpec(device="cpu"),
        memorize=MemorizeConfig(epochs=9, rank=5),
        generalize=GeneralizeConfig(k=10, epochs=2, locality=7),
    )
    taught = recipes.applied(name, mine)
    assert (taught.pack, taught.facts, taught.seed, taught.model) == ("capital", 30, 7, mine.model)
    assert (taught.memorize.epochs, taught.generalize.k, taught.generalize.epochs) == (9, 10, 2)
    values = recipes.values(name)
    assert taught.memorize.rank == values["memorize.rank"] != 5
    assert recipes.recipe_of(taught) == name
    assert recipes.recipe_of(mine) == ""
    assert recipes.recipe_of(with_setting(taught, "memorize.rank=5")) == ""


def test_the_published_recipe_is_the_paper_s():
    config = recipes.applied("published", RunConfig())
    assert config.method == "full"
    assert config.generalize.replay == config.generalize.locality == config.memorize.silence == 0
    assert config.memorize.projections == config.generalize.projections == "all"
    assert config.generalize.layers == config.memorize.layers == "all"


def test_an_unknown_recipe_is_a_sentence():
    with pytest.raises(ConfigError, match="not a recipe. Use two-adapter"):
        recipes.applied("secret", RunConfig())


@pytest.fixture
def config_for():
    """The settings that a command line stands for."""
    import typer

    from rotelab.cli.options import takes_config

    def parse(*words):
        found = []
        app = typer.Typer()
        app.command()(takes_config(lambda config: found.append(config)))
        result = CliRunner().invoke(app, list(words))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return found[0]

    return parse


@pytest.mark.parametrize("name", recipes.NAMES)
def test_the_command_line_takes_a_recipe(config_for, name):
    assert config_for("--recipe", name) == recipes.applied(name, RunConfig())


def test_what_is_given_beside_a_recipe_wins_even_where_it_is_the_usual_value(config_for):
    usual = RunConfig().generalize.locality
    config = config_for("--recipe", "published", "--locality", str(usual), "--phase1-lr", "3e-5")
    assert config.generalize.locality == usual
    assert config.memorize.learning_rate == 3e-5
    assert config.method == "full" and config.generalize.replay == 0
    assert config_for("--recipe", "published", "--set", "method=lora").method == "lora"
    with pytest.raises(ConfigError, match="not a recipe"):
        config_for("--recipe", "x")
