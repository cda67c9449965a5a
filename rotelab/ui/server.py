"""Serving the page: on this machine only, with nothing asked of any other host."""

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
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import Message

from rotelab.errors import LabError
from rotelab.runs.lab import Lab
from rotelab.ui.access import HOME, USER, Access, FewAttempts
from rotelab.ui.theme import CALM, head, make_theme, style_sheet
from rotelab.ui.translated_page import SpeaksToReader, language_script

PORTS_TRIED = 50
QUEUE_EVERY_S = 2.0
QUEUE_RESTS_S = 0.01
"""How often Gradio's queue of events is looked through while nothing waits in it. Gradio does it a
thousand times a second, which took a twentieth of a CPU core of the server that nobody looked at.
"""
MAX_UPLOAD = "1gb"
"""Largest file that the page takes: a run's bundle with its adapters. A table of facts has its own,
much smaller limit (`tables.MAX_BYTES`)."""

log = logging.getLogger("rotelab.page")


class SameOrigin:
    """Refuses what another site's page sends here: a browser says in `Origin` where it is from.

    Gradio lets any page of localhost call any other; a lab that can start processes must not.

    Args:
        app: the ASGI app behind it.
    """

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        """Passes a request on, or answers it with 403."""
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            origin, host = headers.get("origin"), headers.get("host", "")
            if origin is not None and origin.rsplit("//", 1)[-1] != host:
                await PlainTextResponse("Not from here", status_code=403)(scope, receive, send)
                return
        await self.app(scope, receive, send)


class FirstScript:
    """Puts a script before Gradio's own ones: what its page takes as `head` comes after them.

    Args:
        app: the ASGI app behind it.
        script: gives the JavaScript for the request that is being answered.
    """

    def __init__(self, app, script: Callable[[], str]):
        self.app = app
        self.script = script

    async def __call__(self, scope, receive, send):
        """Passes a request on, and the page back with the script in its head."""
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
    """The page as an ASGI app, locked to this machine unless a password opens it.

    Args:
        lab: says which folders must never be served.
        demo: the page.
        port: where it will be served.
        allowed: who may open it; by default this machine alone.
    """
    allowed = allowed or Access()
    settings = lab.storage
    settings.exports.mkdir(parents=True, exist_ok=True)
    database = str(settings.database)
    blocked = [database, f"{database}-wal", f"{database}-shm", str(settings.runs)]
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    calm = CALM.read_text(encoding="utf-8")
    app.add_middleware(FirstScript, script=lambda: language_script() + calm)
    app.add_middleware(SpeaksToReader)
    app.add_middleware(SameOrigin)
    app.add_middleware(FewAttempts)
    # Added last, so it is asked first.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(allowed.names))
    served = gr.mount_gradio_app(
        app,
        demo,
        path="/",
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
        allowed_paths=[str(settings.exports)],
        blocked_paths=blocked,
        theme=make_theme(),
        css=style_sheet(),
        head=head(),
        # The theme is the system's own unless the address says otherwise (?__theme=dark).
        app_kwargs={"openapi_url": None, "docs_url": None, "redoc_url": None},
    )
    demo._queue.sleep_when_free = QUEUE_RESTS_S
    return served


def free_socket(port: int, host: str = HOME) -> socket.socket:
    """A socket bound to the port, or to the next free one after it; 0 takes any.

    Raises:
        LabError: none of the next `PORTS_TRIED` ports is free.
    """
    candidates = [0] if port == 0 else range(port, min(port + PORTS_TRIED, 65536))
    for candidate in candidates:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # With the protocol named, asyncio sends what it has at once (TCP_NODELAY); otherwise every
        # answer would wait 40 ms for an acknowledgement.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if sys.platform != "win32":  # there it would allow two servers on one port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, candidate))
            # Listening at once: two starts in the same moment must not take one port.
            bound.listen(128)
            return bound
        except OSError as error:
            bound.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise LabError(f"Port {candidate} can't be used: {error.strerror}.") from error
    raise LabError(f"No port from {port} to {port + PORTS_TRIED - 1} is free. Name another one.")


def keep_queue_moving(lab: Lab, stop: threading.Event) -> None:
    """Until `stop`: notices runs whose process died, and starts the next that waits."""
    last = ""
    while not stop.is_set():
        try:
            lab.jobs.poll()
            last = ""
        except Exception as error:
            # A full disk would say the same every two seconds: once is enough.
            if str(error) != last:
                log.warning("the queue: %s", error, exc_info=not isinstance(error, LabError))
            last = str(error)
        stop.wait(QUEUE_EVERY_S)


def log_to_file(lab: Lab) -> Path:
    """Sends the page's faults to `page.log` among the runs, and warnings to the terminal too."""
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
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=2, lifespan="on"
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
