"""The command line in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def run_tmrepro(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `tmrepro ARGUMENTS` in a process of its own, and return its exit code and what it said."""
    words = [sys.executable, "-c", "from tmrepro.cli import main; main()", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
