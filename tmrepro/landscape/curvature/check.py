"""Are the products of the Hessian the second derivative of the loss? Not where a forward hides something from autograd.

A detach, a straight-through estimator or a backward of one's own give numbers that look like any others. So the loss is moved a
little, in float64, along two directions: the differences of the loss are compared with its slope as autograd has it, and the
differences of the slope against the product with the Hessian. Wrong numbers agree with right ones by chance, but seldom within
a hundredth, and not along both.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from tmrepro.errors import UsageError
from tmrepro.landscape.curvature.hessian import Hessian
from tmrepro.numerics.inference import Targets
from tmrepro.surface.trace import away

FEW = 2  # inputs: with more of them, more ReLUs change side on the way
# In root mean squares of each parameter: where derivatives are compared, and how far the loss is moved there. One place and one
# step that agree are enough, since ReLUs have edges: of a deep network, thousands within a step of 1e-5.
PLACES = (0.01, -0.015, 0.02, -0.03)
STEPS = (1e-3, 1e-5, 1e-7, 1e-9)
WITHIN = 0.01  # share by which differences and derivatives may differ
ROUNDING = 1e-14  # of a loss or a slope in float64


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
    # Every other parameter the other way, in an order that nothing in a network has.
    other = direction * torch.where(torch.arange(len(direction), device=direction.device) * 0.618 % 1 < 0.5, 1.0, -1.0)
    try:
        wide = Hessian(network, inputs[:some], targets.part(0, some), batch=None, precision="float64")
        wide.loss()
    except (RuntimeError, TypeError, ValueError):
        return  # whatever a user's network does with numbers of float64
    # A network whose biases are 0 is on the edge of ReLUs at theta* itself; code that is right nearby is right there.
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
        f"model: what autograd gives for the {what} is not that of the loss, which is moved and compared: a detach(), a rounding "
        "or a backward of one's own (one that is differentiable once) hides something from it; it cannot be differentiated twice"
    )


def _compare(wide: Hessian, theta: Tensor, direction: Tensor) -> tuple[bool, bool]:
    """Whether slope and bend along `direction` at `theta` are what the loss and its slope do within one of the steps."""
    wide.move_to(theta)
    here, slope, bend = wide.loss(), wide.slope(direction), float((direction * (wide @ direction)).sum())
    if not torch.equal(theta, wide.theta()):
        raise UsageError("model: its forward changes its parameters, which autograd does not see")
    first = second = False
    for step in STEPS:
        losses, slopes = [], []
        for sign in (1, -1):
            wide.move_to(theta + sign * step * direction)
            losses.append(wide.loss())
            slopes.append(wide.slope(direction))
        noise = ROUNDING * max(1.0, abs(here), abs(slope)) / step
        # At a minimum the slope is 0, and what the loss bends on the way is the scale.
        odd = noise + WITHIN * step * abs(bend)
        first |= _agree((losses[0] - losses[1]) / (2 * step), slope, noise=odd)
        second |= _agree((slopes[0] - slopes[1]) / (2 * step), bend, noise=noise)
    return first, second


def _agree(difference: float, derivative: float, *, noise: float) -> bool:
    return abs(difference - derivative) <= WITHIN * max(abs(difference), abs(derivative)) + noise


def _vector(network: nn.Module) -> Tensor:
    return torch.cat([value.detach().reshape(-1).double() for value in network.parameters()])
