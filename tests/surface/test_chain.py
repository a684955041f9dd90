"""A tail as a chain of products, against the modules themselves, point by point."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import fx, nn

from tmrepro.surface.cpu import chain as chain_module
from tmrepro.surface.cpu.chain import chain_of

POINTS, IMAGES = 3, 4
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, int, int]]:
    """A tail on maps, and the channels and size of those."""
    widths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    size = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    layers: list[nn.Module] = [nn.Dropout()]
    for before, after in pairwise(widths):
        layer = nn.Conv2d(
            before,
            after,
            draw(pairs),
            stride=draw(pairs),
            padding=(draw(st.integers(0, 2)), draw(st.integers(0, 2))),
            dilation=draw(pairs),
            bias=draw(st.booleans()),
        )
        layers += [layer, nn.ReLU()] if draw(st.booleans()) else [layer]
    layers += [nn.AdaptiveAvgPool2d(1)] if draw(st.booleans()) else []
    layers += [nn.Flatten(), nn.LazyLinear(3), nn.ReLU(inplace=True), nn.Linear(3, 2, bias=False)]
    model = nn.Sequential(*layers).eval()
    try:
        model(torch.zeros(2, widths[0], *size))
    except RuntimeError:
        assume(condition=False)  # a kernel larger than its maps
    return model, (widths[0], *size)


def moved(model: nn.Module) -> list[dict[str, torch.Tensor]]:
    """Parameters at each of the points."""
    return [{name: torch.randn_like(value) for name, value in model.named_parameters()} for _ in range(POINTS)]


@settings(max_examples=80)
@given(convolutions(), st.booleans(), st.booleans(), st.integers(0, 1000))
def test_a_chain_does_what_its_layers_do(
    tail: tuple[nn.Module, tuple[int, int, int]], large: bool, turns: bool, seed: int
) -> None:
    model, (channels, *size) = tail
    with torch.random.fork_rng(devices=[]), torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(seed)
        patch.setattr(chain_module, "LARGE_PRODUCT", 1 if large else 10**9)
        if not turns:  # as on a GPU
            patch.setattr(chain_module._Product, "_turns", lambda _self, _weight: False)
        chain = chain_of(fx.symbolic_trace(model), size=(size[0], size[1]))
        assert chain is not None
        points = moved(model)
        x = torch.randn(POINTS, IMAGES, channels, *size)
        expected = torch.stack(
            [
                torch.func.functional_call(model.double(), {n: v.double() for n, v in p.items()}, (y.double(),))
                for p, y in zip(points, x, strict=True)
            ]
        )
        row = {name: torch.stack([chain.arranged(name, point[name]) for point in points]) for name in points[0]}
        found = chain(x.flatten(3).transpose(2, 3).flatten(1, 2), chain.prepared(row)).transpose(1, 2)
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


class Twice(nn.Module):
    """One layer with two inputs, which makes it no chain."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.one(x) + x


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model[0].register_forward_hook(lambda _module, _inputs, outputs: 2 * outputs)
    return model


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    return model


@pytest.mark.parametrize(
    ("tail", "size"),
    [
        (Twice(), None),
        (hooked(), None),
        (tied(), None),
        (nn.Sequential(nn.Linear(4, 4), nn.Tanh()), None),
        (nn.Sequential(nn.Linear(4, 4)), (2, 2)),
        (nn.Sequential(nn.Conv2d(4, 4, 3)), (5, 5)),
        (nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Flatten()), (5, 5)),
        (nn.Sequential(nn.Conv2d(4, 4, 3, padding="same"), nn.Flatten()), (5, 5)),
        (nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), nn.Flatten()), (5, 5)),
        (nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()), (4, 4)),
        (nn.Sequential(nn.MaxPool2d(2), nn.Flatten()), (4, 4)),
        (nn.Sequential(nn.BatchNorm2d(4), nn.Flatten()), (4, 4)),
    ],
)
def test_anything_else_is_left_to_its_modules(tail: nn.Module, size: tuple[int, int] | None) -> None:
    assert chain_of(fx.symbolic_trace(tail.eval()), size=size) is None


def test_only_taps_that_meet_the_map_are_multiplied() -> None:
    """Of a 3 x 3 kernel with padding on a 1 x 1 map, one."""
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Flatten())
    chain = chain_of(fx.symbolic_trace(model), size=(1, 1))
    assert chain is not None
    assert chain.arranged("0.weight", model[0].weight).tolist() == model[0].weight[:, :, 1, 1].tolist()
