"""Users' factories, used as a run uses them."""

from __future__ import annotations

import importlib
from typing import Any

from tmrepro.usercode import CodeRecord, code_of


def record_of(factory: str, **arguments: Any) -> CodeRecord:
    """Return the code of a factory whose result is called once."""

    def use() -> list[object]:
        module, _, function = factory.partition(":")
        made = getattr(importlib.import_module(module), function)(**arguments)
        if callable(made):
            made()
        return [made]

    return code_of(factory, use=use)
