"""Access to a run's options by their dotted paths, such as `memorize.epochs`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rotelab.config.run_config import LessonConfig, RunConfig
from rotelab.errors import ConfigError


def flat(config: RunConfig) -> dict[str, Any]:
    """Every option by its path, in the order of `RunConfig`."""
    found: dict[str, Any] = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            found |= {
                f"{f.name}.{g.name}": getattr(value, g.name) for g in dataclasses.fields(value)
            }
        elif "label" in f.metadata:
            found[f.name] = value
    return found


def option_names() -> tuple[str, ...]:
    """The paths of all options, in the order of `RunConfig`."""
    return tuple(flat(RunConfig()))


def field_of(path: str) -> dataclasses.Field:
    """An option's dataclass field; `metadata` has its label, help and range (`checked.option`).

    Raises:
        ConfigError: there is no such option.
    """
    part, _, name = path.rpartition(".")
    owner: Any = LessonConfig() if part == "lesson" else getattr(RunConfig(), part, None)
    owner = owner if part else RunConfig()
    for f in dataclasses.fields(owner) if dataclasses.is_dataclass(owner) else ():
        if f.name == name and "label" in f.metadata:
            return f
    raise ConfigError(f"{path[:80]!r} is not an option of a run.")


def label_of(path: str) -> str:
    """What the page calls an option; the path itself for one that does not exist (any more)."""
    try:
        return field_of(path).metadata["label"]
    except ConfigError:
        return path


def help_of(path: str) -> str:
    """The help sentence of an option.

    Raises:
        ConfigError: there is no such option.
    """
    return field_of(path).metadata["help"]


def value_of(config: RunConfig, path: str) -> Any:
    """The value of an option.

    Raises:
        ConfigError: there is no such option.
    """
    field_of(path)
    owner: Any = config
    for name in path.split("."):
        owner = getattr(owner, name)
    return owner


def text_of(value: Any) -> str:
    """An option's value as `with_setting` reads it: nothing rounded, truth values in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def with_values(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """The configuration with some options changed.

    Args:
        config: the configuration.
        values: the new values by path, each of its option's type.

    Raises:
        ConfigError: an option does not exist, or a value is out of its range.
    """
    changes: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        field_of(path)
        part, _, name = path.rpartition(".")
        changes.setdefault(part, {})[name] = value
    top = changes.pop("", {})
    parts = {
        part: dataclasses.replace(getattr(config, part), **found) for part, found in changes.items()
    }
    return dataclasses.replace(config, **top, **parts)


def with_setting(config: RunConfig, text: str) -> RunConfig:
    """The configuration with one option changed by a text such as `memorize.lora_plus=4`.

    Raises:
        ConfigError: there is no such option, or it can't have that value.
    """
    path, equals, value = (part.strip() for part in text.partition("="))
    if not equals or path not in flat(config):
        raise ConfigError(f"{text[:80]!r} sets nothing. Write it as memorize.lora_plus=4.")
    field = field_of(path)
    try:
        if field.type == "bool":
            parsed: Any = {"true": True, "false": False}[value.lower()]
        else:
            parsed = {"int": int, "float": float}.get(field.type, str)(value)
    except (ValueError, KeyError):
        label = field.metadata["label"]
        raise ConfigError(f"{label} ({path}) must be a {field.type}.") from None
    return with_values(config, {path: parsed})
