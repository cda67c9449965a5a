"""The list of experiments: groups, search, what each costs and whether there is a result."""

from support.fabricated import finished

from rotelab.experiments import experiments
from rotelab.experiments.depth import EPOCHS, OTHER_RATES
from rotelab.experiments.planning.cost import Cost
from rotelab.experiments.runner import begin
from rotelab.ui.experiments.catalogue import (
    GROUPS,
    Entry,
    catalogue_html,
    cost_words,
    entries,
    matches,
)


def test_every_experiment_is_in_its_group_and_the_chosen_one_is_marked():
    html = catalogue_html({}, "", "damage")
    assert {one.origin for one in experiments().values()} <= set(GROUPS)
    assert html.count("data-experiment=") == len(experiments())
    places = [html.index(f"data-group='{origin}'") for origin in GROUPS]
    assert places == sorted(places)
    assert html.count("aria-current") == 1
    assert "data-experiment='damage' aria-current='true'" in html


def test_a_search_finds_all_of_its_words_in_any_text_of_an_experiment():
    found = [one.name for one in experiments().values() if matches(one, "MEMFREE exact words")]
    assert found == ["memfree"]
    html = catalogue_html({}, "memfree exact words", "damage")
    assert html.count("data-experiment=") == 1 and "data-group='paper'" not in html
    assert "<i>" not in catalogue_html({}, "<i>zzz", "damage")
    assert "Clear the search" in catalogue_html({}, "zzz", "damage")


def test_each_says_its_time_its_needs_and_its_result(lab):
    run_id, other = finished(lab, "ten"), finished(lab, "other", seed=3)
    lab.registry.save_fact_set("mother", lab.registry.run(run_id).pack)
    lab.registry.end_experiment(begin(lab, "damage", run_id), "finished", result={}, seconds=40)
    lab.registry.end_experiment(begin(lab, "memfree", other), "finished", result={}, seconds=9)
    begin(lab, "languages", run_id)
    known = entries(lab, run_id, recorded=True)
    marks = {name: entry.mark for name, entry in known.items() if entry.mark}
    assert marks.items() >= {
        ("damage", "own"), ("memfree", "other"), ("languages", "running"),
        ("retrieval", "recorded"),
    }  # fmt: skip
    assert "retrieval" not in {n for n, e in entries(lab, run_id, recorded=False).items() if e.mark}
    html = catalogue_html(known, "", "damage")
    arms = len(EPOCHS) + sum(map(len, OTHER_RATES.values()))
    assert f"trains {arms - 1} runs" in html and "✓ result<" in html and "≈ " in html
    known["audit"] = Entry(Cost(seconds=None), "")
    assert "time unknown" in catalogue_html(known, "", "damage")
    assert entries(lab, "gone", recorded=False)["damage"].cost is None


def test_the_cost_is_said_in_a_sentence():
    half = cost_words(Cost(trains=3, needed=4, seconds=700.0, training=600.0))
    assert "Trains <b>3 runs</b>. 1 of 4 have been trained already." in half
    assert "about <b>12 min</b> on this machine" in half
    assert "measuring not included" in cost_words(Cost(3, 4, 600.0, 600.0))
    assert "All 4 runs that it compares" in cost_words(Cost(0, 4))
    assert "Needs no other run" in cost_words(Cost(0, 0, 40.0))
    assert "2.5 times as long" in cost_words(Cost(0, 0, 40.0, slower=2.5))
    assert "&lt;b&gt;" in cost_words(Cost(refused="<b>"))
    assert Entry(None, "").share == 0
