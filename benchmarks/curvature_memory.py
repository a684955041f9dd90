"""The memory that `tmrepro.curvature_of` needs for ResNet50: the peak of this process, before and after it.

    python -P benchmarks/curvature_memory.py [--images 64] [--products 60]

The values of weights and images do not change the memory, so both are random.
"""

from __future__ import annotations

import argparse
import resource
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--products", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    from tmrepro.numerics.determinism import Determinism, apply, prepare

    prepare(Determinism("portable", arguments.threads))
    apply(Determinism("portable", arguments.threads))
    import torch

    import tmrepro
    from tmrepro.networks.networks import residual_network

    torch.manual_seed(0)
    network = residual_network(10, momentum=0.1, eps=1e-5).eval()
    images = torch.randn(arguments.images, 3, 32, 32)
    labels = torch.randint(10, (arguments.images,))
    before, begin = peak(), time.monotonic()
    found = tmrepro.curvature_of(
        network,
        "cross_entropy",
        images,
        labels,
        probes=2,
        density_probes=1,
        most_products=arguments.products,
        progress=True,
    )
    print(f"eigenvalues {found.eigenvalues}, residuals {found.residuals}, converged {found.converged}")
    print(f"{found.products} products in {time.monotonic() - begin:.0f} s")
    print(f"peak of the process: {before:.2f} GiB before, {peak():.2f} GiB after")


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
