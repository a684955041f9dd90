"""Directions that are bitwise identical on every machine, and their normalisation (the paper; Li et al. 2018).

The stream of a seed depends only on the seed and on the number of parameters, not on the architecture, the device or a
global random state. The field's reference tool depends on these, so it cannot reproduce a published figure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
from jaxtyping import Float

from tmrepro.errors import UsageError
from tmrepro.networks.parameters import Layout, dot, norm_of, split_theta
from tmrepro.numerics.portable_normal import standard_normal
from tmrepro.records import Direction
from tmrepro.spec import DirectionsSpec

Normalization = Literal["l2", "filter", "layer", "none"]
Moves = Literal["all", "weights"]


@dataclass(frozen=True)
class DirectionPair:
    """delta^ and eta^ [n], float32, ready to be multiplied by a and b, with the facts that are stored about them."""

    delta: Float[np.ndarray, " n"]
    eta: Float[np.ndarray, " n"]
    delta_facts: Direction
    eta_facts: Direction
    cosine: float


def draw_stream(seed: int, *, size: int) -> Float[np.ndarray, " n"]:
    """Return `size` standard normal float32 numbers of the Philox stream with key `seed`."""
    return standard_normal(seed, size=size)


def normalize(
    stream: Float[np.ndarray, " n"],
    *,
    theta: Float[np.ndarray, " n"],
    layout: Layout,
    normalization: Normalization,
    moves: Moves,
) -> Float[np.ndarray, " n"]:
    """Scale a raw `stream` [n] into a direction [n].

    `l2`: one norm over the whole vector (the paper, Algorithm 2). `filter`: each filter, the first axis of a tensor of
    two or more dimensions, gets the norm of the trained filter (Li et al. 2018, section 4). `layer`: each tensor gets the
    norm of the trained tensor. Both set the parameters of fewer dimensions to zero. `none`: no change. `moves` = `weights`
    sets the parameters of fewer than two dimensions to zero before the normalisation.

    Raises:
        UsageError: nothing would move, since the model has no tensor of two or more dimensions.
    """
    if (moves == "weights" or normalization in {"filter", "layer"}) and all(len(part.shape) < 2 for part in layout):
        raise UsageError(
            f"moves {moves!r} with normalization {normalization!r} moves only tensors of two or more dimensions, and the "
            "model has none: use moves: all with normalization: l2 or none"
        )
    drawn = stream.copy()
    parts = split_theta(drawn, layout=layout)
    if moves == "weights":
        for part in parts.values():
            if part.ndim < 2:
                part[...] = 0
    match normalization:
        case "none":
            return drawn
        case "l2":
            wide = drawn.astype(np.float64)
            wide /= norm_of(drawn)
            return wide.astype(np.float32)
        case "filter" | "layer":
            for part, trained in zip(parts.values(), split_theta(theta, layout=layout).values(), strict=True):
                part[...] = _like_trained(part, trained, per_filter=normalization == "filter")
            return drawn
        case _:
            assert_never(normalization)


def draw_directions(
    seeds: tuple[int, int],
    *,
    theta: Float[np.ndarray, " n"],
    layout: Layout,
    normalization: Normalization,
    moves: Moves,
) -> DirectionPair:
    """Return delta^ and eta^ of a surface: the streams of both `seeds`, each normalised against `theta` [n]."""
    streams = [draw_stream(seed, size=theta.size) for seed in seeds]
    return _pair(streams, seeds=seeds, theta=theta, layout=layout, normalization=normalization, moves=moves)


def surface_directions(
    spec: DirectionsSpec,
    *,
    seeds: tuple[int, int],
    vectors: tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]] | None,
    theta: Float[np.ndarray, " n"],
    layout: Layout,
) -> DirectionPair:
    """Return delta^ and eta^ of a spec: drawn from `seeds`, or from the stored `vectors` if seeds do not determine them.

    With `l2`, directions between minima are made orthogonal, so that the plane shows true distances.
    """
    if vectors is not None and spec.kind == "between" and spec.normalization == "l2":
        vectors = vectors[0], orthogonal_to(vectors[0], vectors[1])
    if vectors is None:
        return draw_directions(seeds, theta=theta, layout=layout, normalization=spec.normalization, moves=spec.moves)
    return own_directions(vectors, theta=theta, layout=layout, normalization=spec.normalization, moves=spec.moves)


def orthogonal_to(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return `second` minus its component along `first`, in float32; unchanged if `first` is zero."""
    length = dot(first, first)
    if length == 0:
        return second
    return (second.astype(np.float64) - first.astype(np.float64) * (dot(first, second) / length)).astype(np.float32)


def own_directions(
    vectors: tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]],
    *,
    theta: Float[np.ndarray, " n"],
    layout: Layout,
    normalization: Normalization,
    moves: Moves,
) -> DirectionPair:
    """Return delta^ and eta^ from two vectors of the caller, each normalised against `theta` [n] like a drawn one.

    Raises:
        UsageError: a vector moves nothing.
    """
    for name, vector in zip(("delta", "eta"), vectors, strict=True):
        _require_moving(f"directions: {name}", vector, layout=layout, normalization=normalization, moves=moves)
    return _pair(vectors, seeds=(None, None), theta=theta, layout=layout, normalization=normalization, moves=moves)


def line_direction(
    given: int | Float[np.ndarray, " n"],
    *,
    theta: Float[np.ndarray, " n"],
    layout: Layout,
    normalization: Normalization,
    moves: Moves,
) -> DirectionPair:
    """Return delta^ of a line, from a seed or a vector of the caller, normalised like that of a plane. eta^ is 0.

    Raises:
        UsageError: the vector moves nothing.
    """
    seed = given if isinstance(given, int) else None
    vector = draw_stream(given, size=theta.size) if isinstance(given, int) else given
    if seed is None:
        _require_moving("direction", vector, layout=layout, normalization=normalization, moves=moves)
    delta, facts = _direction(vector, seed=seed, theta=theta, layout=layout, normalization=normalization, moves=moves)
    still = np.zeros_like(vector)
    nothing = Direction(seed=None, sha256=_digest(still), norm=0.0)
    return DirectionPair(delta, still, facts, nothing, cosine=0.0)


def sign_of(vector: Float[np.ndarray, " n"]) -> float:
    """Return the sign (1 or -1) that makes the entry of largest magnitude positive (ties: the lowest index)."""
    return -1.0 if vector[int(np.argmax(np.abs(vector)))] < 0 else 1.0


def _pair(
    streams: Sequence[Float[np.ndarray, " n"]],
    *,
    seeds: tuple[int | None, int | None],
    theta: Float[np.ndarray, " n"],
    layout: Layout,
    normalization: Normalization,
    moves: Moves,
) -> DirectionPair:
    (delta, delta_facts), (eta, eta_facts) = (
        _direction(stream, seed=seed, theta=theta, layout=layout, normalization=normalization, moves=moves)
        for seed, stream in zip(seeds, streams, strict=True)
    )
    length = delta_facts.norm * eta_facts.norm
    return DirectionPair(delta, eta, delta_facts, eta_facts, cosine=dot(delta, eta) / length if length else 0.0)


def _direction(
    stream: Float[np.ndarray, " n"],
    *,
    seed: int | None,
    theta: Float[np.ndarray, " n"],
    layout: Layout,
    normalization: Normalization,
    moves: Moves,
) -> tuple[Float[np.ndarray, " n"], Direction]:
    """Return a direction ready to be multiplied by a or b, and the facts that are stored about it."""
    direction = normalize(stream, theta=theta, layout=layout, normalization=normalization, moves=moves)
    return direction, Direction(seed=seed, sha256=_digest(stream), norm=norm_of(direction))


def _digest(stream: Float[np.ndarray, " n"]) -> str:
    return hashlib.sha256(stream.astype("<f4", copy=False).tobytes()).hexdigest()


def _require_moving(
    name: str, vector: Float[np.ndarray, " n"], *, layout: Layout, normalization: Normalization, moves: Moves
) -> None:
    parts = split_theta(vector, layout=layout).values()
    weights_only = moves == "weights" or normalization in {"filter", "layer"}
    if not any(np.any(part) for part in parts if part.ndim >= 2 or not weights_only):
        raise UsageError(
            f"{name} moves nothing: with moves {moves!r} and normalization {normalization!r}, all numbers that move are 0"
        )


def _like_trained(part: np.ndarray, trained: np.ndarray, *, per_filter: bool) -> np.ndarray:
    """Return `part` with the norm of `trained`, per filter or as a whole; zero if `part` is, or has no filters."""
    if part.ndim < 2 or part.size == 0:
        return np.zeros_like(part)
    rows = part.shape[0] if per_filter else 1
    drawn = part.reshape(rows, -1).astype(np.float64)
    target = trained.reshape(rows, -1).astype(np.float64)
    drawn_norm = np.sqrt(np.sum(drawn * drawn, axis=1, keepdims=True))
    target_norm = np.sqrt(np.sum(target * target, axis=1, keepdims=True))
    ratio = np.divide(target_norm, drawn_norm, out=np.zeros_like(target_norm), where=drawn_norm > 0)
    drawn *= ratio
    rounded: np.ndarray = drawn.astype(np.float32).reshape(part.shape)
    return rounded
