"""The moment of understanding: when it was, and a map with a frame for each time of asking."""

from rotelab.evaluation.results import LayerChance
from rotelab.reports.figures.watched.moment import Moment, moment_map, moment_of, moment_stops


def rows(*checks):
    """Each check: phase, step, and the ranks of layers 0, 1, 2."""
    return [
        LayerChance(phase, step, layer, 1 / rank, rank)
        for phase, step, ranks in checks
        for layer, rank in enumerate(ranks)
    ]


LEARNED = rows(
    ("generalize", 2, (9, 8, 1)),  # right once, and lost again
    ("memorize", 0, (9, 9, 9)),
    ("generalize", 4, (9, 2, 3)),
    ("generalize", 6, (9, 1, 1)),
    ("generalize", 8, (1, 4, 1)),
)


def test_it_is_the_first_time_from_which_on_the_answer_stays():
    assert moment_of(LEARNED) == Moment("generalize", 6, 1)
    assert moment_of(LEARNED[:-3]) == Moment("generalize", 6, 1)
    assert moment_of(rows(("memorize", 0, (1, 1, 2)))) is None
    assert moment_of([]) is None
    assert moment_of(rows(("memorize", 0, (1, 1, 1)))) == Moment("memorize", 0, 0)


def test_the_map_has_a_column_and_a_frame_for_each_time_in_order():
    figure = moment_map(LEARNED)
    names = ["Phase 1, step 0", *(f"Phase 2, step {s}" for s in (2, 4, 6, 8))]
    assert moment_stops(LEARNED) == names
    frames = figure.layout.meta["frames"]
    assert [frame["name"] for frame in frames] == names
    line, layers, heat = figure.data
    assert heat.type == "heatmap" and len(heat.z) == 3
    for place, frame in enumerate(frames):
        moved, chances = frame["data"]
        assert moved["x"] == [place, place]
        assert list(chances["x"]) == [row[place] for row in heat.z]
    assert list(layers.x) == list(frames[-1]["data"][1]["x"]) and list(line.x) == [4, 4]
    (boundary,) = figure.layout.shapes
    assert boundary.x0 == 0.5, "between phase 1 and phase 2"
    assert heat.customdata[2][0][1] == 9
    assert figure.layout.meta["csv"].count("\n") >= 16


def test_there_is_no_map_of_less_than_two_times():
    assert moment_map([]) is None
    assert moment_map(rows(("memorize", 0, (9, 9, 9)))) is None
    odd = rows(("memorize", 0, (9, 9, 9)), ("lesson", 1, (9, 9, 1)))
    assert moment_map(odd) is None, "a lesson has no such question"
