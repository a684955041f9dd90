"""Are the products of the Hessian the second derivative of the loss? Not where a forward hides something from autograd.

A detach, a straight-through estimator or a backward of one's own give numbers that look like any others. So the loss is moved a
little, in float64, along one direction, and its first and second differences are held against what autograd says.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from tmrepro.curvature.hessian import Hessian
from tmrepro.errors import UsageError
from tmrepro.inference import Targets
from tmrepro.surface.trace import away

FEW = 3  # inputs: with more of them, more ReLUs change side on the way
STEPS = (1e-3, 1e-4, 1e-5)  # in root mean squares of each parameter; one that agrees is enough, since ReLUs have edges
WITHIN = 0.1  # share by which differences and derivatives may differ
ROUNDING = 1e-15  # of a loss in float64


def check_derivatives(network: nn.Module, inputs: Tensor, targets: Targets, *, whole: bool) -> None:
    """Nothing, if what autograd gives for `network` at theta* is what its loss does nearby; or float64 is beyond it.

    Raises:
        UsageError: it is not, so no product with the Hessian would be one.
    """
    some = len(inputs) if whole else FEW
    moved = copy.deepcopy(network)
    with away(moved, reach=1.0):
        there = _vector(moved)
    direction = there - _vector(network)
    try:
        wide = Hessian(network, inputs[:some], targets.part(0, some), batch=None, precision="float64")
        here = wide.loss()
    except (RuntimeError, TypeError, ValueError):
        return  # whatever a user's network does with numbers of float64
    slope, bend = wide.slope(direction), float((direction * (wide @ direction)).sum())
    theta = wide.theta()
    if not torch.equal(theta, _vector(network)):
        raise UsageError("model: its forward changes its parameters, which autograd does not see")
    firsts, seconds = [], []
    for step in STEPS:
        losses = []
        for sign in (1, -1):
            wide.move_to(theta + sign * step * direction)
            losses.append(wide.loss())
        noise = ROUNDING * max(1.0, abs(here))
        # At a minimum the slope is 0, and what the loss bends on the way is the scale.
        odd = noise / step + WITHIN * step * abs(bend)
        firsts.append(_agree((losses[0] - losses[1]) / (2 * step), slope, noise=odd))
        seconds.append(_agree((losses[0] - 2 * here + losses[1]) / step**2, bend, noise=4 * noise / step**2))
    for what, held in (("gradient", firsts), ("second derivative", seconds)):
        if not any(held):
            raise UsageError(
                f"model: what autograd gives for the {what} is not that of the loss, which is moved and compared: a detach(), "
                "a rounding or a backward of one's own hides something from it; the Hessian cannot be had by differentiation"
            )


def _agree(difference: float, derivative: float, *, noise: float) -> bool:
    return abs(difference - derivative) <= WITHIN * max(abs(difference), abs(derivative)) + noise


def _vector(network: nn.Module) -> Tensor:
    return torch.cat([value.detach().reshape(-1).double() for value in network.parameters()])
