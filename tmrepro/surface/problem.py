"""What an evaluator is asked, and what it answers: the one interface of all evaluators, and the words for it."""

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
    """What a surface is of: a model that holds theta* (eval mode), its directions, images [n, ...] and labels.

    Nobody runs `model` itself: a forward that changes its parameters would change theta*. `conduct` is what is known of it as
    a function. `whole`: all images go through it as one batch, since what it gives for one depends on the others.
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
        """Why no faster evaluator than the plain one is right; None if one may be."""
        return "all inputs go through it as one batch" if self.whole else self.conduct.only_plain

    @cached_property
    def trace(self) -> Trace | Uncut:
        """The model's graph, traced and compared once for all evaluators; or why it has none."""
        if self.only_plain is not None:
            return Uncut(self.only_plain)
        try:
            return trace_network(self.model, self.inputs[:TRIED])
        except Uncut as reason:
            return reason

    def traced(self) -> Trace:
        """The model's graph.

        Raises:
            Uncut: it has none.
        """
        if isinstance(self.trace, Uncut):
            raise Uncut(str(self.trace))
        return self.trace

    def first(self, images: int, *, precision: Precision | None = None) -> Problem:
        """The same of the first `images` alone, in its own precision or another one; the network is traced once for both."""
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
        """theta*, delta^ and eta^ by the names of the model's parameters, where the inputs are."""
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

    An answer depends on the problem and on the block alone: never on blocks that were asked for before.
    """

    name: str

    def block(
        self, a: Float64[np.ndarray, " I"], b: Float64[np.ndarray, " J"]
    ) -> tuple[Float64[np.ndarray, "I J"], Float64[np.ndarray, "I J"]]:
        """loss[i, j] (mean over the images, nats) and accuracy[i, j] at theta* + a[i] delta^ + b[j] eta^."""
        ...


@runtime_checkable
class EvaluatorKind(Protocol):
    """A class of evaluators, as the rule sees it. `pointwise`: a point's bits are the same in whatever block it is."""

    name: str
    pointwise: bool

    def __call__(self, problem: Problem) -> Evaluator:
        """The evaluator of a problem that fits."""
        ...

    def why_unsupported(self, problem: Problem) -> str | None:
        """Why it cannot evaluate `problem`, in a few words; None if it can. Cheap, and the same on every machine."""
        ...

    def blocks(self, problem: Problem) -> dict[str, int]:
        """How many images and points go through it at once, by name: what its bits depend on, for provenance.json."""
        ...
