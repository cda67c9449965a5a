"""The command line, `python -m rotelab`: runs, sweeps, experiments and reports without a browser."""

from rotelab.cli.main import main

__all__ = ["main"]
