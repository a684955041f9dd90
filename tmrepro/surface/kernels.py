"""What tracking does image by image, compiled by numba: no exp, no log, no fused products, no order that may change.

Shapes: T images, U units behind the first layer, on P places (U = channels x P, place fastest), M outputs of the second
layer per place of its own, Q = places x M of them, J columns of the block.

A unit's value at (alpha, beta), counted from the block's corner, is z0 + alpha z1 + beta z2. What it adds to an output
while it is on is that times the weight w + alpha d + beta e, so six coefficients per output are enough, those of
1, alpha, beta, alpha^2, alpha beta, beta^2; and along a row, where alpha is fixed, three.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

# Products and sums are done as they stand, in their order: then every processor gives the same bits.
HOW: dict[str, Any] = {"nogil": True, "fastmath": False, "boundscheck": False, "error_model": "numpy"}


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """`function` as machine code, kept for the next process where a folder for that can be written."""
    function = inspect.unwrap(function)  # in the tests a checker of types is around it
    try:
        kernel = njit(cache=True, **HOW)(function)
    except RuntimeError:  # numba found no such folder
        return njit(**HOW)(function)  # type: ignore[no-any-return]

    @functools.wraps(function)
    def call(*arguments: Any) -> None:
        nonlocal kernel
        try:
            kernel(*arguments)
        except Exception:  # noqa: BLE001 - what was kept is damaged, or the disk is full: a kernel itself never raises
            kernel = njit(**HOW)(function)
            kernel(*arguments)

    return call


@_compiled
def enter_row(alpha, z0, z1, z2, on, six, w, d, e, start, places, taps, kernel):
    """Move the first column's states `on` [T, U] and coefficients `six` [T, 6, Q] to the row at `alpha`."""
    T, U = z0.shape
    P = start.shape[0] - 1
    M = w.shape[1]
    near = np.float32(alpha)
    for t in range(T):
        for u in range(U):
            now = z0[t, u] + near * z1[t, u] > 0
            if now == (on[t, u] != 0):
                continue
            on[t, u] = 1 if now else 0
            sign = 1.0 if now else -1.0
            p, s, r = sign * z0[t, u], sign * z1[t, u], sign * z2[t, u]
            channel, place = u // P, u % P
            for k in range(start[place], start[place + 1]):
                q, row = places[k] * M, channel * kernel + taps[k]
                for m in range(M):
                    wm, dm, em = np.float64(w[row, m]), np.float64(d[row, m]), np.float64(e[row, m])
                    six[t, 0, q + m] += p * wm
                    six[t, 1, q + m] += s * wm + p * dm
                    six[t, 2, q + m] += r * wm + p * em
                    six[t, 3, q + m] += s * dm
                    six[t, 4, q + m] += r * dm + s * em
                    six[t, 5, q + m] += r * em


@_compiled
def track_row(alpha, betas, z0, z1, z2, on, six, wa, e, start, places, taps, kernel, relu, out):
    """The second layer's outputs `out` [J, T, Q] along the row at `alpha`; `wa` are the weights there, w + alpha d."""
    T, U = z0.shape
    P = start.shape[0] - 1
    M, J, Q = wa.shape[1], betas.shape[0], out.shape[2]
    q0, q1, q2 = np.empty(Q), np.empty(Q), np.empty(Q)
    found, column = np.empty(U, np.int32), np.empty(U, np.int32)
    begins, order = np.empty(J + 1, np.int32), np.empty(U, np.int32)
    near, last = np.float32(alpha), betas[J - 1]
    for t in range(T):
        for m in range(Q):
            q0[m] = six[t, 0, m] + alpha * (six[t, 1, m] + alpha * six[t, 3, m])
            q1[m] = six[t, 2, m] + alpha * six[t, 4, m]
            q2[m] = six[t, 5, m]
        flips = 0
        for u in range(U):
            if (z0[t, u] + near * z1[t, u] + last * z2[t, u] > 0) != (on[t, u] != 0):
                found[flips] = u
                flips += 1
        begins[:] = 0
        for n in range(flips):
            u = found[n]
            here, low, high = on[t, u] != 0, 0, J - 1
            while high - low > 1:  # its state is that of column `low`, and another at `high`
                middle = (low + high) // 2
                if (z0[t, u] + near * z1[t, u] + betas[middle] * z2[t, u] > 0) == here:
                    low = middle
                else:
                    high = middle
            column[n] = high
            begins[high] += 1
        total = 0
        for j in range(J + 1):
            count = begins[j]
            begins[j] = total
            total += count
        for n in range(flips):
            order[begins[column[n]]] = found[n]
            begins[column[n]] += 1
        done = 0
        for j in range(J):
            while done < begins[j]:
                u = order[done]
                done += 1
                sign = -1.0 if on[t, u] != 0 else 1.0
                p = sign * (np.float64(z0[t, u]) + alpha * np.float64(z1[t, u]))
                s = sign * np.float64(z2[t, u])
                channel, place = u // P, u % P
                for k in range(start[place], start[place + 1]):
                    q, row = places[k] * M, channel * kernel + taps[k]
                    for m in range(M):
                        wm, em = np.float64(wa[row, m]), np.float64(e[row, m])
                        q0[q + m] += p * wm
                        q1[q + m] += p * em + s * wm
                        q2[q + m] += s * em
            beta = np.float64(betas[j])
            if relu:
                for m in range(Q):
                    value = np.float32(q0[m] + beta * (q1[m] + beta * q2[m]))
                    out[j, t, m] = np.float32(0) if value < 0 else value  # nan stays
            else:
                for m in range(Q):
                    out[j, t, m] = np.float32(q0[m] + beta * (q1[m] + beta * q2[m]))


@_compiled
def shift(logits, classes, shifted, right):
    """Logits [R, C] less the largest of each row, in float64; `right` [R]: whether the first largest is the class."""
    R, C = logits.shape
    for r in range(R):
        top, at = logits[r, 0], 0
        for c in range(1, C):
            if logits[r, c] > top:
                top, at = logits[r, c], c
        right[r] = at == classes[r % classes.shape[0]]
        for c in range(C):
            shifted[r, c] = np.float64(logits[r, c]) - np.float64(top)


@_compiled
def sum_rows(exponentials, sums):
    """Sums [R] of rows [R, C]."""
    R, C = exponentials.shape
    for r in range(R):
        total = 0.0
        for c in range(C):
            total += exponentials[r, c]
        sums[r] = total
