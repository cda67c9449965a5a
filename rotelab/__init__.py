"""rotelab: watch a language model learn by rote first and understand afterwards.

An implementation of "Rote Learning Considered Useful" (arXiv 2507.21914). From Python, begin with
`lab = rotelab.Lab()`; what it gives is in `rotelab.api`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rotelab.api.lab import Lab
    from rotelab.api.run import Run
    from rotelab.errors import LabError

__version__ = "0.1.0"
__all__ = ["Lab", "LabError", "Run", "__version__"]

_WHERE = {"Lab": "rotelab.api.lab", "Run": "rotelab.api.run", "LabError": "rotelab.errors"}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: `import rotelab` alone loads nothing more."""
    if name not in _WHERE:
        raise AttributeError(f"module 'rotelab' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    """What completion offers."""
    return sorted({*globals(), *__all__})
