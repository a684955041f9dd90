"""Networks and losses that do more than compute outputs from inputs: of each kind some cases, as users write them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

FEATURES, HIDDEN, CLASSES = 20, 16, 3


class Two(nn.Module):
    """Two layers, which the cases change."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(FEATURES, HIDDEN), nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor) -> Any:
        return self.fc2(self.hidden(x))

    def hidden(self, x: Tensor) -> Tensor:
        return functional.relu(self.fc1(x))


# A value that is changed in place, and what was computed is not what is used.


class UnusedRelu(Two):
    def forward(self, x):
        h = self.fc1(x)
        h.relu_()
        return self.fc2(h)


class UnusedModule(Two):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        h = self.fc1(x)
        self.act(h)
        return self.fc2(h)


class UnusedView(Two):
    def forward(self, x):
        h = self.fc1(x)
        h[:, :4].mul_(2)
        return self.fc2(h.relu())


class Assigned(Two):
    def forward(self, x):
        h = self.fc1(x).relu()
        h[:, 0] = 1.0
        return self.fc2(h)


class OutArgument(Two):
    def forward(self, x):
        h = self.fc1(x)
        torch.tanh(h, out=h)
        return self.fc2(h)


class UsedUnderBothNames(Two):
    def forward(self, x):
        h = self.fc1(x)
        g = h.relu_()
        return self.fc2(g + h)


class UnusedBehindNorm(Two):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(HIDDEN)
        self.norm.running_mean.fill_(0.3)
        self.norm.running_var.fill_(2.0)

    def forward(self, x):
        h = self.norm(self.fc1(x))
        h.clamp_(min=0)
        return self.fc2(h)


# Parameters that forward changes, reads as numbers, or keeps something computed from.


class ClampsWeights(Two):
    def forward(self, x):
        h = self.hidden(x)
        self.fc2.weight.data.clamp_min_(0)
        return self.fc2(h)


class ClampsWithNorm(UnusedBehindNorm):
    def forward(self, x):
        h = self.norm(self.fc1(x)).relu()
        with torch.no_grad():
            self.fc2.weight.clamp_(min=-0.05)
        return self.fc2(h)


class ScalesWeights(Two):
    def forward(self, x):
        h = self.hidden(x)
        self.fc2.weight.data.mul_(0.99)
        return self.fc2(h)


class ReadsParameters(Two):
    def forward(self, x):
        return super().forward(x) / sum(p.pow(2).sum() for p in self.parameters())


class ReadsFrozen(ReadsParameters):
    def __init__(self):
        super().__init__()
        self.requires_grad_(requires_grad=False)


class ReadsInNumpy(Two):
    def forward(self, x):
        (size,) = {float((value.detach().numpy() ** 2).sum()) for value in [next(self.parameters())]}
        return super().forward(x) * size


class BranchesOnWeights(Two):
    def forward(self, x):
        first = next(self.parameters())
        return super().forward(x) if first.norm() < 3 else -super().forward(x)


class CachesNorm(Two):
    def __init__(self):
        super().__init__()
        self.size = None

    def forward(self, x):
        if self.size is None:
            self.size = self.fc1.weight.detach().norm()
        return super().forward(x) / self.size


def keeps_outside(make):
    """A `Two` which keeps make(its first weight) where all of its copies find it."""
    kept = {}

    class KeepsOutside(Two):
        def forward(self, x):
            if not kept:
                kept["first"] = make(self.fc1.weight.detach())
            return self.fc2(functional.linear(x, self.fc1.weight, self.fc1.bias).relu() * 0.5 + x @ kept["first"].T)

    return KeepsOutside()


def keeps_weight_outside():
    return keeps_outside(torch.clone)


def keeps_shape_outside():
    return keeps_outside(torch.ones_like)


class FusesInEval(Two):
    def train(self, mode=True):
        super().train(mode)
        self.fused = None if mode else (self.fc2.weight @ self.fc1.weight).detach()
        return self

    def forward(self, x):
        return x @ self.fused.t() if self.fused is not None else super().forward(x)


class MergesInEval(Two):
    def train(self, mode=True):
        if self.training and not mode:
            self.fc2.weight.data.add_(0.5)
        return super().train(mode)


class ViewOfAParameter(nn.Module):
    """Right: what it gives is a parameter itself, and moves with it."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.3, -0.2, 0.1]))

    def forward(self, x):
        return self.logits.expand(len(x), CLASSES)


class MaxNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.fc = nn.Embedding(FEATURES, HIDDEN, max_norm=0.5), nn.Linear(HIDDEN, CLASSES)

    def forward(self, x):
        return self.fc(self.table(x.argmax(1)))


# Modes, chance, state, and the batch.


class StaysInTraining(UnusedBehindNorm):
    def train(self, mode=True):
        super().train(mode)
        self.norm.train()
        return self


class Draws(Two):
    def forward(self, x):
        return self.fc2(functional.dropout(self.hidden(x)))


class DrawsRarely(Two):
    def forward(self, x):
        return self.fc2(functional.dropout(self.hidden(x), p=0.002))


class DrawsInPython(Two):
    def forward(self, x):
        import random

        return super().forward(x) * (1 + 0.1 * random.random())  # noqa: S311


class Remembers(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.fc, self.h = nn.GRUCell(FEATURES, HIDDEN), nn.Linear(HIDDEN, CLASSES), None

    def forward(self, x):
        h = None if self.h is None or len(self.h) != len(x) else self.h
        self.h = self.cell(x, h).detach()
        return self.fc(self.h)


class Counts(Two):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * (1 if self.calls < 40 else 2)


class CountsInBuffer(Two):
    def __init__(self):
        super().__init__()
        self.calls = nn.Buffer(torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return super().forward(x) + 0.01 * self.calls


class KeepsLast(Two):
    """Harmless: what it keeps, nobody reads."""

    def forward(self, x):
        self.last = self.hidden(x)
        return self.fc2(self.last)


class NormOfBatch(Two):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(HIDDEN, track_running_stats=False)

    def forward(self, x):
        return self.fc2(self.norm(self.fc1(x)))


class LessMean(Two):
    def forward(self, x):
        return super().forward(x - x.mean(0))


class AttendsToBatch(Two):
    def forward(self, x):
        h = self.hidden(x)
        return self.fc2(torch.softmax(h @ h.t(), 1) @ h)


class LargestOfBatch(Two):
    def forward(self, x):
        return super().forward(x / x.abs().max())


class ByPosition(Two):
    def forward(self, x):
        return super().forward(x) * torch.linspace(1, 2, len(x), dtype=x.dtype)[:, None]


class OtherWhenLarge(Two):
    def forward(self, x):
        return super().forward(x) * (2 if len(x) > 100 else 1)


class Squeezes(Two):
    def forward(self, x):
        return super().forward(x).squeeze()


# What is given is changed.


class ChangesInputs(Two):
    def forward(self, x):
        x.sub_(0.5).div_(2)
        return super().forward(x)


class ChangesInputsBehindTheBack(Two):
    def forward(self, x):
        x.data[:, 0] = 0
        return super().forward(x)


class ChangesInNumpy(Two):
    def forward(self, x):
        x.numpy()[:, 1] *= 3
        return super().forward(x)


# Through a closure, and by memory.


def unwrapped_tuple() -> nn.Module:
    class Tuple(Two):
        def forward(self, x):
            return super().forward(x), x

    model = Tuple()
    old = model.forward
    model.forward = lambda x: old(x)[0]
    return model


def half_in_a_closure() -> nn.Module:
    model = Two()
    head = model.fc2
    model.forward = lambda x: head(functional.relu(model.fc1(x)))
    return model


def head_in_a_closure() -> nn.Module:
    model = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
    old = model[2].forward
    model[2].forward = lambda x: old(x)
    return model


def bound_method() -> nn.Module:
    """Right: a copy of a bound method is bound to the copy."""
    model = Two()
    model.forward = model.forward
    return model


class TiedByMemory(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc, self.dec = nn.Linear(FEATURES, HIDDEN), nn.Linear(HIDDEN, FEATURES)
        self.dec.weight.data = self.enc.weight.data.t()

    def forward(self, x):
        return self.dec(torch.relu(self.enc(x)))[:, :CLASSES]


class BufferOfAParameter(Two):
    def __init__(self):
        super().__init__()
        self.register_buffer("view", self.fc2.weight.data)

    def forward(self, x):
        return functional.linear(self.hidden(x), self.view) + self.fc2.bias


class TiedByName(nn.Module):
    """Right: one parameter in two places."""

    def __init__(self):
        super().__init__()
        self.enc, self.dec = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, FEATURES)
        self.dec.weight = self.enc.weight

    def forward(self, x):
        return self.dec(torch.relu(self.enc(x)))[:, :CLASSES]
