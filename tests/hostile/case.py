"""A case of the hostile tests: a hostile folder, what lies outside of it, and the command that meets it."""

from __future__ import annotations

import os
import random
import stat
from dataclasses import dataclass, field
from pathlib import Path

NAMES = (
    "../escape", "a\nb", "a\x1b[31mred", "-rf", "con", " ", "name ", "%00", "a\\b", "x" * 255, "ä\u202e", "🧨",
    os.fsdecode(b"\xff\xfe"), ".hidden", "manifest-sha256.txt.1", "zarr.json", ".zarray", "theta.pkl", "~", "*", "$(touch x)",
)  # fmt: skip


@dataclass
class Case:
    """A folder `home` with `run` (hostile) and `outside` (to be left alone); `argv` is what is done about it."""

    home: Path
    argv: list[str] = field(default_factory=list, kw_only=True)
    about: list[str] = field(default_factory=list, kw_only=True)

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def outside(self) -> Path:
        return self.home / "outside"

    @property
    def marker(self) -> Path:
        return self.home / "marker"


@dataclass
class RunCase(Case):
    """`run` is made from the finished run `template`, in ways that `random` draws."""

    random: random.Random
    template: Path

    def files(self) -> list[str]:
        """The plain files of the hostile folder, as paths relative to it."""
        found = []
        for folder, _, names in os.walk(self.run):
            paths = [Path(folder, name) for name in names]
            found += [str(path.relative_to(self.run)) for path in paths if stat.S_ISREG(path.lstat().st_mode)]
        return sorted(found)

    def pick(self, *ends: str) -> Path:
        """One of the files whose names end so."""
        return self.run / self.random.choice([path for path in self.files() if path.endswith(ends)] or ["spec.yaml"])
