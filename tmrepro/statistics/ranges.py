"""What a number can be, and on which scale replicates of it spread evenly: what a band of it needs to know.

catalogue.py gives every statistic one of these. A number without a band says why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Scale = Literal["linear", "log", "logit"]
# What a count or a share may be counted in, or what ends a length: known once a spec and its data are.
Size = Literal["points", "interior points", "training images", "validation images", "reach", "largest loss", "epochs"]


@dataclass(frozen=True)
class Range:
    """`least` to `most`, both possible, and the scale of a band: linear, log (natural) or logit, log(x / (1 - x)).

    `step` is the distance of neighbouring values, 0 where there is none; given as a size it is one over that. Values
    below `floor` (on logit: or as near to 1) count as the floor, where a logarithm would make much of nothing.
    `may_be_stuck`: it may stand at one of its ends most of the time, and then does not show how far it leaves that.
    `no_band` says why replicates cannot tell where the next one lies.
    """

    scale: Scale = "linear"
    least: float = 0.0
    most: float | Size = math.inf
    step: float | Size = 0.0
    floor: float | None = None
    may_be_stuck: bool = True
    no_band: str = ""

    def sized(self, sizes: Mapping[Size, float | int]) -> Range:
        """The same with numbers in place of sizes; a size that is not in `sizes` limits nothing."""
        most = float(sizes.get(self.most, math.inf)) if isinstance(self.most, str) else self.most
        step = 1 / sizes.get(self.step, math.inf) if isinstance(self.step, str) else self.step
        # Half a step: as near to an end as a share that is not at it can be thought to come.
        floor = self.floor if self.floor is not None else (step / 2 if self.scale == "logit" else 0.0)
        return replace(self, most=most, step=step, floor=floor)


LOSS = Range("log", most="largest loss")
RISE = Range("log", floor=1e-6)  # nats, or nats per unit: below it no tolerance sees anything, and it may be 0
PERCENT_OF_RISE = Range("log", floor=0.01)
LENGTH = Range("log")
RADIUS = Range("log", most="reach")
ASYMMETRY = Range("log", most=2.0)  # |x - y| <= |x| + |y|
ROUGHNESS = Range("log", most=2.0)  # so many times its range a second difference can be
SHARE_OF_POINTS = Range("logit", most=1.0, step="points")
SHARE_OF_INTERIOR = Range("logit", most=1.0, step="interior points")
SHARE_OF_TRAINING = Range("logit", most=1.0, step="training images", may_be_stuck=False)
# Of a correct run it is 1 by construction, so replicates are equal: on logits that would make much of half a step below 1.
SHARE_OF_OWN_LABELS = Range(most=1.0, step="training images", may_be_stuck=False)
SHARE_OF_VALIDATION = Range("logit", most=1.0, step="validation images", may_be_stuck=False)
POINTS = Range(most="points", step=1.0, may_be_stuck=False)
MINIMA = Range(least=1.0, most="points", step=1.0)
PERSISTENCE = Range(most="points", step=0.01)  # bars shorter than a hundredth of the range do not count
EPOCHS = Range("log", least=1.0, most="epochs", step=1.0, may_be_stuck=False)


def always(range_: Range) -> Range:
    """The same of a number that replicates give anew each time, so that equal values are no sign of an end."""
    return replace(range_, may_be_stuck=False)


def no_band(why: str) -> Range:
    """Of a number of which replicates cannot tell where the next one lies."""
    return Range(least=-math.inf, no_band=why)
