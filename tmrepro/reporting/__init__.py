"""The output of a run for people and other tools: figures, pages, tables and exports.

    figures/     pictures; the same input gives the same bytes
    report       report.html, and what the other pages share; captions and masthead: its texts
    progress     progress messages of long computations
    cells        tables and pictures in a notebook's cells
    explore/     `tmrepro view`, the page to explore
    export/      netCDF, VTK, CSV, BagIt
    datasets/    figures and statistics of an xarray Dataset
    templates/   of the pages

Import from the modules, so that a table can be made without loading matplotlib.
"""
