"""Cases in which what is tested misbehaves: if the harness does not notice, its silence about tmrepro means nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from case import Case


@dataclass
class MisbehavingCase(Case):
    command: Callable[[list[str]], int]


def build(home: Path, *, seed: int, template: Path) -> MisbehavingCase:  # noqa: ARG001 - the runs have one
    for name in ("run", "cwd", "outside"):
        (home / name).mkdir()
    (home / "outside" / "secret.txt").write_text("keep")

    def well_behaved(_argv: list[str]) -> int:
        (home / "cwd" / "result").touch()
        return 0

    def writes_elsewhere(_argv: list[str]) -> int:
        (home / "outside" / "new.txt").touch()
        return 0

    def removes(_argv: list[str]) -> int:
        (home / "outside" / "secret.txt").unlink()
        return 0

    def runs_code(_argv: list[str]) -> int:
        (home / "marker").touch()
        return 0

    def fails(_argv: list[str]) -> int:
        raise ZeroDivisionError

    def steers(_argv: list[str]) -> int:
        sys.stdout.write("\x1b[2J")
        return 3

    def is_silent(_argv: list[str]) -> int:
        return 3

    def swallows_memory(_argv: list[str]) -> int:
        return int(np.ones(2**28).sum() * 0)

    def dies(_argv: list[str]) -> int:
        os._exit(9)

    return MisbehavingCase(
        home,
        [
            well_behaved,
            writes_elsewhere,
            removes,
            runs_code,
            fails,
            steers,
            is_silent,
            swallows_memory,
            dies,
            well_behaved,
        ][seed],
        argv=["misbehave"],
    )
