"""The cost of the paper's surfaces on a device, at full size: some points of each network and precision, scaled to the surface.

    python -P benchmarks/device.py [--device cuda] [--images 50000] [--points 16] [--whole dnn]

The networks are those of spec/paper.yaml with their initial weights, and the pixels are random; neither changes a GPU's time.
The evaluator is the one by rule. Points are in the first row of the grid. Networks named by `--whole` are evaluated on the
whole grid, chunk by chunk. One JSON line per network and precision: the evaluator; seconds per point and for the surface; the
operations per second of the network's graph, and their share of the rate of the fastest matrix product in that precision; the
largest difference from the CPU's float64, over |S| + 0.01, on a few images; and the device's memory.
"""

import argparse
import json
import os
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from tmrepro.api.benchmark import count_operations
from tmrepro.networks import build_model
from tmrepro.numerics.determinism import Determinism, Level, apply, prepare
from tmrepro.records import Signature
from tmrepro.runner.execute import choose_device
from tmrepro.runner.planning import surface_problem
from tmrepro.spec import DrawnSurface, TrainedModel, expand_models, expand_surfaces, load_spec
from tmrepro.spec.shipped import find_spec
from tmrepro.store.surfaces import chunk_slices
from tmrepro.surface import Evaluator, PlainEvaluator, choose
from tmrepro.surface.plain import arithmetic
from tmrepro.surface.precision import FLOOR
from tmrepro.surface.problem import Precision

LEVEL: Level = "machine"
CHECKED_IMAGES, CHECKED_POINTS = 512, 4
PRODUCT_TRIES = 10


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--points", type=int, default=16)
    parser.add_argument("--models", nargs="*", default=["dnn", "cnn", "resnet50"])
    parser.add_argument("--precisions", nargs="*", default=["float32", "tf32", "bfloat16"])
    parser.add_argument("--whole", nargs="*", default=["dnn"])
    parser.add_argument(
        "--product", type=int, default=8192, help="rows, columns and inner dimension of the matrix product"
    )
    return parser.parse_args()


def block_seconds(evaluator: Evaluator, a: np.ndarray, b: np.ndarray) -> float:
    """Return the seconds of a block, including the transfer of its losses from the device."""
    begin = time.perf_counter()
    evaluator.block(a, b)
    return time.perf_counter() - begin


def product_rate(size: int, precision: Precision, device: torch.device) -> float:
    """Return operations per second of the fastest of some products of random square matrices (products of ones are faster)."""
    square = torch.randn(size, size, generator=torch.Generator().manual_seed(0)).to(device)
    seconds = []
    with arithmetic(precision, device):
        for _ in range(PRODUCT_TRIES):
            begin = time.perf_counter()
            product = square @ square
            product[0, 0].item()  # wait for the device
            seconds.append(time.perf_counter() - begin)
    return 2 * size**3 / min(seconds)


def measured(
    arguments: argparse.Namespace, model: TrainedModel, drawn: DrawnSurface, precision: Precision, device: torch.device
) -> dict[str, Any]:
    """Return all measurements of one network in one precision."""

    def built() -> nn.Module:
        return build_model(model.spec, signature=Signature.of_pictures(classes=10, size=32), seed=model.seed).eval()

    inputs = torch.randn(arguments.images, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(device)
    labels = (torch.arange(arguments.images) % 10).to(device)
    problem, grid, _ = surface_problem(
        built().to(device),
        drawn.spec,
        seeds=drawn.seeds,
        vectors=None,
        inputs=inputs,
        labels=labels,
        training=model.spec.training,
    )
    problem = replace(problem, precision=precision)
    choice = choose(problem, level=LEVEL)
    evaluator = choice.kind(problem)
    a, b = grid.a[:1], grid.b[: arguments.points]
    first = block_seconds(evaluator, a, b)  # includes recording and the choice of kernels
    point = block_seconds(evaluator, a, b) / len(b)
    whole = model.name in arguments.whole
    if whole:
        chunks = chunk_slices(drawn.spec.grid.K, drawn.spec.chunk)
        surface = sum(block_seconds(evaluator, grid.a[rows], grid.b[columns]) for _, rows, columns in chunks)
    few = replace(problem, inputs=inputs[:CHECKED_IMAGES], targets=problem.targets.part(0, CHECKED_IMAGES))
    exact = replace(
        few,
        model=built(),
        inputs=few.inputs.cpu(),
        targets=replace(few.targets, values=few.targets.values.cpu()),
        precision="float64",
    )
    found = choice.kind(few).block(a, b[:CHECKED_POINTS])[0]
    expected = PlainEvaluator(exact).block(a, b[:CHECKED_POINTS])[0]
    rate = count_operations(problem.model, inputs) / point
    on_gpu = device.type == "cuda"
    return {
        "model": model.name,
        "device": torch.cuda.get_device_name(device) if on_gpu else str(device),
        "torch": str(torch.__version__),
        "precision": precision,
        "evaluator": choice.kind.name,
        "blocks": choice.kind.blocks(problem),
        "images": len(inputs),
        "first_block_seconds": round(first, 3),
        "point_seconds": round(point, 6),
        "surface_seconds": round(surface if whole else point * drawn.spec.grid.K**2, 2),
        "surface_measured": whole,
        "tera_operations_per_second": round(rate / 1e12, 3),
        "of_matrix_product": round(rate / product_rate(arguments.product, precision, device), 3),
        "difference": float(np.max(np.abs(found - expected) / (np.abs(expected) + FLOOR))),
        "memory_mebibytes": torch.cuda.max_memory_allocated(device) // 2**20 if on_gpu else None,
    }


def main() -> None:
    arguments = parsed()
    spec = load_spec(find_spec("spec/paper.yaml"))
    determinism = Determinism(LEVEL, len(os.sched_getaffinity(0)))  # for the CPU, which computes the comparison
    prepare(determinism)
    apply(determinism)
    device = choose_device(arguments.device)
    drawn = expand_surfaces(spec)[0]
    for model in expand_models(spec):
        for precision in arguments.precisions if model.name in arguments.models else ():
            print(json.dumps(measured(arguments, model, drawn, precision, device)), flush=True)


if __name__ == "__main__":
    main()
