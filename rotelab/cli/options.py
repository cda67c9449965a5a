"""What several commands share: the options of a run, and a progress bar."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

from rotelab.config.run_config import RunConfig


def takes(config_of: Callable[..., RunConfig]) -> Callable[[Callable], Callable]:
    """Gives a command all options of a run in the place of its first parameter, `config`.

    An option that the command has itself, such as an axis of a sweep, stays the command's.

    Args:
        config_of: makes the settings; its parameters are the options.
    """
    options = inspect.signature(config_of, eval_str=True).parameters

    def decorate(command: Callable) -> Callable:
        own = dict(inspect.signature(command, eval_str=True).parameters)
        del own["config"]
        taken = {name: option for name, option in options.items() if name not in own}

        @functools.wraps(command)
        def with_options(**given: Any) -> Any:
            chosen = {name: given.pop(name) for name in taken}
            return command(config_of(**chosen), **given)

        parameters = [
            p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own.values(), *taken.values())
        ]
        # typer reads both.
        with_options.__signature__ = inspect.Signature(parameters)
        with_options.__annotations__ = {p.name: p.annotation for p in parameters}
        return with_options

    return decorate


class Bar:
    """A progress bar on stderr, made when there is something to show."""

    def __init__(self):
        self._bar: Any = None

    def show(self, share: float, message: str) -> None:
        from tqdm.auto import tqdm

        if self._bar is None:
            self._bar = tqdm(
                total=100, file=sys.stderr, bar_format="{desc:44.44} {bar} {n:3.0f} % {elapsed}"
            )
        self._bar.set_description_str(message, refresh=False)
        self._bar.n = round(100 * share)
        self._bar.refresh()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.leave = self._bar.n == 100  # what ended early leaves its error line only
            self._bar.close()
