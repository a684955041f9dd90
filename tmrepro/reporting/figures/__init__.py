"""Figures of a run: the paper's Figure 1, the training curves, and a comparison of two figures pixel by pixel.

This package takes numpy-only records and returns a matplotlib `Figure` or bytes. It opens no file and no window
(Agg and the object interface, never pyplot). The same input gives the same bytes in every process, with any
matplotlibrc, backend and installed fonts; `style` ensures this.

    landscape    Figure 1: rows of    contour_map    a surface from above (`contours`: its lines and labels)
                                      solid          a surface in three dimensions
    replicates   small maps of all replicates of a surface
    training     curves of loss and accuracy
    single       one surface or line, into a new figure or given axes
    panel        what a row of a figure shows; overlay: paths and marked points on a surface
    spectrum     densities of Hessians' eigenvalues
    scale        from losses to heights, colours, round levels and labels
    style        settings, font, colours, text that fits its place
    save         a figure as PNG and PDF bytes
    pixels       the differences of two PNG files
    embedded     small copies for the pages
"""

from __future__ import annotations

from tmrepro.reporting.figures.embedded import Embedded, embed
from tmrepro.reporting.figures.landscape import draw_landscape
from tmrepro.reporting.figures.panel import Panel
from tmrepro.reporting.figures.pixels import PixelDifference, compare_png, difference_png
from tmrepro.reporting.figures.replicates import ReplicateSheet, draw_replicates
from tmrepro.reporting.figures.save import figure_files, render, save_figure
from tmrepro.reporting.figures.single import draw_line, draw_single
from tmrepro.reporting.figures.spectrum import draw_spectrum
from tmrepro.reporting.figures.training import draw_training

__all__ = [
    "Embedded",
    "Panel",
    "PixelDifference",
    "ReplicateSheet",
    "compare_png",
    "difference_png",
    "draw_landscape",
    "draw_line",
    "draw_replicates",
    "draw_single",
    "draw_spectrum",
    "draw_training",
    "embed",
    "figure_files",
    "render",
    "save_figure",
]
