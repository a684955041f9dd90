"""Checks that another process can import the factories of a spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tmrepro.errors import UsageError
from tmrepro.spec import Spec
from tmrepro.spec.canonical import canonical_dict


def require_importable(spec: Spec) -> None:
    """Raise UsageError unless another process can import every factory that `spec` names.

    Raises:
        UsageError: one is defined in a notebook, at the prompt, or in the program that Python was started with.
    """
    for factory in _factories(canonical_dict(spec)):
        module, _, function = factory.partition(":")
        if module == "__main__":
            raise UsageError(
                f"factory {factory!r} is defined in a notebook or in the program itself, so the process that computes "
                "cannot import it: put it into a file that can be imported, such as networks.py beside it, and name it "
                f"'networks:{function}'"
            )


def _factories(plain: Any) -> Iterator[str]:
    """Yield every "package.module:function" below `plain`, except in the arguments of a factory."""
    if isinstance(plain, dict):
        for key, value in plain.items():
            if key == "factory" and isinstance(value, str):
                yield value
            elif key != "arguments":
                yield from _factories(value)
    elif isinstance(plain, list):
        for value in plain:
            yield from _factories(value)
