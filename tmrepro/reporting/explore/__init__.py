"""The page of `tmrepro view`: surfaces to rotate and a map with a cursor, in one file that loads no other resource.

data        the content of the page, as JSON
page        the file: template, scripts, their hashes in its content security policy
assets/     the page's own scripts
vendor/     plotly.js, its gl3d part, downloaded by `tools/vendor_plotly.py`
"""

from __future__ import annotations

from tmrepro.reporting.explore.data import page_data
from tmrepro.reporting.explore.page import render_view, write_view

__all__ = ["page_data", "render_view", "write_view"]
