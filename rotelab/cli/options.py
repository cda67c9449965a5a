"""What several commands share: the options of a run, and output formats."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from rotelab.config import recipes
from rotelab.config.keywords import config_of, keyword_of
from rotelab.config.option_paths import field_of, with_setting
from rotelab.config.reproduce import FLAGS, SWITCHES
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
        options = {name: given.pop(name) for name in taken}
        recipe, settings = options.pop("recipe"), options.pop("settings")
        config = config_of(recipe, options)
        for setting in settings or ():
            config = with_setting(config, setting)
        return command(config, **given)

    parameters = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own.values(), *taken.values())
    ]
    # typer reads both.
    with_options.__signature__ = inspect.Signature(parameters)
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options


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
        found[keyword_of(flag)] = kind, option, default
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


def one_format(other: bool, json_output: bool, option: str = "--markdown") -> None:
    """Refuses a command that is asked for two formats at once.

    Args:
        other: whether the other format than JSON is asked for.
        json_output: whether JSON is.
        option: the other format's.

    Raises:
        LabError: both are asked for.
    """
    if other and json_output:
        raise LabError(f"{option} and --json exclude each other: give one of them.")
