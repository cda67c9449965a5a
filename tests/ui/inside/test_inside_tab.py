"""The “Look inside” tab: which figures and words its handlers give for a run."""

import pytest
from support.taught import new_run, taught_run

from rotelab.runs.lab import Lab
from rotelab.storage import Storage, states_file
from rotelab.ui.inside import inside_tab


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_folder):
    """A home folder, a run in it that ended before it began, and a taught run."""
    home = tmp_path_factory.mktemp("inside") / "home"
    lab = Lab.open(Storage(home))
    ended = new_run(lab, tiny_folder, "ended")
    lab.registry.request_stop(ended)
    return home, ended, taught_run(lab, tiny_folder, "taught")


@pytest.fixture
def lab(home):
    """The lab of that home."""
    return Lab.open(Storage(home[0]))


def test_a_taught_run_shows_its_layers(lab, home):
    late, part, note, lens, changed, most, bars = inside_tab.show_layers(lab, home[2])
    assert not late.visible and part.visible and changed.visible
    assert "from layer" in note and "at no layer" in note and "layers 1, 2" in most
    assert len(lens.data) == 9 and len(bars.data) == 2
    assert lens.layout.meta["name"] == f"{home[2]}-logit-lens"
    parts = inside_tab.show_layers(lab, home[1])
    assert not any(part.visible for part in (parts[0], parts[1], parts[4]))


def test_missing_figures_of_an_older_run_can_be_computed_and_are_kept(own_home, tiny_folder):
    lab = Lab.open()
    run_id = taught_run(lab, tiny_folder)
    with lab.registry.write() as db:
        db.execute("DELETE FROM lens")
    late, part, *_ = inside_tab.show_layers(lab, run_id)
    assert late.visible and not part.visible
    inside_tab.compute_missing(lab, run_id)
    late, part, *_ = inside_tab.show_layers(lab, run_id)
    assert part.visible and not late.visible


def test_a_taught_run_shows_similarity_and_a_map(lab, home):
    note, column, similarity, delta, slider = inside_tab.show(lab, home[2], "Lines")
    pca, missing, player, form = inside_tab.show_map(lab, home[2], inside_tab.MOVING)
    assert "0." in note and column.visible and missing == "" and "Play" in player
    assert "“Alignment with the key token, phase 2” is 5" in note  # it was asked for, so it is said
    assert similarity.data and delta.data and pca.value and form.visible
    assert slider.maximum == 2 and slider.value == 1
    assert inside_tab.show_similarity(lab, home[2], inside_tab.COLOURS).data[0].type == "heatmap"


def test_a_run_without_alignment_loss_gets_no_warning(own_home, tiny_folder):
    lab = Lab.open()
    run_id = taught_run(lab, tiny_folder)
    with lab.registry.write() as db:
        db.execute("UPDATE runs SET config = json_set(config, '$.generalize.align', 0.0)")
    assert "asked to make" not in inside_tab.show(lab, run_id, "Lines")[0]


def test_runs_without_figures_say_what_to_do(lab, home, own_home, tiny_folder):
    assert "Start one" in inside_tab.show(lab, None, "Lines")[0]
    assert "resume it" in inside_tab.show(lab, home[1], "Lines")[0]
    fresh = Lab.open()
    run_id = new_run(fresh, tiny_folder)
    shown = inside_tab.show(fresh, run_id, "Lines")
    assert "open this tab again" in shown[0] and not shown[1].visible
    assert "no run" in inside_tab.show(fresh, "20260101-000000-gone-0000", "Lines")[0]


def test_damaged_states_affect_only_the_map(own_home, tiny_folder):
    lab = Lab.open()
    run_id = taught_run(lab, tiny_folder)
    path = states_file(lab.storage, run_id, "base")
    path.write_bytes(path.read_bytes()[:50])
    picture, missing, player, form = inside_tab.show_map(lab, run_id, "Side by side")
    assert player == "" and not form.visible
    assert not picture.visible and "damaged" in missing
