"""The Python code that makes a run or a lesson again."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from rotelab.config import recipes
from rotelab.config.keywords import SHORT
from rotelab.config.option_paths import flat
from rotelab.config.reproduce import OF_THE_FACTS
from rotelab.config.run_config import LessonConfig, RunConfig

BEGINNING = ["import rotelab", "", "lab = rotelab.Lab()"]
LINE = 88
"""A call that is longer than so many characters gets a line for each argument."""


def python_of(config: RunConfig, pack: str = "", parent_id: str = "") -> str:
    """The Python code whose run has these settings; options at their default are left out.

    Args:
        config: the settings, of a run or of a lesson.
        pack: the name or folder of the facts, if it is not the one in the settings.
        parent_id: of a lesson, the run that it continues; its facts are in `facts.csv`.
    """
    return "\n".join([*BEGINNING, call_of(config, pack, parent_id)])


def call_of(config: RunConfig, pack: str = "", parent_id: str = "") -> str:
    """The one statement of `python_of` that makes the run; its variable is `run`."""
    if config.lesson is not None:
        usual = LessonConfig()
        changed = {
            field.name: getattr(config.lesson, field.name)
            for field in dataclasses.fields(usual)
            if field.name not in OF_THE_FACTS
            and getattr(config.lesson, field.name) != getattr(usual, field.name)
        }
        arguments = [_said("facts.csv"), *(f"{name}={_said(v)}" for name, v in changed.items())]
        return _call(f"run = lab.get({_said(parent_id)}).teach", arguments)
    recipe = recipes.recipe_of(config) or recipes.DEFAULT
    usual_values = flat(recipes.applied(recipe, RunConfig()))
    short: dict[str, Any] = {}
    long: dict[str, Any] = {}
    for path, value in flat(config).items():
        if path == "pack" or value == usual_values[path]:
            continue
        if path in SHORT:
            short[SHORT[path]] = value
        else:
            long[path] = value
    arguments = [_said(pack or config.pack)]
    arguments += [] if recipe == recipes.DEFAULT else [f"recipe={_said(recipe)}"]
    arguments += [f"{name}={_said(value)}" for name, value in short.items()]
    inner = [f"{_said(path)}: {_said(value)}" for path, value in long.items()]
    if len(", ".join([*arguments, *inner])) > LINE // 2 and len(inner) > 1:
        arguments.append("options={\n" + "".join(f"        {one},\n" for one in inner) + "    }")
    elif inner:
        arguments.append(f"options={{{', '.join(inner)}}}")
    return _call("run = lab.run", arguments)


def notebook_of(
    code: str, run_id: str, title: str, question: str = "", measured: bool = True
) -> dict[str, Any]:
    """A notebook about a run (nbformat 4.5): it opens the run, shows its results and asks it.

    Args:
        code: the code that makes such a run again (`python_of`).
        run_id: the run.
        title: what the notebook is called.
        question: what it asks the run's model; empty where that can't be asked.
        measured: whether there are scores and figures to show.
    """
    head = title.translate(str.maketrans(dict.fromkeys("[]()<>*_`#\\", " ")))
    parts = [
        ("markdown", f"# {' '.join(head.split())}\n\nExported by rotelab from run `{run_id}`."),
        ("code", "\n".join(BEGINNING)),
        ("code", f"run = lab.get({_said(run_id)})\nrun"),
    ]
    if measured:
        parts += [
            ("markdown", "## Results"),
            ("code", "run.scores"),
            ("code", 'run.figure("curves")'),
            ("code", "run.answers.head(20)"),
            ("markdown", "## Inside"),
            ("code", 'run.figure("similarity")'),
        ]
    if question:
        parts += [("markdown", "## Asking"), ("code", f"run.ask({_said(question)})")]
    parts.append(("markdown", f"## Such a run, made anew\n\n```python\n{code}\n```"))
    return {
        "cells": [_cell(kind, text, place) for place, (kind, text) in enumerate(parts, 1)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _cell(kind: str, text: str, place: int) -> dict[str, Any]:
    cell = {"cell_type": kind, "id": f"cell-{place:02d}", "metadata": {}}
    cell["source"] = text.splitlines(keepends=True)
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def _call(function: str, arguments: list[str]) -> str:
    line = f"{function}({', '.join(arguments)})"
    if len(line) <= LINE and "\n" not in line:
        return line
    return "\n".join([f"{function}(", *(f"    {argument}," for argument in arguments), ")"])


def _said(value: Any) -> str:
    """A value as Python has it, texts in double quotes."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
