"""The surface evaluators against the definition in float64: time per point and image, and largest error, in one run.

    python benchmarks/surface.py [--images 256] [--rounds 3]

A B A B: in each round both take the same grid points of the paper's three networks, so that a noisy machine hits both. The
median of the rounds is printed with its range; one JSON line per network.
"""

import argparse
import json
import statistics
import time

import numpy as np

from tmrepro.determinism import Determinism, apply, prepare
from tmrepro.spec import expand_models, expand_surfaces, parse_spec

SPEC = """
version: 1
name: bench
data: {name: digits}
surfaces: [{name: filter, directions: {normalization: filter}, grid: {K: 3, origin: center, step: 0.2}}]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    spec = parse_spec(SPEC)
    determinism = Determinism(spec.compute.determinism, spec.compute.threads)
    prepare(determinism)

    import torch

    from tmrepro.models import build_model
    from tmrepro.pipeline.surfaces import surface_problem
    from tmrepro.surface import PlainEvaluator

    apply(determinism)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(arguments.images, 3, 32, 32, generator=generator)
    labels = torch.arange(arguments.images) % 10
    for model in expand_models(spec):
        module = build_model(model.spec, classes=10, size=32, seed=0).eval()
        evaluators, points = {}, None
        for precision in ("float32", "float64"):
            drawn = expand_surfaces(spec)[0]
            surface = drawn.spec.model_copy(update={"precision": precision})
            problem, points, _ = surface_problem(
                module, surface, seeds=drawn.seeds, inputs=inputs, labels=labels, clip=None
            )
            evaluators[precision] = PlainEvaluator(problem)
        seconds: dict[str, list[float]] = {name: [] for name in evaluators}
        losses = {}
        for _ in range(arguments.rounds):
            for name, evaluator in evaluators.items():
                begin = time.perf_counter()
                losses[name], _ = evaluator.block(points.a, points.b)
                seconds[name].append(time.perf_counter() - begin)
        work = points.a.size * points.b.size * arguments.images
        ratios = [fast / plain for fast, plain in zip(seconds["float32"], seconds["float64"], strict=True)]
        bound = 1e-5 * (np.abs(losses["float64"]) + 0.01)
        print(
            json.dumps(
                {
                    "model": model.name,
                    "microseconds_per_point_and_image": {
                        name: round(statistics.median(each) / work * 1e6, 2) for name, each in seconds.items()
                    },
                    "ratio": round(statistics.median(ratios), 3),
                    "range": [round(min(ratios), 3), round(max(ratios), 3)],
                    "error_over_bound": float(np.max(np.abs(losses["float32"] - losses["float64"]) / bound)),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
