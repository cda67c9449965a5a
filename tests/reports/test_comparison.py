"""Comparison of runs: data, figure, command, panel, and the page in a real browser."""

import json
import math
import sqlite3
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest
from support.command_line import refused, rotelab
from support.counting import calls_of, statements_of
from support.fabricated import NASTY, finished, queued, small_pack
from support.page import browser_page, served, until

from rotelab.config import recipes
from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig, RunConfig
from rotelab.errors import LabError, UnknownRun
from rotelab.evaluation.results import Prediction, Score
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.packs import Pack
from rotelab.registry import Metric
from rotelab.reports.comparison import MOST, ONE_SEED, PROBE, Share, compare, joined
from rotelab.reports.figures.comparison import LONGEST_NAME, overlaid
from rotelab.reports.figures.style import RELATION_COLOURS, SERIES_DASHES, SERIES_MARKERS
from rotelab.reports.tables import comparison_tables
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.runs import compare_html, compare_panel, runs_tab
from rotelab.ui.runs.compare_html import FACT_PAGE
from rotelab.ui.runs.compare_panel import fill_compare, linked, offer, turn_facts

NOT_YET = ((), 0)
"""What the panel remembers before anything was on show."""


def run_of(lab, facts, right=(), name="", config=None, asked=2):
    """A run that was asked `asked` times about each fact, and right as often as `right` says."""
    pack = Pack("mine", FactSet(facts), small_pack().prompts)
    run_id = lab.registry.create_run(config or RunConfig(pack="mine"), pack, name=name)
    right = dict(right)
    answers = [
        Prediction(PROBE, i, fact.relation, fact.subject, fact.object, f"Who? {n}", "?",
                   n < right.get(fact.subject, 0), 0.5)
        for i, fact in enumerate(facts)
        for n in range(asked)
    ]  # fmt: skip
    lab.registry.add_evaluation(run_id, "generalized", {}, answers)
    return run_id


def mothers(*subjects):
    return [Fact("mother", subject, f"mother of {subject}") for subject in subjects]


def damage(lab, run_id, column="config"):
    with sqlite3.connect(lab.storage.database) as db:
        db.execute(f"UPDATE runs SET {column} = '{{' WHERE id = ?", [run_id])


def scored(lab, run_id, checkpoint, **accuracy):
    scores = {probe: Score(40, value, 0.5) for probe, value in accuracy.items()}
    lab.registry.add_evaluation(run_id, checkpoint, scores, [])


# Settings ----------------------------------------------------------------------------------------


def test_only_what_differs_is_listed(lab):
    one = queued(lab, "slow")
    other = lab.registry.create_run(
        replace(lab.registry.run(one).config, seed=3, memorize=MemorizeConfig(epochs=5)),
        small_pack(), name="quick",
    )  # fmt: skip
    seen = compare(lab.registry, [one, other])
    assert seen.labels == ("slow", "quick")
    assert [(o.path, o.values) for o in seen.options] == [
        ("seed", (0, 3)), ("memorize.epochs", (20, 5)),
    ]  # fmt: skip
    assert seen.options[1].label == "Rounds of rote learning"
    assert "Both follow the recipe two-adapter." in seen.notes
    assert "Both learn the same facts, with the same wordings." in seen.notes


def test_recipes_are_named(lab):
    usual = RunConfig()
    paper = recipes.applied("published", usual)
    own = replace(usual, memorize=MemorizeConfig(rank=7))
    ids = [lab.registry.create_run(config, small_pack()) for config in (usual, paper, own)]
    seen = compare(lab.registry, ids)
    assert seen.options[0][1:] == ("Recipe", ("two-adapter", "published", "own settings"))
    assert not any("recipe" in note for note in seen.notes)
    alike = compare(lab.registry, [ids[2], lab.registry.create_run(own, small_pack())])
    assert alike.options == () and "Both have own settings." in alike.notes


def test_runs_of_one_name_are_told_apart(lab):
    ids = [queued(lab, name) for name in ("same", "same", "", "")]
    labels = compare(lab.registry, ids).labels
    assert labels == ("same (Run 1)", "same (Run 2)", "Run 3", "Run 4")


def test_so_many_runs_and_no_others(lab):
    ids = [queued(lab) for _ in range(MOST + 1)]
    assert len(compare(lab.registry, ids[:MOST]).sides) == MOST
    for wrong, said in ((ids, "7 runs are too many"), (ids[:1], "at least 2"),
                        ([ids[0], ids[0]], "with itself")):  # fmt: skip
        with pytest.raises(LabError, match=said):
            compare(lab.registry, wrong)
    with pytest.raises(UnknownRun):
        compare(lab.registry, [ids[0], "20200101-000000-none-0000"])


def test_a_damaged_run_is_named_and_the_rest_compared(lab):
    one, other, third = finished(lab, "sound"), finished(lab, "broken"), finished(lab, "x", seed=4)
    damage(lab, other)
    seen = compare(lab.registry, [one, other, third])
    assert any(note.startswith("broken: The settings stored with run") for note in seen.notes)
    assert [(o.path, o.values) for o in seen.options] == [("seed", (0, None, 4))]
    assert seen.sides[1].value("generalized", PROBE, "generation_accuracy") == 0.75
    both = compare(lab.registry, [other, one])
    assert both.options == () and both.facts_in_common == 20
    damage(lab, one)
    assert compare(lab.registry, [one, other]).options == ()
    assert "same settings" not in compare_html.words_html(compare(lab.registry, [one, other]))


# Facts -------------------------------------------------------------------------------------------


def test_the_content_hash_is_said_in_words(lab):
    facts, prompts = mothers("Ann", "Bo", "Cy"), small_pack().prompts

    def told(*packs):
        ids = [lab.registry.create_run(RunConfig(), pack, name=f"r{i}")
               for i, pack in enumerate(packs)]  # fmt: skip
        return compare(lab.registry, ids).notes[-1]

    whole = Pack("mine", FactSet(facts), prompts)
    assert told(whole, whole) == "Both learn the same facts, with the same wordings."
    turned = Pack("mine", FactSet(facts[::-1]), prompts)
    assert told(whole, turned) == "Both learn the same 3 facts, but in another order."
    worded = Pack("mine", FactSet(facts), type(prompts)(list(prompts)[:-1]))
    assert told(whole, worded) == "Both learn the same 3 facts, but their wordings differ."
    fewer = Pack("mine", FactSet(facts[:2]), prompts)
    assert told(whole, fewer) == (
        "The runs learn different facts (r0 3 and r1 2); 2 of them are the same in both."
    )
    others = Pack("mine", FactSet(mothers("Di")), prompts)
    assert told(whole, fewer, others) == (
        "The runs learn different facts (r0 3, r1 2 and r2 1); none of them is the same in all."
    )


def test_facts_that_differ_most_come_first(lab):
    facts = mothers("Ann", "Bo", "Cy", "Di")
    one = run_of(lab, facts, {"Ann": 2, "Bo": 1, "Cy": 1})
    other = run_of(lab, facts, {"Ann": 2, "Bo": 2, "Di": 2})
    third = run_of(lab, facts[2:], {"Cy": 1})
    seen = compare(lab.registry, [one, other, third])
    assert [row.fact.subject for row in seen.facts] == ["Di", "Bo", "Cy"]
    assert [row.spread for row in seen.facts] == [1.0, 0.5, 0.5]
    assert seen.facts[0].shares == (Share(0, 2), Share(2, 2), Share(0, 2))
    assert seen.facts[1].shares == (Share(1, 2), Share(2, 2), None)
    assert seen.facts_in_common == 4 and seen.fact_notes == ()


def test_facts_are_told_by_relation_subject_and_object(lab):
    ann = Fact("mother", "Ann", "Eva")
    one = run_of(lab, [ann, Fact("father", "Bo", "Gus")], {"Ann": 2})
    other = run_of(lab, [replace(ann, object="Ida"), Fact("mother", "Bo", "Gus")])
    seen = compare(lab.registry, [one, other])
    assert seen.facts == () and seen.facts_in_common == 0
    assert seen.fact_notes == (
        "Run 1 and Run 2 have no fact in common, so there is nothing to compare fact by fact.",
    )


def test_a_run_without_facts_to_compare_is_named(lab):
    one, other = run_of(lab, mothers("Ann", "Bo"), {"Ann": 1}), run_of(lab, mothers("Ann", "Bo"))
    stranger = run_of(lab, mothers("Cy"), name="stranger")
    waiting = queued(lab, "waiting")
    seen = compare(lab.registry, [one, other, stranger, waiting])
    assert [row.fact.subject for row in seen.facts] == ["Ann"]
    assert seen.fact_notes == (
        "waiting: not yet asked about held-out facts after phase 2.",
        "stranger has no fact in common with the others.",
    )
    html = compare_html.facts_html(seen, 0)
    assert "stranger has no fact in common" in html and ">Ann<" in html


def test_facts_held_out_in_one_run_only(lab):
    facts = mothers("Ann", "Bo")
    ids = [run_of(lab, facts) for _ in range(2)]
    for run_id, fact in zip(ids, facts, strict=True):  # the same facts, but each tested on its own
        with sqlite3.connect(lab.storage.database) as db:
            db.execute(
                "DELETE FROM predictions WHERE run_id = ? AND subject != ?", [run_id, fact.subject]
            )
    (note,) = compare(lab.registry, ids).fact_notes
    assert "have no held-out fact in common" in note and "k or seed" in note


def test_only_held_out_test_answers_after_phase_2_count(lab):
    facts = mothers("Ann")
    one, other = run_of(lab, facts, {"Ann": 1}), run_of(lab, facts, {"Ann": 1})
    seen = compare(lab.registry, [one, other])
    assert seen.facts == () and seen.facts_in_common == 1
    assert "None: 1 fact in common" in compare_html.facts_html(seen, 0)
    about = (0, "mother", "Ann", "mother of Ann", "Who?", "?", True, 0.5)
    lab.registry.add_evaluation(one, "memorized", {}, [Prediction(PROBE, *about)])
    lab.registry.add_evaluation(one, "base", {}, [Prediction("key_token", *about)])
    assert compare(lab.registry, [one, other]).facts == ()


# Scores ------------------------------------------------------------------------------------------


def test_the_best_is_the_highest_and_of_leaks_the_lowest(lab):
    ids = [queued(lab) for _ in range(4)]
    for run_id, right, leaked in zip(ids, (0.5, 0.75, 0.75, math.nan), (0.1, 0.2, 0.1, 0.0),
                                     strict=True):  # fmt: skip
        scored(lab, run_id, "generalized", test_prompts_heldout=right, unrelated=leaked)
    seen = compare(lab.registry, ids)
    assert seen.best("generalized", PROBE, "generation_accuracy") == {1, 2}
    assert seen.best("generalized", "unrelated", "generation_accuracy") == {3}
    assert seen.best("generalized", PROBE, "object_probability") == frozenset()  # all are equal
    assert seen.best("memorized", PROBE, "generation_accuracy") == frozenset()
    assert seen.best("generalized", PROBE, "choice_accuracy") == frozenset()
    html = compare_html.scores_html(seen)
    assert "<b>75.0 %</b> <b title='the best of its row'>★</b>" in html
    assert html.count("★") == 3 + 1  # two runs and one, and the words below
    assert "nan" not in html and "40 questions" in html


def test_a_score_that_only_one_run_has_is_no_best(lab):
    one, other = queued(lab), queued(lab)
    scored(lab, one, "generalized", test_prompts_heldout=0.5)
    seen = compare(lab.registry, [one, other])
    assert seen.best("generalized", PROBE, "generation_accuracy") == frozenset()
    assert compare_html.scores_html(seen).count("<td>–</td>") == 3


def test_a_difference_that_could_be_chance_says_so(lab):
    facts = mothers(*(f"Person {i}" for i in range(20)))
    once = {f.subject: 1 for f in facts}
    one, same = run_of(lab, facts, once), run_of(lab, facts, once)
    slight = run_of(lab, facts, once | {f.subject: 2 for f in facts[:3]})
    strong = run_of(lab, facts, {f.subject: 2 for f in facts[:19]})
    stranger = run_of(lab, mothers("Cy", "Di"), {"Cy": 1})
    seen = compare(lab.registry, [one, slight, strong, same, stranger, queued(lab)])
    found = {
        place: of
        for (checkpoint, probe, measure, place), of in seen.differences.items()
        if (checkpoint, probe, measure) == ("generalized", PROBE, "generation_accuracy")
    }
    assert [of and (of.facts, of.differ, of.reading) for of in found.values()] == [
        (20, 3, "could be chance"), (20, 20, "more than chance"), (20, 0, "no fact differs"), None,
    ]  # fmt: skip
    assert list(found) == [1, 2, 3, 4], "one that was asked nothing is not compared"
    assert found[1].value == pytest.approx(0.075) and found[1].interval.low == 0
    assert found[2].value == pytest.approx(0.45) and found[2].interval.low > 0.2
    assert seen.sides[1].interval("generalized", PROBE, "generation_accuracy").high > 0.575
    table = next(t for t in comparison_tables(seen, 0) if "difference from Run 1" in t.title)
    assert [row[2:4] for row in table.rows] == [
        ("Run 3", 20), ("Run 4", 20), ("Run 2", 20), ("Run 5", None),
    ]  # fmt: skip
    assert table.rows[-1][-1] == "no two facts in common"
    assert seen.sides[5].interval("generalized", PROBE, "generation_accuracy") is None


# Figure ------------------------------------------------------------------------------------------


def test_each_run_has_its_own_colour_dash_and_mark(lab):
    runs = [finished(lab, f"run {i}") for i in range(MOST)]
    figure = overlaid([(run, lab.registry.metrics(run)) for run in runs])
    assert len(figure.data) == 4 * MOST
    legend = [trace for trace in figure.data if trace.showlegend]
    assert [trace.name for trace in legend] == runs
    assert {trace.line.color for trace in legend} == set(RELATION_COLOURS)
    assert {trace.line.dash for trace in legend} == set(SERIES_DASHES)
    assert {trace.marker.symbol for trace in legend} == set(SERIES_MARKERS)
    for trace in figure.data:  # what belongs to a run looks alike, and goes with its legend
        (own,) = [t for t in legend if t.legendgroup == trace.legendgroup]
        assert (trace.line.color, trace.line.dash) == (own.line.color, own.line.dash)


def test_recall_is_above_loss_and_each_phase_has_its_column(lab):
    figure = overlaid([("a", [Metric("memorize", 1, "loss", 2.0), Metric("memorize", 2, "loss", 1),
                              Metric("memorize", 2, "recall", 0.5)]),
                       ("b", [Metric("generalize", 1, "loss", math.inf)])])  # fmt: skip
    placed = {(t.name, t.xaxis, t.yaxis): (t.x, t.y) for t in figure.data}
    assert placed == {
        ("a", "x", "y"): ((2,), (0.5,)),
        ("a", "x3", "y3"): ((1, 2), (2.0, 1.0)),
        ("b", "x4", "y4"): ((1,), (None,)),
    }
    assert [t.name for t in figure.data if t.showlegend] == ["a", "b"]
    assert figure.layout.yaxis3.range == figure.layout.yaxis4.range == (0, 2.1)
    assert "rote" in figure.layout.xaxis3.title.text and figure.layout.yaxis3.title.text == "Loss"


def test_a_name_in_the_legend_is_short_and_no_markup():
    metrics = [Metric("memorize", 1, "loss", 2.0)]
    figure = overlaid([("x" * 80, metrics), ("<b>bold</b>", metrics)])
    assert [t.name for t in figure.data] == [
        "x" * (LONGEST_NAME - 1) + "…", "&lt;b&gt;bold&lt;/b&gt;",
    ]  # fmt: skip
    assert "first learning steps" in overlaid([("a", []), ("b", [])]).layout.annotations[0].text


# Command -----------------------------------------------------------------------------------------


def test_the_command_prints_the_tables(lab, own_home):
    one, other = finished(lab, "slow"), finished(lab, "qu|ick", seed=3)
    said = rotelab("compare", one, other)
    assert said.code == 0 and said.err == ""
    assert "seed" in said.out and "slow" in said.out and "memorize.epochs" not in said.out
    assert "Facts answered differently: 0 of 20 in common" in said.out
    marked = rotelab("compare", one, other, "--markdown").out
    assert "**Settings in which they differ**" in marked and "qu\\|ick" in marked
    assert "- Both learn the same facts, with the same wordings." in marked

    found = json.loads(rotelab("compare", one, other, "--json").out)
    assert found["runs"] == [one, other]
    tables = {table["title"]: table for table in found["tables"]}
    assert tables["Settings in which they differ"]["rows"] == [["seed", 0, 3]]
    accuracy = tables["Generation accuracy"]
    assert accuracy["columns"] == ["asked", "model", "slow", "qu|ick", "best"]
    assert ["test, held out", "generalised", 0.75, 0.75, ""] in accuracy["rows"]
    title = "Generation accuracy: difference from slow [95 % interval over facts]"
    same = ["test, held out", "generalised", "qu|ick", 20, 0.0, "no fact differs"]
    assert same in tables[title]["rows"]
    assert "0.75 [0.55, 0.90]" in said.out and "0.00 [0.00, 0.00]" in said.out
    assert found["notes"][-1] == ONE_SEED and ONE_SEED in said.out
    assert {
        "checkpoint": "generalized", "probe": PROBE, "measure": "generation_accuracy",
        "run": other, "from": one, "difference": 0.0, "interval": [0.0, 0.0], "facts": 20,
        "differ": 0, "reading": "no fact differs",
    } in found["differences"]  # fmt: skip


def test_the_command_lists_so_many_facts(lab):
    facts = mothers(*"ABCDE")
    one, other = run_of(lab, facts, {"A": 1, "B": 2, "C": 1}), run_of(lab, facts)
    found = json.loads(rotelab("compare", one, other, "--json", "--facts", 2).out)
    (difference, *_) = found["differences"]
    assert difference["difference"] == -0.4 and difference["reading"] == "could be chance"
    table = found["tables"][-1]
    assert table["title"] == "Facts answered differently: 3 of 5 in common, the first 2"
    assert table["rows"] == [["B", "mother", "mother of B", 1.0, 0.0],
                             ["A", "mother", "mother of A", 0.5, 0.0]]  # fmt: skip


def test_the_command_refuses(lab):
    one, other = queued(lab), queued(lab)
    refused(rotelab("compare", one), "at least 2 runs")
    refused(rotelab("compare", one, "nonesuch"), "There is no run 'nonesuch'")
    refused(rotelab("compare", one, "latest", other), "with itself")
    refused(rotelab("compare", *[one] * 7), "Name each run once")
    refused(rotelab("compare", *map(str, range(7))), "7 runs are too many")
    refused(rotelab("compare", one, other, "--json", "--markdown"), "exclude each other")


# Panel -------------------------------------------------------------------------------------------


def shown(lab, run_id, others, at=NOT_YET):
    names = ("words", "curves", "scores", "facts", "pager", "at")
    return SimpleNamespace(**dict(zip(names, fill_compare(lab, run_id, others, at), strict=True)))


def test_the_panel_before_anything_is_chosen(lab):
    run_id = finished(lab)
    assert compare_panel.NO_RUN in shown(lab, "", None).words
    for others in (None, [], [run_id]):  # a run is not compared with itself
        panel = shown(lab, run_id, others)
        assert compare_panel.NO_OTHERS in panel.words and not panel.curves.visible


def test_the_panel_puts_runs_side_by_side(lab):
    one, other = finished(lab, "slow"), finished(lab, "quick", seed=3)
    panel = shown(lab, one, [other])
    assert "<td>Seed</td><td>0</td><td>3</td>" in panel.words
    assert f"href='?run={one}&amp;compare={other}'" in panel.words
    assert panel.curves.visible and "quick" in str(panel.curves.value)
    assert panel.scores.count("75.0 %") == 4 and "Facts known by rote, new wordings" in panel.scores
    assert "None: 20 facts in common" in panel.facts and not panel.pager.visible


def test_the_panel_says_what_could_be_chance(lab):
    facts = mothers(*(f"Person {i}" for i in range(20)))
    once = {f.subject: 1 for f in facts}
    one, slight = run_of(lab, facts, once), run_of(lab, facts, once | {"Person 0": 2}, NASTY)
    strong = run_of(lab, facts, {f.subject: 2 for f in facts[:19]}, "strong")
    stranger = run_of(lab, mothers("Cy", "Di"), {"Cy": 1}, "stranger")
    html = shown(lab, one, [slight, strong, stranger]).scores
    _, html = html.split("<h2>Differences from Run 1</h2>")
    assert (
        "+2.5 <span class='sub'>right</span> <span class='interval' title='95 % interval of" in html
    )
    assert ">[0.0, +10.0]</span> could be chance" in html and "on 20 facts that both" in html
    assert "<b>+45.0</b>" in html and "<b>more than chance</b>" in html
    assert "likely:</span> no fact differs" in html and "no two facts in common" in html
    assert "<img" not in html and "not in the interval" in html
    assert "Differences" not in shown(lab, queued(lab), [queued(lab)]).scores


def test_what_is_refused_is_said_in_the_panel(lab):
    first, *others = [queued(lab) for _ in range(MOST + 1)]
    panel = shown(lab, first, others)
    assert "7 runs are too many to compare; at most 6" in panel.words
    assert not panel.curves.visible and panel.scores == panel.facts == ""
    assert "There is no run" in shown(lab, first, ["20200101-000000-none-0000"]).words


def test_facts_are_paged(lab):
    facts = mothers(*(f"Person {i}" for i in range(FACT_PAGE + 3)))
    one, other = run_of(lab, facts), run_of(lab, facts, {f.subject: 1 for f in facts})
    panel = shown(lab, one, [other])
    assert panel.pager.visible and "1–20 of 23 that differ" in panel.facts
    assert "Person 19<" in panel.facts and "Person 20<" not in panel.facts
    html, _, at = turn_facts(lab, 1, one, [other], panel.at)
    assert "21–23 of 23" in html and "Person 20<" in html and at[1] == 1
    assert turn_facts(lab, 1, one, [other], at)[2][1] == 1
    assert shown(lab, one, [other], at).at[1] == 1  # news of the run leave the page
    assert shown(lab, other, [one], at).at[1] == 0


def test_what_a_user_wrote_is_never_markup_here(lab):
    facts = [Fact("mother", "<i>Ann</i>", "<img src=x>"), Fact("father", "<i>Ann</i>", "Bo")]
    one, other = run_of(lab, facts, {"<i>Ann</i>": 2}, NASTY), run_of(lab, facts, {}, "other")
    scored(lab, other, "memorized", **{"<img src=y>": 0.5})
    panel = shown(lab, one, [other])
    for part in (panel.words, panel.scores, panel.facts):
        assert "<img" not in part and "<i>" not in part
    assert "&lt;i&gt;Ann&lt;/i&gt; <span class='sub'>(mother)" in panel.facts
    assert "<img" not in str(panel.curves.value)


def test_the_chooser_offers_all_runs_but_the_chosen_one(lab):
    one, other, old = queued(lab), queued(lab), queued(lab)
    lab.registry.update_run(old, archived=True)
    chooser = offer(lab, one, [old, one, "20200101-000000-none-0000"])
    assert chooser.value == [old]
    assert {value for _, value in chooser.choices} == {other, old}


def test_a_link_opens_a_comparison(lab):
    one, other, third = queued(lab), queued(lab), queued(lab)
    asked = SimpleNamespace(query_params={"run": one, "compare": f"{other[:-1]}, {third},{one}"})
    run, detail, chooser = runs_tab.open_link(lab, asked)
    assert (run.value, detail.selected) == (one, "compare")
    assert chooser.value == [other, third]
    assert linked(lab, one, " , ") == [gr.skip(), gr.skip()]
    with pytest.raises(UnknownRun):
        linked(lab, one, "nonesuch")
    with pytest.raises(LabError, match="compares 7 runs"):
        linked(lab, one, ",".join("abcdef"))


def test_joined():
    assert [joined(names) for names in ([], ["A"], ["A", "B"], ["A", "B", "C"])] == [
        "", "A", "A and B", "A, B and C",
    ]  # fmt: skip


def two_runs_on(lab, n):
    """Two runs on the same `n` facts, in another order, with curves of `n` steps a phase."""
    facts = mothers(*(f"Person {i}" for i in range(n)))
    ids = []
    for i in range(2):
        right = {f.subject: (n * (i + 1)) % 6 for n, f in enumerate(facts)}
        config = RunConfig(pack="mine", generalize=GeneralizeConfig(k=50 + i))
        ids.append(run_of(lab, facts if i else facts[::-1], right, config=config, asked=5))
        steps = range(1, n + 1)
        for phase in ("memorize", "generalize"):
            rows = [Metric(phase, s, "loss", 1 / s) for s in steps]
            lab.registry.add_metrics(ids[-1], rows + [r._replace(name="recall") for r in rows])
    return ids


def test_comparing_many_facts_takes_no_more_questions_and_no_more_work_for_each(lab):
    work, asked = [], []
    for n in (250, 1000):
        one, other = two_runs_on(lab, n)
        with statements_of(lab.registry) as found:
            panel = shown(lab, one, [other])  # what is made once in a process is made, too
        assert "in another order" in panel.words and panel.pager.visible
        work.append(calls_of(lambda one=one, other=other: shown(lab, one, [other])))
        asked.append(len(found))
    assert asked[0] == asked[1] <= 40
    assert work[1] < 4.5 * work[0]


# Browser -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A page over a home with three runs that differ."""
    home = tmp_path_factory.mktemp("compare") / "home"
    lab = Lab.open(Storage(home))
    ids = [finished(lab, "slow"), finished(lab, "quick", seed=3), finished(lab, NASTY, facts=14)]
    with served(home) as server:
        yield server, ids


@pytest.mark.browser
def test_two_runs_are_chosen_and_compared(filled):
    server, ids = filled
    with browser_page(f"{server.url}/?run={ids[0]}&x=") as (page, traffic):
        until(lambda: "slow" in page.locator("#run-head").inner_text(), 60, "the run is open")
        page.get_by_role("tab", name="Compare").click()
        words = page.locator("#compare-words")
        until(lambda: "Choose one to five other runs" in words.inner_text(), 30)
        chooser = page.locator("#compare-others input")
        chooser.click()
        page.get_by_role("option", name="quick").click()
        until(lambda: "Seed" in words.inner_text(), 30, "what differs is listed")
        assert "Both learn the same facts" in words.inner_text()
        legend = page.locator("#compare-curves .legendtext")
        until(lambda: legend.all_text_contents() == ["slow", "quick"], 60, "the curves are drawn")
        assert "75.0 %" in page.locator("#compare-scores").inner_text()
        assert "20 facts in common" in page.locator("#compare-facts").inner_text()

        chooser.click()
        page.get_by_role("option", name="<b>bold</b>").click()
        until(lambda: legend.count() == 3, 30, "the third is drawn too")
        assert (
            "<b>bold</b>" in words.inner_text() and page.locator("#compare-words img").count() == 0
        )
        # Another run comes on show; it is then not compared with itself.
        page.locator("#runs-table").get_by_text("quick").locator("visible=true").first.click()
        until(lambda: legend.all_text_contents()[:1] == ["quick"], 30, "it is the first now")
        until(lambda: legend.count() == 2, 30)
        assert traffic.foreign == [] and traffic.errors == []


@pytest.mark.browser
def test_a_comparison_is_opened_by_link(filled):
    server, ids = filled
    with browser_page(f"{server.url}/?run={ids[1]}&compare={ids[0]}&x=") as (page, traffic):
        legend = page.locator("#compare-curves .legendtext")
        until(lambda: legend.all_text_contents() == ["quick", "slow"], 60, "both are compared")
        assert page.locator("#compare-words").is_visible()
        assert traffic.errors == []
