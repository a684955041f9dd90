"""Measures how often a correct replicate is in all bands that the others give. Each run is left out once.

    python benchmarks/band_coverage.py runs/reference-quickstart/*

The folders are finished runs of one spec with different seeds, as made by `tmrepro reference build --replicates N`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tmrepro import open_run
from tmrepro.runner.view import RunView
from tmrepro.verification.bands import Bands, Replicate, measure_bands, sizes_of


def replicate(view: RunView) -> Replicate:
    return Replicate(view.statistics, {model: view.minimum(model) for model in view.models})


def outside(found: Replicate, bands: Bands) -> list[str]:
    """Return what is outside the bands."""
    wrong = [
        f"{surface}/{model} {name} {value}"
        for surface, models in found.statistics.items()
        for model, values in models.items()
        for name, value in values.items()
        if value is not None and (band := bands.of_statistic(surface, model, name)) and not band.holds(value)
    ]
    for model, minimum in found.minima.items():
        if str(minimum.category) not in bands.categories[model]:
            wrong.append(f"{model} is {minimum.category}")
        wrong += [
            f"{model} {name} {getattr(minimum, name)}"
            for name, band in bands.minima[model].items()
            if not band.holds(getattr(minimum, name))
        ]
    return wrong


def main(folders: list[Path]) -> None:
    views = {folder: open_run(folder) for folder in folders}
    spec = next(iter(views.values())).spec
    points = {surface.name: surface.grid.K for surface in spec.surfaces}
    data = next(iter(views.values())).provenance["data"]
    images = (data["train"], data["validation"])
    sizes = sizes_of(spec)
    found = {folder: replicate(view) for folder, view in views.items()}
    passed = 0
    for folder, one in found.items():
        others = [other for name, other in found.items() if name != folder]
        bands = measure_bands(others, points=points, images=images, sizes=sizes)
        wrong = outside(one, bands)
        passed += not wrong
        idle = len(bands.judging_nothing())
        print(
            f"{folder.name}: {'; '.join(wrong) or 'in all bands'} "
            f"({bands.comparisons} bands, {idle} of which judge nothing, {bands.n} replicates)"
        )
    print(f"{passed} of {len(found)} pass as a whole")


main([Path(argument) for argument in sys.argv[1:]])
