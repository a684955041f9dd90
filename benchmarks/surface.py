"""The time of a faster evaluator as a share of the plain one's, for the surface of a finished run's model.

    make run && python benchmarks/surface.py runs/quickstart [--model dnn] [--grid 51] [--level machine]

The faster one evaluates the whole K x K grid as the surface stage of `tmrepro run` does, chunk by chunk, with nothing kept
from the previous round. The plain one evaluates a few of its points, and its time is scaled to the grid, since all points
take the same time. Both take turns, so that other load on the machine affects both; a ratio is of one round. One JSON line
per level: the median of the ratios and their range, microseconds per point and image, the largest error compared with the
plain evaluator in float64, over 1e-5 (|S| + 0.01), and the largest growth of memory. Weights and images are those of a run,
because untrained networks have other statistics.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from tmrepro.numerics.determinism import Determinism, apply, prepare

PLAIN_POINTS = 4
CHECKED_IMAGES, CHECKED_POINTS = 256, 6
CHUNK = 16


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--model", default="dnn")
    parser.add_argument("--evaluator", default=None, help="evaluator to measure; default: the one by rule")
    parser.add_argument("--grid", type=int, default=51)
    parser.add_argument("--images", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--level", choices=["machine", "portable"], default=None, help="default: both, each in its own process"
    )
    return parser.parse_args()


def memory(name: str) -> int:
    """Return VmRSS or VmHWM of this process, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def main() -> None:
    arguments = parsed()
    if arguments.level is None:
        for level in ("machine", "portable"):
            subprocess.run([sys.executable, *sys.argv, "--level", level], check=True)
        return
    determinism = Determinism(arguments.level, arguments.threads)
    prepare(determinism)

    import torch

    import tmrepro
    from tmrepro.directions.gaussian import draw_directions
    from tmrepro.networks.parameters import layout_of, norm_of, theta_of
    from tmrepro.numerics.inference import Targets
    from tmrepro.surface import PlainEvaluator, Problem, build_grid, choose, evaluate_chunks
    from tmrepro.surface.executors import Chunk

    apply(determinism)
    run = tmrepro.open_run(arguments.run)
    module, labels = run.model(arguments.model), run.labels(arguments.model)
    inputs = run.inputs()[: arguments.images]
    pair = draw_directions((1, 2), theta=theta_of(module), layout=layout_of(module), normalization="l2", moves="all")
    problem = Problem(module, pair, inputs, Targets(labels[: len(inputs)]), "float32")
    grid = build_grid(arguments.grid, origin="corner", step=1.0, unit="absolute", theta_norm=norm_of(theta_of(module)))
    starts = range(0, arguments.grid, CHUNK)
    chunks = [Chunk((i, j), grid.a[i : i + CHUNK], grid.b[j : j + CHUNK]) for i in starts for j in starts]
    choice = choose(problem, forced=arguments.evaluator)
    fast = partial(evaluate_chunks, determinism=determinism, kind=choice.kind)
    plain = PlainEvaluator(problem)
    warm = replace(problem, inputs=inputs[:64], targets=problem.targets.part(0, 64))
    list(fast(warm, chunks=chunks[:1]))  # compiles, or loads compiled code
    points = arguments.grid**2 * len(inputs)
    ratios, grown = [], 0
    seconds: dict[str, list[float]] = {"plain": [], choice.kind.name: []}
    for _ in range(arguments.rounds):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # reset VmHWM
        before, begin = memory("VmRSS"), time.perf_counter()
        with closing(fast(problem, chunks=chunks)) as results:
            for _result in results:
                pass
        seconds[choice.kind.name].append(time.perf_counter() - begin)
        grown = max(grown, memory("VmHWM") - before)
        begin = time.perf_counter()
        plain.block(grid.a[1:2], grid.b[:PLAIN_POINTS])
        seconds["plain"].append((time.perf_counter() - begin) * arguments.grid**2 / PLAIN_POINTS)
        ratios.append(seconds[choice.kind.name][-1] / seconds["plain"][-1])
    few = replace(problem, inputs=inputs[:CHECKED_IMAGES], targets=problem.targets.part(0, CHECKED_IMAGES))
    a, b = grid.a[: 3 * CHECKED_POINTS : CHECKED_POINTS], grid.b[:CHUNK]
    losses = choice.kind(few).block(grid.a[:CHUNK], b)[0][::CHECKED_POINTS]
    expected = PlainEvaluator(replace(few, precision="float64")).block(a[: len(losses)], b)[0]
    found = {
        "model": arguments.model,
        "evaluator": choice.kind.name,
        "level": arguments.level,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": arguments.threads,
        "images": len(inputs),
        "K": arguments.grid,
        "ratio": round(statistics.median(ratios), 4),
        "range": [round(min(ratios), 4), round(max(ratios), 4)],
        "microseconds": {name: round(statistics.median(each) / points * 1e6, 3) for name, each in seconds.items()},
        "error_over_bound": round(float(np.max(np.abs(losses - expected) / (1e-5 * (np.abs(expected) + 0.01)))), 4),
        "grown_mebibytes": grown // 2**20,
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
