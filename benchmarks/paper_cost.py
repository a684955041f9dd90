"""The cost of the paper's whole job on this machine: one epoch and part of one chunk of each network, at full size.

    python benchmarks/paper_cost.py [--seconds 60] [--device auto]

The spec is spec/paper.yaml, unmodified. The pixels are random, which does not change the time: 50,000 + 10,000 images of
CIFAR-10's size. Points of the first chunk are evaluated for about `--seconds` (at least one, at most the whole chunk), and
the total is estimated from them. One JSON line per network.
"""

import argparse
import json
import time
from functools import partial

import numpy as np

from tmrepro.numerics.determinism import Determinism, apply, prepare
from tmrepro.records import Epoch, Signature
from tmrepro.spec import ModelSpec, expand_models, expand_surfaces, load_spec
from tmrepro.spec.shipped import find_spec


class EpochIsOverError(Exception):
    """Ends a training after its first epoch."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="seconds for the points of each network's chunk")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--models", nargs="*", help="networks to measure; default: all")
    arguments = parser.parse_args()
    spec = load_spec(find_spec("spec/paper.yaml"))
    determinism = Determinism(spec.compute.determinism, spec.compute.threads)
    prepare(determinism)

    from torch import nn

    from tmrepro.data import Dataset, Part
    from tmrepro.data.scaling import channel_statistics
    from tmrepro.networks import build_model
    from tmrepro.runner.context import examples_on
    from tmrepro.runner.execute import choose_device
    from tmrepro.runner.planning import surface_problem
    from tmrepro.store.surfaces import chunk_slices
    from tmrepro.surface import PlainEvaluator
    from tmrepro.training import train

    apply(determinism)
    device = choose_device(arguments.device)
    rng = np.random.Generator(np.random.Philox(key=0))

    def part(n: int) -> Part:
        images = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
        return Part(images, np.arange(n, dtype=np.int64) % 10, np.arange(n, dtype=np.int64))

    assert spec.data.train is not None  # always set in a resolved spec
    assert spec.data.validation is not None
    train_part, validation_part = part(spec.data.train), part(spec.data.validation)
    mean, deviation = channel_statistics(train_part.images)
    dataset = Dataset(
        train=train_part,
        validation=validation_part,
        classes=tuple(str(name) for name in range(10)),
        source="random pixels",
        mean=mean,
        deviation=deviation,
        fingerprint="",
    )
    examples = examples_on(dataset, scaling=spec.data.scaling, device=device)

    def built(chosen: ModelSpec, seed: int) -> nn.Module:
        return build_model(chosen, signature=Signature.of_pictures(classes=10, size=32), seed=seed)

    for model in expand_models(spec):
        if arguments.models and model.name not in arguments.models:
            continue
        begin = time.perf_counter()
        epochs: list[Epoch] = []

        def first_epoch(epoch: Epoch, _seed: int, seen: list[Epoch] = epochs) -> None:
            seen.append(epoch)
            raise EpochIsOverError

        try:
            train(
                model.spec.training,
                build=partial(built, model.spec),
                examples=examples,
                seed=model.seed,
                on_epoch=first_epoch,
            )
        except EpochIsOverError:
            epoch_seconds = epochs[0].seconds
        drawn = expand_surfaces(spec)[0]
        module = build_model(model.spec, signature=Signature.of_pictures(classes=10, size=32), seed=model.seed).to(
            device
        )
        problem, grid, _ = surface_problem(
            module,
            drawn.spec,
            seeds=drawn.seeds,
            vectors=None,
            inputs=examples.inputs,
            labels=examples.labels,
            training=model.spec.training,
        )
        evaluator = PlainEvaluator(problem)
        _, rows, columns = chunk_slices(drawn.spec.grid.K, drawn.spec.chunk)[0]
        points = [(i, j) for i in range(rows.start, rows.stop) for j in range(columns.start, columns.stop)]
        begin, done = time.perf_counter(), 0
        for i, j in points:
            evaluator.block(grid.a[i : i + 1], grid.b[j : j + 1])
            done += 1
            if time.perf_counter() - begin > arguments.seconds:
                break
        point_seconds = (time.perf_counter() - begin) / done
        whole_surface = point_seconds * drawn.spec.grid.K**2
        print(
            json.dumps(
                {
                    "model": model.name,
                    "device": str(device),
                    "epoch_seconds": round(epoch_seconds, 1),
                    "points_measured": done,
                    "point_seconds": round(point_seconds, 3),
                    "chunk_of_points": len(points),
                    "chunk_hours": round(point_seconds * len(points) / 3600, 2),
                    "surface_hours": round(whole_surface / 3600, 2),
                    "training_hours_at_max_epochs": round(epoch_seconds * model.spec.training.max_epochs / 3600, 2),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
