"""A process of its own for what must be computed under settings that this process cannot have any more (design, section 7).

caller.py     starts it, and listens: progress, output, then a result or an error
child.py      runs in it
messages.py   results and errors as JSON, and back

In a notebook torch is loaded long before a run is asked for. Its settings count only before, so the run is computed by a fresh
Python, never by a fork, and the caller sees no difference.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from tmrepro.errors import LoadedTooEarlyError
from tmrepro.numerics.determinism import started_with

P = ParamSpec("P")
R = TypeVar("R")

_is_claimed: ContextVar[bool] = ContextVar("is_claimed", default=False)


@contextmanager
def claimed() -> Iterator[None]:
    """This process is tmrepro's own, a command or the process started here: nothing in it starts another one."""
    token = _is_claimed.set(True)
    try:
        yield
    finally:
        _is_claimed.reset(token)


def isolated_if_needed(compute: Callable[P, R]) -> Callable[P, R]:
    """`compute`, a function of `tmrepro.api`, which is called in a process of its own where torch was loaded too early.

    What it raises too early must be raised before it has changed anything.
    """

    @functools.wraps(compute)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return compute(*args, **kwargs)
        except LoadedTooEarlyError as error:
            if _is_claimed.get():
                raise
            environment = started_with(error.environment)
        from tmrepro.api.isolation.caller import call_isolated

        arguments = dict(inspect.signature(compute).bind(*args, **kwargs).arguments)
        result: R = call_isolated(compute, arguments, environment=environment)
        return result

    return call
