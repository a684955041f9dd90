"""The page of `tmrepro view`: surfaces to turn, a map with a cursor, all in one file that loads nothing.

data        what the page shows, as JSON
page        the file: template, scripts, their hashes in its content security policy
assets/     the page's own scripts
vendor/     plotly.js, its gl3d part, as `tools/vendor_plotly.py` fetched it
"""

from __future__ import annotations

from tmrepro.reporting.explore.data import page_data
from tmrepro.reporting.explore.page import render_view, write_view

__all__ = ["page_data", "render_view", "write_view"]
