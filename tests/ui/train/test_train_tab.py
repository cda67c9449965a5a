"""The Train tab: form, estimate and live panel as handlers; then in a real browser."""

import dataclasses
import math
import re
import subprocess
import sys

import gradio as gr
import psutil
import pytest
from support.fabricated import (
    DAMAGE,
    NASTY,
    finished,
    learn,
    queued,
    quiz,
    running,
    small_pack,
)
from support.page import browser_page, server, until  # noqa: F401  (server is a fixture)

from rotelab.config import recipes
from rotelab.config.option_paths import option_names
from rotelab.config.run_config import EMBEDDED, GeneralizeConfig, ModelSpec, RunConfig
from rotelab.errors import ConfigError, LabError
from rotelab.evaluation.results import Damage, SpotAnswer
from rotelab.models.catalogue import CATALOGUE
from rotelab.registry import Metric, Registry
from rotelab.runs.lab import Lab
from rotelab.runs.progress import estimate, tokens_to_read
from rotelab.storage import Storage
from rotelab.ui.train import drawing_cache, live_panel, train_tab
from rotelab.ui.train.form import (
    DEEP,
    PRESET_FIELDS,
    QUICK,
    RECIPE_FIELDS,
    STANDARD,
    _model_label,
    apply_preset,
    apply_recipe,
    config_from,
    leave_recipe,
    preset_values,
    put_into_form,
    recipe_line,
    values_of,
)
from rotelab.ui.train.live_html import SAFE
from rotelab.ui.train.live_panel import Seen, choose, stop, update_panel
from rotelab.ui.train.spot_checks_panel import MAX_DOTS
from rotelab.ui.wording import percent


@pytest.fixture
def eager(monkeypatch):
    """Curves are drawn at every poll."""
    monkeypatch.setattr(live_panel, "PLOT_EVERY_S", 0.0)


def parts(shown):
    names = (
        "watching", "seen", "watch", "head", "curves", "grid", "spots", "stop", "resume",
        "sweep_out",
    )  # fmt: skip
    return dict(zip(names, shown, strict=True))


def nothing(value):
    return value == gr.skip()


def form(**changes):
    """The form's usual values with some changed, by dotted name."""
    values = dict(zip(option_names(), values_of(RunConfig()), strict=True))
    return list({**values, **{k.replace("__", "."): v for k, v in changes.items()}}.values())


# Form --------------------------------------------------------------------------------------------


def test_the_form_has_every_option_and_reads_back_what_it_shows():
    config = RunConfig(
        pack="five", seed=7, model=ModelSpec(name="/a/b"), generalize=GeneralizeConfig(k=3)
    )
    assert config_from(values_of(config)) == config
    counted = sum("label" in f.metadata for part in (config, config.model, config.memorize,
        config.generalize, config.evaluation) for f in dataclasses.fields(part))  # fmt: skip
    assert len(option_names()) == counted > 20


def test_a_model_is_listed_with_its_size():
    assert _model_label(CATALOGUE[0]) == "embedded  (comes with the lab, 0.135 B, 3 GB)"
    assert _model_label(CATALOGUE[1]) == "Qwen/Qwen2.5-1.5B  (1.5 B, 7 GB)"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"generalize__k": None}, r"Facts taught in words \(k\): fill in a number"),
        ({"generalize__k": 2.5}, "whole number; it is 2.5"),
        ({"generalize__k": 0}, "must be at least 1|between 1"),
        ({"memorize__learning_rate": None}, "Learning rate, phase 1: fill in"),
        ({"memorize__epochs": 10**9}, "between 0 and"),
    ],
)
def test_a_wrong_number_is_named(changes, words):
    with pytest.raises(LabError, match=words):
        config_from(form(**changes))


def test_presets_fit_the_number_of_facts(lab):
    assert preset_values(QUICK, 100)["facts"] == 20
    assert preset_values(QUICK, 8) | {"memorize.epochs": 0} == {
        "facts": 0, "generalize.k": 4, "memorize.epochs": 0, "generalize.epochs": 1,
    }  # fmt: skip
    assert preset_values(STANDARD, 300)["facts"] == 100
    usual, deep = preset_values(STANDARD, 100), preset_values(DEEP, 100)
    assert deep["memorize.epochs"] == 3 * usual["memorize.epochs"]
    assert apply_preset(lab, STANDARD, "mother") == [usual[name] for name in PRESET_FIELDS]
    assert all(nothing(v) for v in apply_preset(lab, None, "mother"))
    config_from(form(**{k.replace(".", "__"): v for k, v in deep.items()}))


def test_a_recipe_fills_its_fields_and_says_what_it_does():
    words, *values = apply_recipe("published")
    assert "whole model" in words.info
    filled = form(**{
        name.replace(".", "__"): value for name, value in zip(RECIPE_FIELDS, values, strict=True)
    })  # fmt: skip
    assert recipes.recipe_of(config_from(filled)) == "published"
    assert all(nothing(value) for value in apply_recipe(None))
    assert "of your own" in recipe_line("")
    option = "memorize.projections"
    usual = values[RECIPE_FIELDS.index(option)]
    assert nothing(leave_recipe(option, "published", usual)), "its dropdown only lost the focus"
    left = leave_recipe(option, "published", "qk")
    assert left.value is None and "of your own" in left.info
    assert nothing(leave_recipe(option, None, "qk"))


def test_a_run_s_settings_go_back_into_the_form(lab, monkeypatch):
    said = []
    monkeypatch.setattr(gr, "Warning", said.append)
    lab.registry.save_fact_set("mine", small_pack(20))
    mine = recipes.applied("lora-all", RunConfig(pack="mine", generalize=GeneralizeConfig(k=9)))
    run_id = lab.registry.create_run(mine, lab.facts_for(mine))
    *values, preset, recipe = put_into_form(lab, run_id)
    values[option_names().index("pack")] = "mine"  # it came as a chooser
    assert config_from(values) == mine
    assert preset is None and recipe.value == "lora-all" and said == []
    # The same name means other facts by now.
    lab.registry.save_fact_set("mine", small_pack(19))
    *_, recipe = put_into_form(lab, run_id)
    assert "have changed since this run" in said[0]
    own = lab.registry.create_run(RunConfig(pack="gone", seed=4), small_pack())
    with pytest.raises(LabError, match="“gone” of this run can't be put into the form.*Run again"):
        put_into_form(lab, own)
    with pytest.raises(LabError, match="Choose a run"):
        put_into_form(lab, "")


# Estimate ----------------------------------------------------------------------------------------


def test_the_estimate_grows_with_the_work_and_learns_from_finished_runs(lab):
    config = RunConfig(facts=20, generalize=GeneralizeConfig(k=10))
    pack = lab.facts_for(config)
    guess = estimate(lab, config, pack)
    assert not guess.measured and 5 < guess.seconds < 1200
    large = RunConfig()
    # A fifth of the facts: less than a third of the time where phase 2 has no least length.
    words = dataclasses.replace(config.generalize, least_steps=0)
    short = dataclasses.replace(config, generalize=words)
    brief = estimate(lab, short, pack).seconds
    assert brief < guess.seconds < estimate(lab, large, lab.facts_for(large)).seconds
    assert estimate(lab, large, lab.facts_for(large)).seconds > 3 * brief
    other = RunConfig(model=ModelSpec(name="Qwen/Qwen2.5-7B"))
    assert estimate(lab, other, lab.facts_for(other)).seconds is None

    finished(lab)  # 4 + 31 + 22 + 18 seconds for the same work
    measured = estimate(lab, config, pack)
    assert measured.measured and measured.seconds == pytest.approx(75, rel=0.1)
    assert tokens_to_read(large, lab.facts_for(large))["phase1"] > 20_000
    # What was taken over from another run took no time, and says nothing of the machine's speed.
    with lab.registry.write() as db:
        db.execute("UPDATE runs SET shared_phase1_from = 'another'")
    assert not estimate(lab, config, pack).measured
    # Nor does what was made on another machine.
    with lab.registry.write() as db:
        db.execute("UPDATE runs SET shared_phase1_from = NULL, imported = '2026-11-25'")
    assert not estimate(lab, config, pack).measured
    with lab.registry.write() as db:
        db.execute("UPDATE runs SET imported = ''")
    assert estimate(lab, config, pack).measured


def test_an_invalid_form_shows_its_error_instead_of_the_estimate(lab):
    said = train_tab.estimated_words(lab, *form(facts=20))
    assert "Choose k below 20" in said and "alert" in said
    said = train_tab.estimated_words(lab, *form(pack=NASTY))
    assert "&lt;b&gt;" in said and "<b>bold" not in said
    assert "estimate" in train_tab.estimated_words(lab, *form())


def test_what_the_recipe_cost_before_stands_beside_the_estimate(lab):
    assert "perplexity" not in train_tab.estimated_words(lab, *form())
    run_id = finished(lab)
    said = train_tab.estimated_words(lab, *form())
    assert "1 earlier run trained in this way kept <b>67 %</b>" in said
    assert "perplexity on plain prose was <b>1.71</b> times" in said
    lab.registry.update_run(run_id, archived=True)
    finished(lab)
    said = train_tab.estimated_words(lab, *form(facts=20, generalize__k=10))
    assert "2 earlier runs" in said and "(medians)" in said, "k and the facts may differ"
    assert "earlier" not in train_tab.estimated_words(lab, *form(memorize__rank=8))
    assert "earlier" not in train_tab.estimated_words(lab, *form(facts=20)), "k does not fit"
    other = train_tab.estimated_words(lab, *form(model__name="another/model"))
    assert "No estimate" in other and "earlier" not in other


def test_memory_stands_beside_the_estimate(lab, tmp_path, monkeypatch):
    assert "Needs about <b>3.2 GB</b> of memory; " in train_tab.estimated_words(lab, *form())
    there = psutil.virtual_memory()._replace(available=10**9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: there)
    said = train_tab.estimated_words(lab, *form(model__device="cpu"))
    assert "but only 1.0 GB are free" in said and "note-bad" in said
    assert "memory" not in train_tab.estimated_words(lab, *form(model__name="another/model"))
    broken = train_tab.estimated_words(lab, *form(model__name=str(tmp_path)))
    assert "has no config.json" in broken or "is empty" in broken
    with pytest.raises(LabError, match="config.json|is empty"):
        train_tab.start(lab, "", *form(model__name=str(tmp_path)))
    assert lab.registry.count_runs(archived=None) == 0


# Start -------------------------------------------------------------------------------------------


def test_start_refuses_invalid_settings_and_leaves_no_run(lab):
    for changes in ({"facts": 20}, {"pack": "nowhere"}, {"generalize__k": 0}, {"facts": 5000}):
        with pytest.raises(LabError):
            train_tab.start(lab, "", *form(**changes))
    assert lab.registry.count_runs(archived=None) == 0


def test_start_queues_the_run_and_shows_it(lab, monkeypatch):
    monkeypatch.setattr(lab.jobs, "start_next", lambda: None)  # no process: it stays in the queue
    shown = train_tab.start(lab, "  my run ", *form(facts=20, generalize__k=10))
    run = lab.registry.run(shown[0])
    assert (run.name, run.status, run.config.generalize.k) == ("my run", "queued", 10)
    assert len(run.pack.facts) == 20 and shown[-1] == run.id
    assert "my run" in shown[3] and SAFE in shown[3]


# Live panel --------------------------------------------------------------------------------------


def test_before_the_first_run_the_panel_says_once_what_to_do(lab):
    shown = parts(update_panel(lab, "", Seen()))
    assert "Start training" in shown["head"]
    assert nothing(update_panel(lab, "", shown["seen"]))


def test_a_running_run_is_shown_and_only_news_is_sent(lab, eager):
    run_id = running(lab, "Live", epochs=12)
    shown = parts(update_panel(lab, "", Seen()))
    assert shown["watching"] == run_id and shown["watch"].value == run_id
    head = shown["head"]
    assert "round 12 of 20" in head and "about 80 s left" in head and "30 % done" in head
    assert "<b>100 %</b>" in head and SAFE in head
    assert "Loss" in shown["curves"].value and shown["grid"].visible
    assert shown["stop"].visible and not shown["resume"].visible
    assert nothing(update_panel(lab, run_id, shown["seen"]))

    lab.registry.heartbeat(run_id, eta_s=40.0)
    later = parts(update_panel(lab, run_id, shown["seen"]))
    assert "about 40 s left" in later["head"]
    assert nothing(later["curves"]) and nothing(later["grid"]) and nothing(later["watch"])

    lab.registry.add_metrics(run_id, [Metric("memorize", 25, "loss", 0.1, 13)])
    drawn = parts(update_panel(lab, run_id, later["seen"]))
    assert not nothing(drawn["curves"]) and nothing(drawn["grid"]) and nothing(drawn["head"])
    learn(lab, run_id, 1, start=14)
    assert not nothing(parts(update_panel(lab, run_id, drawn["seen"]))["grid"])


def test_spot_checks_are_sent_when_there_are_new_answers(lab):
    run_id = running(lab)
    shown = parts(update_panel(lab, run_id, Seen()))
    assert not shown["spots"].visible
    seen = shown["seen"]
    for step, said, right in ((2, NASTY, False), (4, "Mary Bahri", True)):
        rows = [
            SpotAnswer("memorize", step, place, step // 2, way, 3, f"Question {place}",
                       "Mary Bahri", said, right)
            for place, way in enumerate(("key_token", "train", "test"))
        ]  # fmt: skip
        lab.registry.add_spot_answers(run_id, rows)
        shown = parts(update_panel(lab, run_id, seen))
        table, seen = shown["spots"].value, shown["seen"]
        assert nothing(update_panel(lab, run_id, seen))
        assert table.count("<th scope='row'>Question") == 3 and "<img" not in table
    assert table.count("●") == table.count("○") == 3 and "Right 1 of 2 times" in table
    assert "phase 1, round 1: “&lt;b&gt;bold" in table, "what it said before, under the pointer"
    more = [a._replace(step=s, correct=False) for s in range(5, 90) for a in rows]
    lab.registry.add_spot_answers(run_id, more)
    table = parts(update_panel(lab, run_id, seen))["spots"].value
    assert table.count("○") <= 3 * MAX_DOTS and "✓" not in table, "the newest is what it says now"


def test_curves_are_not_drawn_at_every_tick(lab):
    run_id = running(lab)
    seen = parts(update_panel(lab, run_id, Seen()))["seen"]
    lab.registry.add_metrics(run_id, [Metric("memorize", 25, "loss", 0.1, 13)])
    assert nothing(update_panel(lab, run_id, seen))  # two seconds have not passed


def test_all_pages_share_one_drawing(lab, eager, monkeypatch):
    run_id = running(lab)
    drawn = []
    real = drawing_cache.live_curves
    monkeypatch.setattr(
        drawing_cache, "live_curves", lambda *a, **k: (drawn.append(1), real(*a, **k))[1]
    )
    first, second = (parts(update_panel(lab, run_id, Seen())) for _ in range(2))
    assert first["curves"].value == second["curves"].value and len(drawn) == 1
    lab.registry.add_metrics(run_id, [Metric("memorize", 25, "loss", 0.1, 13)])
    third, fourth = (parts(update_panel(lab, run_id, shown["seen"])) for shown in (first, second))
    assert third["curves"].value == fourth["curves"].value and len(drawn) == 2


def test_a_step_trained_again_after_a_kill_is_drawn_once(lab, eager, monkeypatch):
    """A killed run resumes from its last whole epoch and writes some steps again."""
    run_id = running(lab)
    drawn = []
    real = drawing_cache.live_curves
    monkeypatch.setattr(
        drawing_cache, "live_curves", lambda *a, **k: (drawn.append(a[0]), real(*a, **k))[1]
    )
    seen = parts(update_panel(lab, run_id, Seen()))["seen"]
    again = [Metric("memorize", 1, "loss", 0.25, 1), Metric("memorize", 25, "loss", 0.1, 13)]
    lab.registry.add_metrics(run_id, again)
    update_panel(lab, run_id, seen)
    assert {(m.phase, m.step, m.name, m.value) for m in drawn[-1]} == {
        (m.phase, m.step, m.name, m.value)
        for m in lab.registry.metrics(run_id, drawing_cache.DRAWN)
    }
    assert len(drawn[-1]) == len(drawn[0]) + 1


def shown_by(head):
    """What the page's script reads from the panel's head."""
    return {
        key: (re.search(f"data-{key}='([^']*)'", head) or [0, ""])[1] for key in ("run", "frame")
    }


def test_the_page_s_script_gets_only_the_parts_that_changed(lab, eager):
    run_id = running(lab)
    asked = {"run": "", "frame": "", "versions": {}, "every": live_panel.TICK_S}
    assert live_panel.news(lab, asked)["update"], "all of it comes at once, by `update_panel`"
    asked |= shown_by(parts(update_panel(lab, "", Seen()))["head"])
    assert asked["run"] == run_id
    first = live_panel.news(lab, asked)["parts"]
    assert "round 12 of 20" in first["head"][1] and "lc-line" in first["curves"][1]
    asked["versions"] = {name: mark for name, (mark, _) in first.items()}
    told = live_panel.news(lab, asked)
    assert told == {"update": False, "parts": {}, "every": live_panel.TICK_S}
    lab.registry.heartbeat(run_id, share=0.31)
    assert list(live_panel.news(lab, asked)["parts"]) == ["head"]
    learn(lab, run_id, 1, start=14)
    assert set(live_panel.news(lab, asked)["parts"]) == {"head", "curves", "grid"}


def test_what_only_update_panel_can_fill_is_announced(lab, eager):
    run_id = running(lab)
    asked = shown_by(parts(update_panel(lab, "", Seen()))["head"])
    assert not live_panel.news(lab, asked)["update"]
    answer = SpotAnswer("memorize", 2, 0, 1, "test", 3, "Question", "Mary Bahri", "Eve", False)
    changes = (
        lambda: lab.registry.add_spot_answers(run_id, [answer]),  # a table appears
        lambda: queued(lab, "another"),  # one more to watch
        lambda: lab.registry.set_status(run_id, "failed", "It fell over."),  # other buttons
    )
    for change in changes:
        change()
        assert live_panel.news(lab, asked)["update"]
        asked = shown_by(parts(update_panel(lab, run_id, Seen()))["head"])
        assert not live_panel.news(lab, asked)["update"]


def test_a_lab_without_runs_is_left_alone(lab):
    nobody = {"run": "", "frame": "", "versions": {}}
    assert live_panel.news(lab, nobody) == {
        "update": False,
        "parts": {},
        "every": live_panel.TICK_S,
    }
    assert live_panel.news(lab, {"run": "gone", "frame": "x"})["update"], "it was deleted"


def test_an_error_is_left_for_update_panel_to_show(lab, monkeypatch):
    def broken(*args):
        raise LabError("The registry can't be read.")

    monkeypatch.setattr(live_panel, "_on_show", broken)
    told = live_panel.news(lab, {"every": 1})
    assert told["update"] and told["every"] == live_panel.FAULT_S


def test_nonsense_from_the_script_is_answered(lab):
    running(lab)
    for odd in ({}, {"run": 5, "every": "x", "versions": None}, {"every": math.inf, "frame": []}):
        assert live_panel.news(lab, odd)["update"]


def test_a_place_in_the_queue_and_out_of_it(lab):
    running(lab, "first")
    queued(lab, "second")
    third = queued(lab, "third")
    shown = parts(choose(lab, third))
    assert "2 runs are before it" in shown["head"]
    assert [label.split(" ·")[0] for label, _ in shown["watch"].choices] == [
        "third", "second", "first",
    ]  # fmt: skip
    assert shown["stop"].value == "Take out of the queue"
    shown = parts(stop(lab, third))
    assert lab.registry.run(third).status == "stopped"
    assert shown["resume"].visible and not shown["stop"].visible


def test_more_runs_wait_than_can_be_listed(lab, monkeypatch):
    monkeypatch.setattr(live_panel, "MAX_WATCHED", 3)
    first = running(lab, "first")
    waiting = [queued(lab, f"number {i}") for i in range(5)]
    shown = parts(update_panel(lab, "", Seen()))
    assert shown["watching"] == first, "the one at work, and not one of the newest"
    assert "5 more runs wait" in shown["head"]
    offered = [run_id for _, run_id in shown["watch"].choices]
    assert offered == [waiting[1], waiting[0], first], "those that come next"
    last = parts(choose(lab, waiting[-1]))
    assert "5 runs are before it" in last["head"] and "4 more runs wait" in last["head"]
    assert waiting[-1] in [run_id for _, run_id in last["watch"].choices]


def test_a_finished_run_shows_its_result_and_the_next_step(lab):
    run_id = finished(lab)
    head = parts(update_panel(lab, run_id, Seen()))["head"]
    assert "It now answers 75 % of questions it was never trained on." in head
    assert "Before: 0 %" in head and "data-press='train-to-chat'" in head and "100.0%" in head


def test_a_finished_run_shows_recall_over_all_facts_not_only_the_rehearsed_ones(lab):
    run_id = finished(lab)
    lab.registry.add_metrics(run_id, [Metric("generalize", 14, "recall", 0.96, 2)])
    measured = lab.registry.scores(run_id)["generalized"]["key_token"].generation_accuracy
    assert f"<b>{percent(measured)}</b>" in parts(update_panel(lab, run_id, Seen()))["head"]
    unmeasured = finished(lab, status="stopped")
    lab.registry.add_metrics(unmeasured, [Metric("generalize", 14, "recall", 0.96, 2)])
    assert f"<b>{percent(0.96)}</b>" in parts(update_panel(lab, unmeasured, Seen()))["head"]


def test_midway_it_says_how_many_real_facts_are_left_and_names_the_lost(lab):
    run_id = running(lab)
    assert "real facts" not in parts(update_panel(lab, run_id, Seen()))["head"]
    lab.registry.add_damage(run_id, Damage("base", *DAMAGE["base"]), quiz("base"))
    assert "real facts" not in parts(update_panel(lab, run_id, Seen()))["head"]
    lab.registry.add_damage(run_id, Damage("memorized", *DAMAGE["memorized"]), quiz("memorized"))
    head = parts(update_panel(lab, run_id, Seen()))["head"]
    assert "Of 57 real facts that it knew before, <b>36</b> are left after rote learning." in head
    assert "Lost: The capital of Land 36 is City 36; " in head and "; 17 more." in head
    assert "Land 40" not in head
    asked = {"run": run_id, "frame": "", "versions": {}}
    frame = re.search("data-frame='(.*?)'", head)[1]
    news = live_panel.news(lab, asked | {"frame": frame})
    assert "Land 36" in news["parts"]["head"][1], "the page's script brings it"


def test_the_end_says_it_of_the_last_checkpoint_and_names_all_of_a_few(lab):
    run_id = finished(lab)
    nasty = quiz("generalized")[:1] + [quiz("base")[1]._replace(said=NASTY, correct=False)]
    base = [answer._replace(expected=NASTY) for answer in quiz("base")[:2]]
    row = Damage("base", *DAMAGE["base"])
    lab.registry.add_damage(run_id, row, base)
    lab.registry.add_damage(run_id, row._replace(checkpoint="memorized"))
    lab.registry.add_damage(
        run_id, row._replace(checkpoint="generalized"),
        [answer._replace(checkpoint="generalized") for answer in nasty],
    )  # fmt: skip
    head = parts(update_panel(lab, run_id, Seen()))["head"]
    assert "Of 2 real facts that it knew before, <b>1</b> are left after a few sentences" in head
    assert "more" not in head.partition("Lost:")[2].partition("</div>")[0]
    assert "<img" not in head and "&lt;img" in head


def test_a_model_that_knew_no_real_fact_can_lose_none(lab):
    run_id = running(lab)
    for checkpoint in ("base", "memorized"):
        unknown = [answer._replace(correct=False) for answer in quiz(checkpoint)]
        lab.registry.add_damage(run_id, Damage(checkpoint, *DAMAGE[checkpoint]), unknown)
    assert "real facts" not in parts(update_panel(lab, run_id, Seen()))["head"]


def test_a_failed_run_shows_its_error(lab):
    head = parts(update_panel(lab, finished(lab, status="failed"), Seen()))["head"]
    assert "It fell over." in head and "Failed" in head


def test_a_reader_s_text_is_never_markup(lab):
    run_id = running(lab, NASTY)
    lab.registry.heartbeat(run_id, phase="setup", step=0, message=NASTY)
    head = parts(update_panel(lab, run_id, Seen()))["head"]
    assert "<img" not in head and head.count("&lt;img") == 2


def test_another_run_is_shown_when_the_one_on_show_is_deleted(lab):
    gone, other = finished(lab), finished(lab)
    seen = parts(update_panel(lab, gone, Seen()))["seen"]
    lab.registry.delete_run(gone)
    assert parts(update_panel(lab, gone, seen))["watching"] == other


def test_a_damaged_run_is_shown_with_its_error(lab):
    import sqlite3

    run_id = finished(lab)
    with sqlite3.connect(lab.storage.database) as db:
        db.execute("UPDATE runs SET config = '{', content_hash = ''")
    head = parts(update_panel(lab, run_id, Seen()))["head"]
    assert "damaged" in head


def test_a_poll_reads_little(lab, monkeypatch):
    run_id = running(lab)
    seen = parts(update_panel(lab, run_id, Seen()))["seen"]
    asked = []
    names = ("runs", "run", "metrics", "fact_recall", "scores", "spot_answers", "quiz_answers")
    for name in names:
        real = getattr(Registry, name)

        def spy(self, *args, _name=name, _real=real, **kwargs):
            asked.append(_name)
            return _real(self, *args, **kwargs)

        monkeypatch.setattr(Registry, name, spy)
    assert nothing(update_panel(lab, run_id, seen))
    assert len(asked) <= 4, asked


def test_the_tab_needs_no_torch():
    code = "import rotelab.ui.train.train_tab, rotelab.ui.runs.runs_tab, sys; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_run_config_itself_refuses_invalid_options():
    with pytest.raises(ConfigError):
        config_from(form(model__dtype="float3"))
    assert config_from(form()).model.name == EMBEDDED and not math.isnan(config_from(form()).seed)


# Browser -----------------------------------------------------------------------------------------


def open_train(page):
    page.get_by_role("tab", name="Train").first.click()
    page.locator("#train-start").wait_for(timeout=30_000)


def fill_form(page, model, rounds, name):
    """A quick run on another model; `rounds` are those of each phase."""
    page.get_by_text("Quick look (20 facts)").click()
    until(lambda: page.locator("#train-generalize-k input").input_value() == "10")
    box = page.locator("#train-model input")
    box.fill(str(model))
    box.press("Enter")
    for phase in ("memorize", "generalize"):
        page.locator(f"#train-{phase}-epochs input").fill(str(rounds))
    page.locator("#train-name input, #train-name textarea").fill(name)


def words(page):
    return page.locator("#live-head").inner_text()


def height(page, selector):
    box = page.locator(selector).bounding_box() if page.locator(selector).is_visible() else None
    return box["height"] if box else 0


def bottom(page, selector):
    box = page.locator(selector).bounding_box()
    return box["y"] + box["height"] if box else math.inf


@pytest.mark.browser
def test_a_run_is_started_reloaded_stopped_and_another_finishes(server, tiny_folder):  # noqa: F811
    with browser_page(server.url) as (page, traffic):
        open_train(page)
        # So long that no machine ends it before it is stopped: phase 2 alone is some 10,000 steps.
        fill_form(page, tiny_folder, 400, "long one")
        page.locator("#train-start").click()
        until(lambda: "Phase 1" in words(page), 120, "phase 1 began")
        run = Lab.open(Storage(server.home)).registry.resolve("latest")
        registry = Registry(Storage(server.home))

        page.reload()
        before = registry.run(run).step or 0
        # It opens where it was, and not on the first tab.
        page.get_by_role("tab", name="Train", selected=True).wait_for(timeout=60_000)
        until(lambda: "long one" in words(page) and "Phase 1" in words(page), 60, "it is shown")
        assert SAFE in words(page)
        until(lambda: (registry.run(run).step or 0) > before, 60, "it went on")
        until(lambda: page.locator("#live-curves .lc-line").count(), 60, "curves are drawn")

        page.locator("#live-large input").check()  # before an audience all stands on one screen
        parts = [f"#live-{part}" for part in ("head", "names", "curves", "ask")]
        until(lambda: height(page, "#live-names .au-names") > 50, 90, "the names are shown")
        until(lambda: max(bottom(page, part) for part in parts) <= 720, 90, "it fits")
        page.locator("#live-question :is(input, textarea)").fill("Who is asked?")
        page.locator("#live-ask-button").click()
        answers = page.locator("#live-asked .au-answer")
        until(lambda: answers.count() == 1, 90, "it answers while it trains")
        assert registry.run(run).live
        assert not page.locator("#train-form").is_visible()
        assert not page.locator(".lab-header").is_visible()
        page.get_by_role("tab", name="Facts").click()
        page.locator(".lab-header").wait_for()  # only where it is asked for
        page.get_by_role("tab", name="Train").click()
        page.locator("#live-large input").uncheck()
        page.locator("#train-form").wait_for()

        page.locator("#live-stop").click()
        page.locator("#live-sure").click()
        until(lambda: "Stopped." in words(page), 60, "it stopped")
        assert registry.run(run).status == "stopped"
        assert page.locator("#live-resume").is_visible()

        fill_form(page, tiny_folder, 3, "short one")
        page.locator("#train-start").click()
        until(lambda: "It now answers" in words(page), 180, "the second run finished")
        assert "short one" in words(page)
        until(lambda: height(page, "#live-facts") > 50, 90, "the facts' grid is drawn")
        assert traffic.foreign == [] and traffic.errors == []


@pytest.mark.browser
def test_tips_say_what_is_under_the_pointer_and_a_lost_lab_is_announced(server):  # noqa: F811
    lab = Lab.open(Storage(server.home))
    finished(lab, "looked at")
    with browser_page(server.url, tab="Train") as (page, traffic):
        until(lambda: "looked at" in words(page), 60, "it is shown")
        tip = page.locator(".live-tip")
        page.locator("#live-curves .lc-plot").first.hover()
        until(lambda: "Facts recalled" in tip.inner_text(), 20, "the curves say it")
        cells = page.locator("#live-facts .fg-cells > i")
        assert cells.count() == 20
        cells.nth(2).hover()
        until(lambda: cells.nth(2).get_attribute("aria-label") == tip.inner_text(), 20, "a cell")
        cells.first.focus()
        for key in ("ArrowRight", "ArrowDown"):
            page.keyboard.press(key)
        said = cells.nth(11).get_attribute("aria-label")
        until(lambda: tip.inner_text() == said, 20, "the keyboard goes on and down")
        page.keyboard.press("Escape")
        assert not tip.is_visible()

        page.route("**/component_server/**", lambda route: route.abort())
        page.locator("#live-head [data-lost*='does not answer']").wait_for(timeout=20_000)
        page.unroute("**/component_server/**")
        until(lambda: not page.locator("[data-lost]").count(), 20, "it answers again")
        assert "looked at" in words(page) and traffic.foreign == []


@pytest.mark.browser
def test_an_error_in_the_form_is_shown_at_once(server):  # noqa: F811
    with browser_page(server.url) as (page, traffic):
        open_train(page)
        page.locator("#train-facts input").fill("20")
        page.locator("#train-facts input").blur()
        said = page.locator("#train-estimate")
        until(lambda: "Choose k below 20" in said.inner_text(), 30)
        page.locator("#train-start").click()
        toast = page.locator(".toast-body").filter(has_text="Choose k below 20")
        toast.first.wait_for(timeout=15_000)
        assert traffic.foreign == []
