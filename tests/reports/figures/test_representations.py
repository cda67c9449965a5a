"""Figures of what happens inside the model, and the projection behind them."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.taught import keep_states

from rotelab.config.names import CHECKPOINTS, checkpoint_name
from rotelab.errors import LabError
from rotelab.evaluation.results import LensReading, Similarity, WeightChange
from rotelab.reports.figures.export import of_run
from rotelab.reports.figures.logit_lens import change_bars, first_layer, lens_curves, most_changed
from rotelab.reports.figures.pca import pca_moving, pca_panels
from rotelab.reports.figures.representations import (
    deep_layer,
    delta_curves,
    similarity_curves,
    similarity_heatmap,
)
from rotelab.reports.figures.style import CHECKPOINT_COLOURS, ROLE_COLOURS, TEXT
from rotelab.reports.pca import kept_layers, project
from rotelab.storage import Storage, states_file

ROLES = ("key", "train", "test", "unrelated")
RUN = "20260101-000000-mother-abcd"
GROUNDS = ("#ffffff", "#171d2b")
"""The page's light and dark ground (rotelab/ui/theme.py)."""


def rows(layers=7):
    """Numbers that tell their place: checkpoint in the first decimal, layer in the third."""
    return [
        Similarity(checkpoint, layer, name, 0.1 * c + 0.001 * layer)
        for c, checkpoint in enumerate(CHECKPOINTS)
        for layer in range(layers)
        for name in ("key-train", "key-test", "key-unrelated", "within", "across", "delta")
    ]


def views(relations=("mother",), facts=3):
    return [
        [relation, role, fact, f"{role} of <{relation}> {fact}"]
        for relation in relations
        for fact in range(facts)
        for role in ROLES
    ]


@pytest.fixture
def storage(tmp_path):
    return Storage(tmp_path)


def write(storage, seen, checkpoints=CHECKPOINTS, layers=4, hidden=8, shift=0.0):
    """Writes random states and returns them, `[views, layers, hidden]` by checkpoint."""
    rng = np.random.default_rng(0)
    made = {}
    for c, checkpoint in enumerate(checkpoints):
        made[checkpoint] = rng.normal(size=(len(seen), layers, hidden)) + shift * c
        keep_states(states_file(storage, RUN, checkpoint), made[checkpoint], seen)
    return made


# Similarity ---------------------------------------------------------------------------------------


def test_each_panel_has_one_line_a_checkpoint_in_its_colour_with_its_numbers():
    figure = similarity_curves(rows())
    assert len(figure.data) == 9
    for trace in figure.data:
        checkpoint = trace.legendgroup
        assert trace.name == checkpoint_name(checkpoint).long
        assert trace.line.color == CHECKPOINT_COLOURS[checkpoint]
        c = CHECKPOINTS.index(checkpoint)
        assert list(trace.x) == list(range(7))
        assert trace.y == pytest.approx([0.1 * c + 0.001 * layer for layer in range(7)])
    assert [trace.showlegend for trace in figure.data].count(True) == 3, "each name once"
    assert len({trace.line.dash for trace in figure.data}) == 3, "not told by colour alone"


def test_what_was_not_measured_is_left_out():
    some = [r for r in rows() if r.checkpoint != "generalized" and r.name != "key-unrelated"]
    assert len(similarity_curves(some).data) == 4
    assert len(similarity_heatmap(some).data) == 2
    assert similarity_curves([]) is similarity_heatmap([]) is delta_curves([]) is None


def test_the_map_holds_the_same_numbers_on_one_scale():
    figure = similarity_heatmap(rows())
    assert len(figure.data) == 3
    for trace in figure.data:
        assert list(trace.x) == [checkpoint_name(c).long for c in CHECKPOINTS]
        assert trace.coloraxis == "coloraxis"
        assert trace.z[5] == pytest.approx([0.005, 0.105, 0.205])


def test_delta_tells_its_two_parts_when_pointed_at():
    figure = delta_curves(rows())
    assert len(figure.data) == 3
    assert figure.data[2].customdata[3] == pytest.approx([0.203, 0.203])


@pytest.mark.parametrize("layers", [1, 2, 3, 31, 81])
def test_layers_are_ticked_whole_and_the_first_look_is_inside(layers):
    figure = similarity_curves(rows(layers))
    assert figure.layout.xaxis.dtick == int(figure.layout.xaxis.dtick) >= 1
    assert layers / figure.layout.xaxis.dtick <= 9
    assert 0 <= deep_layer(layers) < layers


# Projection ---------------------------------------------------------------------------------------


def test_all_checkpoints_share_one_basis(storage):
    made = write(storage, views(), shift=5.0)
    projection = project(storage, RUN, 2)
    assert set(projection.points) == set(CHECKPOINTS)
    # With one basis, what lies between two checkpoints is the same for equal states …
    both = np.concatenate([made[c][:, 2] for c in CHECKPOINTS]).astype(np.float16).astype(float)
    both -= both.mean(0)
    _, _, directions = np.linalg.svd(both, full_matrices=False)
    ours = np.concatenate([projection.points[c] for c in CHECKPOINTS])
    for axis in range(2):
        theirs = both @ directions[axis]
        assert np.abs(ours[:, axis]) == pytest.approx(np.abs(theirs), abs=1e-3)
    # … and a shift between checkpoints shows, which one basis each would hide.
    assert abs(projection.points["base"][:, 0].mean()) > 3
    assert 1 >= projection.explained[0] >= projection.explained[1] > 0


def test_the_layer_that_was_asked_for_is_read(storage):
    write(storage, views())
    assert kept_layers(storage, RUN) == 4
    assert not np.allclose(
        project(storage, RUN, 0).points["base"], project(storage, RUN, 1).points["base"]
    )
    assert project(storage, RUN, 99).layer == 3


def test_a_run_in_the_middle_shows_the_checkpoints_that_it_has(storage):
    write(storage, views(), ["base", "memorized"])
    assert set(project(storage, RUN, 1).points) == {"base", "memorized"}
    assert project(storage, "20260101-000000-none-0000", 1) is None
    assert kept_layers(storage, "20260101-000000-none-0000") == 0


def test_activations_too_large_for_their_format_do_not_break_it(storage):
    seen = views()
    states = np.ones((len(seen), 2, 4))
    states[0, 1, 0] = 1e9  # infinite in float16
    keep_states(states_file(storage, RUN, "base"), states, seen)
    assert np.isfinite(project(storage, RUN, 1).points["base"]).all()


@pytest.mark.parametrize("damage", ["cut", "text", "views", "count", "nan"])
def test_damaged_states_are_an_error_that_says_what_to_do(storage, damage):
    write(storage, views())
    path = states_file(storage, RUN, "memorized")
    states = np.zeros((len(views()), 4, 8), np.float16)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "text":
        path.write_text("no")
    elif damage == "views":
        save_file({"states": states}, path, {"views": "{"})
    elif damage == "count":
        save_file({"states": states[:2]}, path, {"views": json.dumps(views())})
    else:
        save_file({"states": states + np.float16("nan")}, path, {"views": json.dumps(views())})
    with pytest.raises(LabError, match="Make the run again"):
        project(storage, RUN, 1)


def test_checkpoints_of_other_prompts_are_not_compared(storage):
    write(storage, views(), ["base"])
    write(storage, views(facts=2), ["memorized"])
    with pytest.raises(LabError, match="different prompts"):
        project(storage, RUN, 1)


# The map of points --------------------------------------------------------------------------------


def test_one_relation_is_coloured_by_role(storage):
    write(storage, views())
    figure = pca_panels(project(storage, RUN, 1))
    clouds = [trace for trace in figure.data if trace.x[0] is not None]
    assert len(clouds) == 3 * len(ROLES)
    assert sum(len(trace.x) for trace in clouds) == 3 * len(views())
    assert {trace.marker.color for trace in clouds} == set(ROLE_COLOURS.values())
    assert all("<" not in text for trace in clouds for text in trace.text), "escaped"
    legend = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert len(legend) == len(set(legend)) == 4


def test_several_relations_are_coloured_by_relation_and_shaped_by_role(storage):
    relations = ("mother", "capital", "educated_at")
    write(storage, views(relations))
    figure = pca_panels(project(storage, RUN, 1))
    clouds = [trace for trace in figure.data if trace.x[0] is not None]
    assert len({trace.marker.color for trace in clouds}) == 3
    assert len({trace.marker.symbol for trace in clouds}) == 4
    legend = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert "educated at" in legend and len(legend) == 3 + 4


def test_the_moving_map_stands_at_its_last_frame_and_keeps_its_axes(storage):
    write(storage, views(), shift=5.0)
    projection = project(storage, RUN, 1)
    figure = pca_moving(projection)
    frames = figure.layout.meta["frames"]
    assert [frame["name"] for frame in frames] == [checkpoint_name(c).long for c in CHECKPOINTS]
    assert figure.layout.title.text == "Generalised"
    clouds = [trace for trace in figure.data if trace.x[0] is not None]
    for frame, checkpoint in zip(frames, CHECKPOINTS, strict=True):
        assert len(frame["data"]) == len(clouds) == len(ROLES), "the legend's traces stay"
        xs = sorted(x for place in frame["data"] for x in place["x"])
        assert xs == pytest.approx(sorted(projection.points[checkpoint][:, 0]), abs=1e-3)
        assert figure.layout.xaxis.range[0] < xs[0] and xs[-1] < figure.layout.xaxis.range[1]
    for place, trace in zip(frames[-1]["data"], clouds, strict=True):
        assert place == {"x": list(trace.x), "y": list(trace.y)}


# Layers -------------------------------------------------------------------------------------------


def readings():
    """The key token's answers come up at layer 2 once memorised; questions' once generalised."""
    return [
        LensReading(checkpoint, layer, role, 8, float(layer >= 2 and c >= wanted), 0.5, 1.0)
        for c, checkpoint in enumerate(CHECKPOINTS)
        for layer in range(5)
        for role, wanted in (("key", 1), ("train", 2), ("test", 2))
    ]


def test_the_lens_has_a_panel_a_checkpoint_and_a_line_a_way_to_ask():
    figure = lens_curves(readings())
    assert len(figure.data) == 9 and lens_curves([]) is None
    by_panel = {(trace.xaxis, trace.legendgroup): list(trace.y) for trace in figure.data}
    assert by_panel["x", "key"] == by_panel["x2", "test"] == [0] * 5
    assert by_panel["x2", "key"] == by_panel["x3", "test"] == [0, 0, 1, 1, 1]
    assert [trace.showlegend for trace in figure.data].count(True) == 3


def test_the_layer_from_which_on_the_answer_is_there():
    assert first_layer(readings(), "memorized", "key") == 2
    assert first_layer(readings(), "memorized", "test") is None
    gone = [r for r in readings() if r.layer < 4] + [
        LensReading("memorized", 4, "key", 8, 0.25, 0.1, 3.0)
    ]
    assert first_layer(gone, "memorized", "key") is None, "lost again at the end"


def test_a_bar_is_the_change_of_a_layer_relative_to_its_weights():
    rows = [
        WeightChange("memorized", 1, "up_proj", 3.0, 30.0),
        WeightChange("memorized", 1, "down_proj", 4.0, 40.0),
        WeightChange("memorized", 2, "up_proj", 1.0, 100.0),
        WeightChange("generalized", 2, "q_proj", 1.0, 50.0),
        WeightChange("generalized", 3, "q_proj", float("nan"), 50.0),
        WeightChange("generalized", 4, "q_proj", 1.0, 0.0),
    ]
    figure = change_bars(rows)
    rote, meaning = figure.data
    assert list(rote.x) == [1, 2, 4]
    assert list(rote.y) == pytest.approx([0.1, 0.01, 0]) and list(meaning.y) == [0, 0.02, 0]
    assert rote.customdata[0] == "up_proj 10.0%<br>down_proj 10.0%"
    assert most_changed(rows, "memorized", 1) == [1] and change_bars([]) is None


def test_every_figure_carries_its_numbers(storage):
    write(storage, views(facts=1))
    projection = project(storage, RUN, 1)
    change = [WeightChange("memorized", 1, "=up", -3.0, 30.0)]
    pairs, points = (
        "checkpoint,layer,key_token_with,cosine_similarity",
        ("layer,checkpoint,relation,role,fact,prompt,x,y"),
    )
    for figure, columns, count in (
        (similarity_curves(rows()), pairs, 63),
        (similarity_heatmap(rows()), pairs, 63),
        (delta_curves(rows()),
         "checkpoint,layer,same_relation,different_relations,delta_cos_sim", 21),
        (lens_curves(readings()),
         "checkpoint,layer,asked,facts,share_first_choice,mean_probability,median_rank", 45),
        (change_bars(change), "phase,layer,matrix,change_norm,weight_norm,relative_change", 1),
        (pca_panels(projection), points, 12),
        (pca_moving(projection), points, 12),
    ):  # fmt: skip
        lines = figure.layout.meta["csv"].splitlines()
        assert (lines[0], len(lines) - 1) == (columns, count)
        named = of_run(figure, RUN).layout.meta["name"]
        assert named.startswith(f"{RUN}-") and len(named) > len(RUN) + 2
    last = delta_curves(rows()).layout.meta["csv"].splitlines()[-1]
    assert last == "generalized,6,0.206,0.206,0.206"
    # A spreadsheet would take a text for a formula, but a number may be negative.
    cells = change_bars(change).layout.meta["csv"].splitlines()[1].split(",")
    assert cells[-4:-2] == ["'=up", "-3.0"]


# Looks --------------------------------------------------------------------------------------------


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return sum(w * x for w, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("ground", GROUNDS)
def test_colours_stand_out_on_light_and_dark(ground):
    for colour in (*CHECKPOINT_COLOURS.values(), *ROLE_COLOURS.values(), TEXT):
        dark, light = sorted((luminance(colour), luminance(ground)))
        assert (light + 0.05) / (dark + 0.05) >= 2.9, colour


def test_no_torch():
    code = (
        "import sys, rotelab.reports.figures.logit_lens, rotelab.reports.figures.pca; "
        "import rotelab.runs.internals; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
