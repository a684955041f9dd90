"""bands.json: what a reference knows of other replicates, as bands.py measured it, read without trusting it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from tmrepro.errors import DamagedError
from tmrepro.statistics import RANGES
from tmrepro.statistics.ranges import Range, Scale
from tmrepro.store.atomic import shown
from tmrepro.verification.grades import as_number
from tmrepro.verification.scales import judges_nothing, within

ROUNDING = 1e-9  # relative: a number that stands at the end of its range may be off it by a last bit

Finite = Annotated[float, Field(allow_inf_nan=False)]


@checked_dataclass(frozen=True)
class Band:
    """The interval of one number: n replicates, their mean and deviation (on the scale), both ends (in the number's unit).

    `judges_nothing`: it is so wide that lying in it says nothing (scales.py).
    """

    n: Annotated[int, Field(ge=2)]
    mean: Finite
    deviation: Annotated[Finite, Field(ge=0)]
    low: Finite
    high: Finite
    scale: Scale
    judges_nothing: bool = False

    def holds(self, value: object) -> bool:
        """Whether `value` is a number inside."""
        number = as_number(value)
        if number is None:
            return False
        return self.low - ROUNDING * abs(self.low) <= number <= self.high + ROUNDING * abs(self.high)


@checked_dataclass(frozen=True)
class Bands:
    """All bands of a reference.

    No band has a number that was undefined in some replicate, or has no place on its scale, or a statistic that took
    the same value in half of them: most of the time at its bound, it does not show how far it leaves that.

    `statistics`: SURFACE -> MODEL -> statistic -> band; `minima`: MODEL -> number of minimum.json -> band; `categories`:
    MODEL -> category -> how many replicates ended there. `comparisons` is the number m of bands that hold together, each at
    the level 1 - (1 - confidence) / m; `coverage` is what they can promise together.
    """

    n: int
    confidence: Finite
    coverage: Finite
    comparisons: int
    statistics: dict[str, dict[str, dict[str, Band]]]
    minima: dict[str, dict[str, Band]]
    categories: dict[str, dict[str, int]]

    @property
    def measured(self) -> bool:
        """Whether there were replicates to measure a spread on."""
        return self.n >= 2

    def of_statistic(self, surface: str, model: str, statistic: str) -> Band | None:
        """The band of a statistic of a surface."""
        return self.statistics.get(surface, {}).get(model, {}).get(statistic)

    def of_number(self, model: str, name: str) -> Band | None:
        """The band of a number of minimum.json."""
        return self.minima.get(model, {}).get(name)

    def judging_nothing(self) -> list[str]:
        """The numbers whose bands are too wide to judge by, as SURFACE/MODEL/NAME or MODEL/NAME."""
        places = [("/".join(place), band) for place, band in self.places()]
        return [name for name, band in places if band.judges_nothing]

    def places(self) -> Iterator[tuple[tuple[str, ...], Band]]:
        """Every band with its place: (SURFACE, MODEL, statistic) or (MODEL, number of minimum.json)."""
        for surface, models in self.statistics.items():
            for model, bands in models.items():
                yield from (((surface, model, name), band) for name, band in bands.items())
        for model, bands in self.minima.items():
            yield from (((model, name), band) for name, band in bands.items())

    def changed(self, change: Callable[[tuple[str, ...], Band], Band]) -> Bands:
        """The same with each band as `change` makes it of its place and itself."""
        return replace(
            self,
            statistics={
                surface: {
                    model: {name: change((surface, model, name), band) for name, band in bands.items()}
                    for model, bands in models.items()
                }
                for surface, models in self.statistics.items()
            },
            minima={
                model: {name: change((model, name), band) for name, band in bands.items()}
                for model, bands in self.minima.items()
            },
        )

    def document(self) -> dict[str, Any]:
        """bands.json."""
        document: dict[str, Any] = _ADAPTER.dump_python(self)
        return document


def read_bands(document: object, *, name: str) -> Bands:
    """Bands from their JSON form.

    Those of older versions could reach beyond what a number can be; they are cut to that.

    Raises:
        DamagedError: it is none, or a band holds nothing that its number can be.
    """
    try:
        # As JSON, since strict Python would want the dataclasses themselves.
        found = _ADAPTER.validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DamagedError(f"{name}: expected the bands of a reference, found {where}: {first['msg']}") from error
    for at, band in found.places():
        low, high = within(band.low, band.high, RANGES.get(at[-1], _ANY))
        if low > high:
            raise DamagedError(
                f"{shown(name)}: {shown('/'.join(at))}: expected a band within the range of the number, found "
                f"{band.low:.6g} to {band.high:.6g}"
            )
    return found.changed(_cut)


def _cut(at: tuple[str, ...], band: Band) -> Band:
    range_ = RANGES.get(at[-1], _ANY)
    low, high = within(band.low, band.high, range_)
    idle = band.judges_nothing or judges_nothing(low, high, range_)
    return replace(band, low=low, high=high, judges_nothing=idle)


_ADAPTER: TypeAdapter[Bands] = TypeAdapter(Bands)
_ANY = Range(least=-math.inf)
