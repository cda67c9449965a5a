"""The page's clocks: what a tick costs, who is slowed down, which of them go."""

import socket

import gradio as gr
import pytest

from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui import polling
from rotelab.ui.app import build_app
from rotelab.ui.polling import STEPS, Pace, fill_on_news
from rotelab.ui.server import free_socket


@pytest.fixture
def time(monkeypatch):
    """The time, which goes as the test says."""
    now = [100.0]
    monkeypatch.setattr(polling.time, "monotonic", lambda: now[0])
    return now


def look_on(pace: Pace, time: list[float], pages: int, seconds: float, every=None) -> list[float]:
    """The pages' paces, after all of them have looked on for so long."""
    every = list(every or [pace.own_s] * pages)
    due = [time[0] + every[i] * i / pages for i in range(pages)]
    end = time[0] + seconds
    while min(due) < end:
        page = due.index(min(due))
        time[0] = due[page]
        every[page] = pace.ticked(every[page])
        due[page] += every[page]
    return every


def test_one_page_goes_at_its_own_pace(time):
    assert set(look_on(Pace(1.0, 6), time, 5, 60)) == {1.0}


def test_many_pages_together_do_not_ask_for_too_much(time):
    pace = Pace(1.0, 6)
    every = look_on(pace, time, 25, 60)
    assert sum(1 / s for s in every) <= 1.6 * 6 and min(every) >= 3
    assert pace.slower == 6
    # Slowest of all is the last step: nobody is told to go to sleep.
    assert set(look_on(Pace(1.0, 6), time, 400, 60)) == {STEPS[-1]}


def test_when_they_have_gone_it_is_fast_again(time):
    pace = Pace(2.0, 5)
    assert max(look_on(pace, time, 60, 60)) > 2
    assert look_on(pace, time, 1, 60) == [2.0] and pace.slower == 1


def test_a_pace_does_not_go_to_and_fro(time):
    pace = Pace(1.0, 10)
    every = look_on(pace, time, 15, 60)  # right at the edge of a step
    seen = [every]
    for _ in range(10):
        seen.append(look_on(pace, time, 15, 10, seen[-1]))
    assert sum(before != after for before, after in zip(seen, seen[1:], strict=False)) <= 2


def test_outputs_are_filled_only_on_news():
    news, asked = [], []

    def look(word):
        asked.append(word)
        return [word.upper(), "there"] if news else gr.skip()

    with gr.Blocks() as demo:
        word, one, two = gr.Textbox("a"), gr.Textbox(), gr.Textbox()
        timer = gr.Timer(2.0)
        fill_on_news(timer, Pace(2.0, 5), look, [word], [one, two])
    tick, fill = demo.fns.values()
    (pulse,) = tick.outputs
    assert isinstance(pulse, gr.Number) and not pulse.visible, "a tick fills nothing that is seen"
    assert not tick.queue, "a queued event has the page go through all its components more often"
    assert tick.fn(2.0, "a") == gr.skip()
    news.append(1)
    first = tick.fn(2.0, "a")
    assert first != gr.skip() and tick.fn(2.0, "a") != first, "else no change would be seen"
    assert fill.fn(2.0, "a") == ["A", "there", gr.skip(), 2.0]
    news.clear()
    assert fill.fn(2.0, "a") == [gr.skip()] * 3 + [2.0], "somebody else has shown it meanwhile"
    slower = fill.fn(6.0, "a")
    assert slower[2].value == 2.0 == slower[3], "and the clock is set"
    assert asked


def test_every_tick_of_the_page_is_cheap(tmp_path):
    app = build_app(Lab.open(Storage(tmp_path / "home")))
    clocks_of_page = {i for i, block in app.blocks.items() if isinstance(block, gr.Timer)}
    ticks = [
        fn for fn in app.fns.values() if any(block in clocks_of_page for block, _ in fn.targets)
    ]
    costly = {
        fn.name: sum(not isinstance(out, gr.State) and out.visible for out in fn.outputs)
        for fn in ticks
    }
    costly.pop("_look")  # the set-up's, which goes on only until the model is there
    assert len(ticks) >= 2 and max(costly.values()) <= 1, costly


def test_answers_are_sent_at_once():
    """asyncio sets TCP_NODELAY on sockets that name their protocol, and on no others."""
    with free_socket(0) as bound:
        assert bound.proto == socket.IPPROTO_TCP
