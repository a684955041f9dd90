"""A module that a hostile spec names as the factory of its network: it must never be imported."""

from __future__ import annotations

import os
from pathlib import Path

Path(os.environ["HOSTILE_MARKER"]).touch()
