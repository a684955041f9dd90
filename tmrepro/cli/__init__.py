"""The command line. No logic lives here: each module parses one command and shows what the library returns."""

from __future__ import annotations

from tmrepro.cli.main import main

__all__ = ["main"]
