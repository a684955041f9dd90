"""The few words that every verdict is made of."""

from __future__ import annotations

from typing import Literal

# litter: the folder holds files of other programs, and is whole otherwise.
Grade = Literal["identical", "equal", "consistent", "different", "litter", "damaged"]
Level = Literal["integrity", "statistics", "audit", "rerun"]
# What a run is held against: what follows from its own files, a reference, or the same spec run again.
Against = Literal["itself", "reference", "rerun"]

GRADES: tuple[Grade, ...] = ("identical", "equal", "consistent", "different", "litter", "damaged")
