"""The facts of a verdict that take some working out: pixels that differ, and provenance side by side.

The page, the JSON and the JUnit file all take them from here, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tmrepro.errors import DamagedError
from tmrepro.figures import PixelDifference, compare_png
from tmrepro.report import NOT_ON_THE_PAGE, tree_lines
from tmrepro.statistics import MINIMUM_NUMBERS, RANGES, STATISTICS, StatisticInfo
from tmrepro.statistics.ranges import no_band
from tmrepro.verify.evidence import FigureHeld, NumberHeld, Sides

# Two runs on one machine differ in these too, so they are shown and never marked.
_TIMES = ("started", "ended", "seconds", "timings")
_STATISTICS = {info.name: info for info in STATISTICS}
_MINIMUM = {info.name: info for info in MINIMUM_NUMBERS}
_UNKNOWN = no_band("nobody knows what it is")
_SAME_BYTES = PixelDifference(
    same_size=True, identical=True, share_different=0.0, max_difference=0, mean_difference=0.0
)


@dataclass(frozen=True)
class ProvenanceRow:
    """One line of provenance: what each side says (None: nothing), and whether that is a difference that matters."""

    path: str
    run: str | None
    expected: str | None
    differs: bool


def provenance_rows(sides: Sides) -> tuple[ProvenanceRow, ...]:
    """Both provenances line by line, in the run's order; what only the other side has comes last."""
    run, expected = dict(_lines(sides.run)), dict(_lines(sides.expected or {}))
    return tuple(
        ProvenanceRow(
            path,
            run.get(path),
            expected.get(path),
            sides.expected is not None and run.get(path) != expected.get(path) and not _is_time(path),
        )
        for path in dict.fromkeys([*run, *expected])
    )


def pixel_difference(figure: FigureHeld) -> PixelDifference | None:
    """How far a figure is from the expected one; None where one of them is missing or no picture of ours."""
    if figure.expected is None or figure.found is None:
        return None
    if figure.expected == figure.found:
        return _SAME_BYTES
    try:
        return compare_png(figure.expected, figure.found)
    except DamagedError:
        return None


def number_info(held: NumberHeld) -> StatisticInfo:
    """What a number means, and its unit; of one that nobody knows, its bare name."""
    known = _STATISTICS if held.surface is not None else _MINIMUM
    return known.get(held.name, StatisticInfo(held.name, "", range=_UNKNOWN))


def is_never_banded(name: str) -> bool:
    """Whether replicates cannot tell where the next value of this number lies, however many there are."""
    return name in RANGES and bool(RANGES[name].no_band)


def no_band_because(name: str) -> str:
    """Why a reference has no band of a number."""
    return RANGES[name].no_band if is_never_banded(name) else "the reference has no band of it"


def _lines(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    return tree_lines({name: value for name, value in provenance.items() if name not in NOT_ON_THE_PAGE})


def _is_time(path: str) -> bool:
    return path.partition(".")[0] in _TIMES
