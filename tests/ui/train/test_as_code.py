"""The form's settings as a command and in Python."""

import shlex

import gradio as gr
import pytest
from support.page import browser_page, served, until

from rotelab.config.option_paths import with_values
from rotelab.config.python_code import python_of
from rotelab.config.reproduce import command_of
from rotelab.config.run_config import RunConfig
from rotelab.ui.train.as_code import code_of
from rotelab.ui.train.form import values_of


def test_the_code_is_that_of_the_form_s_values():
    config = with_values(RunConfig(), {"pack": "capital", "generalize.k": 7, "seed": 3})
    command, python = code_of(*values_of(config))
    assert (command, python) == (command_of(config), python_of(config))
    assert {"--k", "7", "--seed", "3", "capital"} <= set(shlex.split(command))
    assert python.endswith('lab.run("capital", seed=3, k=7)')


def test_values_that_make_no_sense_leave_the_code_as_it_was():
    values = values_of(RunConfig())
    values[-1] = None
    assert code_of(*values) == [gr.skip(), gr.skip()]


@pytest.mark.browser
def test_the_code_follows_the_form(tmp_path):
    with (
        served(tmp_path / "home") as server,
        browser_page(server.url, tab="Train") as (page, traffic),
    ):
        page.get_by_role("button", name="As a command, and in Python").click()
        command, python = page.locator("#train-command"), page.locator("#train-python")
        until(lambda: "rotelab run --pack" in command.inner_text(), 30)
        field = page.get_by_label("Facts per relation").first
        field.fill("31")
        field.press("Tab")
        until(lambda: "--facts 31" in command.inner_text(), 30, "the command has the new number")
        until(lambda: "facts=31" in python.inner_text(), 30, "so has the code")
        assert traffic.errors == []
