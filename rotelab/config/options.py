"""A run's options by their dotted paths, such as `memorize.epochs`: read, changed, named, listed."""

from __future__ import annotations

import dataclasses
from dataclasses import fields
from typing import Any

from rotelab.config.run_config import RunConfig
from rotelab.errors import ConfigError


def with_setting(config: RunConfig, text: str) -> RunConfig:
    """The configuration with one option changed by a text such as `memorize.lora_plus=4`.

    Raises:
        ConfigError: no such option, or a value that it can't have.
    """
    path, equals, value = text.partition("=")
    part, _, name = path.strip().rpartition(".")
    owner = getattr(config, part, None) if part else config
    known = {f.name: f for f in fields(owner)} if dataclasses.is_dataclass(owner) else {}
    if not equals or name not in known or "label" not in known[name].metadata:
        raise ConfigError(f"{text[:80]!r} sets nothing. Write it as memorize.lora_plus=4.")
    kind = known[name].type
    try:
        if kind == "bool":
            parsed: Any = {"true": True, "false": False}[value.strip().lower()]
        else:
            parsed = {"int": int, "float": float}.get(kind, str)(value.strip())
    except (ValueError, KeyError):
        raise ConfigError(f"{known[name].metadata['label']} ({path}) must be a {kind}.") from None
    changed = dataclasses.replace(owner, **{name: parsed})
    return dataclasses.replace(config, **{part: changed}) if part else changed


def help_of(config: type, name: str) -> str:
    """The help sentence of one option."""
    return next(f.metadata["help"] for f in fields(config) if f.name == name)


def value_of(config: RunConfig, path: str) -> Any:
    """The value of one option.

    Raises:
        ConfigError: there is no such option.
    """
    owner: Any = config
    for name in path.split("."):
        if not hasattr(owner, name):
            raise ConfigError(f"{path[:80]!r} is not an option of a run.")
        owner = getattr(owner, name)
    return owner


def label_of(path: str) -> str:
    """What the page calls an option."""
    part, _, name = path.rpartition(".")
    owner = getattr(RunConfig(), part, None) if part else RunConfig()
    for f in fields(owner) if owner is not None else ():
        if f.name == name and "label" in f.metadata:
            return f.metadata["label"]
    return path


def flat(config: RunConfig) -> dict[str, Any]:
    """Every option by its dotted name, such as `memorize.epochs`."""
    found: dict[str, Any] = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            found |= {
                f"{f.name}.{g.name}": getattr(value, g.name) for g in dataclasses.fields(value)
            }
        else:
            found[f.name] = value
    return found
