"""A relation of one's own: where its wordings are missing, and the starter set that fills them."""

import re
from dataclasses import replace

import pytest
from support.page import browser_page, server, until  # noqa: F401

from rotelab.ui.facts import facts_tab
from rotelab.ui.facts.draft import checked_pack, open_draft
from rotelab.ui.facts.html import count_chips, example_lines
from rotelab.ui.facts.layout import PROMPTS_ROWS, offer_of
from rotelab.ui.facts.starter import missing_wordings, role_counts, with_starter_wordings
from rotelab.ui.facts.starter_panel import look_over, make_starter

CODES = tuple(("code", f"Person {i}", f"K{i}", "") for i in range(12))


@pytest.fixture
def codes(lab):
    """The shipped wordings of `mother`, and facts of another relation."""
    return replace(open_draft(lab, "mother"), facts=CODES)


def test_wordings_of_relations_without_facts_do_not_count(lab, codes):
    mother = open_draft(lab, "mother")
    there = len(mother.prompts)
    assert sum(role_counts(mother).values()) == there
    assert not any(role_counts(codes).values())
    html = count_chips(codes)
    assert "to teach" not in html and f"{there} wordings of relations without facts" in html
    both = replace(mother, facts=(*mother.facts, *CODES))
    assert sum(role_counts(both).values()) == there
    words_alone = replace(mother, facts=())
    assert sum(role_counts(words_alone).values()) == there, "wordings can be written first"
    assert "without facts" not in count_chips(words_alone)


def test_save_names_what_is_missing_and_opens_its_place(lab, codes):
    updates = facts_tab.save(lab, codes, "", codes.facts, codes.prompts, None, "codes", "")
    draft, tabs, message = updates[0], updates[6], updates[13]
    assert draft.relation == "code" and tabs["selected"] == PROMPTS_ROWS
    assert "“code” has no wording to teach (role train, language en)" in message
    box, said = updates[-3:-1]
    assert box["visible"] and "<b>code</b>: wordings are missing" in said
    assert not lab.registry.fact_sets()
    # A fault in a row comes first.
    rows = [("code", "", "x", ""), *CODES]
    updates = facts_tab.save(lab, codes, "", rows, codes.prompts, None, "codes", "")
    assert "row 1" in updates[13]


def test_the_starter_set_makes_it_complete(lab, codes):
    updates = make_starter(lab, codes, "", codes.facts, codes.prompts, None)
    draft, message = updates[0], updates[13]
    assert "Wordings for code were made from the words alone" in message
    assert draft.relation == "code" and updates[6]["selected"] == PROMPTS_ROWS
    assert not updates[-2]["visible"] and missing_wordings(draft) == {}
    assert draft.shown_prompts()[0] == ("code", "train", "en", "The code of {subject} is")
    assert "“The code of Person 0 is <u>K0</u>”" in example_lines(draft)
    assert role_counts(draft)["train"] == 12 and "12 to teach" in count_chips(draft)
    again = make_starter(lab, draft, draft.edition, draft.facts, draft.shown_prompts(), None)
    assert again[0].prompts == draft.prompts and "Every relation has wordings" in again[13]
    checked_pack(draft, "codes")


def test_only_the_role_that_is_missing_is_filled(codes):
    mine = ("code", "train", "en", "Whoever calls {subject} dials")
    draft, made = with_starter_wordings(replace(codes, prompts=(mine,)))
    assert made == ["code"] and missing_wordings(replace(codes, prompts=(mine,))) == {
        "code": ("test",)
    }
    assert [row for row in draft.prompts if row[1] == "train"] == [mine]
    assert {row[1] for row in draft.prompts} == {"train", "test", "unrelated", "locality"}


def test_a_relation_that_is_typed_in_words_keeps_them(lab, codes):
    rows = tuple(("Lives in", *row[1:]) for row in CODES)
    draft = replace(codes, facts=rows, prompts=())
    assert list(missing_wordings(draft)) == ["Lives in"]
    full, _made = with_starter_wordings(draft)
    assert ("Lives in", "train", "en", "{subject} lives in") in full.prompts
    pack = checked_pack(full, "x")
    assert pack.facts.labels == {"lives_in": "Lives in"}
    assert {p.relation for p in pack.prompts} == {"lives_in"}
    # However they are written, facts and wordings of one relation belong together.
    assert missing_wordings(replace(full, facts=(("lives in", "Ann", "Rome", ""),))) == {}


def test_what_was_typed_is_seen_when_the_wordings_come_to_the_front(lab):
    mother = open_draft(lab, "mother")
    assert offer_of(mother)[0]["visible"] is False
    chips, box, said = look_over(mother, "", [*mother.facts, *CODES], mother.prompts)
    assert box["visible"] and "<b>code</b>" in said and "<b>112</b> facts" in chips
    nasty = look_over(mother, "", [("<img src=x>", "a", "b", "")], [])[2]
    assert "<img" not in nasty


@pytest.mark.browser
def test_save_leads_to_the_starter_set_and_then_saves(server):  # noqa: F811
    """Wordings are missing: Save shows where; the button fills them; then Save saves."""
    with browser_page(server.url) as (page, traffic):
        cell = page.locator("#facts-table [data-testid='cell-0-0']")
        cell.click()
        page.keyboard.type("code", delay=30)
        page.keyboard.press("Tab")
        until(lambda: cell.inner_text().strip() == "code", what="the relation is typed")
        page.locator("#facts-name input, #facts-name textarea").fill("codes")
        page.locator("#facts-save").click()
        page.get_by_text("“code” has no wording to teach").wait_for()
        offer = page.locator("#facts-starter")
        offer.wait_for()
        until(lambda: 0 <= offer.bounding_box()["y"] < 720, 10, "the offer is on show")
        page.locator("#facts-starter-make").click()
        page.get_by_text("were made from the words alone").wait_for()
        page.locator("#prompts-table").get_by_text("The code of {subject} is").first.wait_for()
        offer.wait_for(state="hidden")
        page.locator("#facts-save").click()
        page.get_by_text(re.compile("Saved as “codes”, version 1")).wait_for()
        # The link is that of the tab on show, and opens beside the lab.
        with page.expect_popup() as opened:
            page.locator(".lab-header .read-more:visible").click()
        opened.value.get_by_role("heading", name="Facts and packs").wait_for()
    assert not traffic.foreign and not traffic.errors
