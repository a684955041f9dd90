"""What all tests share: determinism as the command line sets it, before anything loads torch."""

from __future__ import annotations

from tmrepro.determinism import Determinism, prepare

prepare(Determinism("portable", 2))
