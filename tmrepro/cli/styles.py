"""How grades and logs look, and how wide: what several commands print alike."""

import os
import shutil
import sys

PLAIN_WIDTH = 160  # of a log, which has no width of its own
STYLES = {
    "identical": "green",
    "equal": "green",
    "consistent": "yellow",
    "different": "red",
    "litter": "yellow",
    "damaged": "red",
}


def terminal_width() -> int | None:
    """Columns of the terminal that standard output is, or of COLUMNS where that is set; None for a log."""
    if "COLUMNS" in os.environ or sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return None
