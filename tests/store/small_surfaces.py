"""A small surface whose values are known, with nan and infinities among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tmrepro.records import Direction, Grid, SurfaceError, SurfaceFacts
from tmrepro.store.surfaces import (
    chunk_slices,
    create_surface,
    open_surface,
)

K, CHUNK = 7, 3


FACTS = SurfaceFacts(
    delta=Direction(seed=1, sha256="ab" * 32, norm=1.0),
    eta=Direction(seed=2, sha256="cd" * 32, norm=1.0),
    cosine=0.00123,
    theta_norm=17.25,
    images=1024,
    labels="relabelled",
)


def make_grid(points: int = K, *, step: float = 0.5) -> Grid:
    """Two axes that differ, so that swapping them shows."""
    return Grid(a=step * np.arange(points), b=step * np.arange(points) - 1.0, home=(0, 2), step=step)


def values(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """f(a, b) = a + 100 b, and something else for the accuracy."""
    loss = grid.a[:, None] + 100 * grid.b[None, :]
    return loss, np.cos(3 * grid.a[:, None] + grid.b[None, :])


def fill(run: Path, *, surface: str = "paper", model: str = "dnn", backwards: bool = False) -> tuple[Grid, np.ndarray]:
    grid = make_grid()
    loss, accuracy = values(grid)
    loss[2, 5], loss[6, 6], loss[0, 6] = np.nan, np.inf, -np.inf
    create_surface(run, surface, model, grid=grid, chunk=CHUNK, facts=FACTS)
    slices = chunk_slices(K, CHUNK)
    for index, i, j in reversed(slices) if backwards else slices:
        open_surface(run, surface, model).write(index, loss[i, j], accuracy[i, j])
    return grid, loss


def contents(run: Path) -> dict[str, bytes]:
    store = run / "surfaces.zarr"
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


ERROR = SurfaceError(0.25, ((0, 2), (6, 6), (3, 1), (1, 5)), 512)
