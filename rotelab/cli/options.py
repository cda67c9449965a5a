"""What several commands share: the options of a run, output formats, a progress bar."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from rotelab.config import recipes
from rotelab.config.option_paths import field_of, with_setting, with_values
from rotelab.config.reproduce import FLAGS, SWITCHES
from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError


def takes_config(command: Callable) -> Callable:
    """Gives a command the options of a run in place of its first parameter, `config`.

    An option of the same name that the command has itself, such as an axis of a sweep, stays the
    command's.
    """
    own = dict(inspect.signature(command, eval_str=True).parameters)
    del own["config"]
    taken = {name: option for name, option in _parameters().items() if name not in own}

    @functools.wraps(command)
    def with_options(**given: Any) -> Any:
        config = config_of({name: given.pop(name) for name in taken})
        return command(config, **given)

    parameters = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own.values(), *taken.values())
    ]
    # typer reads both.
    with_options.__signature__ = inspect.Signature(parameters)
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options


def config_of(given: dict[str, Any]) -> RunConfig:
    """The settings that a run's options mean.

    Args:
        given: values by the names of `_parameters`; None where the recipe decides.

    Raises:
        ConfigError: a value is out of its range, or there is no such recipe or option.
    """
    config = recipes.applied(given["recipe"], RunConfig())
    paths = {_parameter_name(flag): path for path, flag in (FLAGS | SWITCHES).items()}
    values = {paths[name]: value for name, value in given.items() if name in paths}
    config = with_values(config, {path: v for path, v in values.items() if v is not None})
    for setting in given["settings"] or ():
        config = with_setting(config, setting)
    return config


def _parameters() -> dict[str, inspect.Parameter]:
    """A run's options as typer reads them: name, type, help and default are the configuration's."""
    lines = " ".join(f"{recipe.name}: {recipe.line}" for recipe in recipes.RECIPES)
    other = (
        "Any other option, such as memorize.lora_plus=4; docs/options.md says how to see them all."
    )
    found: dict[str, Any] = {"recipe": (str, typer.Option(help=lines), recipes.DEFAULT)}
    decided = recipes.options()
    for path, flag in (FLAGS | SWITCHES).items():
        field = field_of(path)
        kind: Any = {"int": int, "float": float, "bool": bool}.get(field.type, str)
        default, shown = field.default, True
        if path in decided:
            kind, default, shown = kind | None, None, f"the recipe's; usually {field.default}"
        option = typer.Option(flag, help=field.metadata["help"], show_default=shown)
        found[_parameter_name(flag)] = kind, option, default
    found["settings"] = (list[str] | None, typer.Option("--set", help=other), None)
    return {
        name: inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind, option],
        )
        for name, (kind, option, default) in found.items()
    }


def _parameter_name(flag: str) -> str:
    return flag.split("/")[0].removeprefix("--").replace("-", "_")


def one_format(markdown: bool, json_output: bool) -> None:
    """Refuses a command that is asked for two formats at once.

    Raises:
        LabError: both are asked for.
    """
    if markdown and json_output:
        raise LabError("--markdown and --json exclude each other: give one of them.")


class Bar:
    """A progress bar on stderr; it appears with the first progress."""

    def __init__(self):
        self._bar: Any = None

    def show(self, share: float, message: str) -> None:
        """Shows how much is done.

        Args:
            share: 0 to 1.
            message: what is being done.
        """
        from tqdm.auto import tqdm

        if self._bar is None:
            self._bar = tqdm(
                total=100, file=sys.stderr, bar_format="{desc:44.44} {bar} {n:3.0f} % {elapsed}"
            )
        self._bar.set_description_str(message, refresh=False)
        self._bar.n = round(100 * share)
        self._bar.refresh()

    def close(self) -> None:
        """Ends the bar; one that did not reach its end disappears."""
        if self._bar is not None:
            self._bar.leave = self._bar.n == 100  # after an error, only the error's line is left
            self._bar.close()
