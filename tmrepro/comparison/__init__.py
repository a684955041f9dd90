"""Many runs at once: what a folder holds (`tmrepro ls`), and runs side by side (`tmrepro compare`).

listing      the runs and references below a folder
comparison   specs, networks and statistics of several, a column for each
output       both as CSV and as a page
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
