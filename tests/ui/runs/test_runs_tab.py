"""The Runs tab: table, detail, answers and actions as handlers; then in a real browser."""

import ast
import json
import sqlite3
import zipfile
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import nbformat
import pytest
from support.counting import calls_of, statements_of
from support.fabricated import NASTY, finished, queued, running
from support.fabricated_lessons import lesson_at_work
from support.page import browser_page, served, until

from rotelab.config.names import PROBE_NAMES
from rotelab.errors import LabError, UnknownRun
from rotelab.evaluation.results import OLD, Score
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.components import size_words
from rotelab.ui.runs import actions, runs_tab, table
from rotelab.ui.runs.answers_panel import (
    ALL,
    ANSWER_PAGE,
    first_answers,
    save_answers,
    turn_answers,
)
from rotelab.ui.runs.detail import RunDetail, fill_detail, make_notebook
from rotelab.ui.runs.detail_html import RUN_HEADERS, log_tail, settings_html
from rotelab.ui.runs.scores_html import scores_html
from rotelab.ui.wording import headline


def view(lab, run_id):
    return dict(zip(RunDetail.FILLED, fill_detail(lab, run_id), strict=True))


def listed(lab, search="", status=(), archived=False, page=0, order="newest"):
    rows, words, page = table.list_runs(lab, search, status, archived, order, page)
    return [dict(zip(RUN_HEADERS, row, strict=True)) for row in rows["data"]], words, page


def damage(lab, run_id):
    with sqlite3.connect(lab.storage.database) as db:
        db.execute("UPDATE runs SET config = '{' WHERE id = ?", [run_id])


# Table -------------------------------------------------------------------------------------------


def test_the_table_lists_the_runs(lab):
    assert listed(lab)[1] == table.NO_RUNS
    done, live = finished(lab, "Morning"), running(lab)
    rows, words, _ = listed(lab)
    assert words == "2 runs"
    assert [row["Id"] for row in rows] == [live, done]
    row = rows[1]
    assert (row["Status"], row["Name"], row["k"], row["Score"]) == (
        "finished", "Morning", "10", "75 %",
    )  # fmt: skip
    assert row["Took"] == "1 min 15 s" and rows[0]["Took"] == "" and rows[0]["Name"] == "Run 2"


def test_search_and_status_filter(lab):
    done, _ = finished(lab, "Morning"), finished(lab, "broken", status="failed")
    assert [r["Id"] for r in listed(lab, search="morn")[0]] == [done]
    assert [r["Name"] for r in listed(lab, status=["failed"])[0]] == ["broken"]
    assert listed(lab, search="nothing like it")[1] == table.NO_MATCH
    lab.registry.update_run(done, archived=True)
    assert [r["Id"] for r in listed(lab, archived=True)[0]] == [done]


def test_pages_of_the_table(lab, monkeypatch):
    monkeypatch.setattr(table, "PAGE", 2)
    ids = [queued(lab) for _ in range(5)][::-1]
    assert [r["Id"] for r in listed(lab)[0]] == ids[:2]
    rows, words, page = table.turn(lab, 1, "", [], False, "newest", 1)
    assert [row[-1] for row in rows["data"]] == ids[4:] and words == "5–5 of 5 runs" and page == 2
    assert table.turn(lab, 1, "", [], False, "newest", 2)[2] == 2
    assert table.turn(lab, -1, "", [], False, "newest", 0)[2] == 0


def test_all_runs_are_sorted_not_only_the_page_on_show(lab, monkeypatch):
    monkeypatch.setattr(table, "PAGE", 2)
    ids = [finished(lab, name) for name in ("beta", "", "Alpha")]
    waits = queued(lab)
    with lab.registry.write() as db:
        for run_id, share, seconds in zip(ids, (0.5, 0.9, 0.1), (30, 10, 20), strict=True):
            db.execute(
                "UPDATE scores SET generation_accuracy = ? WHERE run_id = ? AND "
                "checkpoint = 'generalized' AND probe = 'test_prompts_heldout'", [share, run_id],
            )  # fmt: skip
            db.execute("UPDATE runs SET seconds = ? WHERE id = ?",
                       [json.dumps({"total": seconds}), run_id])  # fmt: skip
    beta, plain, alpha = ids

    def order(name):
        return [row["Id"] for page in (0, 1) for row in listed(lab, page=page, order=name)[0]]

    assert order("newest") == [waits, alpha, plain, beta]
    assert order("best") == [plain, beta, alpha, waits]
    assert order("longest") == [beta, alpha, plain, waits]
    assert order("name") == [alpha, beta, waits, plain]


def test_a_damaged_run_hides_no_other(lab):
    good, bad = finished(lab), finished(lab)
    damage(lab, bad)
    assert [r["Id"] for r in listed(lab)[0]] == [bad, good]
    shown = view(lab, bad)
    assert "damaged" in shown["head"] and "can&#x27;t be read" in shown["settings"]
    assert not shown["again"].visible and shown["delete"].visible
    assert "75 %" in shown["scores"]  # what it measured is still there


def test_the_headline_reports_leaks():
    def said(leak):
        found = {
            "test_prompts_heldout": Score(250, 0.86, 0.5), "unrelated": Score(100, leak, 0.1),
        }  # fmt: skip
        return " ".join(headline({"generalized": found}))

    assert "on 74 % of unrelated questions" in said(0.74)
    assert "unrelated" not in said(0.0)


# Detail ------------------------------------------------------------------------------------------


def test_a_lesson_that_was_asked_only_about_old_facts_has_no_empty_chart(lab):
    run_id = finished(lab)
    lesson = lesson_at_work(lab, run_id)
    found = lab.registry.scores(run_id)["generalized"]
    old = {OLD + "unrelated": next(iter(found.values()))}
    lab.registry.add_evaluation(lesson, "generalized", old, [])
    shown = view(lab, lesson)
    assert not shown["bars"].visible and "Nothing asked yet" in shown["scores"]
    assert view(lab, run_id)["bars"].visible


def test_the_detail_of_a_finished_run(lab):
    shown = view(lab, finished(lab, "Morning"))
    assert "It now answers 75 % of questions it was never trained on." in shown["head"]
    assert [shown[b].visible for b in ("stop", "resume", "again", "archive", "delete")] == [
        False, False, True, True, True,
    ]  # fmt: skip
    for _, name, hint in PROBE_NAMES.values():
        assert name in shown["scores"] and hint in shown["scores"]
    assert "share of questions whose greedy answer" in shown["scores"]
    assert "Loss" in str(shown["curves"])
    assert "adapters/memorize" in shown["places"] and shown["zip"].visible
    assert shown["log"] == "loading\nstep 3\ndone"


def test_settings_that_differ_are_marked(lab):
    html = settings_html(lab.registry.run(finished(lab, seed=3)))
    assert "changed; usually 50" in html and html.count("class=changed") == 3
    assert "1 min 15 s" in html and "sha256:" in html
    # Each as the command line takes it.
    assert "<code>--k</code>" in html and "<code>--set generalize.leak_weight=</code>" in html
    assert "<code>--seed</code>" in html and "<code>--recipe</code>" in html


def test_the_detail_without_a_run_and_without_results(lab):
    assert "Choose a run" in view(lab, None)["head"]
    assert "Choose a run" in view(lab, "20200101-000000-none-0000")["head"]
    shown = view(lab, queued(lab))
    assert "Nothing asked yet" in shown["scores"] and "No adapters yet" in shown["places"]
    assert shown["stop"].value == "Take out of the queue" and not shown["delete"].visible
    assert scores_html({}) == shown["scores"]
    assert log_tail(lab, "../../etc").startswith("No log yet.")


def test_a_reader_s_text_is_never_markup(lab):
    run_id = finished(lab, NASTY)
    lab.registry.update_run(run_id, note=NASTY, tags=[NASTY])
    lab.registry.add_warning(run_id, NASTY)
    shown = view(lab, run_id)
    for part in ("head", "settings", "scores"):
        assert "<img" not in shown[part]
    assert shown["head"].count("&lt;img") == 4


# Answers -----------------------------------------------------------------------------------------


def answers(lab, *choice):
    """The first page of answers: its rows without their headers, its words, its number."""
    rows, words, page, *_ = first_answers(lab, *choice)
    return [rows["data"], words, page]


def test_every_answer_can_be_found(lab):
    run_id = finished(lab)
    rows, words, _ = answers(lab, run_id, "generalized", "test_prompts_heldout", ALL, "", ALL)
    assert words == "1–40 of 40 answers"
    assert {row[5] for row in rows} == {"✓", "✗"} and rows[0][3] == rows[0][4]
    wrong = answers(lab, run_id, "generalized", "test_prompts_heldout", "wrong", "", ALL)[0]
    assert len(wrong) == 10 and {row[5] for row in wrong} == {"✗"}
    found = answers(lab, run_id, ALL, ALL, ALL, "whose child is mary bahri", ALL)[0]
    assert [row[0] for row in found] == ["Base model", "Memorised", "Generalised"]
    both = answers(lab, run_id, "generalized", "unrelated", ALL, "", ALL)[0]
    assert {row[5] for row in both} == {"✗ leaked", "✓ did not leak"}
    leaked = answers(lab, run_id, ALL, ALL, "leak", "", ALL)[0]
    assert leaked and {row[5] for row in leaked} == {"✗ leaked"}


def test_answers_are_grouped_the_worst_first(lab):
    run_id = finished(lab)
    about = (run_id, "generalized", "test_prompts_heldout")
    listed, words, _, outcome, _ = first_answers(lab, *about, "wrong", "", "fact")
    assert words == "1–20 of 20; answers counted: 40" and not outcome.interactive
    assert listed["headers"][2:] == ["Fact", "Good", "Interval (95 %)", "Answers", "Wordings"]
    first, last = listed["data"][0], listed["data"][-1]
    assert first[3:] == ["0 % (0/2)", "0–66 %", "2", "2"] and " → " in first[2]
    assert last[3] == "100 % (2/2)" and len(first) == len(listed["headers"])
    wordings = answers(lab, *about, ALL, "", "wording")[0]
    assert [row[2:4] for row in wordings] == [
        ["Who brought {subject} into the world?", "75 % (15/20)"],
        ["Whose child is {subject}?", "75 % (15/20)"],
    ]
    outcomes = first_answers(lab, *about, ALL, "", "outcome")[0]
    assert outcomes["headers"][3] == "Share"
    assert [row[2:4] for row in outcomes["data"]] == [
        ["Wrong", "25 % (10/40)"], ["Right", "75 % (30/40)"],
    ]  # fmt: skip


def test_what_is_shown_is_saved_all_pages_of_it(lab):
    run_id = finished(lab)
    saved = save_answers(lab, "csv", run_id, ALL, ALL, ALL, "", ALL)
    text = Path(saved.value["path"]).read_bytes()
    assert saved.label == "Download 360 rows (CSV)" and text.startswith(b"\xef\xbb\xbfcheckpoint,")
    assert text.count(b"\n") == 361
    grouped = save_answers(lab, "json", run_id, "generalized", "unrelated", ALL, "", "outcome")
    found = json.loads(Path(grouped.value["path"]).read_text(encoding="utf-8"))
    assert [one["outcome"] for one in found] == ["leak", "no-leak"] and found[0]["n"] == 20
    for nothing in ((run_id, ALL, ALL, ALL, "nobody", ALL), (None, ALL, ALL, ALL, "", ALL)):
        with pytest.raises(LabError, match="nothing to save"):
            save_answers(lab, "csv", *nothing)
    lab.delete(run_id)
    assert not lab.answers_file(run_id).exists() and not lab.answers_file(run_id, "json").exists()


def test_pages_of_answers(lab):
    choice = (finished(lab), ALL, ALL, ALL, "", ALL)
    rows, words, page = answers(lab, *choice)
    assert (len(rows), words, page) == (ANSWER_PAGE, "1–50 of 360 answers", 0)
    rows, words, page, *_ = turn_answers(lab, 1, *choice, 6)
    assert (len(rows["data"]), words, page) == (10, "351–360 of 360 answers", 7)
    assert turn_answers(lab, 1, *choice, 7)[2] == 7
    assert answers(lab, None, ALL, ALL, ALL, "", ALL) == [[], "", 0]


# Actions -----------------------------------------------------------------------------------------


def test_run_again_uses_the_same_settings_and_facts(lab, monkeypatch):
    monkeypatch.setattr(lab.jobs, "start_next", lambda: None)
    first = lab.registry.run(finished(lab, "Morning", seed=4))
    second = lab.registry.run(lab.run_again(first.id))
    assert second.config == first.config and second.content_hash == first.content_hash
    assert (second.parent_id, second.name) == (first.id, "Morning (again)")


def test_delete_asks_first_and_says_what_it_frees(lab):
    run_id, other = finished(lab), finished(lab)
    lab.zip_adapters(run_id)
    group, words = actions.ask_delete(lab, run_id)
    assert group.visible and "360 answers" in words and size_words(lab.bytes_of(run_id)) in words
    assert lab.bytes_of(run_id) > 4000 and lab.registry.run(run_id)
    actions.delete_chosen(lab, run_id)
    with pytest.raises(UnknownRun):
        lab.registry.run(run_id)
    assert not lab.storage.run_folder(run_id).exists()
    assert list(lab.storage.exports.iterdir()) == []
    assert lab.storage.run_folder(other).exists()


@pytest.mark.parametrize("make", [running, queued])
def test_a_run_at_work_is_not_deleted(lab, make):
    run_id = make(lab)
    with pytest.raises(LabError, match="Stop it first"):
        actions.ask_delete(lab, run_id)
    if make is running:
        with pytest.raises(LabError, match="Stop it first"):
            lab.delete(run_id)
    assert lab.registry.run(run_id)


def test_delete_removes_nothing_outside_the_runs_folder(lab):
    outside = lab.storage.home / "precious.txt"
    outside.write_text("x")
    for name in ("..", "../..", "/tmp", ""):
        with pytest.raises(LabError):
            lab.delete(name)
    assert outside.exists()


def test_names_and_notes(lab):
    run_id = finished(lab)
    lab.rename(run_id, "  two\nwords ", " a note ", "")
    run = lab.registry.run(run_id)
    assert (run.name, run.note) == ("two words", "a note")
    with pytest.raises(LabError, match="81 characters"):
        lab.rename(run_id, "x" * 81, "", "")


def test_tags_are_saved_shown_and_found(lab, monkeypatch):
    monkeypatch.setattr(gr, "Info", lambda words: None)
    run_id, other = finished(lab, "one"), finished(lab, "two")
    shown = actions.save_words(lab, run_id, "one", "", " Été ,talk,,  big\nday, TALK, 50%, <i> ")
    shown = dict(zip(RunDetail.FILLED, shown, strict=True))
    assert lab.registry.run(run_id).tags == ("Été", "talk", "big day", "50%", "<i>")
    assert shown["tags"] == "Été, talk, big day, 50%, <i>"
    assert "<span class='chip'>&lt;i&gt;</span>" in shown["head"] and "Tags" in shown["head"]
    for words, found in (("Été", [run_id]), ("alk", [run_id]), ("0%", [run_id]), ("[", []),
                         ('", "', []), ("o", [other, run_id])):  # fmt: skip
        assert [r["Id"] for r in listed(lab, search=words)[0]] == found, words
    lab.rename(run_id, "one", "", "")
    assert lab.registry.run(run_id).tags == () and "Tags" not in view(lab, run_id)["head"]
    assert listed(lab, search="talk")[0] == []


@pytest.mark.parametrize(
    "tags, said",
    [
        (",".join(map(str, range(11))), "11 tags; at most 10"),
        ("x" * 41, "41 characters; at most 40"),
        ("good, ba\x07d", "can't be printed"),
        ("turned \u202e round", "can't be printed"),
        ("half \ud800", "can't be printed"),
    ],
)
def test_tags_that_are_refused(lab, tags, said):
    run_id = queued(lab, "kept")
    with pytest.raises(LabError, match=said):
        lab.rename(run_id, "new", "", tags)
    run = lab.registry.run(run_id)
    assert (run.name, run.tags) == ("kept", ())  # nothing is saved of it
    lab.rename(run_id, "new", "", ",".join(["x" * 40, *map(str, range(9)), "X" * 40]))
    assert len(lab.registry.run(run_id).tags) == 10


def test_the_zip_holds_the_adapters_and_is_an_export(lab):
    run_id = finished(lab)
    path = lab.zip_adapters(run_id)
    assert path.parent == lab.storage.exports
    with zipfile.ZipFile(path) as archive:
        assert f"{run_id}/memorize/adapter_model.safetensors" in archive.namelist()
        assert len(archive.namelist()) == 4
    with pytest.raises(LabError, match="no adapters yet"):
        lab.zip_adapters(queued(lab))


def test_a_run_is_shown_as_python_and_exported_as_a_notebook(lab):
    run_id = finished(lab)
    shown = view(lab, run_id)
    assert shown["python"].value == lab.python_of(run_id)
    assert shown["python"].value.startswith("import rotelab\n") and shown["python"].visible
    assert shown["notebook"].visible and not shown["notebook_file"].visible
    lab.rename(run_id, "my *first* [run]")
    given = make_notebook(lab, run_id)
    assert given.visible and Path(given.value["path"]).name == f"{run_id}.ipynb"
    path = lab.notebook_file(run_id)
    assert path.parent == lab.storage.exports
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    sources = [cell.source for cell in notebook.cells]
    assert sources[0].startswith("# my first run\n") and f'lab.get("{run_id}")' in sources[2]
    assert any(lab.python_of(run_id) in source for source in sources)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            ast.parse(cell.source)
    lab.delete(run_id)
    assert not path.exists()
    other = finished(lab)
    damage(lab, other)
    damaged = view(lab, other)
    assert not damaged["python"].visible and not damaged["notebook"].visible


def test_actions_without_a_chosen_run_say_so(lab):
    for handler in (actions.again, actions.ask_delete, actions.stop, actions.resume):
        with pytest.raises(LabError, match="Choose a run first"):
            handler(lab, "")


# Clock and links ---------------------------------------------------------------------------------


def glance(lab, run_id, seen, **kwargs):
    shown = runs_tab.poll(lab, run_id, "", [], False, "newest", 0, seen)
    if shown == gr.skip():
        return None
    names = ("table", "count", "page", "run", "seen", *RunDetail.FILLED)
    return dict(zip(names, shown, strict=True))


def test_the_clock_sends_only_news(lab):
    run_id = running(lab)
    first = glance(lab, "", ())
    assert first["run"].value == run_id  # nothing was chosen: the newest
    again = glance(lab, "", first["seen"])
    assert again is None or again["run"] == gr.skip(), "a person may have chosen since"
    deleted = glance(lab, "", (*first["seen"][:1], (run_id, "finished"), False))
    assert deleted["run"].value == run_id, "the chosen one was deleted"
    second = glance(lab, run_id, first["seen"])
    assert second is None or second["head"] == gr.skip()
    seen = (second or first)["seen"]
    assert glance(lab, run_id, seen) is None
    lab.registry.heartbeat(run_id, epoch=13)
    third = glance(lab, run_id, seen)
    assert "round 13 of 20" in third["head"] and third["table"] == gr.skip()
    lab.registry.set_status(run_id, "failed", "It fell over.")
    fourth = glance(lab, run_id, third["seen"])
    assert "It fell over." in fourth["head"] and fourth["table"]["data"][0][0] == "failed"


def test_a_link_opens_a_run(lab):
    run_id = finished(lab)
    finished(lab)
    lab.registry.update_run(run_id, archived=True)
    asked = SimpleNamespace(query_params={"run": run_id[:-1]})
    chooser, *others = runs_tab.open_link(lab, asked)
    assert chooser.value == run_id
    assert run_id in [value for _, value in chooser.choices]
    assert others == [gr.skip(), gr.skip()]
    assert runs_tab.open_link(lab, SimpleNamespace(query_params={})) == [gr.skip()] * 3
    with pytest.warns(UserWarning, match="There is no run"):
        runs_tab.open_link(lab, SimpleNamespace(query_params={"run": "<b>"}))


def test_the_tab_is_filled_at_once_unless_a_link_opens_a_run(lab):
    plain, linked = SimpleNamespace(query_params={}), SimpleNamespace(query_params={"run": "x"})
    first, later = (runs_tab.refresh(lab, "", plain)[1] for _ in range(2))
    assert first != later, "else the page would see no change"
    assert runs_tab.refresh(lab, "", linked) == [(), gr.skip()]
    assert runs_tab.refresh(lab, "x", linked)[1] > later, "it has arrived"


def test_a_thousand_runs_are_no_more_work_than_one_page_of_them(lab):
    for _ in range(30):
        queued(lab)
    few = calls_of(lambda: listed(lab))
    with sqlite3.connect(lab.storage.database) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(runs)") if row[1] != "number"]
        taken = ", ".join("id || '-' || n" if c == "id" else c for c in columns)
        db.execute(
            f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 40) "
            f"INSERT INTO runs ({', '.join(columns)}) SELECT {taken} FROM runs, c"
        )
    with statements_of(lab.registry) as asked:
        rows, words, _ = listed(lab)
    assert len(rows) == table.PAGE and words.endswith("of 1230 runs")
    assert len(asked) <= 3 and calls_of(lambda: listed(lab)) < 1.3 * few


# Browser -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A page over a home with a few runs in it."""
    home = tmp_path_factory.mktemp("runs") / "home"
    lab = Lab.open(Storage(home))
    ids = [finished(lab, "first"), finished(lab, NASTY), finished(lab, "third", status="failed")]
    damage(lab, ids[2])
    with served(home) as server:
        yield server, ids


def height(page, selector):
    box = page.locator(f"{selector} .main-svg").first.bounding_box()
    return box["height"] if box else 0


@pytest.mark.browser
def test_a_run_is_opened_by_link_looked_at_and_deleted(filled):
    server, ids = filled
    with browser_page(f"{server.url}/?run={ids[0]}&x=") as (page, traffic):
        head = page.locator("#run-head")
        until(lambda: "It now answers 75 %" in head.inner_text(), 60, "the linked run is open")
        assert "first" in head.inner_text() and head.is_visible()
        until(lambda: height(page, "#run-bars") > 150, 60, "bars are drawn")
        chooser = page.locator("#runs-run input")  # what is typed takes the old words' place
        chooser.click()
        page.keyboard.type("first", delay=30)
        found = page.locator("ul [role=option]").first
        found.wait_for()
        assert chooser.input_value() == "first" and "first" in found.inner_text()
        page.keyboard.press("Escape")
        with page.expect_download() as fetched:
            page.locator("#run-bars-saving button[data-save=csv]").click()
        assert fetched.value.suggested_filename == f"{ids[0]}-scores.csv"
        saved = fetched.value.path().read_text(encoding="utf-8")
        assert saved.startswith("checkpoint,probe,questions,generation_accuracy\nbase,key_token,")
        # Where nothing is drawn there is nothing to save.
        page.get_by_role("tab", name="Sweep").click()
        page.get_by_text("belongs to no sweep").wait_for(timeout=30_000)
        assert not page.locator("#sweep-heatmap-saving button").first.is_visible()
        page.get_by_role("tab", name="Curves").click()
        until(lambda: height(page, "#run-curves") > 150, 60, "curves are drawn")
        page.get_by_role("tab", name="Settings and time").click()
        until(lambda: "rotelab.Lab()" in page.locator("#run-python").inner_text(), 30)
        page.locator("#run-notebook").click()
        page.locator("#run-notebook-file").wait_for()
        with page.expect_download() as fetched:
            page.locator("#run-notebook-file").click()
        assert fetched.value.suggested_filename == f"{ids[0]}.ipynb"
        page.get_by_role("tab", name="Every answer").click()
        until(lambda: "of 40 answers" in page.locator("#answers-count").inner_text(), 30)
        page.locator("#answers-outcome input").click()
        page.get_by_role("option", name="Wrong").click()
        until(lambda: "of 10 answers" in page.locator("#answers-count").inner_text(), 30)
        page.locator("#answers-by input").click()
        page.get_by_role("option", name="By wording").click()
        until(lambda: "75 % (15/20)" in page.locator("#answers-table").inner_text(), 30)
        page.locator("#answers-csv").click()
        page.locator("#answers-file").wait_for()
        with page.expect_download() as fetched:
            page.locator("#answers-file").click()
        assert fetched.value.suggested_filename == f"{ids[0]}-answers.csv"
        page.get_by_role("tab", name="Real facts").click()
        real = page.locator("#real-facts tbody tr")
        until(lambda: real.count() == 57, 30, "all real facts are listed")
        page.get_by_label("Lost only").check()
        until(lambda: real.count() == 19, 30, "the lost ones stand alone")

        rows = page.locator("#runs-table")
        rows.get_by_text("<b>bold</b>").locator("visible=true").first.click()
        until(lambda: "<b>bold</b>" in head.inner_text(), 30, "the row that was clicked is open")
        assert "${1+1} {{value}}" in head.inner_text() and page.title() == "rotelab"
        assert head.locator("img").count() == 0 and rows.locator("img").count() == 0

        page.locator("#run-delete").click()
        page.locator("#run-sure").click()
        until(lambda: "<b>bold</b>" not in rows.inner_text(), 30, "it is gone from the table")
        assert Lab.open(Storage(server.home)).registry.count_runs() == 2
        rows.get_by_text("third").locator("visible=true").first.click()
        until(lambda: "damaged" in head.inner_text(), 30, "a damaged run shows its error")
        assert traffic.foreign == [] and traffic.errors == []


@pytest.mark.browser
def test_the_adapters_are_downloaded(filled):
    server, ids = filled
    with browser_page(f"{server.url}/?run={ids[0]}&x=") as (page, _):
        until(lambda: "first" in page.locator("#run-head").inner_text(), 60)
        page.get_by_role("tab", name="Name, files and log").click()
        page.locator("#run-zip").click()
        page.locator("#run-download").wait_for(timeout=30_000)
        with page.expect_download() as download:
            page.locator("#run-download").click()
        with zipfile.ZipFile(download.value.path()) as archive:
            assert f"{ids[0]}/generalize/meta.json" in archive.namelist()
