"""The form's settings as a command and as Python code, before a run is started with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.python_code import python_of
from rotelab.config.reproduce import command_of
from rotelab.config.run_config import RunConfig
from rotelab.errors import ConfigError
from rotelab.ui.i18n import _
from rotelab.ui.train.form import config_from


@dataclass(frozen=True)
class AsCode:
    """The part's components: the command and the Python code."""

    command: gr.Code
    python: gr.Code

    @property
    def outputs(self) -> list[Any]:
        """The outputs of `code_of`."""
        return [self.command, self.python]


def build_as_code(config: RunConfig) -> AsCode:
    """Lays out the part, closed, with the code of the settings that the form has at first."""
    with gr.Accordion(_("As a command, and in Python"), open=False, elem_id="train-code"):
        shared = {"interactive": False, "lines": 1, "max_lines": 10, "wrap_lines": True}
        command = gr.Code(
            command_of(config), label=_("Command line"), language="shell",
            elem_id="train-command", **shared,
        )  # fmt: skip
        python = gr.Code(
            python_of(config), label="Python", language="python", elem_id="train-python", **shared
        )
    return AsCode(command, python)


def code_of(*values: Any) -> list[Any]:
    """The command and the code of the form's values; unchanged while these make no sense.

    Args:
        values: in the order of `Form.inputs`.
    """
    try:
        config = config_from(values)
    except ConfigError:  # the estimate beside it says what is wrong
        return [gr.skip(), gr.skip()]
    return [command_of(config), python_of(config)]
