"""The few words that every verdict is made of."""

from __future__ import annotations

from typing import Literal

Grade = Literal["identical", "equal", "consistent", "different", "damaged"]
Level = Literal["integrity", "statistics", "audit", "rerun"]
# What a run is held against: what follows from its own files, a reference, or the same spec run again.
Against = Literal["itself", "reference", "rerun"]

GRADES: tuple[Grade, ...] = ("identical", "equal", "consistent", "different", "damaged")
