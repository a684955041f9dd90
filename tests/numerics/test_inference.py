"""Losses per image, against numpy in float64; and evaluation that changes nothing about the model it is given."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

from tmrepro.numerics.inference import (
    EVALUATION_BATCH,
    Targets,
    clipped,
    evaluate,
    gradient_norm,
    image_losses,
    outputs,
    summarize,
)

pytestmark = pytest.mark.usefixtures("one_thread")

LOGITS = arrays.arrays(np.float32, (4, 3), elements=st.floats(-60, 60, width=32))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


class Affine(nn.Module):
    """logits = 2 W x + b, written so that a numpy gradient is easy; one parameter frozen and one not used."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.W = nn.Parameter(torch.randn(classes, 12, generator=generator) / 4)
        self.b = nn.Parameter(torch.randn(classes, generator=generator), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x.flatten(1) @ self.W.t() + self.b


def images(n: int) -> torch.Tensor:
    return torch.randn(n, 3, 2, 2, generator=torch.Generator().manual_seed(n))


@given(LOGITS)
def test_hard_loss_is_the_cross_entropy(logits: np.ndarray) -> None:
    labels = np.array([2, 0, 1, 1])
    expected = -log_softmax(logits)[np.arange(4), labels]
    found = image_losses(torch.from_numpy(logits), Targets(torch.from_numpy(labels)))
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


@given(LOGITS, LOGITS)
def test_soft_loss_is_the_divergence_from_the_labels(logits: np.ndarray, others: np.ndarray) -> None:
    labels = np.exp(log_softmax(others)).astype(np.float32)
    wanted = labels.astype(np.float64)
    logs = np.log(wanted, out=np.zeros_like(wanted), where=wanted > 0)
    expected = (wanted * (logs - log_softmax(logits))).sum(1)
    found = image_losses(torch.from_numpy(logits), Targets(torch.from_numpy(labels)))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_a_class_of_no_weight_costs_nothing_even_at_minus_infinity() -> None:
    logits = torch.tensor([[1.0, 2.0, -math.inf]], requires_grad=True)
    labels = logits.detach().softmax(1)
    losses = image_losses(logits, Targets(labels))
    assert losses.tolist() == pytest.approx([0], abs=1e-7)
    (gradient,) = torch.autograd.grad(losses.sum(), [logits])
    assert gradient.isfinite().all()


def test_clipping_bounds_the_probability_from_both_sides() -> None:
    c = 0.2
    probabilities = np.array([0.001, 0.2, 0.5, 0.79, 0.999])
    logits = np.stack([np.log(probabilities), np.log1p(-probabilities)], axis=1).astype(np.float32)
    found = image_losses(torch.from_numpy(logits), Targets(torch.zeros(5, dtype=torch.int64), clip=c))
    np.testing.assert_allclose(found, -np.log([0.2, 0.2, 0.5, 0.79, 0.8]), rtol=1e-6)


def test_keras_clip_allows_no_loss_above_16_1() -> None:
    logits = torch.tensor([[0.0, 500.0]])
    found = image_losses(logits, Targets(torch.tensor([0]), clip=1e-7))
    assert float(found) == pytest.approx(16.118, abs=1e-3)


def test_clipping_leaves_what_is_not_finite() -> None:
    losses = clipped(torch.tensor([math.nan, math.inf, 0.0]), 1e-7)
    assert losses[0].isnan()
    assert losses[1:].isfinite().all()
    assert clipped(losses, None) is losses


def test_soft_labels_are_not_clipped() -> None:
    logits = torch.tensor([[0.0, 30.0]])
    labels = torch.tensor([[1.0, 0.0]])
    assert float(image_losses(logits, Targets(labels, clip=0.4))) == pytest.approx(30, rel=1e-6)


def test_accuracy_of_soft_labels_is_against_their_arg_max() -> None:
    labels = torch.tensor([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.1, 0.1, 0.8]])
    logits = torch.tensor([[0.0, 1.0, 0.0], [3.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert Targets(labels).classes.tolist() == [1, 0, 2]
    assert summarize(logits, targets=Targets(labels)).accuracy == pytest.approx(2 / 3)


@pytest.mark.parametrize("n", [1, EVALUATION_BATCH, EVALUATION_BATCH + 1])
def test_outputs_are_all_images_in_order_whatever_the_batches(n: int) -> None:
    model = Affine()
    expected = 2 * images(n).flatten(1).double().numpy() @ model.W.detach().double().numpy().T + model.b.numpy()
    np.testing.assert_allclose(outputs(model, images(n)), expected, rtol=1e-4, atol=1e-5)


def test_no_images_give_no_outputs() -> None:
    assert outputs(Affine(), images(4)[:0]).shape == (0, 3)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_is_in_eval_mode_and_puts_the_mode_back(training: bool) -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), Affine()).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    targets = Targets(torch.arange(9) % 3)
    first, second = (evaluate(model, images(9), targets=targets) for _ in range(2))
    assert first == second
    assert model.training is training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_evaluation_is_the_mean_over_images_not_over_batches() -> None:
    model, n = Affine(), EVALUATION_BATCH + 3
    labels = np.arange(n) % 3
    log_p = log_softmax(outputs(model, images(n)).numpy())
    found = evaluate(model, images(n), targets=Targets(torch.from_numpy(labels)))
    assert found.loss == pytest.approx(-log_p[np.arange(n), labels].mean(), rel=1e-13)
    assert found.accuracy == pytest.approx((log_p.argmax(1) == labels).mean(), rel=1e-13)


def test_gradient_norm_is_over_all_parameters_frozen_and_unused_ones_too() -> None:
    """Softmax regression has the closed form dL/dlogits = (p - y) / n, here on more than one batch."""
    model, n = Affine(), EVALUATION_BATCH + 5
    x, labels = images(n).flatten(1).double().numpy(), np.arange(n) % 3
    logits = 2 * x @ model.W.detach().double().numpy().T + model.b.double().numpy()
    error = (np.exp(log_softmax(logits)) - np.eye(3)[labels]) / n
    expected = math.sqrt(((2 * error.T @ x) ** 2).sum() + (error.sum(0) ** 2).sum())
    model.train()
    found = gradient_norm(model, images(n), targets=Targets(torch.from_numpy(labels)))
    assert found == pytest.approx(expected, rel=1e-5)  # float32 forward and backward
    assert model.training
    assert all(value.grad is None for value in model.parameters())
    assert not model.b.requires_grad


def test_gradient_norm_with_clipping_leaves_out_the_clipped_images() -> None:
    model, n, c = Affine(), 12, 0.3
    x, labels = images(n).flatten(1).double().numpy(), np.arange(n) % 3
    logits = 2 * x @ model.W.detach().double().numpy().T + model.b.double().numpy()
    p = np.exp(log_softmax(logits))
    wanted = p[np.arange(n), labels]
    inside = (wanted >= c) & (wanted <= 1 - c)
    assert 0 < inside.sum() < n
    error = inside[:, None] * (p - np.eye(3)[labels]) / n
    expected = math.sqrt(((2 * error.T @ x) ** 2).sum() + (error.sum(0) ** 2).sum())
    found = gradient_norm(model, images(n), targets=Targets(torch.from_numpy(labels), clip=c))
    assert found == pytest.approx(expected, rel=1e-5)
