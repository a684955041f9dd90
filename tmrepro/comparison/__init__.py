"""Comparison of runs. Neither torch nor the data are needed.

contents.py     the results of a run as named values: the one list of what diff, verify and verify --update compare
runs.py         `tmrepro diff`: the first difference between two runs; stages.py: the differences of one stage
provenance.py   likely reasons for it, from the provenance of both
listing.py      `tmrepro ls`: the runs and references below a folder
several.py      `tmrepro compare`: specs, networks and statistics, a column per run
output.py       both as CSV and as a page
"""

from __future__ import annotations

from tmrepro.comparison.listing import Entry, Listing, list_folder
from tmrepro.comparison.output import comparison_csv, comparison_page, listing_csv, listing_page
from tmrepro.comparison.several import Cell, Comparison, Row, compare_folders

__all__ = [
    "Cell",
    "Comparison",
    "Entry",
    "Listing",
    "Row",
    "compare_folders",
    "comparison_csv",
    "comparison_page",
    "list_folder",
    "listing_csv",
    "listing_page",
]
