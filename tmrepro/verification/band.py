"""Reads bands.json: the bands that bands.py measured on the replicates of a reference. The file is not trusted."""

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

ROUNDING = 1e-9  # relative: a number at the end of its range may be outside by a last bit

Finite = Annotated[float, Field(allow_inf_nan=False)]


@checked_dataclass(frozen=True)
class Band:
    """The interval of one number: n replicates, their mean and deviation (on the scale), both ends (in the number's unit).

    `judges_nothing`: the band is too wide to find an error (scales.py).
    """

    n: Annotated[int, Field(ge=2)]
    mean: Finite
    deviation: Annotated[Finite, Field(ge=0)]
    low: Finite
    high: Finite
    scale: Scale
    judges_nothing: bool = False

    def holds(self, value: object) -> bool:
        """Return whether `value` is a number inside the band."""
        number = as_number(value)
        if number is None:
            return False
        return self.low - ROUNDING * abs(self.low) <= number <= self.high + ROUNDING * abs(self.high)


@checked_dataclass(frozen=True)
class Bands:
    """All bands of a reference.

    A number has no band if it was undefined in a replicate, or has no place on its scale. A statistic that had the same value in
    half of the replicates has no band either: it is usually at its bound, so its spread is unknown.

    `statistics`: SURFACE -> MODEL -> statistic -> band; `minima`: MODEL -> number of minimum.json -> band; `categories`:
    MODEL -> category -> number of replicates. `comparisons` is the number m of bands that hold jointly, each at the level
    1 - (1 - confidence) / m. `coverage` is the probability that they guarantee jointly.
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
        """Return the band of a statistic of a surface, or None."""
        return self.statistics.get(surface, {}).get(model, {}).get(statistic)

    def of_number(self, model: str, name: str) -> Band | None:
        """Return the band of a number of minimum.json, or None."""
        return self.minima.get(model, {}).get(name)

    def judging_nothing(self) -> list[str]:
        """Return the numbers whose bands are too wide to find an error, as SURFACE/MODEL/NAME or MODEL/NAME."""
        places = [("/".join(place), band) for place, band in self.places()]
        return [name for name, band in places if band.judges_nothing]

    def places(self) -> Iterator[tuple[tuple[str, ...], Band]]:
        """Yield every band with its place: (SURFACE, MODEL, statistic) or (MODEL, number of minimum.json)."""
        for surface, models in self.statistics.items():
            for model, bands in models.items():
                yield from (((surface, model, name), band) for name, band in bands.items())
        for model, bands in self.minima.items():
            yield from (((model, name), band) for name, band in bands.items())

    def changed(self, change: Callable[[tuple[str, ...], Band], Band]) -> Bands:
        """Return a copy in which `change` was applied to the place and the value of each band."""
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
    """Return bands from their JSON form.

    Bands of older versions could exceed the range of their number. They are cut to it.

    Raises:
        DamagedError: the document is invalid, or a band has no number within the range.
    """
    try:
        # Validate JSON, because strict validation of Python objects would require the dataclasses.
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
