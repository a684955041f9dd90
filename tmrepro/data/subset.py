"""Which pictures are used, and in which order: drawn by a seed, stratified by class.

The draw uses the raw 64-bit output of Philox, whose stream never changes. NumPy may change the streams of `permutation` and
`choice` between versions. Anybody can repeat the draw:

1. bits = numpy.random.Philox(key=seed); ticket = bits.random_raw(n), one number per picture of the source.
2. In each class, the pictures with the lowest tickets are drawn, as many as the quota of the class.
3. place = bits.random_raw(n); the drawn pictures are sorted by their place.

Step 3 mixes the classes even if everything is drawn, so the first m pictures are a fair draw too (`samples: m`).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64, Integer

from tmrepro.errors import UsageError


def draw(labels: Integer[np.ndarray, " n"], *, count: int, seed: int) -> Int64[np.ndarray, " count"]:
    """Return the indices of `count` of the n pictures, each class with its share, in a seeded random order.

    Raises:
        UsageError: `count` is below 1 or above n.
    """
    return _draw(labels, count=count, bits=np.random.Philox(key=seed))


def draw_two(
    labels: Integer[np.ndarray, " n"], *, first: int, second: int, seed: int
) -> tuple[Int64[np.ndarray, " first"], Int64[np.ndarray, " second"]]:
    """Return two disjoint draws from one set: the first as `draw` makes it, the second from the rest.

    The second continues the stream of the first.

    Raises:
        UsageError: a count is below 1, or the two together are above n.
    """
    bits = np.random.Philox(key=seed)
    chosen = _draw(labels, count=first, bits=bits)
    rest = np.setdiff1d(np.arange(len(labels), dtype=np.int64), chosen)
    return chosen, rest[_draw(labels[rest], count=second, bits=bits)]


def quotas(sizes: Integer[np.ndarray, " classes"], *, count: int) -> Int64[np.ndarray, " classes"]:
    """Return how many of `count` each class gets: its share, rounded by largest remainder (ties: the lowest class).

    The arithmetic is in integers. No class gets more than it has, if `count` is at most the sum of `sizes`.
    """
    total = int(sizes.sum())
    shares = sizes.astype(np.int64) * count
    quota = shares // total
    by_remainder = np.argsort(-(shares % total), kind="stable")
    quota[by_remainder[: count - int(quota.sum())]] += 1
    return quota


def checked_count(asked: int | None, *, available: int, field: str, where: str) -> int:
    """Return `asked` (None: all) if the set has that many, else raise an error that names the field to lower.

    Raises:
        UsageError: `asked` is below 1 or above `available`.
    """
    if asked is None:
        return available
    if asked < 1:
        raise UsageError(f"{field}: must be at least 1 (got {asked})")
    if asked > available:
        msg = f"{field}: asks for {asked} images, but {where} has {available}; lower {field} to at most {available}"
        raise UsageError(msg)
    return asked


def _draw(labels: Integer[np.ndarray, " n"], *, count: int, bits: np.random.Philox) -> Int64[np.ndarray, " count"]:
    if not 1 <= count <= len(labels):
        raise UsageError(f"cannot draw {count} of {len(labels)} images; ask for 1 to {len(labels)}")
    tickets, places = bits.random_raw(len(labels)), bits.random_raw(len(labels))
    _, sizes = np.unique(labels, return_counts=True)
    # Sorted by class, then by ticket: each class is one run, and the pictures to draw are its first.
    by_class = np.lexsort((tickets, labels))
    run_starts = np.cumsum(sizes) - sizes
    rank_in_class = np.arange(len(labels)) - np.repeat(run_starts, sizes)
    drawn = by_class[rank_in_class < np.repeat(quotas(sizes, count=count), sizes)]
    return drawn[np.argsort(places[drawn], kind="stable")].astype(np.int64)
