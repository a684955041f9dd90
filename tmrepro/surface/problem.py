"""The input and output of an evaluator: the one interface of all evaluators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float64, Shaped
from torch import Tensor, nn

from tmrepro.directions.gaussian import DirectionPair
from tmrepro.networks.parameters import layout_of, split_theta, theta_of
from tmrepro.numerics.inference import Targets
from tmrepro.surface.conduct import IS_FUNCTION, Conduct
from tmrepro.surface.trace import TRIED, Trace, Uncut, trace_network

Precision = Literal["float32", "float64", "tf32", "bfloat16"]
Parts = Mapping[str, Tensor]


@dataclass(frozen=True)
class Problem:
    """The input of a surface: a model at theta* (eval mode), its directions, images [n, ...] and labels.

    `model` itself is never called, since a forward that changes its parameters would change theta*. `conduct` is its known
    behaviour as a function. `whole`: all images are one batch, since the outputs for one depend on the others.
    """

    model: nn.Module
    directions: DirectionPair
    inputs: Shaped[Tensor, "n ..."]
    targets: Targets
    precision: Precision
    conduct: Conduct = IS_FUNCTION
    whole: bool = False

    @property
    def only_plain(self) -> str | None:
        """The reason why only the plain evaluator is right; None if a faster one may be."""
        return "all inputs go through it as one batch" if self.whole else self.conduct.only_plain

    @cached_property
    def trace(self) -> Trace | Uncut:
        """The model's graph, traced and compared once for all evaluators; or the reason why there is none."""
        if self.only_plain is not None:
            return Uncut(self.only_plain)
        try:
            return trace_network(self.model, self.inputs[:TRIED])
        except Uncut as reason:
            return reason

    def traced(self) -> Trace:
        """Return the model's graph.

        Raises:
            Uncut: there is none.
        """
        if isinstance(self.trace, Uncut):
            raise Uncut(str(self.trace))
        return self.trace

    def first(self, images: int, *, precision: Precision | None = None) -> Problem:
        """Return the same problem with the first `images` only, in its own or another precision. Both share the trace."""
        some = replace(
            self,
            inputs=self.inputs[:images],
            targets=self.targets.part(0, images),
            precision=precision or self.precision,
        )
        if "trace" in vars(self):
            vars(some)["trace"] = self.trace
        return some

    def by_name(self) -> tuple[Parts, Parts, Parts]:
        """Return theta*, delta^ and eta^ by the names of the model's parameters, on the device of the inputs."""
        layout = layout_of(self.model)
        theta, delta, eta = (
            {
                name: torch.from_numpy(part).to(self.inputs.device)
                for name, part in split_theta(vector, layout=layout).items()
            }
            for vector in (theta_of(self.model), self.directions.delta, self.directions.eta)
        )
        return theta, delta, eta


@runtime_checkable
class Evaluator(Protocol):
    """Losses and accuracies at the points a x b of a block of the grid.

    The result depends on the problem and on the block alone, not on earlier blocks.
    """

    name: str

    def block(
        self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]
    ) -> tuple[Float64[np.ndarray, "I J"], Float64[np.ndarray, "I J"]]:
        """Return loss[i, j] (mean over the images, nats) and accuracy[i, j] at theta* + a[i] delta^ + b[j] eta^."""
        ...


@runtime_checkable
class EvaluatorKind(Protocol):
    """A class of evaluators, for the rule. `pointwise`: the bits of a point do not depend on its block."""

    name: str
    pointwise: bool

    def __call__(self, problem: Problem) -> Evaluator:
        """Return the evaluator of a supported problem."""
        ...

    def why_unsupported(self, problem: Problem) -> str | None:
        """Return why it cannot evaluate `problem`; None if it can. It is cheap, and the same on every machine."""
        ...

    def blocks(self, problem: Problem) -> dict[str, int]:
        """Return how many images and points are computed at once, by name, for provenance.json. The bits depend on these."""
        ...
