"""`tmrepro.loss_surface`: the loss of a user's network over a plane around its parameters, without a spec or a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float64
from torch import nn

from tmrepro.directions.gaussian import DirectionPair, Moves, Normalization, draw_directions, own_directions
from tmrepro.errors import UsageError
from tmrepro.landscape.adapter import Output
from tmrepro.landscape.arguments import Asked, Data, choice, own_data
from tmrepro.landscape.cache import Kept
from tmrepro.landscape.losses import CROSS_ENTROPY, Loss
from tmrepro.landscape.module import own_model, precision_of, unwrapped
from tmrepro.landscape.points import Origin, Points, Unit, points_of
from tmrepro.landscape.torch_state import undisturbed
from tmrepro.landscape.vectors import LARGEST_SEED, own_vectors
from tmrepro.networks.parameters import layout_of, norm_of, theta_of
from tmrepro.spec.user_paths import require_working_folder, user_path
from tmrepro.store.attributes import flat_attributes
from tmrepro.store.labels import labelled
from tmrepro.store.zarr_metadata import Layout, error_attributes
from tmrepro.surface import Precision, Problem
from tmrepro.surface.measured import Lattice
from tmrepro.surface.problem import EvaluatorKind
from tmrepro.surface.selection import Selector

Progress = Callable[[int, int], None]

DIVERGENCE = "Kullback-Leibler divergence of the outputs from the targets: torch's cross entropy less target_entropy"


def loss_surface(
    model: nn.Module,
    loss: Loss = CROSS_ENTROPY,
    inputs: Any = None,
    targets: Any = None,
    directions: Any = (1, 2),
    grid: int | tuple[int, int] | tuple[Sequence[float], Sequence[float]] = 51,
    *,
    origin: Origin | None = None,
    step: float | None = None,
    unit: Unit = "absolute",
    normalization: Normalization | None = None,
    moves: Moves = "all",
    precision: Precision | None = None,
    batch: Literal["all"] | None = None,
    chunk: int = 16,
    evaluator: str | None = None,
    threads: int | None = None,
    progress: bool | Progress = False,
    out: Path | str | None = None,
    output: Output = None,
) -> xr.Dataset:
    """Compute the mean loss of `model` at theta* + a delta^ + b eta^ over a grid of (a, b). theta* are its present parameters.

    A copy of the model is evaluated in eval mode. Parameters, buffers, modes, random generators and torch's settings do not
    change, even if the computation is interrupted.

    Args:
        model: any module with floating point parameters on one device. It maps `inputs` to outputs [n, ...].
            float16 and bfloat16 parameters are converted to float32; if one parameter is float64, all are.
        loss: one of three kinds. A name: `cross_entropy` of outputs [n, classes, ...]; `mse`, `mae` or `bce_with_logits` of
            outputs in the shape of the targets. A loss module of torch, such as
            nn.CrossEntropyLoss(weight=..., label_smoothing=..., ignore_index=...): the result is what torch defines for the
            whole data set as one batch. A function (outputs, targets) -> losses [n, ...], whose mean is computed, or ->
            (total, count), the sum of a batch's terms and their number; the surface is the sum of totals divided by the sum
            of counts, and counts may depend on the targets only. A function may return one number for a batch only with
            batch="all". If targets are distributions, `cross_entropy` is the Kullback-Leibler divergence of the outputs from
            the targets, which is 0 if they are equal: torch's cross entropy minus the attribute target_entropy.
        inputs: a tensor or array [n, ...]; a tuple or list of them, for model(*inputs); a dict, for model(**inputs); or a
            DataLoader or other iterable of batches, (inputs, targets) or dicts. An iterable is read once, and kept in
            memory. Floating point numbers are converted to the dtype of the parameters.
        targets: labels [n] or [n, ...], distributions [n, classes], or other values for the loss, one per input. If inputs
            are a dict, the key of the targets, which is then not passed to the model. None if the batches of a loader have them.
        directions: two seeds, which give the same directions on every machine. Or your own two directions, each a dict of
            tensors by parameter name (missing parameters do not move), a list of tensors, or one vector in the order of the
            parameters. Or the result of `hessian_directions`, `pca_directions` or `directions_toward`.
        grid: K, for K x K points; two lengths (K_a, K_b), one of which may be 1; or the two axes a and b, ascending.
        origin: of a grid given by K or lengths: corner (a, b = 0, step, ...; the default) or center.
        step: of a grid given by K or lengths: the distance of neighbouring points; 1 by default.
        unit: of a and b: absolute (lengths of the normalised direction) or relative (multiplied by ||theta*||).
        normalization: l2, filter, layer or none; by default l2 for seeds, and none for your own directions.
        moves: all parameters, or only weights (tensors of two or more dimensions).
        precision: float32, float64, tf32 or bfloat16; by default that of the parameters. Losses given by name or as torch
            modules are float64 from the outputs on, and so are all sums.
        batch: "all" if the outputs for an input depend on the other inputs, as in a network over the nodes of a graph. All
            inputs are then one batch. By default such a network is refused.
        chunk: points per axis of a chunk, the unit of work and of resuming.
        evaluator: the name of an evaluator; by default a rule chooses it.
        threads: number of torch threads during the call; by default the present number.
        progress: True for a progress bar, or a function that is called with (points done, points).
        out: a folder that keeps the surface. The same call continues it after an interruption, and reads it if it is
            complete. A loss given as a function is identified by its name and by its values at theta*.
        output: for a model that returns more than one tensor: the key or attribute, the index, or a function that returns
            the tensor to use.

    Returns:
        A Dataset with loss [a, b] in nats (or the unit of the function) and, for class labels, accuracy [a, b], over the
        coordinates a and b.
        Attributes: theta_norm (||theta*||), delta_norm, eta_norm, cosine (of the angle between them), SHA-256 and seeds of
        the directions, home (the (i, j) of theta*, if it is a point), the evaluator and the reason for choosing it. If
        targets are distributions: target_entropy, their mean entropy in nats.
        error_over_bound is the largest |S - S64| / (1e-5 (|S64| + 0.01)), where S64 is the definition in float64. It is
        measured at error_points (i, j, i, j, ...: theta*, the highest loss, and random points from delta's seed), on the
        first error_images inputs. If it is above 1, or missing because it cannot be computed, error_note gives the reason.
        Faster evaluators above 1 are not used.
        Attributes are flat, for `to_netcdf`: numbers, text and lists of numbers; a seed of 2^31 or more is text.
        A loss that is not finite is a valid result.

    Raises:
        UsageError: an argument is invalid.
        StorageError: `out` is not writable.
    """
    return landscape_of(
        model,
        Asked(loss, inputs, targets, output),
        pair_of=lambda copied: pair_of_directions(directions, model=copied, normalization=normalization, moves=moves),
        lay_points=lambda theta_norm: points_of(grid, origin=origin, step=step, unit=unit, theta_norm=theta_norm),
        options=Options(moves, unit, precision, batch, chunk, evaluator, threads, progress, out),
    )


@dataclass(frozen=True)
class Options:
    """The arguments that `loss_surface` and `loss_line` share, not yet checked."""

    moves: Any
    unit: Any
    precision: Any
    batch: Any
    chunk: Any
    evaluator: str | None
    threads: Any
    progress: bool | Progress
    out: Path | str | None


def landscape_of(
    model: Any,
    asked: Asked,
    *,
    pair_of: Callable[[nn.Module], DirectionPair],
    lay_points: Callable[[float], Points],
    options: Options,
) -> xr.Dataset:
    """Compute the surface for `asked`, at `lay_points(||theta*||)` along `pair_of(model)`.

    Raises:
        UsageError, StorageError: see `loss_surface`.
    """
    require_working_folder()
    choice("moves", options.moves, Moves)
    choice("unit", options.unit, Unit)
    _positive("chunk", options.chunk)
    if options.threads is not None:
        _positive("threads", options.threads)
    if options.batch not in {None, "all"}:
        raise UsageError(f"batch: expected 'all' or None (got {options.batch!r})")
    given = unwrapped(model)
    device = next((value.device for value in given.parameters() if not value.is_meta), torch.device("cpu"))
    with undisturbed(device=device, threads=options.threads):
        copied = own_model(given)
        whole = options.batch == "all"
        precision = precision_of(copied, options.precision)
        data = own_data(copied, asked, given=given, precision=precision, whole=whole)
        pair = pair_of(copied)
        theta_norm = norm_of(theta_of(copied))
        points = lay_points(theta_norm)
        problem = Problem(data.model, pair, data.inputs, data.targets, precision, data.conduct, whole)
        size = min(options.chunk, max(len(points.a), len(points.b)))
        out = options.out
        kept = None if out is None else Kept(user_path(out), problem, a=points.a, b=points.b, chunk=size)
        selector = Selector(
            problem,
            Lattice(points.a, points.b, points.home, size),
            forced=options.evaluator,
            rejected=[] if kept is None else kept.rejected,
        )
        while True:
            rule = selector.choose(trusted=None if kept is None else kept.evaluator)
            facts = {"evaluator": rule.kind.name, "evaluator_reason": rule.reason}
            attributes = _attributes(problem, points, theta_norm=theta_norm) | facts
            values = _evaluate(
                problem, points, rule.kind, kept=kept, size=size, attributes=attributes, progress=options.progress
            )
            error = (None if kept is None else kept.error()) or selector.judge(rule.kind, values[0])
            if error is not None:
                break
            if kept is not None:
                kept.start_again(selector.rejected)
        if kept is not None:
            kept.finish(attributes, error=error)
    return _dataset(values, points, attributes | error_attributes(error), data=data)


def _evaluate(
    problem: Problem,
    points: Points,
    kind: EvaluatorKind,
    *,
    kept: Kept | None,
    size: int,
    attributes: dict[str, Any],
    progress: Any,
) -> Float64[np.ndarray, "2 I J"]:
    """Compute losses and accuracies at all points."""
    chosen = kind(problem)
    cells = list(Layout(K=len(points.a), K_b=len(points.b), chunk=size).chunks())
    if kept is None:
        blocks = ((cell, chosen.block(points.a[cell[1]], points.b[cell[2]])) for cell in cells)
    else:
        blocks = kept.blocks(chosen, cells=cells, attributes=attributes)
    values = np.full((2, len(points.a), len(points.b)), np.nan)
    with closing(blocks), _told(progress, points=values[0].size) as tell:
        for (_, rows, columns), (losses, accuracies) in blocks:
            values[0, rows, columns], values[1, rows, columns] = losses, accuracies
            tell(losses.size)
    return values


def pair_of_directions(
    directions: Any, *, model: nn.Module, normalization: Any = None, moves: Moves = "all"
) -> DirectionPair:
    """Return the directions of a surface around the parameters of `model`, from the argument of `loss_surface`.

    Raises:
        UsageError: `directions` is invalid.
    """
    if normalization is not None:
        choice("normalization", normalization, Normalization)
    theta, layout = theta_of(model), layout_of(model)
    if isinstance(directions, Mapping) and set(directions) == {"delta", "eta"}:
        directions = directions["delta"], directions["eta"]
    vectors = own_vectors(directions, layout=layout)
    if vectors is not None:
        return own_directions(vectors, theta=theta, layout=layout, normalization=normalization or "none", moves=moves)
    delta, eta = (int(seed) for seed in directions)
    if delta == eta or not (0 <= delta < LARGEST_SEED and 0 <= eta < LARGEST_SEED):
        raise UsageError(f"directions: expected two different seeds of at least 0, below 2^63, got {delta} and {eta}")
    return draw_directions((delta, eta), theta=theta, layout=layout, normalization=normalization or "l2", moves=moves)


def _positive(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{name}: expected a whole number of at least 1 (got {value!r})")


def _attributes(problem: Problem, points: Points, *, theta_norm: float) -> dict[str, Any]:
    """Return the attributes that describe axes, data and precision."""
    pair = problem.directions
    found: dict[str, Any] = {
        "theta_norm": theta_norm,
        "delta_norm": pair.delta_facts.norm,
        "eta_norm": pair.eta_facts.norm,
        "cosine": pair.cosine,
        "delta_sha256": pair.delta_facts.sha256,
        "eta_sha256": pair.eta_facts.sha256,
        "images": len(problem.inputs),
        "precision": problem.precision,
    }
    if problem.targets.loss is None and problem.targets.soft:
        wanted = problem.targets.values.double()
        found |= {"loss": DIVERGENCE, "target_entropy": float(-torch.xlogy(wanted, wanted).sum(1).mean())}
    for name, facts in (("delta_seed", pair.delta_facts), ("eta_seed", pair.eta_facts)):
        if facts.seed is not None:
            found[name] = facts.seed
    return found | ({"home": list(points.home)} if points.home is not None else {})


@contextmanager
def _told(progress: Any, *, points: int) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of newly computed points."""
    done = 0
    if progress is True:
        from rich.progress import Progress as Bar

        with Bar(transient=True) as bar:
            task = bar.add_task("loss surface", total=points)
            yield lambda more: bar.advance(task, more)
        return

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if callable(progress):
            progress(done, points)

    yield tell


def _dataset(values: np.ndarray, points: Points, attributes: dict[str, Any], *, data: Data) -> xr.Dataset:
    variables = {"loss": (("a", "b"), values[0])}
    if data.has_accuracy:
        variables["accuracy"] = (("a", "b"), values[1])
    found = xr.Dataset(
        variables, coords={"a": ("a", points.a), "b": ("b", points.b)}, attrs=flat_attributes(attributes)
    )
    return labelled(found, words=data.kind.words, unit=data.kind.unit)
