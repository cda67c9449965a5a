"""A page behind a proxy (nginx): which proxies are believed, and under which path the page lies.

A proxy tells in headers who asks and by which name. Anybody can send such headers, so they are
read only from addresses that were named as trusted, and removed from all other requests: Gradio
itself would believe them.
"""

from __future__ import annotations

import ipaddress
import re

from starlette.datastructures import Headers, MutableHeaders
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from rotelab.errors import LabError

ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
PREFIXES = (b"x-forwarded-", b"forwarded")


def read_root_path(text: str) -> str:
    """The path under which the page lies, such as `/lab`; empty for the host's root.

    Raises:
        LabError: it is no path, or has characters other than letters, digits and `._~-`.
    """
    path = text.strip().rstrip("/")
    if not path:
        return ""
    parts = path.split("/")
    if not ROOT_PATH.fullmatch(path) or "." in parts or ".." in parts:
        raise LabError(
            f"{text[:60]!r} is not a path for the page. Write it as in the address, such as /lab: "
            "letters, digits and . _ ~ - between slashes."
        )
    return path


def read_proxies(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The IP addresses and networks of proxies that are believed.

    Raises:
        LabError: one of them is neither, or is a network of everybody.
    """
    for text in texts:
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            raise LabError(
                f"{text[:60]!r} is not the address of a proxy. Name its IP address, such as "
                "127.0.0.1, or a network, such as 172.17.0.0/16."
            ) from None
        if network.prefixlen == 0:
            raise LabError(
                f"{text} is everybody, so anybody could claim to be anybody. Name your proxy's own "
                "address."
            )
    return tuple(texts)


class BehindProxy:
    """Shows the app the request that the proxy got: its host, scheme, client and path.

    `X-Forwarded-Host` becomes the host; uvicorn's own middleware reads scheme and client. The root
    path is taken off, where the proxy has left it in the address. A request that does not come from
    a trusted proxy loses its forwarded headers.

    Args:
        app: the ASGI app behind it.
        proxies: addresses and networks of trusted proxies; none by default.
        root_path: the path under which the page lies.
    """

    def __init__(self, app, proxies: tuple[str, ...] = (), root_path: str = ""):
        self._networks = [ipaddress.ip_network(text) for text in proxies]
        self._root_path = root_path
        self._plain = app
        self._believed = ProxyHeadersMiddleware(self._stripped, list(proxies))

    async def __call__(self, scope, receive, send):
        """Passes a request on."""
        if scope["type"] not in ("http", "websocket"):
            await self._plain(scope, receive, send)
            return
        scope = {**scope, "path": self._inner(scope["path"])}
        if "raw_path" in scope:
            raw = (scope["raw_path"] or b"").decode("latin-1")
            scope["raw_path"] = self._inner(raw).encode("latin-1")
        if not self._from_proxy(scope):
            await self._stripped(scope, receive, send)
            return
        given = Headers(scope=scope)
        host = given.get("x-forwarded-host", "").split(",")[0].strip()
        headers = MutableHeaders(raw=list(scope["headers"]))
        if host:
            headers["host"] = host
        await self._believed({**scope, "headers": headers.raw}, receive, send)

    async def _stripped(self, scope, receive, send):
        """The app, without forwarded headers: Gradio would read them again."""
        left = [(k, v) for k, v in scope["headers"] if not k.lower().startswith(PREFIXES)]
        await self._plain({**scope, "headers": left}, receive, send)

    def _from_proxy(self, scope) -> bool:
        try:
            client = ipaddress.ip_address((scope.get("client") or ("",))[0])
        except ValueError:  # a Unix socket, or a test's client
            return False
        return any(client in network for network in self._networks)

    def _inner(self, path: str) -> str:
        root = self._root_path
        if root and (path == root or path.startswith(f"{root}/")):
            return path[len(root) :] or "/"
        return path
