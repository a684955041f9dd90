"""The loops of tracking over images, compiled by numba: no exp, no log, no fused products, and a fixed order of operations.

Shapes: T images, U units of the first layer, on P places (U = channels x P, place fastest), M outputs of the second
layer per output place, Q = output places x M, J columns of the block.

A unit's value at (alpha, beta) is z0 + alpha z1 + beta z2. While it is on, it adds this value times the weight
w + alpha d + beta e to an output. So six coefficients per output are enough, those of 1, alpha, beta, alpha^2, alpha beta,
beta^2; and three along a row, where alpha is fixed. They are counted from theta*. From another point, values and
weights that are small near theta* would be differences of large ones.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

# Products and sums are computed in the order of the code, so that every processor gives the same bits.
HOW: dict[str, Any] = {"nogil": True, "fastmath": False, "boundscheck": False, "error_model": "numpy"}


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Return `function` as machine code, which is cached for the next process if a folder for it is writable."""
    function = inspect.unwrap(function)  # in the tests, it is wrapped in a type checker
    try:
        kernel = njit(cache=True, **HOW)(function)
    except RuntimeError:  # numba found no writable folder
        return njit(**HOW)(function)  # type: ignore[no-any-return]

    @functools.wraps(function)
    def call(*arguments: Any) -> None:
        nonlocal kernel
        try:
            kernel(*arguments)
        except Exception:  # noqa: BLE001 - the cache is damaged, or the disk is full: a kernel itself never raises
            kernel = njit(**HOW)(function)
            kernel(*arguments)

    return call


@_compiled
def track_row(alpha, betas, z0, z1, z2, on, six, weights, start, places, taps, kernel, relu, out):
    """Write the second layer's outputs along the row at `alpha` into `out` [J, T, Q].

    Move the first column's states `on` [T, U] and coefficients `six` [T, 6, Q] there from the previous row. `weights` are the
    second layer's w, d, e, and w + alpha d.
    """
    w, d, e, there = weights
    T, U = z0.shape
    P = start.shape[0] - 1
    M, J, Q = w.shape[1], betas.shape[0], out.shape[2]
    q = np.empty((Q // M, 3, M), np.float32)
    changes = np.zeros((U + 7) // 8 * 8, np.uint8)  # 1: changed on the way to this row, 2: changes along it
    words = changes.view(np.uint64)
    entering, moving = np.empty(U + 1, np.int32), np.empty(U + 1, np.int32)
    values, slopes, column = np.empty(U, np.float32), np.empty(U, np.float32), np.empty(U, np.int32)
    begins, order = np.empty(J + 1, np.int32), np.empty(U, np.int32)
    near, low, high = np.float32(alpha), betas[0], betas[J - 1]
    for t in range(T):
        for u in range(U):
            here = z0[t, u] + near * z1[t, u]
            first, now = here + low * z2[t, u] > 0, here + high * z2[t, u] > 0
            changes[u] = (first != (on[t, u] != 0)) + 2 * (first != now)
            on[t, u] = first
        entries = flips = 0
        for word in range(words.shape[0]):
            if words[word] == 0:  # usually skips eight units at once
                continue
            for u in range(8 * word, min(8 * word + 8, U)):
                entering[entries], moving[flips] = u, u
                entries += changes[u] & 1
                flips += changes[u] >> 1
        for n in range(entries):  # the first column, from the previous row to this one
            u = entering[n]
            sign = 1.0 if on[t, u] else -1.0
            p, s, r = sign * z0[t, u], sign * z1[t, u], sign * z2[t, u]
            channel, place = u // P, u % P
            for k in range(start[place], start[place + 1]):
                at, row = places[k] * M, channel * kernel + taps[k]
                wr, dr, er = w[row], d[row], e[row]
                s0, s1, s2 = six[t, 0, at : at + M], six[t, 1, at : at + M], six[t, 2, at : at + M]
                s3, s4, s5 = six[t, 3, at : at + M], six[t, 4, at : at + M], six[t, 5, at : at + M]
                for m in range(M):
                    wm, dm, em = np.float64(wr[m]), np.float64(dr[m]), np.float64(er[m])
                    s0[m] += p * wm
                    s1[m] += s * wm + p * dm
                    s2[m] += r * wm + p * em
                    s3[m] += s * dm
                    s4[m] += r * dm + s * em
                    s5[m] += r * em
        for place in range(Q // M):
            for m in range(M):
                at = place * M + m
                q[place, 0, m] = six[t, 0, at] + alpha * (six[t, 1, at] + alpha * six[t, 3, at])
                q[place, 1, m] = six[t, 2, at] + alpha * six[t, 4, at]
                q[place, 2, m] = six[t, 5, at]
        begins[:] = 0
        for n in range(flips):  # sorted by the column at which they change
            u = moving[n]
            base, slope, states = z0[t, u] + near * z1[t, u], z2[t, u], 0
            for j in range(J):
                states += base + betas[j] * slope > 0
            values[n], slopes[n] = base, slope
            column[n] = states if on[t, u] else J - states  # before that column, the state is that of the first column
            begins[column[n]] += 1
        total = 0
        for j in range(J + 1):
            count = begins[j]
            begins[j] = total
            total += count
        for n in range(flips):
            order[begins[column[n]]] = n
            begins[column[n]] += 1
        done = 0
        for j in range(J):
            while done < begins[j]:
                n = order[done]
                u = moving[n]
                done += 1
                sign = np.float32(-1.0 if on[t, u] else 1.0)
                p, s = sign * values[n], sign * slopes[n]
                channel, place = u // P, u % P
                for k in range(start[place], start[place + 1]):
                    at, row = places[k], channel * kernel + taps[k]
                    q0, q1, q2, wr, er = q[at, 0], q[at, 1], q[at, 2], there[row], e[row]
                    for m in range(M):
                        wm, em = wr[m], er[m]
                        q0[m] += p * wm
                        q1[m] += p * em + s * wm
                        q2[m] += s * em
            beta = betas[j]
            for place in range(Q // M):
                q0, q1, q2, row = q[place, 0], q[place, 1], q[place, 2], out[j, t, place * M : place * M + M]
                if relu:
                    for m in range(M):
                        value = q0[m] + beta * (q1[m] + beta * q2[m])
                        row[m] = np.float32(0) if value < 0 else value  # nan stays nan
                else:
                    for m in range(M):
                        row[m] = q0[m] + beta * (q1[m] + beta * q2[m])


@_compiled
def gather(x, source, rows):
    """Write rows[t, q, k] = x[t, source[q, k]], for x [T, P, C]; zero if there is no source (-1)."""
    T, C = x.shape[0], x.shape[2]
    Q, K = source.shape
    for t in range(T):
        for q in range(Q):
            for k in range(K):
                place, row = source[q, k], rows[t, q, k]
                if place < 0:
                    row[:] = 0
                else:
                    values = x[t, place]
                    for c in range(C):
                        row[c] = values[c]


@_compiled
def shift(logits, classes, shifted, picked, right):
    """Subtract the largest logit of each image from logits [J, C, T], in float64. Write `picked` [J, T], those of the labels.

    Write to `right` [J] the number of images whose first largest logit is that of the label.
    """
    J, C, T = logits.shape
    top, at = np.empty(T, np.float32), np.empty(T, np.int32)
    for j in range(J):
        top[:], at[:] = logits[j, 0], 0
        for c in range(1, C):
            row = logits[j, c]
            for t in range(T):
                larger = row[t] > top[t]
                top[t] = row[t] if larger else top[t]
                at[t] = c if larger else at[t]
        for c in range(C):
            row, less = logits[j, c], shifted[j, c]
            for t in range(T):
                less[t] = np.float64(row[t]) - np.float64(top[t])
        hits = 0
        for t in range(T):
            hits += at[t] == classes[t]
            picked[j, t] = shifted[j, classes[t], t]
        right[j] = hits


@_compiled
def sum_losses(logs, picked, least, most, sums):
    """Write the sums [J] of the losses logs - picked [J, T], each limited to `least` .. `most`; nan stays nan."""
    J, T = logs.shape
    for j in range(J):
        total = 0.0
        for t in range(T):
            loss = logs[j, t] - picked[j, t]
            total += least if loss < least else most if loss > most else loss  # noqa: FURB136 - min and max lose nan
        sums[j] = total


@_compiled
def sum_classes(exponentials, sums):
    """Write the sums [J, T] over the classes of [J, C, T]."""
    J, C, T = exponentials.shape
    for j in range(J):
        total = sums[j]
        total[:] = 0
        for c in range(C):
            row = exponentials[j, c]
            for t in range(T):
                total[t] += row[t]
