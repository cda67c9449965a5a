"""Where the server shows the documentation and gives away the example files.

Both are lists of names that are known beforehand, so no path of a request ever reaches the disk.
"""

from __future__ import annotations

import functools
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response

from rotelab.storage import ASSETS, DOCS
from rotelab.ui.manual.pages import page, paths

EXAMPLES = ASSETS / "examples"
BESIDE = {".png": "image/png", ".svg": "image/svg+xml", ".ipynb": "application/x-ipynb+json"}
FIRST = "index.md"


def add_manual(app: FastAPI) -> None:
    """Adds `/docs/…` and `/examples/…` to the server; before the page itself, which takes the rest.

    Args:
        app: the server.
    """
    app.add_api_route("/docs", _to_first, include_in_schema=False)
    app.add_api_route("/docs/{path:path}", show, include_in_schema=False)
    app.add_api_route("/examples/{name}", give, include_in_schema=False)


@functools.cache
def beside() -> dict[str, Path]:
    """The pictures of the documentation and its notebook, by their path below its folder."""
    found = (file for file in DOCS.rglob("*") if file.suffix in BESIDE)
    return {file.relative_to(DOCS).as_posix(): file for file in found}


@functools.cache
def examples() -> dict[str, Path]:
    """The example files of facts, by name."""
    return {file.name: file for file in sorted(EXAMPLES.iterdir())}


def show(path: str) -> Response:
    """A page of the documentation, or a picture or notebook that it links to."""
    path = path or FIRST
    if path in paths():
        return HTMLResponse(page(path))
    if path in beside():
        file = beside()[path]
        return FileResponse(file, media_type=BESIDE[file.suffix])
    return _none()


def give(name: str) -> Response:
    """An example file, to be saved."""
    if name not in examples():
        return _none()
    return FileResponse(examples()[name], filename=name, media_type="application/octet-stream")


def _to_first() -> Response:
    # Relative, so that it is right under a proxy's path too.
    return Response(status_code=307, headers={"Location": f"docs/{FIRST}"})


def _none() -> Response:
    return PlainTextResponse("There is no such page.", status_code=404)
