"""Surfaces and rows that look like what a run gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tmrepro.records import Direction, Surface, SurfaceFacts
from tmrepro.reporting.figures import Panel


def make_panel(
    f: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda a, b: 0.01 + (a**2 + 0.5 * b**2) / 50,
    *,
    shape: tuple[int, int] = (11, 9),
    model: str = "dnn",
    category: str = "TM",
    home: tuple[int, int] = (0, 0),
    norm: float = 1.0,
    theta_norm: float = 20.0,
) -> Panel:
    """Return a row whose surface is f(a, b) on a corner grid of the given shape."""
    a, b = np.arange(shape[0]) - float(home[0]), np.arange(shape[1]) - float(home[1])
    loss = np.broadcast_to(f(a[:, None], b[None, :]), shape).astype(np.float64)
    facts = SurfaceFacts(
        delta=Direction(seed=1, sha256="0" * 64, norm=norm),
        eta=Direction(seed=2, sha256="1" * 64, norm=norm),
        cosine=0.001,
        theta_norm=theta_norm,
        images=640,
        labels="relabelled",
    )
    surface = Surface(loss=loss, accuracy=np.full(shape, 0.5), a=a, b=b)
    return Panel(model=model, category=category, surface=surface, facts=facts, home=home)
