"""Calls the command line in this process."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from rotelab.cli import main
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from support.paths import ROOT


class Said(NamedTuple):
    code: int
    out: str
    err: str


def rotelab(*words: object, home: Path | None = None) -> Said:
    """`python -m rotelab WORDS`, in this process."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.argv, os.environ.get("ROTELAB_HOME")
    sys.argv = ["rotelab", *map(str, words)]
    if home:
        os.environ["ROTELAB_HOME"] = str(home)
    code = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main.main()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv = before[0]
        if home and before[1] is not None:
            os.environ["ROTELAB_HOME"] = before[1]
        elif home:
            del os.environ["ROTELAB_HOME"]
    return Said(code, out.getvalue(), err.getvalue())


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


def refused(said: Said, *parts: str) -> None:
    """Exit status 2, and exactly one line on stderr, with these parts."""
    assert said.code == 2
    assert said.out == ""
    assert said.err.count("\n") == 1 and said.err.endswith("\n")
    assert said.err.startswith("rotelab: ")
    for part in parts:
        assert part in said.err


def nothing_saved(home: Path) -> None:
    assert Lab.open(Storage(home)).registry.count_runs(archived=None) == 0
    assert not (home / "runs").exists() or not list((home / "runs").iterdir())
