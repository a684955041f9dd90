"""`tmrepro.curvature_of` and `tmrepro.hessian_directions`: curvature for a user's own module, loss and data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from tmrepro.errors import UsageError
from tmrepro.landscape.adapter import Output
from tmrepro.landscape.arguments import Asked, choice, own_data
from tmrepro.landscape.curvature.hessian import BATCH
from tmrepro.landscape.curvature.lanczos import Told
from tmrepro.landscape.curvature.spectrum import Settings, measure, top_eigenvectors
from tmrepro.landscape.losses import CROSS_ENTROPY, Loss
from tmrepro.landscape.module import own_model, precision_of, unwrapped
from tmrepro.landscape.planes import Plane
from tmrepro.landscape.torch_state import undisturbed
from tmrepro.numerics.inference import Targets
from tmrepro.records import Curvature
from tmrepro.spec.user_paths import require_working_folder
from tmrepro.surface import Precision

Progress = bool | Callable[[str], None]


@dataclass(frozen=True)
class HessianDirections(Plane):
    """delta and eta are the unit eigenvectors of the two largest eigenvalues. `Curvature` describes the other fields."""

    eigenvalues: Float64[np.ndarray, " 2"]
    residuals: Float64[np.ndarray, " 2"]
    converged: bool


def curvature_of(
    model: nn.Module,
    loss: Loss = CROSS_ENTROPY,
    inputs: Any = None,
    targets: Any = None,
    top: int = 2,
    seed: int = 0,
    *,
    tolerance: float = 1e-4,
    probes: int = 16,
    density_probes: int = 4,
    basis: int | None = None,
    batch: int | Literal["all"] = BATCH,
    precision: Precision | None = None,
    most_products: int = 1000,
    threads: int | None = None,
    progress: Progress = False,
    output: Output = None,
) -> Curvature:
    """Compute the largest eigenvalues, trace and spectral density of the Hessian of the mean loss at the model's parameters.

    The method uses products of the Hessian with vectors (two backward passes, in eval mode, with constant buffers), on a copy:
    the model and torch's settings do not change. The same call is bitwise identical on one machine with the same number of
    threads. Another `batch` or machine may round differently.

    Args:
        model: as for `loss_surface`.
        loss: as for `loss_surface`; it must be twice differentiable.
        inputs: as for `loss_surface`.
        targets: as for `loss_surface`.
        top: number of eigenpairs, from the algebraically largest eigenvalue down (not the largest magnitude).
        seed: seed of all random vectors, which are the same on every machine.
        tolerance: of an eigenpair's residual ||H v - lambda v||, as a share of the largest absolute eigenvalue.
        probes: number of random vectors for the trace.
        density_probes: number of these, at most, that are also used for the density; each needs as many products as the basis
            has vectors.
        basis: number of vectors as long as theta in memory, at least top + 2; by default as many as fit into 1.25 GiB,
            from 10 to 40 in addition to `top`.
        batch: inputs per pass; "all" if the outputs for an input depend on the other inputs.
        precision: float32 or float64, of the passes; by default that of the parameters. All sums are float64.
        most_products: maximum number of products in the search for eigenpairs; `converged` says what has converged by then.
        threads: number of torch threads during the call; by default the present number.
        progress: True for lines on standard error, or a function that is called with each line. The first line gives the
            memory for vectors.
        output: as for `loss_surface`.

    Returns:
        A `tmrepro.records.Curvature`.

    Raises:
        UsageError: an argument is invalid, or the network is not twice differentiable.
        ComputeError: the Hessian is not finite, or there is not enough memory.
    """
    settings = _settings(
        batch,
        top=top,
        seed=seed,
        tolerance=tolerance,
        probes=probes,
        density_probes=density_probes,
        basis=basis,
        most_products=most_products,
    )
    with _opened(
        model, Asked(loss, inputs, targets, output), settings=settings, precision=precision, threads=threads
    ) as (network, x, y, settings):
        return measure(network, x, y, settings=settings, tell=_told(progress))


def hessian_directions(
    model: nn.Module,
    loss: Loss = CROSS_ENTROPY,
    inputs: Any = None,
    targets: Any = None,
    seed: int = 0,
    *,
    tolerance: float = 1e-4,
    basis: int | None = None,
    batch: int | Literal["all"] = BATCH,
    precision: Precision | None = None,
    most_products: int = 1000,
    threads: int | None = None,
    progress: Progress = False,
    output: Output = None,
) -> HessianDirections:
    """Return the two directions of highest curvature of the mean loss, for `loss_surface(directions=...)`.

    They are the unit eigenvectors of the two algebraically largest eigenvalues. The entry of largest magnitude is positive in
    each. Arguments and errors are those of `curvature_of`.
    """
    settings = _settings(batch, seed=seed, tolerance=tolerance, basis=basis, most_products=most_products)
    with _opened(
        model, Asked(loss, inputs, targets, output), settings=settings, precision=precision, threads=threads
    ) as (network, x, y, settings):
        pairs = top_eigenvectors(network, x, y, settings=settings, tell=_told(progress))
    delta, eta = pairs.vectors.float().cpu().numpy()
    converged = pairs.settled and bool((pairs.residuals <= tolerance * pairs.scale).all())
    return HessianDirections(delta, eta, pairs.values, pairs.residuals, converged)


def _settings(batch: Any, **asked: Any) -> Settings:
    """Return settings of the right types. Their ranges depend on the size of the network, and are checked later."""
    asked["batch"] = None if isinstance(batch, str) and batch == "all" else batch
    for name, value in asked.items():
        if name == "tolerance" or (value is None and name in {"basis", "batch"}):
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise UsageError(f"{name}: expected a whole number, got {value!r}")
        asked[name] = int(value)
    if isinstance(asked["tolerance"], bool) or not isinstance(asked["tolerance"], int | float):
        raise UsageError(f"tolerance: expected a number above 0 and below 1, got {asked['tolerance']!r}")
    return Settings(**{**asked, "tolerance": float(asked["tolerance"])})


@contextmanager
def _opened(
    model: nn.Module, asked: Asked, *, settings: Settings, precision: Any, threads: int | None
) -> Iterator[tuple[nn.Module, Tensor, Targets, Settings]]:
    """Yield a copy of the model at theta*, its data, checked as in `loss_surface`, and settings for both."""
    require_working_folder()
    if precision is not None:
        choice("precision", precision, Literal["float32", "float64"])
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise UsageError(f"threads: expected a whole number of at least 1 (got {threads!r})")
    given = unwrapped(model)
    device = next((value.device for value in given.parameters() if not value.is_meta), torch.device("cpu"))
    with undisturbed(device=device, threads=threads), torch.enable_grad():
        network = own_model(given)
        settings = replace(settings, precision=precision_of(network, precision))
        settings.checked(sum(value.numel() for value in network.parameters()))
        whole = settings.batch is None
        data = own_data(network, asked, given=given, precision=settings.precision, whole=whole)
        yield data.model, data.inputs, data.targets, settings


def _told(progress: Progress) -> Told:
    if callable(progress):
        return progress

    def tell(line: str) -> None:
        if progress:
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - the caller asked for these lines

    return tell
