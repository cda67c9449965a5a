"""The command that makes a run again has the same settings when it is parsed."""

import shlex

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from rotelab.cli.options import takes_config
from rotelab.config import recipes
from rotelab.config.option_paths import flat, with_setting
from rotelab.config.reproduce import FLAGS, command_of
from rotelab.config.run_config import (
    EvaluationConfig,
    GeneralizeConfig,
    MemorizeConfig,
    ModelSpec,
    RunConfig,
)


def meant_by(command: str) -> RunConfig:
    """The settings that the command line reads out of a command."""
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "rotelab", "run"]
    found = []
    app = typer.Typer()
    app.command()(takes_config(lambda config: found.append(config)))
    app(words[4:], standalone_mode=False)
    return found[0]


def test_the_usual_run_is_a_short_command():
    assert command_of(RunConfig()) == "python -m rotelab run --pack mother"
    published = recipes.applied("published", RunConfig(pack="capital", seed=3))
    assert command_of(published) == (
        "python -m rotelab run --pack capital --recipe published --seed 3"
    )
    assert command_of(RunConfig(), "my facts; rm -rf /").endswith("--pack 'my facts; rm -rf /'")


@pytest.mark.parametrize(
    "config",
    [
        RunConfig(),
        RunConfig(pack="folder/with space", facts=30, seed=9, method="full"),
        RunConfig(model=ModelSpec("Qwen/Qwen2.5-1.5B", "cuda:1", "bfloat16")),
        RunConfig(memorize=MemorizeConfig(epochs=3, layers="0%-50%", stop_at_full_recall=True)),
        RunConfig(generalize=GeneralizeConfig(k=5, locality=0, noise=0.1, layers="all")),
        RunConfig(evaluation=EvaluationConfig(candidates=100, normalized=True, generate=50)),
        *(recipes.applied(name, RunConfig(facts=20)) for name in recipes.NAMES),
        with_setting(recipes.applied("published", RunConfig()), "generalize.locality=2"),
    ],
)
def test_a_command_means_the_settings_that_it_was_made_of(config):
    assert meant_by(command_of(config)) == config


@settings(max_examples=40, deadline=None)
@given(
    rank=st.integers(1, 1024),
    rate=st.floats(1e-7, 1.0),
    share=st.floats(0.0, 1.0),
    flag=st.booleans(),
)
def test_numbers_keep_every_digit(rank, rate, share, flag):
    config = RunConfig(
        memorize=MemorizeConfig(
            rank=rank, learning_rate=rate, lead_ins=share, stop_at_full_recall=flag
        )
    )
    assert meant_by(command_of(config)) == config


def test_every_named_option_is_one():
    assert set(FLAGS) <= set(flat(RunConfig()))
