"""The time of parallel processes that use OpenMP, as a function of how long their threads spin before they sleep.

    python -P benchmarks/side_by_side.py --spins 300000 5000 --beside 1 2

Each process trains ResNet50 for two epochs of 640 images on two threads. 300000 is libgomp's default.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time


def train() -> float:
    """Train in this process. Return the seconds."""
    from tmrepro.numerics.determinism import Determinism, apply, prepare

    level, spins = Determinism("portable", 2), os.environ["SPINS"]
    prepare(level)
    os.environ["GOMP_SPINCOUNT"] = spins
    import torch

    apply(level)
    from tmrepro.networks import build_model
    from tmrepro.records import Signature
    from tmrepro.spec import Resnet50Model, StopSpec, TrainingSpec
    from tmrepro.training import Examples
    from tmrepro.training import train as train_network

    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (640,), generator=generator)
    inputs = torch.randn(640, 3, 32, 32, generator=generator)
    examples = Examples(inputs, labels, inputs[:100], labels[:100], 10)
    model = Resnet50Model(name="resnet50", kind="resnet50")
    spec = TrainingSpec(batch_size=64, max_epochs=2, warmup_steps=2, stop=StopSpec(at="never"))
    begin = time.perf_counter()
    train_network(
        spec,
        build=lambda seed: build_model(model, signature=Signature.of_pictures(classes=10, size=32), seed=seed),
        examples=examples,
        seed=0,
    )
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spins", nargs="+", default=["300000", "5000"])
    parser.add_argument("--beside", nargs="+", type=int, default=[1, 2], help="number of parallel processes")
    arguments = parser.parse_args()
    for spins in arguments.spins:
        for count in arguments.beside:
            command = [sys.executable, "-P", __file__, "--train"]
            processes = [
                subprocess.Popen(command, env=os.environ | {"SPINS": spins}, stdout=subprocess.PIPE, text=True)
                for _ in range(count)
            ]
            seconds = [float(process.communicate()[0]) for process in processes]
            print(f"spins {spins:>7}, {count} at a time: {', '.join(f'{one:.1f}' for one in seconds)} s each")


if __name__ == "__main__":
    if sys.argv[1:] == ["--train"]:
        print(train())
    else:
        main()
