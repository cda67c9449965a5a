"""Who may open the page: this machine alone, or others with a password, tried a few times only."""

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

from starlette.responses import PlainTextResponse

from rotelab.errors import LabError

HOME = "127.0.0.1"
OWN_NAMES = ("localhost", "127.0.0.1", "[::1]")
USER = "rotelab"
PASSWORD_VARIABLE = "ROTELAB_PASSWORD"
"""An environment variable, because the words of a command line can be read by everyone here."""
SHORTEST = 12
ATTEMPTS, WINDOW_S = 5, 60.0
"""So many wrong passwords are taken from one address in that time, in seconds."""


@dataclass(frozen=True)
class Access:
    """Where the page is served, and what it takes to see it.

    Args:
        host: the address that is bound to.
        password: what must be typed; empty where only this machine can ask.
        names: the names by which a browser may ask for the page (against DNS rebinding).
    """

    host: str = HOME
    password: str = ""
    names: tuple[str, ...] = OWN_NAMES

    @property
    def auth(self) -> Callable[[str, str], bool] | None:
        """Gradio's check of name and password; None where no password is needed."""
        return self._right if self.password else None

    def _right(self, user: str, password: str) -> bool:
        same = hmac.compare_digest(password.encode(), self.password.encode())
        return user == USER and same


def access(host: str = HOME, names: tuple[str, ...] = ()) -> Access:
    """Access for an address; the password comes from the environment.

    Args:
        host: an IP address of this machine; `0.0.0.0` is all of them.
        names: further names by which the page is asked for, such as `lab.example.org`.

    Raises:
        LabError: the host is no address, or others could open the page without a good password.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise LabError(
            f"{host[:60]!r} is not an IP address. Use 127.0.0.1, an address of this machine, or "
            "0.0.0.0 for all of them."
        ) from None
    if address.is_loopback:
        return Access(host, "", (*OWN_NAMES, *names))
    password = os.environ.get(PASSWORD_VARIABLE, "")
    if len(password) < SHORTEST:
        raise LabError(
            f"Others could open the page at {host}, start programs here and fill the disk: that "
            f"takes a password of at least {SHORTEST} characters in the environment variable "
            f"{PASSWORD_VARIABLE}."
        )
    every = _addresses() if address.is_unspecified else (host,)
    written = tuple(f"[{a}]" if ":" in a else a for a in every)
    return Access(host, password, (*OWN_NAMES, *written, *names))


def _addresses() -> tuple[str, ...]:
    """This machine's name and addresses, as far as it knows them."""
    name = socket.gethostname()
    try:
        found = {str(info[4][0]).split("%")[0] for info in socket.getaddrinfo(name, None)}
    except OSError:
        found = set()
    return (name, *sorted(found))


class FewAttempts:
    """Refuses further passwords from an address that has sent too many wrong ones lately.

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
        """Seconds to wait; 0 where the attempt may go on, which then counts until it succeeds."""
        now = self._clock()
        with self._lock:
            for address in list(self._wrong):  # nobody fills the memory by coming from everywhere
                recent = [at for at in self._wrong[address] if now - at < WINDOW_S]
                self._wrong[address] = recent
                if not recent:
                    del self._wrong[address]
            mine = self._wrong.setdefault(client, [])
            if len(mine) >= ATTEMPTS:
                return max(1, math.ceil(WINDOW_S - (now - mine[0])))
            mine.append(now)
            return 0
