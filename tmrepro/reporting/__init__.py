"""What people and other tools see of a run: figures, pages, tables and exports.

    figures/     pictures; the same input gives the same bytes
    report       report.html, and what the other pages share; captions and masthead: its words
    progress     what long work says on its way
    cells        tables and pictures in a notebook's cells
    explore/     `tmrepro view`, the page to explore
    export/      netCDF, VTK, CSV, BagIt
    datasets/    figures and statistics of an xarray Dataset
    templates/   of the pages

Import from the modules: whoever wants a table need not load matplotlib.
"""
