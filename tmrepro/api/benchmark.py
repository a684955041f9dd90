"""`tmrepro bench`: compares every evaluator that fits with plain in one run, and with the fastest matrix product.

In each round, the plain evaluator and the others take turns on the same surface (A B A B), so that a busy machine slows all of
them. A ratio belongs to one round; the median of the rounds is reported with its range. The networks are trained on the
handwritten digits for a few epochs, because random networks have other statistics. The plain evaluator computes one row of
the grid; all rows take the same time. All times are per point.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tmrepro.errors import UsageError
from tmrepro.numerics.determinism import Determinism, Level, apply, prepare
from tmrepro.spec import TrainedModel, expand_models, expand_surfaces, parse_spec

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from tmrepro.records import Grid
    from tmrepro.surface import Evaluator, Problem

MODELS = ("dnn", "cnn", "resnet50")
MOST_IMAGES = 1697
EPOCHS = {"dnn": 10, "cnn": 10, "resnet50": 2}
PEAK_TRIES = 30
# Rows, inner and outputs of the products from which the fastest defines the peak of the machine.
PEAK_PRODUCTS = ((512, 512, 512), (1024, 1024, 1024), (2048, 1024, 512))

SPEC = """
version: 1
name: bench
data: {{name: digits, train: {images}, validation: 100}}
models: [{models}]
training: {{batch_size: 64, warmup_steps: 8, reseeds: 0, stop: {{at: never}}}}
surfaces: [{{name: paper, grid: {{K: {K}}}, precision: float32}}]
compute: {{determinism: {level}, threads: {threads}}}
"""


@dataclass(frozen=True)
class Timing:
    """An evaluator on a network: the median, least and largest of the rounds.

    `ratio` is relative to the plain evaluator's time of the same round. `processor_ratio` is the same for processor time, which
    other processes affect less (with one thread: hardly). `peak_share` counts the operations in the network's graph, so it
    exceeds 1 if an evaluator skips most of them. `difference` is the largest one from the plain evaluator's losses, divided
    by 1e-5 (|loss| + 0.01).
    """

    evaluator: str
    point_seconds: tuple[float, float, float]
    ratio: tuple[float, float, float]
    processor_ratio: tuple[float, float, float]
    peak_share: float
    difference: float


@dataclass(frozen=True)
class ModelTimings:
    """All evaluators that fit a network, the plain one first. `point_operations` are products and sums of one grid point."""

    model: str
    point_operations: int
    timings: tuple[Timing, ...]
    unfit: dict[str, str]


@dataclass(frozen=True)
class Benchmark:
    """The measurements and their conditions. `peak_operations` are those of the fastest matrix product, per second."""

    processor: str
    torch: str
    level: Level
    threads: int
    images: int
    K: int
    rounds: int
    peak_operations: float
    models: tuple[ModelTimings, ...]

    def document(self) -> dict[str, Any]:
        """Return the measurements as plain JSON values."""
        return asdict(self)


def run_benchmark(
    *,
    models: Sequence[str] = MODELS,
    images: int = 500,
    K: int = 11,
    level: Level = "portable",
    threads: int = 2,
    rounds: int = 3,
    evaluators: Sequence[str] | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Benchmark:
    """Train `models`, and time one surface of each with every evaluator that fits, `rounds` times in turn.

    `evaluators`: only these, and the plain one.

    Raises:
        UsageError: an unknown model or evaluator, too many images, or `portable` after torch was loaded with other settings.
    """
    if unknown := sorted(set(models) - set(MODELS)):
        raise UsageError(f"there is no network {unknown[0]!r}: choose from {', '.join(MODELS)}")
    if not 20 <= images <= MOST_IMAGES:
        raise UsageError(f"images must be at least 20 and at most {MOST_IMAGES}, of the digits (got {images})")
    if K < 2 or rounds < 1:
        raise UsageError(f"K must be at least 2 and rounds at least 1 (got {K} and {rounds})")
    determinism = Determinism(level, threads)
    prepare(determinism)
    import torch

    from tmrepro.surface import evaluator_names, find_evaluator

    chosen = [find_evaluator(name).name for name in evaluators or evaluator_names()]
    apply(determinism)
    listed = ", ".join(f"{{name: {name}, kind: {name}, training: {{max_epochs: {EPOCHS[name]}}}}}" for name in models)
    spec = parse_spec(SPEC.format(images=images, models=listed, K=K, level=level, threads=threads))
    note("measuring the fastest matrix product")
    peak = peak_operations()
    measured = []
    for model in expand_models(spec):
        note(f"{model.name}: training on {images} digits")
        problem, grid = trained_problem(spec, model)
        note(f"{model.name}: {rounds} rounds")
        timed = _measure(model.name, problem, grid, evaluators=chosen, level=level, rounds=rounds, peak=peak)
        measured.append(timed)
    return Benchmark(
        platform.processor() or platform.machine(),
        str(torch.__version__),
        level,
        threads,
        images,
        K,
        rounds,
        peak,
        tuple(measured),
    )


def peak_operations() -> float:
    """Return operations (a product and a sum are two) per second of the fastest float32 matrix product of torch here."""
    import torch

    onednn: Any = torch.ops.mkldnn
    best = 0.0
    with torch.no_grad():
        for rows, inner, outputs in PEAK_PRODUCTS:
            x, weight, bias = torch.ones(rows, inner), torch.ones(outputs, inner), torch.ones(outputs)
            ways = [partial(torch.nn.functional.linear, x, weight, bias)]
            if hasattr(onednn, "_linear_pointwise"):
                ways.append(partial(onednn._linear_pointwise, x, weight, bias, "none", [], ""))  # noqa: SLF001
            for _ in range(PEAK_TRIES):
                best = max(best, *(2 * rows * inner * outputs / _seconds(way) for way in ways))
    return best


def count_operations(model: nn.Module, inputs: Tensor) -> int:
    """Return the products and sums of the matrix products and convolutions of one pass of `inputs`, from the graph."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(inputs[:1])
    return int(counter.get_total_flops()) * len(inputs)


def trained_problem(spec: Any, model: TrainedModel) -> tuple[Problem, Grid]:
    """Return the relabelled surface around the trained network, as in a run."""
    import torch

    from tmrepro.data import load_dataset
    from tmrepro.networks import build_model
    from tmrepro.runner.context import examples_on
    from tmrepro.runner.planning import surface_problem
    from tmrepro.training import train
    from tmrepro.training.minimum import relabel

    dataset = load_dataset(spec.data)
    examples = examples_on(dataset, scaling=spec.data.scaling, device=torch.device("cpu"))

    def build(seed: int) -> nn.Module:
        return build_model(model.spec, signature=dataset.signature, seed=seed)

    trained = train(model.spec.training, build=build, examples=examples, seed=model.seed).model
    drawn = expand_surfaces(spec)[0]
    labels = relabel(trained, examples.inputs, labels="hard")
    problem, grid, _ = surface_problem(
        trained,
        drawn.spec,
        seeds=drawn.seeds,
        vectors=None,
        inputs=examples.inputs,
        labels=labels,
        training=model.spec.training,
    )
    return problem, grid


def _measure(
    name: str, problem: Problem, grid: Grid, *, evaluators: Sequence[str], level: Level, rounds: int, peak: float
) -> ModelTimings:
    import numpy as np

    from tmrepro.surface import PlainEvaluator, find_evaluator, why_unsupported

    unfit = {
        each: why_unsupported(find_evaluator(each), problem, level=level)
        for each in evaluators
        if each != PlainEvaluator.name
    }
    fitting: dict[str, Evaluator] = {PlainEvaluator.name: PlainEvaluator(problem)}
    fitting |= {each: find_evaluator(each)(problem) for each, why in unfit.items() if why is None}
    row = np.zeros(1)
    for evaluator in fitting.values():  # a warm-up: libraries choose and compile code
        evaluator.block(grid.a[:3], grid.b[:3])  # enough points for tracking, which handles fewer like plain
    seconds: dict[str, list[float]] = {each: [] for each in fitting}
    processor: dict[str, list[float]] = {each: [] for each in fitting}
    losses = {}
    for _ in range(rounds):
        for each, evaluator in fitting.items():
            a = row if each == PlainEvaluator.name else grid.a
            begin, begin_processor = time.perf_counter(), time.process_time()
            losses[each] = evaluator.block(a, grid.b)[0][0]
            points = len(a) * len(grid.b)
            seconds[each].append((time.perf_counter() - begin) / points)
            processor[each].append((time.process_time() - begin_processor) / points)
    operations = count_operations(problem.model, problem.inputs)
    plain, expected = seconds[PlainEvaluator.name], losses[PlainEvaluator.name]
    timings = tuple(
        Timing(
            each,
            _spread(found),
            _spread([one / other for one, other in zip(found, plain, strict=True)]),
            _spread([one / other for one, other in zip(processor[each], processor[PlainEvaluator.name], strict=True)]),
            operations / statistics.median(found) / peak,
            float(np.nanmax(np.abs(losses[each] - expected) / (1e-5 * (np.abs(expected) + 0.01)))),
        )
        for each, found in seconds.items()
    )
    return ModelTimings(name, operations, timings, {each: why for each, why in unfit.items() if why is not None})


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def _seconds(call: Callable[[], torch.Tensor]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
