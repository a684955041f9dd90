"""Colours of grades and the width of output, shared by several commands."""

import os
import shutil
import sys

PLAIN_WIDTH = 160  # for output that is not a terminal
STYLES = {
    "identical": "green",
    "equal": "green",
    "consistent": "yellow",
    "different": "red",
    "litter": "yellow",
    "damaged": "red",
}


def terminal_width() -> int | None:
    """Return the columns of the terminal, or COLUMNS if it is set; None if standard output is not a terminal."""
    if "COLUMNS" in os.environ or sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return None
