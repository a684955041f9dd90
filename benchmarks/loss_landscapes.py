"""The same plane by tmrepro and by PyPI's `loss-landscapes` 3.0.6: same weights, directions, images and machine, in turns.

    python -m pip install --no-deps --target build/loss-landscapes loss-landscapes==3.0.6
    python -P benchmarks/loss_landscapes.py [--models dnn cnn resnet50] [--images 500] [--grid 5] [--rounds 3]

Each network is trained on digits for a few epochs, as in `tmrepro bench`. Both evaluate K x K points from theta* along
delta^ and eta^, one step apart. tmrepro uses its default determinism, `portable`. Both use two threads.
(-P: otherwise numba would import benchmarks/coverage.py in place of the package of that name.)

`planar_interpolation` does not evaluate exactly that plane. It steps along its second direction before each evaluation,
forwards in even columns and backwards in odd ones, so its even columns are the points b = 1, ..., K and its odd ones
b = 0, ..., K - 1. Both are compared with the definition in float64 at their actual points. One JSON line per network.
"""

import argparse
import copy
import json
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from tmrepro.numerics.determinism import Determinism, apply, prepare

INSTALLED = Path("build/loss-landscapes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=["dnn", "cnn", "resnet50"])
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--grid", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--evaluator", help="evaluator to use instead of the one by rule")
    arguments = parser.parse_args()
    determinism = Determinism("portable", 2)
    prepare(determinism)
    sys.path.insert(0, str(INSTALLED))

    import loss_landscapes
    import torch
    from loss_landscapes.metrics import Loss

    from tmrepro.api.benchmark import SPEC, trained_problem
    from tmrepro.spec import expand_models, parse_spec
    from tmrepro.surface import PlainEvaluator, choose

    apply(determinism)
    K = arguments.grid
    for name in arguments.models:
        epochs = 2 if name == "resnet50" else 10
        listed = f"{{name: {name}, kind: {name}, training: {{max_epochs: {epochs}}}}}"
        spec = parse_spec(SPEC.format(images=arguments.images, models=listed, K=K, level="portable", threads=2))
        problem, grid = trained_problem(spec, expand_models(spec)[0])
        choice = choose(problem, forced=arguments.evaluator)
        evaluator, plain = choice.kind(problem), PlainEvaluator(problem)
        ends = []
        for direction in (problem.directions.delta, problem.directions.eta):
            end, offset = copy.deepcopy(problem.model), 0
            with torch.no_grad():
                for value in end.parameters():
                    part = direction[offset : offset + value.numel()]
                    value.add_(torch.from_numpy(part).view(value.shape), alpha=K)
                    offset += value.numel()
            ends.append(end)
        metric = Loss(torch.nn.CrossEntropyLoss(), problem.inputs, problem.targets.values)
        seconds: dict[str, list[float]] = {"tmrepro": [], "plain": [], "loss-landscapes": []}
        evaluator.block(grid.a[:1], grid.b[:1])
        for _ in range(arguments.rounds):
            begin = time.perf_counter()
            ours, _ = evaluator.block(grid.a, grid.b)
            seconds["tmrepro"].append(time.perf_counter() - begin)
            begin = time.perf_counter()
            plain.block(grid.a[:1], grid.b)
            seconds["plain"].append(K * (time.perf_counter() - begin))
            ours_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            model = copy.deepcopy(problem.model)  # it moves the parameters of its model, and does not restore them
            begin = time.perf_counter()
            theirs = loss_landscapes.planar_interpolation(model, *ends, metric, steps=K)  # type: ignore[attr-defined]
            seconds["loss-landscapes"].append(time.perf_counter() - begin)
        wide = PlainEvaluator(
            problem.__class__(*(problem.model, problem.directions, problem.inputs, problem.targets, "float64"))
        )
        expected = wide.block(grid.a, np.arange(K + 1.0))[0]
        there = np.stack([row[1:] if i % 2 == 0 else row[:-1] for i, row in enumerate(expected)])

        def worst(found: np.ndarray, at: np.ndarray) -> float:
            return float(np.max(np.abs(found - at) / (1e-5 * (np.abs(at) + 0.01))))

        ratios = [theirs / ours for ours, theirs in zip(seconds["tmrepro"], seconds["loss-landscapes"], strict=True)]
        print(
            json.dumps(
                {
                    "model": name,
                    "evaluator": choice.kind.name,
                    "images": arguments.images,
                    "K": K,
                    "seconds_per_point": {
                        each: round(statistics.median(found) / K**2, 6) for each, found in seconds.items()
                    },
                    "times_as_fast": round(statistics.median(ratios), 2),
                    "range": [round(min(ratios), 2), round(max(ratios), 2)],
                    "error_over_bound": {
                        "tmrepro": worst(ours, expected[:, :K]),
                        "loss-landscapes": worst(theirs, there),
                        "loss-landscapes, as if it were the plane": worst(theirs, expected[:, :K]),
                    },
                    "peak_bytes": {
                        "before loss-landscapes": ours_bytes,
                        "after": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                    },
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
