"""Whiskers: each value's interval as a trace's error bars."""

import math

import plotly.graph_objects as go
import pytest

from rotelab.experiments import in_context, languages
from rotelab.reports.figures.style import whiskers
from rotelab.reports.formats import Estimate


def test_a_whisker_ends_where_the_interval_does():
    made = whiskers([0.5, 0.0, 1.0], [(0.25, 0.625), (0.0, 0.125), (0.75, 1.0)])
    assert made["array"] == [0.125, 0.125, 0.0]
    assert made["arrayminus"] == [0.25, 0.0, 0.25]
    assert made["visible"]
    go.Bar(y=[0.5, 0.0, 1.0], error_y=made)  # Plotly takes it


def test_none_is_drawn_where_no_interval_is_known():
    made = whiskers([0.5, math.nan, 0.2], [(), (0.1, 0.2), (0.1, 0.4)])
    assert made["array"] == [None, None, pytest.approx(0.2)]
    assert not whiskers([0.5], [()])["visible"]


def test_a_share_outside_its_interval_by_rounding_gets_no_negative_whisker():
    made = whiskers([0.3000001], [(0.1, 0.3)])
    assert made["array"] == [0.0]


def test_bars_of_an_experiment_have_them_and_older_results_have_none():
    row = ("base", 0, 30, 8, 0.5, 0.5, 0.1, 0, 0.0, 0.0)
    for within in ((0.25, 0.75), ()):
        found = in_context.InContext(4, (in_context.Row(*row, within),), (), math.nan, 0)
        drawn = [bar.error_y.visible for bar in found.figure().data]
        assert drawn == [bool(within), False], "the share, not the choice beside it"
        cell = found.tables()[0].rows[0][4]
        assert isinstance(cell, Estimate) == bool(within)


def test_a_language_s_bar_has_its_own():
    rows = [languages.Row("en", c, 3, 6, 0.5, 0.4, (0.25, 0.75)) for c in languages.CHECKPOINTS]
    figure = languages.Languages(tuple(rows)).figure()
    assert [list(bar.error_y.array) for bar in figure.data] == [[0.25]] * 3
