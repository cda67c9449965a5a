"""Serves the page, without a request to any other host."""

from __future__ import annotations

import errno
import logging
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import Message

from rotelab.errors import LabError
from rotelab.experiments.planning.queue import move_on
from rotelab.runs.lab import Lab
from rotelab.ui.access import HOME, USER, Access, guard
from rotelab.ui.manual.routes import add_manual
from rotelab.ui.theme import FIRST_SCRIPTS, head, make_theme, style_sheet
from rotelab.ui.translated_page import SpeaksToReader, language_script

PORTS_TRIED = 50
QUEUE_EVERY_S = 2.0
QUEUE_RESTS_S = 0.01
"""Seconds between two looks into Gradio's queue of events while it is empty. Gradio's own value is
a millisecond, which took a twentieth of a CPU core on a server without readers."""
MAX_UPLOAD = "1gb"
"""The largest upload: a run's bundle with its adapters. A table of facts has a limit of its own,
which is much smaller (`facts.csv_text.MAX_BYTES`)."""

log = logging.getLogger("rotelab.page")


class FirstScript:
    """Inserts a script before Gradio's own; what Gradio takes as `head` runs only after them.

    Args:
        app: the ASGI app behind it.
        script: gives the JavaScript for the request that is being answered.
    """

    def __init__(self, app, script: Callable[[], str]):
        self.app = app
        self.script = script

    async def __call__(self, scope, receive, send):
        """Passes a request on; the page comes back with the script in its head."""
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        script = f"<head><script>{self.script()}</script>".encode()
        begun: list[Message] = []

        async def put(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun.append(message)  # its length is known with the body only
                return
            if begun:
                start, body = begun.pop(), message.get("body", b"")
                put_in = body.replace(b"<head>", script, 1)
                headers = MutableHeaders(raw=list(start["headers"]))
                if "content-length" in headers:
                    longer = int(headers["content-length"]) + len(put_in) - len(body)
                    headers["content-length"] = str(longer)
                headers.add_vary_header("Accept-Language, Cookie")
                await send({**start, "headers": headers.raw})
                message = {**message, "body": put_in}
            await send(message)

        await self.app({**scope, "headers": plain}, receive, put)


def make_server_app(lab: Lab, demo: gr.Blocks, port: int, allowed: Access | None = None) -> FastAPI:
    """The page as an ASGI app that only this machine can open, unless `allowed` says otherwise.

    Args:
        lab: its database and runs are never served as files.
        demo: the page.
        port: the port that it will be served on.
        allowed: who may open it; by default only this machine.
    """
    allowed = allowed or Access()
    storage = lab.storage
    storage.exports.mkdir(parents=True, exist_ok=True)
    database = str(storage.database)
    blocked = [database, f"{database}-wal", f"{database}-shm", str(storage.runs)]
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    first = "".join(path.read_text(encoding="utf-8") for path in FIRST_SCRIPTS)
    app.add_middleware(FirstScript, script=lambda: language_script() + first)
    app.add_middleware(SpeaksToReader)
    guard(app, allowed)
    add_manual(app)
    served = gr.mount_gradio_app(
        app,
        demo,
        path="/",
        root_path=allowed.root_path,
        server_name=allowed.host,
        server_port=port,
        auth=allowed.auth,
        auth_message=f"The name is {USER}; the password is the one that the lab was started with.",
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        ssr_mode=False,
        show_error=True,
        max_file_size=MAX_UPLOAD,
        allowed_paths=[str(storage.exports)],
        blocked_paths=blocked,
        theme=make_theme(),
        css=style_sheet(),
        head=head(),
        # Light or dark is chosen in the browser (`assets/themes.js`).
        app_kwargs={"openapi_url": None, "docs_url": None, "redoc_url": None},
    )
    demo._queue.sleep_when_free = QUEUE_RESTS_S
    return served


def free_socket(port: int, host: str = HOME) -> socket.socket:
    """A socket bound to the port, or to the next free one after it; 0 takes any free port.

    Raises:
        LabError: none of the next `PORTS_TRIED` ports is free.
    """
    candidates = [0] if port == 0 else range(port, min(port + PORTS_TRIED, 65536))
    for candidate in candidates:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # asyncio sets TCP_NODELAY only where the protocol is named; without it every answer would
        # wait 40 ms for an acknowledgement.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if sys.platform != "win32":  # on Windows this would allow two servers on one port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, candidate))
            # It listens at once, so that two starts at the same moment can't share a port.
            bound.listen(128)
            return bound
        except OSError as error:
            bound.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise LabError(f"Port {candidate} can't be used: {error.strerror}.") from error
    raise LabError(f"No port from {port} to {port + PORTS_TRIED - 1} is free. Name another one.")


def keep_queue_moving(lab: Lab, stop: threading.Event) -> None:
    """Until `stop` is set, notices runs whose process died and starts the next one in the queue; of
    the experiments that wait too."""
    last = ""
    while not stop.is_set():
        try:
            lab.jobs.poll()
            move_on(lab)
            last = ""
        except Exception as error:
            # A full disk would log the same line every two seconds: once is enough.
            if str(error) != last:
                log.warning("the queue: %s", error, exc_info=not isinstance(error, LabError))
            last = str(error)
        stop.wait(QUEUE_EVERY_S)


def log_to_file(lab: Lab) -> Path:
    """Logs the page's faults to `page.log` in the folder of runs; returns that file."""
    lab.storage.runs.mkdir(parents=True, exist_ok=True)
    path = lab.storage.runs / "page.log"
    if not any(isinstance(handler, logging.FileHandler) for handler in log.handlers):
        to_file = logging.FileHandler(path, encoding="utf-8", delay=True)
        to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(to_file)
    return path


def run_server(
    app: FastAPI,
    bound: socket.socket,
    open_browser: bool = False,
    when_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serves until Ctrl-C.

    Args:
        app: the page.
        bound: the socket that `free_socket` gave.
        open_browser: whether to open the user's browser on it, once it answers.
        when_ready: called once it answers and the terminal has its address.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
        lifespan="on",
        proxy_headers=False,  # `ui.proxy` reads them; uvicorn would believe every local program
    )
    server = uvicorn.Server(config)
    told = (server, bound, open_browser, when_ready)
    threading.Thread(target=_announce, args=told, daemon=True).start()
    server.run(sockets=[bound])


def _announce(
    server: uvicorn.Server,
    bound: socket.socket,
    open_browser: bool,
    when_ready: Callable[[], None],
) -> None:
    while not server.started:
        if server.should_exit:
            return
        time.sleep(0.02)
    host, taken = bound.getsockname()[:2]
    host = {"0.0.0.0": HOME, "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    url = f"http://{host}:{taken}"
    print(f"rotelab is ready: {url} (Ctrl-C ends it; runs go on)", flush=True)
    when_ready()
    if open_browser:
        webbrowser.open(url)
