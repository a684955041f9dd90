"""The possible values of a number, and the scale on which its replicates spread evenly, as bands need them.

catalogue.py assigns one to every statistic. A number without a band has the reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Scale = Literal["linear", "log", "logit"]
# The unit of a count or a share, or the upper end of a length. The value is known from a spec and its data.
Size = Literal["points", "interior points", "training images", "validation images", "reach", "largest loss", "epochs"]


@dataclass(frozen=True)
class Range:
    """`least` to `most`, inclusive, and the scale of a band: linear, log (natural) or logit, log(x / (1 - x)).

    `step` is the distance between neighbouring values, or 0; if it is a size, it is 1 / size. Values below `floor` (on
    logit: also above 1 - `floor`) are moved to that limit, because a logarithm would exaggerate tiny differences.
    `may_be_stuck`: most values may be at one end; then replicates do not show how far a value can be from it. `no_band` is
    the reason why replicates cannot predict the next value.
    """

    scale: Scale = "linear"
    least: float = 0.0
    most: float | Size = math.inf
    step: float | Size = 0.0
    floor: float | None = None
    may_be_stuck: bool = True
    no_band: str = ""

    def sized(self, sizes: Mapping[Size, float | int]) -> Range:
        """Return the same range with numbers in place of sizes. A size that is not in `sizes` is unlimited."""
        most = float(sizes.get(self.most, math.inf)) if isinstance(self.most, str) else self.most
        step = 1 / sizes.get(self.step, math.inf) if isinstance(self.step, str) else self.step
        # Half a step: a share that is not at an end is regarded as at least this far from it.
        floor = self.floor if self.floor is not None else (step / 2 if self.scale == "logit" else 0.0)
        return replace(self, most=most, step=step, floor=floor)


LOSS = Range("log", most="largest loss")
RISE = Range("log", floor=1e-6)  # nats, or nats per unit; smaller values are below every tolerance, and it may be 0
PERCENT_OF_RISE = Range("log", floor=0.01)
LENGTH = Range("log")
RADIUS = Range("log", most="reach")
ASYMMETRY = Range("log", most=2.0)  # |x - y| <= |x| + |y|
ROUGHNESS = Range("log", most=2.0)  # the largest second difference, as a multiple of the range
SHARE_OF_POINTS = Range("logit", most=1.0, step="points")
SHARE_OF_INTERIOR = Range("logit", most=1.0, step="interior points")
SHARE_OF_TRAINING = Range("logit", most=1.0, step="training images", may_be_stuck=False)
# In a correct run it is 1 by construction, so replicates are equal. On logits, half a step below 1 would count too much.
SHARE_OF_OWN_LABELS = Range(most=1.0, step="training images", may_be_stuck=False)
SHARE_OF_VALIDATION = Range("logit", most=1.0, step="validation images", may_be_stuck=False)
POINTS = Range(most="points", step=1.0, may_be_stuck=False)
MINIMA = Range(least=1.0, most="points", step=1.0)
PERSISTENCE = Range(most="points", step=0.01)  # bars shorter than a hundredth of the range are ignored
EPOCHS = Range("log", least=1.0, most="epochs", step=1.0, may_be_stuck=False)


def always(range_: Range) -> Range:
    """Return the same range for a number that is redrawn in each replicate, so that equal values do not indicate an end."""
    return replace(range_, may_be_stuck=False)


def no_band(why: str) -> Range:
    """Return the range of a number whose next value replicates cannot predict."""
    return Range(least=-math.inf, no_band=why)
