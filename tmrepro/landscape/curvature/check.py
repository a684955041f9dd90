"""Checks that products with the Hessian are second derivatives of the loss, in case a forward hides something from autograd.

A detach, a straight-through estimator or a custom backward give wrong numbers without an error. So theta is moved a little, in
float64, along two directions. The differences of the loss are compared with its slope by autograd, and the differences of the
slope with the product with the Hessian. Wrong numbers may agree by chance, but seldom within a hundredth, and not along both
directions.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from tmrepro.errors import UsageError
from tmrepro.landscape.curvature.hessian import Hessian
from tmrepro.numerics.inference import Targets
from tmrepro.surface.trace import away

FEW = 2  # inputs: with more of them, more ReLUs change state on the way
# In root mean squares of each parameter: the places where derivatives are compared, and the steps from there. One place and one
# step that agree are enough, because ReLUs have edges: a deep network has thousands of them within a step of 1e-5.
PLACES = (0.01, -0.015, 0.02, -0.03)
STEPS = (1e-3, 1e-5, 1e-7, 1e-9)
WITHIN = 0.01  # largest relative difference between differences and derivatives
ROUNDING = 1e-14  # relative, of a loss or a slope in float64


def check_derivatives(network: nn.Module, inputs: Tensor, targets: Targets, *, whole: bool) -> None:
    """Raise UsageError if the derivatives by autograd at theta* differ from those of the loss, as measured in float64.

    Raises:
        UsageError: they differ, so products with the Hessian would be wrong.
    """
    some = len(inputs) if whole else FEW
    moved = copy.deepcopy(network)
    with away(moved, reach=1.0):
        there = _vector(moved)
    direction = there - _vector(network)
    # Half of the parameters move the other way, in an order that no structure of a network has.
    other = direction * torch.where(torch.arange(len(direction), device=direction.device) * 0.618 % 1 < 0.5, 1.0, -1.0)
    try:
        wide = Hessian(network, inputs[:some], targets.part(0, some), batch=None, precision="float64")
        wide.loss()
    except (RuntimeError, TypeError, ValueError):
        return  # the network cannot be evaluated in float64
    # If biases are 0, ReLUs are at their edge at theta* itself. Code that is right nearby is right there too.
    for along in (direction, other):
        slopes = False
        for place in PLACES:
            first, second = _compare(wide, _vector(network) + place * along, along)
            if first and second:
                break
            slopes |= first
        else:
            raise _hidden("second derivative" if slopes else "gradient")


def _hidden(what: str) -> UsageError:
    return UsageError(
        f"model: autograd's {what} differs from that of the loss, measured by small steps: a detach(), a rounding "
        "or a custom backward (which may be differentiable only once) hides something; the loss cannot be differentiated twice"
    )


def _compare(wide: Hessian, theta: Tensor, direction: Tensor) -> tuple[bool, bool]:
    """Return whether slope and bend along `direction` at `theta` agree with differences of loss and slope for a step."""
    wide.move_to(theta)
    here, slope, bend = wide.loss(), wide.slope(direction), float((direction * (wide @ direction)).sum())
    if not torch.equal(theta, wide.theta()):
        raise UsageError("model: its forward changes its parameters, which autograd ignores")
    first = second = False
    for step in STEPS:
        losses, slopes = [], []
        for sign in (1, -1):
            wide.move_to(theta + sign * step * direction)
            losses.append(wide.loss())
            slopes.append(wide.slope(direction))
        noise = ROUNDING * max(1.0, abs(here), abs(slope)) / step
        # At a minimum the slope is 0; then the scale is the change of the loss by its bend.
        odd = noise + WITHIN * step * abs(bend)
        first |= _agree((losses[0] - losses[1]) / (2 * step), slope, noise=odd)
        second |= _agree((slopes[0] - slopes[1]) / (2 * step), bend, noise=noise)
    return first, second


def _agree(difference: float, derivative: float, *, noise: float) -> bool:
    return abs(difference - derivative) <= WITHIN * max(abs(difference), abs(derivative)) + noise


def _vector(network: nn.Module) -> Tensor:
    return torch.cat([value.detach().reshape(-1).double() for value in network.parameters()])
