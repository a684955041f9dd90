"""The command line. It has no logic: each module parses one command and shows what the library returns."""

from __future__ import annotations

from tmrepro.cli.main import main

__all__ = ["main"]
