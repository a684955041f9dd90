"""A surface's time and memory as functions of K, images and threads. Each case is a process, since peak memory is per process.

    python -P benchmarks/scaling.py [--models dnn cnn resnet50] [--evaluator NAME] [--level machine]

One parameter of a base case is changed at a time. Time is that of all chunks of the surface. Peak memory is the increase over
the memory before the first chunk, which includes model, data and directions. One JSON line per case.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from tmrepro.numerics.determinism import Determinism, Level, apply, prepare

BASE = {"K": 16, "images": 400, "threads": 2}
CASES = [{}, {"K": 32}, {"K": 48}, {"images": 100}, {"images": 1600}, {"threads": 1}]
SMALLER = {"resnet50": {"K": 3, "images": 200}}
SMALLER_CASES = [{}, {"K": 6}, {"images": 100}, {"images": 800}, {"threads": 1}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=["dnn", "cnn", "resnet50"])
    parser.add_argument("--evaluator", help="evaluator to use instead of the one by rule")
    parser.add_argument("--level", default="machine")
    parser.add_argument("--case", help="one case as JSON, measured in this process")
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(**json.loads(arguments.case))), flush=True)
        return
    for model in arguments.models:
        for change in SMALLER_CASES if model in SMALLER else CASES:
            case = BASE | SMALLER.get(model, {}) | change
            asked = case | {"model": model, "level": arguments.level, "evaluator": arguments.evaluator}
            subprocess.run([sys.executable, "-P", __file__, "--case", json.dumps(asked)], check=True)


def measure(*, model: str, K: int, images: int, threads: int, level: Level, evaluator: str | None) -> dict[str, object]:
    determinism = Determinism(level, threads)
    prepare(determinism)

    from tmrepro.api.benchmark import SPEC, trained_problem
    from tmrepro.spec import expand_models, parse_spec
    from tmrepro.store.surfaces import chunk_slices
    from tmrepro.surface import choose

    apply(determinism)
    listed = f"{{name: {model}, kind: {model}, training: {{max_epochs: 2}}}}"
    spec = parse_spec(SPEC.format(images=images, models=listed, K=K, level=level, threads=threads))
    problem, grid = trained_problem(spec, expand_models(spec)[0])
    choice = choose(problem, forced=evaluator)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # reset the peak from training (Linux)
    before = status_bytes("VmRSS")
    begin = time.perf_counter()
    chosen = choice.kind(problem)
    chosen.block(grid.a[:1], grid.b[:1])
    ready_seconds, begin = time.perf_counter() - begin, time.perf_counter()
    for _, rows, columns in chunk_slices(K, 16):
        chosen.block(grid.a[rows], grid.b[columns])
    seconds = time.perf_counter() - begin
    return {
        "model": model,
        "evaluator": choice.kind.name,
        "level": level,
        "K": K,
        "images": images,
        "threads": threads,
        "ready_seconds": round(ready_seconds, 3),
        "seconds": round(seconds, 3),
        "microseconds_per_point_and_image": round(seconds / K**2 / images * 1e6, 3),
        "more_peak_bytes": status_bytes("VmHWM") - before,
    }


def status_bytes(field: str) -> int:
    """Return the value of VmRSS (current memory) or VmHWM (peak memory)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main()
