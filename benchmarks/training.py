"""Images per second of training, contiguous and channels last. The rule in tmrepro/training/layout.py is based on it.

    python -P benchmarks/training.py [--models cnn resnet50] [--batches 32 64 128 256] [--sizes 32] [--threads 2]

Each round times both layouts, in alternating order, on the same random images and from the same weights. Only the ratio
within a round counts. One JSON line per case.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

from tmrepro.numerics.determinism import Determinism, apply, prepare
from tmrepro.records import Signature

CLASSES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=["cnn", "resnet50"])
    parser.add_argument("--batches", nargs="*", type=int, default=[32, 64, 128, 256])
    parser.add_argument("--sizes", nargs="*", type=int, default=[32])
    parser.add_argument("--level", default="portable")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--pictures", type=int, default=256, help="minimum number of images in a round, in whole batches"
    )
    parser.add_argument(
        "--busy", action="store_true", help="measure processor time of one thread, for a machine with other load"
    )
    arguments = parser.parse_args()
    determinism = Determinism(arguments.level, arguments.threads)
    prepare(determinism)
    apply(determinism)
    for model in arguments.models:
        for size in arguments.sizes:
            for batch in arguments.batches:
                case = {"model": model, "size": size, "batch": batch, "level": arguments.level}
                found = measure(
                    model,
                    size=size,
                    batch=batch,
                    pictures=arguments.pictures,
                    rounds=arguments.rounds,
                    clock=time.process_time if arguments.busy else time.perf_counter,
                )
                print(json.dumps(case | {"threads": arguments.threads} | found), flush=True)


def measure(
    kind: str, *, size: int, batch: int, pictures: int, rounds: int, clock: Callable[[], float]
) -> dict[str, object]:
    import torch
    from torch.nn import functional

    from tmrepro.networks import build_model
    from tmrepro.spec import AdamOptimizer, CnnModel, Resnet50Model, TrainingSpec
    from tmrepro.training.optimizers import make_optimizer

    spec = Resnet50Model(name="m", kind="resnet50") if kind == "resnet50" else CnnModel(name="m", kind="cnn")
    training = TrainingSpec(optimizer=AdamOptimizer(lr=1e-4))
    steps = -(-pictures // batch)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(batch, 3, size, size, generator=generator)
    labels = torch.randint(CLASSES, (batch,), generator=generator)
    networks = []
    for layout in (torch.contiguous_format, torch.channels_last):
        model = (
            build_model(spec, signature=Signature.of_pictures(classes=CLASSES, size=size), seed=0)
            .train()
            .to(memory_format=layout)
        )
        networks.append((model, make_optimizer(model, training), layout))

    def seconds(which: int) -> float:
        model, optimizer, layout = networks[which]
        begin = clock()
        for _ in range(steps):
            loss = functional.cross_entropy(model(inputs.contiguous(memory_format=layout)), labels)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
        return clock() - begin

    for which in (0, 1):  # kernels are compiled and memory is allocated
        seconds(which)
    pairs = []
    for round_ in range(rounds):
        order = (0, 1) if round_ % 2 == 0 else (1, 0)
        times = {which: seconds(which) for which in order}
        pairs.append((times[0], times[1]))
    ratios = [contiguous / last for contiguous, last in pairs]
    rates = [steps * batch / statistics.median(times) for times in zip(*pairs, strict=True)]
    return {
        "contiguous_pictures_per_second": round(rates[0], 1),
        "channels_last_pictures_per_second": round(rates[1], 1),
        "times_as_fast": round(statistics.median(ratios), 3),
        "range": [round(min(ratios), 3), round(max(ratios), 3)],
        "rounds": rounds,
    }


if __name__ == "__main__":
    main()
