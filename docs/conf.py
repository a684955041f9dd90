"""Sphinx's settings. `make site` builds the site into site/, without a network."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from tmrepro.numerics.determinism import Determinism, prepare  # noqa: E402 - tmrepro must be found first

prepare(Determinism("portable", 2))  # before autodoc loads torch

project = "tmrepro"
author = "The tmrepro authors"
copyright = author  # noqa: A001 - Sphinx's name
version = release = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "tmrepro_docs"]
source_suffix = {".md": "markdown", ".ipynb": "markdown"}
exclude_patterns = ["_ext", "_static", "_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
default_role = "literal"  # `name` in a docstring is code
pygments_style, pygments_dark_style = "friendly", "monokai"

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say what each argument may be
autodoc_preserve_defaults = True
napoleon_google_docstring, napoleon_numpy_docstring = True, False
nitpicky = True
# Other projects' names are not looked up: that would need a network.
nitpick_ignore_regex = [("py:.*", r"(?!tmrepro\.(errors|view)\.).*")]

html_theme = "furo"
html_title = f"tmrepro {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"top_of_page_buttons": []}
