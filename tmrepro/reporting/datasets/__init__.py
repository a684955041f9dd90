"""Statistics and figures of surfaces and lines that are xarray Datasets (from `loss_surface`, `loss_line` and `open_run`).

reading      a Dataset as arrays, checked
statistics   `tmrepro.surface_statistics`
plot         `tmrepro.plot_surface`
"""

from __future__ import annotations

from tmrepro.reporting.datasets.plot import plot_surface
from tmrepro.reporting.datasets.statistics import surface_statistics

__all__ = ["plot_surface", "surface_statistics"]
