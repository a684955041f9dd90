"""Every statistic once more, straight from its definition by plain loops, on surfaces nobody chose."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from tests.statistics.arrays import statistics_of


@pytest.mark.parametrize("missing", [0.0, 0.02, 0.15])
@pytest.mark.parametrize(("shape", "home"), [((9, 9), (0, 0)), ((9, 9), (4, 4)), ((7, 11), (3, 5)), ((8, 5), (0, 0))])
@pytest.mark.parametrize("seed", range(4))
def test_statistics_follow_their_definitions(shape, home, missing, seed):
    generator = np.random.default_rng([seed, *shape, *home, int(100 * missing)])
    i, j = np.indices(shape)
    bowl = 0.02 * (i - home[0]) ** 2 + 0.05 * (j - home[1]) ** 2
    losses = bowl + 0.3 * generator.exponential(size=shape) * (seed + 1) / 4
    holes = generator.random(shape) < missing
    losses[holes] = generator.choice([math.nan, math.inf, -math.inf], size=int(holes.sum()))
    step = 0.5 + seed

    found = statistics_of(losses, home=home, step=step)
    expected = defined([[float(loss) for loss in row] for row in losses], home, step)

    assert list(found) == list(expected)
    for name, value in expected.items():
        # two orders of summation of some hundred losses
        assert found[name] == (None if value is None else pytest.approx(value, rel=1e-10, abs=1e-13)), name


def defined(S, home, step):
    rows, columns = len(S), len(S[0])
    points = [(i, j) for i in range(rows) for j in range(columns)]
    known = {p: S[p[0]][p[1]] for p in points if math.isfinite(S[p[0]][p[1]])}
    S0 = known.get(home)
    R = max(known.values()) - min(known.values())
    steps = {p: math.sqrt((p[0] - home[0]) ** 2 + (p[1] - home[1]) ** 2) for p in points}
    m = max(abs(i - home[0]) for i, _ in points)
    bars = [bar for bar in persistence(known) if bar > R / 100]
    square = rows == columns
    centred = 2 * home[0] == rows - 1 and 2 * home[1] == columns - 1
    return {
        "loss_at_minimum": S0,
        "depth_below_minimum": None if S0 is None else S0 - min(known.values()),
        "loss_min": min(known.values()),
        "loss_max": max(known.values()),
        "loss_mean": statistics.fmean(known.values()),
        "loss_median": statistics.median(known.values()),
        "non_finite": len(points) - len(known),
        "slope_at_minimum": slope(known, home, rows, columns, step),
        **{
            f"sharpness_{share}": None
            if S0 is None
            else 100 * max(known[p] - S0 for p in known if steps[p] <= share * m + 1e-9) / (1 + S0)
            for share in (0.1, 0.25, 0.5)
        },
        **{
            f"low_loss_fraction_{rise}": None if S0 is None else flood(known, home, S0 + rise) / len(points)
            for rise in (0.1, 0.5, 1.0)
        },
        "half_rise_radius": half_rise(known, home, rows, columns, steps, m, step),
        "roughness": roughness(known),
        "local_minima": 1 + len(bars),
        "total_persistence": sum(bars) / R,
        "axis_asymmetry": asymmetry(known, S0, lambda i, j: (j, i)) if square else None,
        "point_asymmetry": asymmetry(known, S0, lambda i, j: (rows - 1 - i, columns - 1 - j)) if centred else None,
        "convex_fraction": convex(known, R, step),
        "error_over_bound": None,
    }


def slope(known, home, rows, columns, step):
    if home not in known:
        return None
    gradient = []
    for axis, size in ((0, rows), (1, columns)):
        ahead, behind = list(home), list(home)
        ahead[axis] = min(home[axis] + 1, size - 1)
        behind[axis] = max(home[axis] - 1, 0)
        if tuple(ahead) not in known or tuple(behind) not in known:
            return None
        gradient.append((known[tuple(ahead)] - known[tuple(behind)]) / (step * (ahead[axis] - behind[axis])))
    return math.sqrt(gradient[0] ** 2 + gradient[1] ** 2)


def flood(known, home, level):
    low, waiting = set(), [home]
    while waiting:
        i, j = waiting.pop()
        if (i, j) in known and known[i, j] <= level and (i, j) not in low:
            low.add((i, j))
            waiting += [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
    return len(low)


def half_rise(known, home, rows, columns, steps, m, step):
    edges = [
        [(0, j) for j in range(columns)],
        [(rows - 1, j) for j in range(columns)],
        [(i, 0) for i in range(rows)],
        [(i, columns - 1) for i in range(rows)],
    ]
    border = {p for edge in edges if home not in edge for p in edge if p in known}
    if home not in known or not border:
        return None
    S0, B = known[home], statistics.median(known[p] for p in border)
    if B <= S0:
        return None
    target = S0 + (B - S0) / 2
    before = None
    for r in range(m + 1):
        ring = [known[p] for p in known if int(steps[p] + 0.5) == r]
        ring_mean = statistics.fmean(ring) if ring else None
        if ring_mean is not None and ring_mean >= target:
            return None if before is None else step * (r - 1 + (target - before) / (ring_mean - before))
        before = ring_mean
    return None


def roughness(known):
    logs = {p: math.log(1 + loss) for p, loss in known.items()}
    squares = []
    for i, j in logs:
        for before, after in (((i - 1, j), (i + 1, j)), ((i, j - 1), (i, j + 1))):
            if before in logs and after in logs:
                squares.append((logs[before] - 2 * logs[i, j] + logs[after]) ** 2)
    return math.sqrt(statistics.fmean(squares)) / (max(logs.values()) - min(logs.values()))


def persistence(known):
    """Finite bars by the elder rule: a basin dies where it meets a deeper one."""
    owner, bars = {}, []

    def deepest(p):
        while owner[p] != p:
            p = owner[p]
        return p

    for p in sorted(known, key=known.get):
        owner[p] = p
        i, j = p
        for neighbour in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if neighbour in owner:
                old, young = sorted((deepest(p), deepest(neighbour)), key=known.get)
                if old != young:
                    bars.append(known[p] - known[young])
                    owner[young] = old
    return bars


def asymmetry(known, S0, mirror):
    if S0 is None:
        return None
    pairs = [abs(known[p] - known[mirror(*p)]) for p in known if mirror(*p) in known]
    return statistics.fmean(pairs) / statistics.fmean(abs(loss - S0) for loss in known.values())


def convex(known, R, step):
    verdicts = []
    for i, j in known:
        if all((i + u, j + v) in known for u in (-1, 0, 1) for v in (-1, 0, 1)):
            aa = (known[i + 1, j] - 2 * known[i, j] + known[i - 1, j]) / step**2
            bb = (known[i, j + 1] - 2 * known[i, j] + known[i, j - 1]) / step**2
            diagonal = known[i + 1, j + 1] + known[i - 1, j - 1] - known[i + 1, j - 1] - known[i - 1, j + 1]
            ab = diagonal / (4 * step**2)
            verdicts.append(np.linalg.eigvalsh([[aa, ab], [ab, bb]])[0] >= -1e-6 * R / step**2)
    return statistics.fmean(verdicts) if verdicts else None
