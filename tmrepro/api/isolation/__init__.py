"""A separate process for computations that need settings which this process can no longer have.

caller.py     starts it, and receives progress, output, then a result or an error
child.py      runs in it
messages.py   results and errors as JSON, and back
factories.py  checks that another process can import the factories of a spec

In a notebook, torch is often loaded long before a run. Its settings must be made before that. So the run is computed by a new
Python process, never by a fork, and the caller sees no difference.
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
    """Mark this process as tmrepro's own (a command or the process started here): it starts no other one."""
    token = _is_claimed.set(True)
    try:
        yield
    finally:
        _is_claimed.reset(token)


def isolated_if_needed(compute: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function of `tmrepro.api`: if torch was loaded too early, it is called in a separate process.

    The function must raise that error before it changes anything.
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
