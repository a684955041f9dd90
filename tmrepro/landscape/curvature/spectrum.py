"""Eigenpairs, trace and density of one network's Hessian, and the memory for them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from torch import Tensor, nn

from tmrepro.errors import UsageError
from tmrepro.landscape.curvature.basis import Basis, normals
from tmrepro.landscape.curvature.check import check_derivatives
from tmrepro.landscape.curvature.hessian import BATCH, Hessian
from tmrepro.landscape.curvature.lanczos import Pairs, Sight, Told, largest_pairs, pair_of, sight_of
from tmrepro.numerics.inference import Targets
from tmrepro.records import Curvature, Density
from tmrepro.surface import Precision

LARGEST_TOP = 128
MOST_PRODUCTS = 1000
MOST_PROBES = 10_000
MOST_NUMBER = 2**31 - 1
BASIS_BYTES = 5 * 2**28  # so that ResNet50 needs at most 4 GiB in total
LEAST_ROOM, MOST_ROOM = 10, 40  # basis vectors in addition to the wanted pairs; fewer converge slowly
VECTORS = 12  # float32 vectors as long as theta, in addition to the basis: theta, gradients, sums in float64
PROBES = 2**32  # the first stream of the trace's vectors
DENSITY_POINTS = 201
WIDTH = 0.01  # width of a density's Gaussians, as a share of the spectrum's extent
DIGITS = 12


@dataclass(frozen=True)
class Settings:
    """Settings of the measurement of curvature.

    `top` eigenpairs are computed until their residuals are within `tolerance` times the largest absolute eigenvalue. `probes`
    is the number of random vectors for the trace; the first `density_probes` of them (at most all) give the density. `basis`:
    vectors in memory (None: by size). `batch`: inputs per pass (None: all at once).
    """

    top: int = 2
    seed: int = 0
    tolerance: float = 1e-4
    probes: int = 16
    density_probes: int = 4
    basis: int | None = None
    batch: int | None = BATCH
    precision: Precision = "float32"
    most_products: int = MOST_PRODUCTS

    def checked(self, size: int) -> Settings:
        """Return these settings, if they are valid for a network of `size` parameters.

        Raises:
            UsageError: a setting is out of its range.
        """
        least = min(size, self.top + 2)
        for name, value, low, most in (
            ("top", self.top, 1, min(size, LARGEST_TOP)),
            ("probes", self.probes, 2, MOST_PROBES),
            ("density_probes", self.density_probes, 0, MOST_PROBES),
            ("seed", self.seed, 0, 2**63 - 1),
            ("most_products", self.most_products, 1, MOST_NUMBER),
            ("basis", self.basis, least, MOST_NUMBER),
            ("batch", self.batch, 1, MOST_NUMBER),
        ):
            if value is not None and not low <= value <= most:
                why = f", since the network has {size} parameters" if name == "top" and most == size else ""
                raise UsageError(f"{name}: expected a whole number from {low} to {most}{why} (got {value})")
        if not 0 < self.tolerance < 1:
            raise UsageError(f"tolerance: expected a number above 0 and below 1 (got {self.tolerance})")
        return self

    def rows(self, size: int) -> int:
        """Return the number of vectors in the basis."""
        if self.basis is not None:
            return min(self.basis, size)
        fitting = BASIS_BYTES // (self.item * size) - 1 - self.top
        return min(size, self.top + max(LEAST_ROOM, min(MOST_ROOM, fitting)))

    def memory(self, size: int) -> int:
        """Return the bytes for vectors as long as theta. The network's passes over a batch need more memory."""
        return (self.rows(size) + 1) * size * self.item + VECTORS * 4 * size

    @property
    def item(self) -> int:
        """The bytes of a number of the basis."""
        return 8 if self.precision == "float64" else 4


def measure(network: nn.Module, inputs: Tensor, targets: Targets, *, settings: Settings, tell: Told) -> Curvature:
    """Return the curvature of the mean loss of `network` (eval mode) at its parameters, over `inputs` [n, ...].

    Raises:
        UsageError: settings are invalid, or the network cannot be differentiated twice.
        ComputeError: the Hessian is not finite, or there is not enough memory.
    """
    hessian = _hessian(network, inputs, targets, settings=settings, tell=tell)
    pairs = _largest(hessian, settings, tell)
    sights = _sights(hessian, settings, tell)
    samples = np.array([hessian.size * sight.quotient for sight in sights])
    mean = math.fsum(samples) / len(samples)
    deviation = math.sqrt(math.fsum((samples - mean) ** 2) / (len(samples) - 1))
    return Curvature(
        eigenvalues=pairs.values,
        residuals=pairs.residuals,
        vectors=pairs.vectors.float().cpu().numpy(),
        converged=pairs.settled & (pairs.residuals <= settings.tolerance * pairs.scale),
        tolerance=settings.tolerance,
        scale=pairs.scale,
        trace=mean,
        trace_error=deviation / math.sqrt(len(samples)),
        trace_samples=samples,
        density=_density(sights[: settings.density_probes]),
        parameters=hessian.size,
        images=len(inputs),
        seed=settings.seed,
        products=hessian.products,
    )


def top_eigenvectors(network: nn.Module, inputs: Tensor, targets: Targets, *, settings: Settings, tell: Told) -> Pairs:
    """Return the eigenpairs alone: `Pairs` with `vectors` [top, n], for directions. Arguments and errors: see `measure`."""
    return _largest(_hessian(network, inputs, targets, settings=settings, tell=tell), settings, tell)


def remeasure(
    network: nn.Module, inputs: Tensor, targets: Targets, vectors: Tensor, *, settings: Settings
) -> tuple[Float64[np.ndarray, " top"], Float64[np.ndarray, " top"]]:
    """Return the Rayleigh quotients [top] and residuals [top] of stored `vectors` [top, n], from one product each."""
    hessian = Hessian(network, inputs, targets, batch=settings.batch, precision=settings.precision)
    found = np.array([pair_of(hessian, vector.to(inputs.device)) for vector in vectors])
    return found[:, 0], found[:, 1]


def trace_sample(
    network: nn.Module, inputs: Tensor, targets: Targets, probe: int, *, settings: Settings
) -> tuple[float, float]:
    """Recompute one sample z^T H z of the trace, and ||H z||, about the Frobenius norm of H, from one product. Return both."""
    hessian = Hessian(network, inputs, targets, batch=settings.batch, precision=settings.precision)
    basis = Basis(1, hessian.size, dtype=hessian.dtype, device=hessian.device)
    sight = sight_of(hessian, _signs(hessian, settings, probe), basis=basis, steps=1)
    return hessian.size * sight.quotient, math.sqrt(hessian.size) * sight.reach


def _hessian(network: nn.Module, inputs: Tensor, targets: Targets, *, settings: Settings, tell: Told) -> Hessian:
    size = sum(value.numel() for value in network.parameters())
    settings.checked(size)
    tell(
        f"curvature in {size} parameters: vectors take {_words(settings.memory(size))} (basis: {settings.rows(size) + 1} "
        "vectors); passes over a batch of inputs need more memory"
    )
    check_derivatives(network, inputs, targets, whole=settings.batch is None)
    return Hessian(network, inputs, targets, batch=settings.batch, precision=settings.precision)


def _words(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def _largest(hessian: Hessian, settings: Settings, tell: Told) -> Pairs:
    return largest_pairs(
        hessian,
        top=settings.top,
        basis=settings.rows(hessian.size),
        seed=settings.seed,
        tolerance=settings.tolerance,
        most_products=settings.most_products,
        tell=tell,
    )


def _sights(hessian: Hessian, settings: Settings, tell: Told) -> list[Sight]:
    """Return the spectrum as weighted by vectors of random signs (Hutchinson 1990); the first ones use as many steps as rows."""
    size, found = hessian.size, list[Sight]()
    rows = settings.rows(size) if settings.density_probes else 1
    basis = Basis(rows, size, dtype=hessian.dtype, device=hessian.device)
    for probe in range(settings.probes):
        signs = _signs(hessian, settings, probe)
        found.append(sight_of(hessian, signs, basis=basis, steps=rows if probe < settings.density_probes else 1))
        tell(f"{hessian.products} products: {probe + 1} of {settings.probes} vectors of the trace")
    return found


def _signs(hessian: Hessian, settings: Settings, probe: int) -> Tensor:
    drawn = normals(settings.seed, stream=PROBES + probe, size=hessian.size, device=hessian.device)
    return drawn.new_ones(hessian.size).copysign(drawn)


def _density(sights: list[Sight]) -> Density | None:
    """Return the density by stochastic Lanczos quadrature (Ghorbani et al. 2019): Gaussians of one width, with integral 1."""
    if not sights:
        return None
    nodes = np.concatenate([sight.nodes for sight in sights])
    weights = np.concatenate([sight.weights for sight in sights]) / len(sights)
    low, high = float(nodes.min()), float(nodes.max())
    width = WIDTH * (high - low) or WIDTH * max(abs(high), 1.0)
    grid = low - 4 * width + (high - low + 8 * width) * np.arange(DENSITY_POINTS) / (DENSITY_POINTS - 1)
    peak = width * math.sqrt(2 * math.pi)
    values = [
        math.fsum(
            weight * math.exp(-(((t - node) / width) ** 2) / 2) / peak
            for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True)
        )
        for t in grid.tolist()
    ]
    return Density(grid, np.array([float(f"{value:.{DIGITS}g}") for value in values]), width, len(sights))
