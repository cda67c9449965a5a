"""Many people at once: clients watch, ask and save while a run trains.

    python benchmarks/load.py [--clients 50] [--minutes 10] [--json]

A real page (`python -m rotelab serve`), a real worker that trains a tiny random Llama all the time,
and clients that speak HTTP as browsers do, one request after the other with a pause between:

| request | needs the model |
| --- | --- |
| `page`: the page itself, its layout in it | no |
| `open chat`, `open run`: the lists of runs, and one run's detail | no |
| `poll train`: what the live panel's script asks for every 2 seconds | no |
| `poll runs`: what Runs asks for every 2 seconds, and whatever it asks for if there is news | no |
| `ask`: a question to a finished run, all three answers, by one client in ten | yes |
| `save`: a new version of a fact set, by one client in ten, through the registry | no |

Afterwards every saved version and every training step must be there, and neither an answer nor a
log may say “database is locked”. `--json` ends with one object, with `clients`, `requests`,
`errors`, `locked`, `lost_writes` and `p95_ms` (of requests that need no model) among its keys; the
exit status is 1 if something was lost, refused or locked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests"))

import httpx

from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig, ModelSpec, RunConfig
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.packs import Pack, load_pack
from rotelab.runs.lab import Lab
from rotelab.storage import Storage

ROOT = Path(__file__).resolve().parent.parent
POLL_EVERY_S = {"poll train": 2.0, "poll runs": 2.0}
"""As the two tabs do, until they are told to go slower."""
ASK_EVERY_S = 8.0
SAVE_EVERY_S = 2.0
ARRIVE_S = 60.0
"""The clients come one after the other, within so many seconds."""
LOCKED = "database is locked"
WITHOUT_MODEL = ("page", "open chat", "open run", "poll train", "poll runs")


class Crowd:
    """The clients, and the answers that they got.

    Args:
        url: where the page is.
        asked_run: a finished run.
        lab: the same home, for those who save.
        seconds: how long they stay.
    """

    def __init__(self, url: str, asked_run: str, lab: Lab, seconds: float):
        self.url, self.asked_run, self.lab, self.seconds = url, asked_run, lab, seconds
        self.until = 0.0  # monotonic
        self.took: dict[str, list[tuple[float, float]]] = {}  # when (s since the start), ms
        self.errors: list[str] = []
        self.saved: dict[int, int] = {}
        self.handlers: dict[str, int] = {}
        self.inputs: dict[str, int] = {}
        self.filled = 0
        self.every_s: dict[str, float] = {}
        self.fills: dict[str, dict[str, Any]] = {}
        self.panel = 0  # id of the live panel's head, whose script asks

    async def run(self, clients: int) -> None:
        """All clients at once, until the time is up."""
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as first:
            self._find_handlers((await first.get("/config")).json())
            await self._call(first, "load-first", "open chat", [None, None])
            await self._ask(first, "load-first")  # loads the libraries and the model
        self.until = time.monotonic() + self.seconds
        savers = [threading.Thread(target=self._save, args=(i,)) for i in range(clients // 10)]
        for saver in savers:
            saver.start()
        await asyncio.gather(*(self._client(i) for i in range(clients)))
        for saver in savers:
            await asyncio.to_thread(saver.join)

    def _find_handlers(self, config: dict[str, Any]) -> None:
        """By what they fill and what sets them off; their names are not all different."""
        names = {c["id"]: c["props"].get("elem_id") for c in config["components"]}
        self.panel = next(i for i, name in names.items() if name == "live-head")
        by_event = {tuple(t): d for d in config["dependencies"] for t in d["targets"]}
        for dependency in config["dependencies"]:
            filled = [names[i] for i in dependency["outputs"]]
            asked = [names[i] for i in dependency["inputs"]]
            ticks = any(event == "tick" for _, event in dependency["targets"])
            name = {
                # What fills the chooser of runs when a browser opens the page.
                (False, "chat-run" in filled[:1] and "chat-run" in asked[:1]): "open chat",
                (False, "chat-question" in asked and "chat-base" in filled[:1]): "ask",
                (False, "chat-note" in filled[:1] and "chat-history" in filled[1:2]): "settle",
                (False, asked == ["runs-run"] and "run-head" in filled): "open run",
                (True, "live-head" in filled): "update_panel",
                (True, "runs-search" in asked): "poll runs",
            }.get((ticks, True))
            if name is None:
                continue
            self.handlers[name] = dependency["id"]
            self.inputs[name] = len(dependency["inputs"])
            if name == "poll runs":  # what the change of its number sets off
                pulse = dependency["outputs"][-1]
                self.fills[name] = by_event[pulse, "change"]

    async def _client(self, number: int) -> None:
        rng = random.Random(number)
        await asyncio.sleep(rng.uniform(0, min(ARRIVE_S, self.seconds / 4)))
        session = f"load{number:06}"
        asked = time.monotonic() - rng.uniform(0, ASK_EVERY_S)
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as http:
            await self._timed("page", self._open(http))
            await self._timed("open chat", self._call(http, session, "open chat", [None, None]))
            clock = "poll train" if number % 2 else "poll runs"
            shown: Any = {
                "run": "",
                "frame": "",
                "versions": {},
                "every": POLL_EVERY_S["poll train"],
            }
            if clock == "poll runs":
                shown = [None] * self.inputs[clock]
                # The first tick fills the chooser; only what it offers can be chosen.
                await self._timed(clock, self._poll(http, session, clock, shown))
                await self._timed(
                    "open run", self._call(http, session, "open run", [self.asked_run])
                )
            while time.monotonic() < self.until:
                if number % 10 == 0 and time.monotonic() - asked > ASK_EVERY_S:
                    asked = time.monotonic()
                    await self._timed("ask", self._ask(http, session))
                elif rng.random() < 0.02:
                    await self._timed("page", self._open(http))
                elif clock == "poll train":
                    await self._timed(clock, self._look_on(http, session, shown))
                else:
                    await self._timed(clock, self._poll(http, session, clock, shown))
                every_s = self.every_s.get(session, POLL_EVERY_S[clock])
                await asyncio.sleep(rng.uniform(0.5, 1.5) * every_s)

    async def _ask(self, http: httpx.AsyncClient, session: str) -> None:
        text = "Who is the mother of Mary Bahri?"
        question = [self.asked_run, text, 8, 0, "Completion", None, 0, 0.0]
        await self._call(http, session, "ask", question)
        await self._call(http, session, "settle", [self.asked_run, None])

    async def _poll(
        self, http: httpx.AsyncClient, session: str, clock: str, shown: list[Any]
    ) -> None:
        """A tick; where it has news, also what a browser asks for then. The server says there how
        often it wants to be asked."""
        told = await self._call(http, session, clock, shown)
        fill = self.fills[clock]
        if isinstance(told["data"][-1], int | float):  # the number that is never seen
            self.filled += 1
            filled = await self._call(http, session, fill["id"], shown)
            wanted = filled["data"][-2]  # the clock itself
            if isinstance(wanted, dict) and "value" in wanted:
                self.every_s[session] = wanted["value"]

    async def _look_on(self, http: httpx.AsyncClient, session: str, shown: dict[str, Any]) -> None:
        """What is new of the run that learns, put in place as `assets/live.js` does it."""
        answer = await http.post(
            "/gradio_api/component_server/",
            json={
                "data": shown, "component_id": self.panel, "fn_name": "news",
                "session_hash": session,
            },
        )  # fmt: skip
        answer.raise_for_status()
        told = answer.json()
        self.every_s[session] = shown["every"] = told["every"]
        shown["versions"] |= {name: version for name, (version, _) in told["parts"].items()}
        if told["update"] and not shown["frame"]:
            filled = await self._call(http, session, "update_panel", [None, None])
            self.filled += 1
            head = str(filled["data"][3])
            for key in ("run", "frame"):
                shown[key] = head.partition(f"data-{key}='")[2].partition("'")[0]

    async def _open(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/")
        answer.raise_for_status()

    async def _call(
        self, http: httpx.AsyncClient, session: str, handler: str | int, data: list[Any]
    ) -> dict[str, Any]:
        """One event as the page's own JavaScript sends it, joined and read to its end; and what it
        was answered."""
        joined = await http.post(
            "/gradio_api/queue/join",
            json={
                "data": data,
                "fn_index": self.handlers.get(handler, handler),
                "session_hash": session,
                "event_data": None,
                "trigger_id": None,
            },
        )
        joined.raise_for_status()
        event = joined.json()["event_id"]
        stream = http.stream("GET", "/gradio_api/queue/data", params={"session_hash": session})
        async with stream as lines:
            async for line in lines.aiter_lines():
                said = json.loads(line[5:]) if line.startswith("data:") else {}
                if said.get("event_id") == event and said.get("msg") == "process_completed":
                    if not said.get("success"):
                        raise RuntimeError(f"{handler}: {said.get('output')}")
                    return said["output"]
        raise RuntimeError(f"{handler}: the stream ended before the answer")

    async def _timed(self, name: str, work: Any) -> None:
        started = time.perf_counter()
        try:
            await work
        except (httpx.HTTPError, RuntimeError) as error:
            self.errors.append(f"{name}: {type(error).__name__} {error}"[:300])
        else:
            at = time.monotonic() - (self.until - self.seconds)
            took_ms = 1e3 * (time.perf_counter() - started)
            self.took.setdefault(name, []).append((at, took_ms))

    def milliseconds(self, *names: str, since_s: float = 0, before_s: float = 1e9) -> list[float]:
        """Milliseconds of the requests with these names that ended within this part of the time."""
        took = [t for name in names for t in self.took.get(name, ())]
        return [ms for at, ms in took if since_s <= at < before_s]

    def _save(self, number: int) -> None:
        """Somebody who edits their own fact set, and one that everybody edits."""
        version = 0
        while time.monotonic() < self.until:
            version += 1
            facts = [Fact("mother", f"S {number} {version} {i}", f"O {i}") for i in range(20)]
            pack = Pack(f"load {number}", FactSet(facts), load_pack("mother").prompts)
            try:
                self.lab.registry.save_fact_set(f"load {number}", pack, base_version=version - 1)
            except Exception as error:  # whatever it was, it is counted and shown
                self.errors.append(f"save: {type(error).__name__} {error}"[:300])
                return
            time.sleep(SAVE_EVERY_S)
        self.saved[number] = version


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs the load, prints, and returns what `--json` prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args(words)
    from support.page import until
    from support.taught import taught_run
    from support.tiny import make_tiny_llama

    with tempfile.TemporaryDirectory() as folder:
        model = make_tiny_llama(Path(folder) / "model")
        storage = Storage(Path(folder) / "home")
        lab = Lab.open(storage)
        asked_run = taught_run(lab, model)
        page, url, said = _start_page(storage)
        try:
            config = RunConfig(
                facts=100,
                model=ModelSpec(name=str(model), device="cpu"),
                memorize=MemorizeConfig(spare=0, epochs=500, rank=8, batch_size=1),
                generalize=GeneralizeConfig(spare=0, least_steps=0, k=10),
            )
            training = lab.registry.create_run(config, lab.facts_for(config))
            until(lambda: lab.registry.metrics(training, ["loss"]), 300, "a step is trained")
            crowd = Crowd(url, asked_run, lab, 60 * options.minutes)
            asyncio.run(crowd.run(options.clients))
            report = _report(crowd, lab, training, said, options)
        finally:
            for run in lab.registry.live_runs():
                lab.jobs.escalate(run.id)
            page.send_signal(signal.SIGINT)
            try:
                page.wait(20)
            except subprocess.TimeoutExpired:
                page.kill()
    _print(crowd, report)
    if options.json:
        print(json.dumps(report))
    return report


def _start_page(storage: Storage) -> tuple[subprocess.Popen, str, list[str]]:
    env = {
        **os.environ,
        "ROTELAB_HOME": str(storage.home),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    page = subprocess.Popen(
        # Without the example: what is found ahead for it would take a core for a minute.
        [sys.executable, "-m", "rotelab", "serve", "--port", "0", "--no-example"],
        env=env, cwd=storage.home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert page.stdout is not None
    said: list[str] = []
    out = page.stdout
    for line in out:
        said.append(line)
        if "ready" in line:
            threading.Thread(target=said.extend, args=(out,), daemon=True).start()
            return page, next(w for w in line.split() if w.startswith("http")), said
    raise SystemExit("load: the page does not start")


def _report(
    crowd: Crowd, lab: Lab, training: str, said: list[str], options: argparse.Namespace
) -> dict[str, Any]:
    run = lab.registry.run(training)
    steps = sorted(
        m.step for m in lab.registry.metrics(training, ["loss"]) if m.phase == "memorize"
    )
    # The newest steps are written with the next heartbeat; up to there none may lack.
    lost = len(set(range(1, max(steps, default=0) + 1)) - set(steps))
    for number, version in crowd.saved.items():
        name = f"load {number}"
        there = [row.version for row in lab.registry.fact_sets() if row.name == name]
        lost += there != [version]  # the newest is listed; each was saved upon the one before
        lost += sum(len(lab.registry.fact_set(name, v).facts) != 20 for v in range(1, version + 1))
    logs = [*said, *crowd.errors, lab.storage.log_file(training).read_text()]
    page_log = lab.storage.runs / "page.log"
    logs += [page_log.read_text()] if page_log.exists() else []
    quick = crowd.milliseconds(*WITHOUT_MODEL)
    minutes = range(math.ceil(options.minutes))
    by_minute = [
        round(_p95(crowd.milliseconds(*WITHOUT_MODEL, since_s=60 * m, before_s=60 * m + 60)), 1)
        for m in minutes
    ]
    return {
        "clients": options.clients,
        "minutes": options.minutes,
        "requests": sum(map(len, crowd.took.values())),
        "fills": crowd.filled,
        "saves": sum(crowd.saved.values()),
        "errors": len(crowd.errors),
        "locked": sum(LOCKED in text for text in logs),
        "lost_writes": lost,
        "training": run.status,
        "training_steps": len(steps),
        "p95_ms": round(_p95(quick), 1),
        "p95_ms_by_minute": by_minute,
        "ask_p95_ms": round(_p95(crowd.milliseconds("ask")), 1),
        "first_errors": crowd.errors[:5],
    }


def _print(crowd: Crowd, report: dict[str, Any]) -> None:
    print(f"{'request':12} {'n':>7} {'median ms':>10} {'p95 ms':>9} {'most ms':>9}")
    for name in sorted(crowd.took):
        values = crowd.milliseconds(name)
        middle, most = sorted(values)[len(values) // 2], max(values)
        print(f"{name:12} {len(values):7} {middle:10.1f} {_p95(values):9.1f} {most:9.1f}")
    print(
        f"\n{report['clients']} clients, {report['minutes']:g} minutes; {report['saves']} versions "
        f"saved, {report['training_steps']} steps trained, run {report['training']}; "
        f"{report['errors']} errors, {report['locked']} locked, {report['lost_writes']} lost; "
        f"p95 without model {report['p95_ms']:.0f} ms."
    )


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))] if values else 0.0


if __name__ == "__main__":
    found = main()
    raise SystemExit(1 if found["errors"] or found["locked"] or found["lost_writes"] else 0)
