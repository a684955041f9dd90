"""The figure of spectra: a row for each network, with all of its replicates."""

from __future__ import annotations

import numpy as np
import pytest

from tmrepro.records import Density, Spectrum
from tmrepro.reporting.figures import draw_spectrum


def spectrum(*eigenvalues: float, converged: bool = True, density: bool = False) -> Spectrum:
    grid = np.linspace(-1, 1, 5)
    return Spectrum(
        eigenvalues=np.array(eigenvalues),
        converged=converged,
        mean=0.25,
        mean_error=0.125,
        parameters=1234,
        density=Density(grid, np.full(5, 0.5), 0.1, 2) if density else None,
    )


def test_a_network_of_one_training_has_its_density_and_its_mean():
    figure = draw_spectrum({"dnn": {"dnn": spectrum(3.0, 2.0, density=True)}})
    (axes,) = figure.axes
    assert axes.get_ylabel() == "density"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "density of eigenvalues", "largest eigenvalues", "tr(H)/N",
    ]  # fmt: skip


@pytest.mark.parametrize(("lowest", "scale"), [(0.5, "log"), (-0.5, "linear")])
def test_replicates_share_a_row_and_are_named(lowest: float, scale: str) -> None:
    """Also if only some of the replicates were measured. A negative eigenvalue has no place on a logarithmic axis."""
    replicates = {"cnn": spectrum(7.0, 5.0), "cnn.r2": spectrum(9.0, lowest, converged=False)}
    figure = draw_spectrum({"dnn": {"dnn": spectrum(1.0)}, "cnn": replicates})
    assert len(figure.axes) == 2
    axes = figure.axes[1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cnn", "cnn.r2"]
    assert [[*line.get_xdata()] for line in axes.lines] == [[7.0, 5.0], [9.0, lowest]]
    assert axes.get_xscale() == scale
    (title,) = [text.get_text() for text in figure.texts if text.get_text().startswith("cnn")]
    assert "2 replicates" in title
    assert "largest 7 to 9 (1 not converged)" in title
