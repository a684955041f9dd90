"""Spectra of Hessians: a row per network, the density of its eigenvalues, the largest of them, and their mean.

A network with replicates has the largest eigenvalues of each of them in its row, and no density.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tmrepro.records import Spectrum
from tmrepro.reporting.figures.style import BLUE, INK, ORANGE, isolated_settings, new_figure, place, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

WIDTH = 10.6
_HEADER, _ROW, _FOOTER = 1.05, 2.75, 0.1
_LEFT, _BOTTOM, _HEIGHT, _ACROSS = 0.85, 0.62, 1.7, 9.4
_DECADES = 6  # shown below the peak of the density


def draw_spectrum(spectra: Mapping[str, Mapping[str, Spectrum]]) -> Figure:
    """Draw the spectra of networks, in the given order: by the name of the network, those of its replicates by their names."""
    height = _HEADER + _ROW * max(1, len(spectra)) + _FOOTER
    with isolated_settings():
        figure = new_figure(WIDTH, height)
        write(figure, _LEFT, height - 0.38, "Spectrum of the Hessian at θ*", fontsize=14, weight="bold")
        entries: dict[str, Line2D] = {}
        for number, (model, replicates) in enumerate(spectra.items()):
            bottom = height - _HEADER - _ROW * (number + 1) + _BOTTOM
            title = (
                _title_of_replicates(model, replicates) if len(replicates) > 1 else _title(model, *replicates.values())
            )
            write(figure, _LEFT, bottom + _HEIGHT + 0.12, title, fontsize=10, weight="bold")
            axes = figure.add_axes(place(figure, _LEFT, bottom, _ACROSS, _HEIGHT), label=f"spectrum {model}")
            entries |= _draw_replicates(axes, replicates) if len(replicates) > 1 else _draw(axes, *replicates.values())
        if entries:
            corner = (_LEFT / WIDTH, (height - 0.9) / height)
            figure.legend(
                [*entries.values()], [*entries], loc="lower left", bbox_to_anchor=corner, ncols=4, frameon=False,
                borderaxespad=0, fontsize=8.5, columnspacing=1.6, handlelength=2.2,
            )  # fmt: skip
    return figure


def _title(model: str, spectrum: Spectrum) -> str:
    mean = f"tr(H)/N = {spectrum.mean:.3g} ± {spectrum.mean_error:.1g}"
    largest = f"largest {spectrum.eigenvalues[0]:.4g}" + ("" if spectrum.converged else " (not converged)")
    return f"{model}  ·  {spectrum.parameters:,} parameters  ·  {mean}  ·  {largest}"


def _title_of_replicates(model: str, replicates: Mapping[str, Spectrum]) -> str:
    means = [spectrum.mean for spectrum in replicates.values()]
    largest = [float(spectrum.eigenvalues[0]) for spectrum in replicates.values()]
    unsure = sum(not spectrum.converged for spectrum in replicates.values())
    return "  ·  ".join(
        (
            model,
            f"{next(iter(replicates.values())).parameters:,} parameters",
            f"{len(replicates)} replicates",
            f"tr(H)/N = {min(means):.3g} to {max(means):.3g}",
            f"largest {min(largest):.4g} to {max(largest):.4g}" + (f" ({unsure} not converged)" if unsure else ""),
        )
    )


def _draw_replicates(axes: Axes, replicates: Mapping[str, Spectrum]) -> dict[str, Line2D]:
    """Draw the largest eigenvalues, a line of points per replicate, from the top down."""
    for number, spectrum in enumerate(replicates.values()):
        (points,) = axes.plot(
            spectrum.eigenvalues, np.full(len(spectrum.eigenvalues), number), color=ORANGE, linewidth=0.9, marker="o",
            markersize=4.5, markeredgewidth=0,
        )  # fmt: skip
    axes.set_ylim(len(replicates) - 0.5, -0.5)
    axes.set_yticks(range(len(replicates)), [*replicates])
    if all((spectrum.eigenvalues > 0).all() for spectrum in replicates.values()):
        axes.set_xscale("log")
    _finish(axes)
    return {"largest eigenvalues": points}


def _draw(axes: Axes, spectrum: Spectrum) -> dict[str, Line2D]:
    """Return the lines for the legend, by their texts."""
    entries = {}
    if spectrum.density is not None:
        values, grid = spectrum.density.values, spectrum.density.grid
        floor = float(values.max()) / 10**_DECADES
        drawn = np.where(values > floor, values, np.nan)
        entries["density of eigenvalues"] = axes.plot(grid, drawn, color=BLUE, linewidth=1.4)[0]
        axes.set_yscale("log", nonpositive="mask")
        axes.set_ylim(floor, 3 * float(values.max()))
        axes.set_ylabel("density")
    else:
        axes.set_yticks([])
    for value in spectrum.eigenvalues:
        entries["largest eigenvalues"] = axes.axvline(float(value), color=ORANGE, linewidth=1.1, ymax=0.35)
    entries["tr(H)/N"] = axes.axvline(spectrum.mean, color=INK, linewidth=0.9, linestyle=":")
    _finish(axes)
    return entries


def _finish(axes: Axes) -> None:
    axes.set_xlabel("eigenvalue")
    axes.grid(visible=True, color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
