"""The tour leads on by buttons, and is where one left it."""

import pytest
from support.page import browser_page, served, until


@pytest.mark.browser
def test_the_tour_remembers_the_step_and_leads_to_chat_and_train(tmp_path):
    with (
        served(tmp_path / "home") as server,
        browser_page(server.url, tab="Start here") as (page, traffic),
    ):
        page.locator("#tour-meet").click()
        page.locator("#tour-ask-base").wait_for()
        page.locator("#tour-on-rote").click()
        page.locator("#tour-ask-key").wait_for()
        until(lambda: page.evaluate("localStorage.getItem('rotelab-tour-step')") == "2", 20, "kept")
        page.reload()
        page.locator("#tour-ask-key").wait_for(timeout=60_000)
        until(lambda: page.locator("#tour-curve .js-plotly-plot").count(), 60, "it is filled")
        page.locator("#tour-on-words").click()
        page.locator("#tour-on-own").click()

        page.locator("#tour-to-train").click()
        page.get_by_role("tab", name="Train", selected=True).wait_for(timeout=30_000)
        page.locator("#train-own-table").wait_for(timeout=30_000)
        page.get_by_role("tab", name="Start here").click()
        page.locator("#tour-to-chat").click()
        page.get_by_role("tab", name="Chat", selected=True).wait_for(timeout=30_000)
        chosen = page.locator("#chat-run input")
        until(lambda: "mother" in chosen.input_value(), 30, "the recorded run is chosen")
        assert traffic.errors == []
