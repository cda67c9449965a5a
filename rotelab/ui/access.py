"""Who may open the page: this machine alone, or others with a password.

`guard` puts three checks before every request: the name by which the page is asked for, the site
that sends the request, and how many wrong passwords an address has sent. Before them it puts right
what a trusted proxy has changed (`ui.proxy`).
"""

from __future__ import annotations

import hmac
import ipaddress
import math
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse

from rotelab.errors import LabError
from rotelab.ui.proxy import BehindProxy, read_proxies, read_root_path

HOME = "127.0.0.1"
OWN_NAMES = ("localhost", "127.0.0.1", "[::1]")
USER = "rotelab"
PASSWORD_VARIABLE = "ROTELAB_PASSWORD"
"""An environment variable, because every user of this machine can read its command lines."""
SHORTEST = 12
ATTEMPTS, WINDOW_S = 5, 60.0
"""How many wrong passwords one address may send in so many seconds."""


@dataclass(frozen=True)
class Access:
    """Where the page is served, and who may open it.

    Args:
        host: the address that the server binds.
        password: what people must type; empty where only this machine can connect.
        names: the host names that a browser may use for the page (against DNS rebinding).
        root_path: the path under which a proxy shows the page, such as `/lab`.
        proxies: addresses of proxies that may say who asks, and by which name (`ui.proxy`).
    """

    host: str = HOME
    password: str = ""
    names: tuple[str, ...] = OWN_NAMES
    root_path: str = ""
    proxies: tuple[str, ...] = ()

    @property
    def auth(self) -> Callable[[str, str], bool] | None:
        """The check of name and password, for Gradio; None where no password is needed."""
        return self._right if self.password else None

    def _right(self, user: str, password: str) -> bool:
        same = hmac.compare_digest(password.encode(), self.password.encode())
        return user == USER and same


def access(
    host: str = HOME,
    names: tuple[str, ...] = (),
    root_path: str = "",
    proxies: tuple[str, ...] = (),
) -> Access:
    """The access rules for an address; the password comes from the environment.

    Args:
        host: an IP address of this machine; `0.0.0.0` is all of them.
        names: further host names of the page, such as `lab.example.org`.
        root_path: the path under which a proxy shows the page.
        proxies: addresses of trusted proxies.

    Raises:
        LabError: the host is not an IP address, others could open the page without a good
            password, or the path or a proxy's address is none.
    """
    behind = (read_root_path(root_path), read_proxies(proxies))
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise LabError(
            f"{host[:60]!r} is not an IP address. Use 127.0.0.1, an address of this machine, or "
            "0.0.0.0 for all of them."
        ) from None
    if address.is_loopback:
        return Access(host, "", (*OWN_NAMES, *names), *behind)
    password = os.environ.get(PASSWORD_VARIABLE, "")
    if len(password) < SHORTEST:
        raise LabError(
            f"Others could open the page at {host}, start programs here and fill the disk: that "
            f"takes a password of at least {SHORTEST} characters in the environment variable "
            f"{PASSWORD_VARIABLE}."
        )
    every = _addresses() if address.is_unspecified else (host,)
    written = tuple(f"[{a}]" if ":" in a else a for a in every)
    return Access(host, password, (*OWN_NAMES, *written, *names), *behind)


def _addresses() -> tuple[str, ...]:
    """This machine's name and IP addresses, as far as the system knows them."""
    name = socket.gethostname()
    try:
        found = {str(info[4][0]).split("%")[0] for info in socket.getaddrinfo(name, None)}
    except OSError:
        found = set()
    return (name, *sorted(found))


def guard(app: FastAPI, allowed: Access) -> None:
    """Puts the checks before an app; the one added last runs first.

    Args:
        app: the app.
        allowed: the access rules.
    """
    app.add_middleware(SameOrigin)
    app.add_middleware(FewAttempts)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(allowed.names))
    app.add_middleware(BehindProxy, proxies=allowed.proxies, root_path=allowed.root_path)


class SameOrigin:
    """Refuses requests that another site's page sends: a browser names the site in `Origin`.

    Gradio lets any page on localhost call any other. A lab can start processes, so this one must
    not be called.

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


class FewAttempts:
    """Refuses further passwords from an address that has sent too many wrong ones.

    Args:
        app: the ASGI app behind it.
        clock: gives seconds; never set back.
    """

    def __init__(self, app, clock: Callable[[], float] = time.monotonic):
        self.app, self._clock = app, clock
        self._lock = threading.Lock()
        self._wrong: dict[str, list[float]] = {}

    async def __call__(self, scope, receive, send):
        """Passes a request on, or answers a login with 429."""
        login = scope["type"] == "http" and scope["method"] == "POST"
        if not login or not scope["path"].rstrip("/").endswith("/login"):
            await self.app(scope, receive, send)
            return
        client = (scope.get("client") or ("?",))[0]
        wait = self._count(client)
        if wait > 0:
            answer = PlainTextResponse(
                f"Too many attempts. Wait {wait} seconds.", 429, {"Retry-After": str(wait)}
            )
            await answer(scope, receive, send)
            return

        async def told(message):
            if message["type"] == "http.response.start" and message["status"] < 400:
                with self._lock:
                    self._wrong.pop(client, None)
            await send(message)

        await self.app(scope, receive, told)

    def _count(self, client: str) -> int:
        """Seconds to wait; 0 if the attempt may go on. It counts as wrong until it succeeds."""
        now = self._clock()
        with self._lock:
            for address in list(self._wrong):  # or requests from everywhere would fill the memory
                recent = [at for at in self._wrong[address] if now - at < WINDOW_S]
                self._wrong[address] = recent
                if not recent:
                    del self._wrong[address]
            mine = self._wrong.setdefault(client, [])
            if len(mine) >= ATTEMPTS:
                return max(1, math.ceil(WINDOW_S - (now - mine[0])))
            mine.append(now)
            return 0
