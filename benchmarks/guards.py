"""The cost of checking that a network is a function and that its graph is right: `python -P benchmarks/guards.py`.

Processor seconds of one thread, the least of several rounds, for the quickstart's networks on 64 of its images.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch

from tmrepro.data import load_dataset
from tmrepro.networks import build_model
from tmrepro.runner.context import examples_on
from tmrepro.spec import load_spec
from tmrepro.spec.shipped import find_spec
from tmrepro.surface.conduct import examine
from tmrepro.surface.trace import TRIED, trace_network

ROUNDS, IMAGES = 5, 64


def least(call: Callable[[], object]) -> float:
    found = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        call()
        found.append(time.process_time() - begin)
    return min(found)


def main() -> None:
    torch.set_num_threads(1)
    spec = load_spec(find_spec("spec/quickstart.yaml"))
    dataset = load_dataset(spec.data, data_dir=None)
    inputs = examples_on(dataset, scaling=spec.data.scaling, device=torch.device("cpu")).inputs[:IMAGES]
    for model in spec.models:
        module = build_model(model, signature=dataset.signature, seed=0).eval()
        examined = least(partial(examine, module, inputs))
        traced = least(partial(trace_network, module, inputs[:TRIED]))
        print(f"{model.name}: {examined:.3f} s to examine it, {traced:.3f} s to trace it and compare")


if __name__ == "__main__":
    main()
