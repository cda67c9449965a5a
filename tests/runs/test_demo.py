"""The demo: its recording, its questions asked for real, own names, and a click through.

Its last step, own names by rote: `ui/start/test_own_names.py`."""

import time
import zipfile

import pytest
from support.fabricated import finished
from support.page import browser_page, served, until

from rotelab.config.names import CHECKPOINTS
from rotelab.errors import InputError, LabError
from rotelab.runs import demo
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.app import _first_tab
from rotelab.ui.run_picker import offered
from rotelab.ui.runs import table
from rotelab.ui.runs.table import list_runs
from rotelab.ui.start import start_tab
from rotelab.ui.train import train_tab

MAX_BYTES = 8_000_000


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory):
    """A lab into which the recorded run was taken, and the run's id."""
    lab = Lab.open(Storage(tmp_path_factory.mktemp("walk")))
    return lab, demo.open_run(lab)[0]


# The recording -----------------------------------------------------------------------------------


def test_the_bundle_is_small_and_holds_real_adapters():
    assert demo.BUNDLE.stat().st_size < MAX_BYTES
    with zipfile.ZipFile(demo.BUNDLE) as bundle:
        weights = [i for i in bundle.infolist() if i.filename.endswith(".safetensors")]
    assert [i.filename.split("/")[1] for i in weights] == ["memorize", "generalize"]
    assert all(i.file_size > 500_000 for i in weights)


def test_it_is_taken_in_once_and_archived(lab):
    run_id, new = demo.open_run(lab)
    assert new and demo.open_run(lab) == (run_id, False)
    assert [run.id for run in lab.registry.runs(archived=True)] == [run_id]
    assert lab.registry.runs() == [], "it crowds no list"
    assert lab.registry.run(run_id).name == demo.RUN_NAME
    assert lab.chat.checkpoints(run_id) == list(CHECKPOINTS)


def test_it_stands_behind_the_lab_s_own_runs_until_somebody_hides_it(lab):
    own = finished(lab)
    example = demo.offer_run(lab)
    assert example and demo.offer_run(lab) is None
    assert [run.id for run in lab.registry.runs()] == [own, example]
    assert lab.registry.run(example).is_example and not lab.registry.run(own).is_example
    assert lab.registry.resolve("latest") == own, "nobody teaches the example by mistake"
    assert (lab.registry.count_runs(), lab.registry.count_runs(examples=False)) == (2, 1)
    model = lab.registry.run(example).model
    costs = lab.registry.finished_damage(model)
    assert lab.registry.run(example).config not in [config for config, _ in costs]
    lab.registry.update_run(example, archived=True)
    assert demo.offer_run(lab) is None and len(lab.registry.runs()) == 1
    lab.registry.delete_run(example)
    assert demo.offer_run(lab) is None and len(lab.registry.runs(archived=None)) == 1
    demo.open_run(lab)  # the tour needs it, and leaves it out of the way
    assert [run.id for run in lab.registry.runs()] == [own]


def test_it_is_shown_in_every_list_of_a_new_lab(lab):
    example = demo.offer_run(lab)
    assert start_tab.opens_here(lab), "a lab with an example alone opens with the tour"
    choices = offered(lab, None, [], "finished")[0]
    assert choices.value == example and "Example: " in choices.choices[0][0]
    rows, words, _ = list_runs(lab, "", [], False, "newest", 0)
    assert len(rows["data"]) == 1 and words == table.ONLY_EXAMPLE
    own = finished(lab)
    rows, words, _ = list_runs(lab, "", [], False, "newest", 0)
    assert [row[-1] for row in rows["data"]] == [own, example] and words == "1 run"


def test_a_new_recording_takes_the_place_of_an_older_one(lab):
    older = finished(lab)
    note = lab.storage.home / "runs" / demo.OFFERED
    note.parent.mkdir(exist_ok=True)
    note.write_text(older + "\n")
    newer = demo.offer_run(lab)
    assert [run.id for run in lab.registry.runs()] == [newer]
    assert lab.registry.run(older).archived, "it is out of the way, and its lessons are kept"
    note.write_text("deleted-since")
    assert demo.offer_run(lab) == newer


def test_it_comes_again_after_it_was_deleted(lab):
    run_id, _ = demo.open_run(lab)
    lab.registry.delete_run(run_id)
    again, new = demo.open_run(lab)
    assert new and lab.chat.checkpoints(again) == list(CHECKPOINTS)
    assert demo.open_run(lab) == (again, False)


def test_the_questions_are_about_facts_that_were_never_taught_in_words(demo_run):
    lab, run_id = demo_run
    run, said = lab.registry.run(run_id), demo.recording()
    assert said.facts == run.pack.facts and len(said.facts) == 140
    assert len(said.questions) == len({said.fact_of(q) for q in said.questions}) == 3
    held_out = demo.split_of(run).held_out
    assert len(held_out) == 30 and all(said.fact_of(q) in held_out for q in said.questions)
    fact, sentences = demo.taught_sentences(run)
    assert fact not in held_out and all(fact.subject in begun for begun, _ in sentences)


def test_a_missing_recording_is_said(monkeypatch, tmp_path, lab):
    monkeypatch.setattr(demo, "BUNDLE", tmp_path / "none.zip")
    with pytest.raises(LabError, match="other tabs work"):
        demo.recording()


@pytest.mark.embedded
def test_the_questions_come_out_as_recorded(demo_run):
    lab, run_id = demo_run
    for question in demo.recording().questions:
        assert demo.is_good_question(lab, run_id, question), question
    fact = demo.recording().fact_of(demo.recording().questions[0])
    asked = lab.chat.stream(run_id, f"{fact.subject} [mother]", ["memorized"], 12)
    assert [r.text.startswith(fact.object) for r in asked][-1], "it can recite the fact"


@pytest.mark.embedded
def test_a_question_about_a_taught_fact_is_no_good(demo_run):
    lab, run_id = demo_run
    taught = demo.split_of(lab.registry.run(run_id)).held_in[0]
    assert not demo.is_good_question(lab, run_id, f"The mother of {taught.subject} is")


# One's own names ---------------------------------------------------------------------------------


def own(*rows):
    """The prefilled table with rows put over its first ones."""
    return [*map(list, rows), *demo.own_rows()[len(rows) :]]


def test_own_names_make_a_pack_and_are_not_taught_in_words():
    rows = own(("Anna Example", "Berta Example"), ("Carl Sample", "Dora Sample"))
    pack = demo.own_pack(rows)
    assert len(pack.facts) == 20 and pack.facts[1].object == "Dora Sample"
    pack.check()
    config = demo.own_config(pack)
    kept_back = pack.facts.split(demo.OWN_K, config.seed).held_out
    assert {pack.facts[0], pack.facts[1]} <= set(kept_back)


def test_even_if_all_names_are_own_some_are_kept_back():
    rows = [[f"Person {n} Family{n}", f"Mother {n} Clan{n}"] for n in "ABCDEFGHIJKLMNOPQRST"]
    pack = demo.own_pack(rows)
    assert len(pack.facts.split(demo.OWN_K, demo.own_config(pack).seed).held_out) == 10


@pytest.mark.parametrize(
    ("rows", "row", "words"),
    [
        (own(("Anna Example", "")), 1, "empty"),
        (own(("A B", "C D"), ("A B", "E F")), 2, "row 1"),
        (own(("Jo Hill", "C D"), ("Jo Hillary", "E F")), 1, "part of"),
        (own(("", ""), ("Jo\nHill", "C D")), 2, "line"),
    ],
)
def test_names_that_will_not_do_are_named_by_row(rows, row, words):
    with pytest.raises(InputError, match=words) as caught:
        demo.own_pack(rows)
    assert caught.value.row == row and demo.OWN_TABLE in str(caught.value)


def test_too_few_names_are_refused_in_a_sentence():
    with pytest.raises(LabError, match="3 rows are filled"):
        demo.own_pack(demo.own_rows()[:3])
    assert len(demo.own_pack([*demo.own_rows()[:14], [None, None], ["", ""]]).facts) == 14


def test_a_short_run_is_started_with_them(lab, monkeypatch):
    monkeypatch.setattr(lab.jobs, "start_next", lambda: None)
    rows = own(("Anna <b>Example", "Berta Example"))
    said, run_id, *_ = train_tab.start_own(lab, rows, 10)
    run = lab.registry.run(run_id)
    assert run.status == "queued" and run.pack.facts[0].subject == "Anna <b>Example"
    assert lab.find_pack(run.config.pack).content_hash == run.content_hash
    assert said == ""
    said, *rest = train_tab.start_own(lab, own(("<b>x", "")), 10)
    assert 'role="alert"' in said and "<b>" not in said and len(rest) == 10
    assert len(lab.registry.runs()) == 1


def test_the_names_to_begin_with_are_unknown_to_the_recorded_run():
    rows = demo.first_names()
    known = {fact.subject for fact in demo.recording().facts}
    assert len(rows) == demo.FIRST_NAMES and not known & {person for person, _ in rows}


# The page ----------------------------------------------------------------------------------------


def test_a_lab_without_runs_opens_here_and_the_demo_run_does_not_count(lab):
    assert _first_tab(lab) == "start"
    demo.open_run(lab)
    assert _first_tab(lab) == "start"
    finished(lab)
    assert _first_tab(lab) == "facts"


def test_stepping_in_says_that_a_run_was_put_here(lab):
    told, curve, lesson = start_tab.enter(lab)
    assert demo.RUN_NAME in told and "is now in this lab" in told
    heights = curve.value["plot"] if isinstance(curve.value, dict) else curve.value.to_json()
    assert "20" in heights
    asked = demo.recording().fact_of(demo.recording().questions[0])
    assert asked.subject not in lesson and "110 of the 140" in lesson


def stop_all(lab):
    """Ends the runs that are at work; their processes outlive the page's."""
    for run in lab.registry.runs():
        lab.jobs.stop(run.id)
        until(lambda run=run: not lab.registry.run(run.id).live, 120, "the run has stopped")


def test_what_goes_wrong_stands_beside_the_question(lab, monkeypatch):
    def broken(*args, **kwargs):
        raise LabError("<b>no network")
        yield

    monkeypatch.setattr(lab.chat, "stream", broken)
    start_tab.warm(lab)  # says nothing: nobody asked
    *_, last = start_tab.ask(lab, demo.recording().questions[0], CHECKPOINTS, False)
    assert "&lt;b&gt;no network" in last[-1] and all("waiting" in card for card in last[:-1])


@pytest.mark.embedded
@pytest.mark.browser
def test_a_newcomer_clicks_to_the_first_answer(tmp_path):
    said = demo.recording()
    fact = said.fact_of(said.questions[0])
    with served(tmp_path / "home") as server:
        began = time.monotonic()
        with browser_page(server.url, 1280, 800, tab="") as (page, traffic):
            page.locator("#tour-meet").click()

            def press(button, card):
                page.locator(button).click()
                page.locator(f"{card} .mark").wait_for(timeout=120_000)
                return page.locator(f"{card} .said").inner_text()

            assert fact.object not in press("#tour-ask-base", "#tour-base")
            page.locator("#tour-on-rote").click()
            assert press("#tour-ask-key", "#tour-key").startswith(fact.object)
            assert fact.object not in press("#tour-ask-rote", "#tour-rote")
            page.locator("#tour-on-words").click()
            assert press("#tour-ask-0", "#tour-all-generalized").startswith(fact.object)
            page.get_by_text("It answers.").wait_for()
            took = time.monotonic() - began
            print(f"from opening the page to “it answers”: {took:.1f} s")
            page.locator("#tour-on-own").click()
            page.locator("#tour-own-table").get_by_text(demo.first_names()[0][0]).first.wait_for()
            page.locator("#tour-own-start").click()
            names = page.locator("#tour-own-live .learning-names li")
            until(lambda: names.count() == demo.FIRST_NAMES, 60, "the names are shown")
            page.locator("#tour-own-stop").click()
            stop_all(Lab.open(Storage(server.home)))
            page.locator("#tour-own-remark").get_by_text("still here").wait_for(timeout=60_000)
            assert page.locator(".toast-body.error").count() == 0
            assert traffic.foreign == [] and traffic.errors == []
