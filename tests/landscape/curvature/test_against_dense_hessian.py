"""Eigenpairs, trace and density against the dense Hessian in float64, and against spectra known by construction."""

from __future__ import annotations

import copy
import inspect
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import tmrepro
from tests.landscape.curvature.conftest import NETWORKS, built, dense_hessian, inputs_of

curvature_of = inspect.unwrap(tmrepro.curvature_of)  # as callers have it, without the tests' type checker
hessian_directions = inspect.unwrap(tmrepro.hessian_directions)
cross_entropy = nn.CrossEntropyLoss()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("precision", "within"), [("float64", 1e-9), ("float32", 2e-5)])
def test_eigenpairs_are_those_of_the_dense_hessian(name, precision, within, targets):
    """float32: products are rounded at some 1e-6 of the largest eigenvalue; vectors are float32 at both."""
    model = built(name)
    x = inputs_of(model)
    H = dense_hessian(model, cross_entropy, x, targets).numpy()
    exact = np.linalg.eigvalsh(H)[::-1]
    found = curvature_of(model, "cross_entropy", x, targets, top=4, tolerance=1e-6, precision=precision, probes=2)
    scale = np.abs(exact).max()
    assert found.parameters == len(H)
    np.testing.assert_allclose(found.eigenvalues, exact[:4], atol=within * scale)
    # What is left of the equations, from the dense matrix: the residual that is told is the real one.
    vectors = found.vectors.astype(float)
    left = np.linalg.norm(vectors @ H - found.eigenvalues[:, None] * vectors, axis=1)
    np.testing.assert_allclose(left, found.residuals, atol=max(within, 1e-7) * 10 * scale)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(4), atol=1e-5)
    assert found.scale == pytest.approx(scale, rel=1e-3)
    assert found.vectors.dtype == np.float32


def test_a_small_basis_begins_again_and_comes_to_the_same_pairs(targets):
    model = built("batch_norm")
    x = inputs_of(model)
    exact = np.linalg.eigvalsh(dense_hessian(model, cross_entropy, x, targets).numpy())[::-1]
    small = curvature_of(model, "cross_entropy", x, targets, top=3, basis=6, probes=2, density_probes=0)
    np.testing.assert_allclose(small.eigenvalues, exact[:3], rtol=1e-4)
    assert small.converged.all()
    assert small.products > 3 * 6


def test_as_many_pairs_as_there_are_parameters(targets):
    model = nn.Linear(2, 3)
    x = torch.randn(90, 2, generator=torch.Generator().manual_seed(1))
    exact = np.linalg.eigvalsh(dense_hessian(model, cross_entropy, x, targets).numpy())[::-1]
    found = curvature_of(model, "cross_entropy", x, targets, top=9, probes=2)
    np.testing.assert_allclose(found.eigenvalues, exact, atol=1e-6 * exact[0])
    assert found.converged.all()


@pytest.mark.parametrize("probes", [400])
def test_the_trace_is_within_its_standard_error_and_that_shrinks(probes, targets):
    model = built("smooth")
    x = inputs_of(model)
    exact = float(dense_hessian(model, cross_entropy, x, targets).trace())
    few = curvature_of(model, "cross_entropy", x, targets, probes=20, density_probes=0)
    many = curvature_of(model, "cross_entropy", x, targets, probes=probes, density_probes=0)
    for found in (few, many):
        assert abs(found.trace - exact) < 4 * found.trace_error
    assert many.trace_error < 0.5 * few.trace_error
    assert many.mean_eigenvalue == many.trace / many.parameters


def test_signs_give_the_trace_of_a_diagonal_hessian_exactly():
    """Random signs see nothing but the diagonal: Rademacher vectors have no variance there."""
    model, x, y, loss = quadratic(np.linspace(-3, 5, 30))
    found = curvature_of(model, loss, x, y, probes=3)
    assert found.trace == pytest.approx(30.0, rel=1e-6)
    assert found.trace_error < 1e-5


def test_the_density_has_the_moments_of_the_spectrum(targets):
    """Its integral is 1 and its mean tr(H)/N as the same vectors have it; its extent is the spectrum's."""
    model = built("smooth")
    x = inputs_of(model)
    exact = np.linalg.eigvalsh(dense_hessian(model, cross_entropy, x, targets).numpy())
    found = curvature_of(model, "cross_entropy", x, targets, probes=8, density_probes=8)
    grid, values = found.density.grid, found.density.values
    step = grid[1] - grid[0]
    assert np.sum(values) * step == pytest.approx(1, abs=1e-4)
    assert np.sum(values * grid) * step == pytest.approx(found.mean_eigenvalue, abs=1e-4)
    assert grid[0] == pytest.approx(exact[0] - 4 * found.density.width, abs=1e-3)
    assert grid[-1] == pytest.approx(exact[-1] + 4 * found.density.width, abs=1e-3)


class Quadratic(nn.Module):
    """Outputs t_k^2 / 2 x_k: with a loss that sums them, the Hessian is the mean of x on the diagonal."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.t = nn.Parameter(torch.linspace(-1, 1, size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * self.t**2 * x


def quadratic(eigenvalues: np.ndarray):
    x = torch.from_numpy(np.tile(eigenvalues, (4, 1)).astype(np.float32))
    return Quadratic(len(eigenvalues)), x, torch.zeros(4), lambda outputs, _: outputs.sum(1)


def test_the_largest_eigenvalue_is_the_algebraically_largest_and_may_stand_twice():
    """-9 is larger by magnitude; a Krylov space of one vector alone never sees the second and third 5."""
    spectrum = np.concatenate([[5, 5, 5, 4.9, -9], np.linspace(-1, 1, 195)])
    model, x, y, loss = quadratic(spectrum)
    for precision in ("float32", "float64"):
        found = curvature_of(model, loss, x, y, top=4, precision=precision, probes=2, density_probes=0)
        np.testing.assert_allclose(found.eigenvalues, [5, 5, 5, 4.9], rtol=1e-4)
        assert found.converged.all()
        assert found.scale == pytest.approx(9, rel=1e-2)


def test_a_negative_spectrum():
    model, x, y, loss = quadratic(np.linspace(-8, -2, 60))
    found = curvature_of(model, loss, x, y, top=2, probes=2)
    np.testing.assert_allclose(found.eigenvalues, [-2, -2 - 6 / 59], rtol=1e-3)
    assert (found.density.grid < 0).mean() > 0.9


def test_a_loss_that_is_linear_in_theta_has_eigenvalues_of_zero():
    model = nn.Linear(4, 1)
    x = torch.randn(10, 4, generator=torch.Generator().manual_seed(1))
    found = curvature_of(model, lambda outputs, _: outputs.sum(1), x, torch.zeros(10), top=3)
    assert found.eigenvalues.tolist() == found.residuals.tolist() == [0, 0, 0]
    assert (found.trace, found.trace_error, found.scale) == (0, 0, 0)
    assert found.converged.all()
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(3), atol=1e-6)
    assert np.isfinite(found.density.values).all()


def test_soft_labels_and_losses_of_ones_own():
    model = built("smooth")
    x = inputs_of(model)
    soft = torch.softmax(torch.randn(90, 3, generator=torch.Generator().manual_seed(2)), 1)
    wanted = torch.randn(90, 3, generator=torch.Generator().manual_seed(7))
    divergence = lambda outputs, y: -(y * outputs.log_softmax(1)).sum(1).mean()  # noqa: E731
    squares = lambda outputs, y: ((outputs - y) ** 2).sum(1)  # noqa: E731
    for loss, y, dense in (
        ("cross_entropy", soft, dense_hessian(model, divergence, x, soft.double())),
        (squares, wanted, dense_hessian(model, lambda o, y: squares(o, y).mean(), x, wanted.double())),
    ):
        found = curvature_of(model, loss, x, y, precision="float64", probes=2, density_probes=0)
        np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(dense.numpy())[::-1][:2], rtol=1e-7)


def test_the_surface_bends_along_an_eigenvector_as_its_eigenvalue_says(targets):
    """Second differences of the stored surface along delta and eta, and none across: the mixed derivative is 0."""
    model = built("smooth")
    x = inputs_of(model)
    directions = hessian_directions(model, "cross_entropy", x, targets, precision="float64")
    step = 1e-3  # its error is of the order of step^2
    ds = tmrepro.loss_surface(
        model, "cross_entropy", x, targets, directions, 3, origin="center", step=step, precision="float64"
    )
    S = ds.loss.values
    along = [(S[0, 1] - 2 * S[1, 1] + S[2, 1]) / step**2, (S[1, 0] - 2 * S[1, 1] + S[1, 2]) / step**2]
    np.testing.assert_allclose(along, directions.eigenvalues, rtol=1e-5)
    mixed = (S[2, 2] - S[2, 0] - S[0, 2] + S[0, 0]) / (4 * step**2)
    assert abs(mixed) < 1e-5 * directions.eigenvalues[0]
    assert directions.converged
    for vector in (directions.delta, directions.eta):
        assert vector[np.argmax(np.abs(vector))] > 0
        assert np.linalg.norm(vector.astype(float)) == pytest.approx(1, abs=1e-6)
    assert ds.attrs["delta_norm"] == pytest.approx(1, abs=1e-6)


def test_the_same_call_gives_the_same_bits_and_another_batch_the_same_numbers(targets):
    model = built("pooled")
    x = inputs_of(model)
    first, second, other, all_at_once, seed = (
        curvature_of(model, "cross_entropy", x, targets, **asked)
        for asked in ({}, {}, {"batch": 7}, {"batch": "all"}, {"seed": 1})
    )
    for name in ("eigenvalues", "residuals", "vectors"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert first.trace == second.trace
    assert first.density.values.tobytes() == second.density.values.tobytes()
    for found in (other, all_at_once, seed):
        np.testing.assert_allclose(found.eigenvalues, first.eigenvalues, rtol=1e-4)
    assert other.trace == pytest.approx(first.trace, rel=1e-4)
    assert seed.trace != first.trace


def test_deterministic_mode_allows_every_operation_and_the_model_stays_as_it_was(targets):
    model = built("pooled").train()
    model.first.weight.requires_grad_(requires_grad=False)
    before = copy.deepcopy(model.state_dict())
    torch.set_deterministic_debug_mode("error")
    try:
        found = curvature_of(model, "cross_entropy", inputs_of(model), targets, probes=2)
    finally:
        torch.set_deterministic_debug_mode("default")
    assert found.parameters == sum(value.numel() for value in model.parameters())
    assert model.training
    assert all(value.grad is None for value in model.parameters())
    assert [value.requires_grad for value in model.parameters()] == [False, True, True, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_has_not_converged_says_so(targets):
    model = built("batch_norm")
    found = curvature_of(
        model, "cross_entropy", inputs_of(model), targets, top=2, tolerance=1e-5, most_products=3, probes=2
    )
    assert not found.converged.any()
    assert (found.residuals > 1e-5 * found.scale).any()


def test_memory_is_said_before_anything_else(targets):
    model, said = built("smooth"), list[str]()
    curvature_of(model, "cross_entropy", inputs_of(model), targets, probes=2, progress=said.append)
    assert said[0].startswith("curvature in 57 parameters: vectors take 0.0 MiB (basis: 43 vectors)")
    products = [int(line.split()[0]) for line in said[1:]]
    assert all(earlier <= later for earlier, later in pairwise(products))
