"""The Hessian of the mean loss at theta* as a function of vectors: two backward passes, and no matrix."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from tmrepro.errors import ComputeError, UsageError
from tmrepro.numerics.inference import Targets, image_losses
from tmrepro.surface import Precision
from tmrepro.surface.plain import arithmetic

BATCH = 64  # inputs per pass; the memory of a pass grows with it, and the bits may depend on it


class Hessian:
    """H of the mean loss over `inputs` at the parameters of `network`, in eval mode: buffers are constants.

    Parameters that training does not change are part of theta too. Tied ones count once, as in `named_parameters`.
    `precision` is that of the passes (float32 or float64). Losses and all sums over inputs are float64.
    """

    def __init__(
        self, network: nn.Module, inputs: Tensor, targets: Targets, *, batch: int | None = BATCH, precision: Precision
    ) -> None:
        self._network = copy.deepcopy(network).eval().requires_grad_(requires_grad=True)
        self._inputs, self._targets, self._precision = inputs, targets, precision
        self._batch = len(inputs) if batch is None else batch
        if precision == "float64":
            self._network = self._network.double()
            self._inputs = inputs.double() if inputs.is_floating_point() else inputs
            self._targets = targets.widened()
        self._parameters = list(self._network.parameters())
        self.size = sum(value.numel() for value in self._parameters)
        self.device = inputs.device
        self.dtype = self._parameters[0].dtype
        self.products = 0

    def __matmul__(self, vector: Float[Tensor, " n"]) -> Float64[Tensor, " n"]:
        """Return H times `vector`.

        Raises:
            UsageError: the network or the loss cannot be differentiated twice.
            ComputeError: the product is not finite, or there is not enough memory.
        """
        self.products += 1
        parts = _split(vector.to(self.dtype), self._parameters)
        total = torch.zeros(self.size, dtype=torch.float64, device=self.device)
        sums = _split(total, self._parameters)
        with arithmetic(self._precision, self.device):
            for begin in range(0, len(self._inputs), self._batch):
                with _words("twice"):
                    self._add(begin, parts, sums)
        if not bool(torch.isfinite(total).all()):
            raise ComputeError("the Hessian at theta* has values that are not finite, so it has no eigenvalues")
        return total

    def loss(self) -> float:
        """Return the mean loss at theta*, in nats or the loss's own unit."""
        with torch.no_grad(), arithmetic(self._precision, self.device):
            sums = [float(self._losses(begin).sum()) for begin in range(0, len(self._inputs), self._batch)]
        return sum(sums) / len(self._inputs)

    def slope(self, vector: Float[Tensor, " n"]) -> float:
        """Return the derivative of the mean loss along `vector`."""
        parts, total = _split(vector.to(self.dtype), self._parameters), 0.0
        with arithmetic(self._precision, self.device), _words("once"):
            for begin in range(0, len(self._inputs), self._batch):
                for gradient, part in zip(self._gradients(begin, again=False), parts, strict=True):
                    total += 0.0 if gradient is None else float((gradient.double() * part).sum())
        return total

    def move_to(self, theta: Float[Tensor, " n"]) -> None:
        """Set the parameters to `theta`."""
        with torch.no_grad():
            for value, part in zip(self._parameters, _split(theta, self._parameters), strict=True):
                value.copy_(part)

    def theta(self) -> Float64[Tensor, " n"]:
        """Return the present parameters."""
        return torch.cat([value.detach().reshape(-1).double() for value in self._parameters])

    def _losses(self, begin: int) -> Tensor:
        end = min(begin + self._batch, len(self._inputs))
        outputs = self._network(self._inputs[begin:end].clone())
        return image_losses(outputs, self._targets.part(begin, end))

    def _gradients(self, begin: int, *, again: bool) -> tuple[Tensor | None, ...]:
        loss = self._losses(begin).sum() / len(self._inputs)
        if not loss.requires_grad:
            return (None,) * len(self._parameters)
        return torch.autograd.grad(loss, self._parameters, create_graph=again, allow_unused=True)

    def _add(self, begin: int, parts: list[Tensor], sums: list[Tensor]) -> None:
        """Add one batch's share of H times `parts` to `sums`. If a gradient is constant, its share is 0."""
        gradients = self._gradients(begin, again=True)
        bent = [
            (one, part) for one, part in zip(gradients, parts, strict=True) if one is not None and one.requires_grad
        ]
        if not bent:
            return
        first, along = zip(*bent, strict=True)
        found = torch.autograd.grad(first, self._parameters, grad_outputs=along, allow_unused=True)
        for total, part in zip(sums, found, strict=True):
            if part is not None:
                total += part


def _split(vector: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    """Return the parts of `vector` [n] as views in the shapes of the parameters."""
    parts = torch.split(vector, [value.numel() for value in parameters])
    return [part.view(value.shape) for part, value in zip(parts, parameters, strict=True)]


@contextmanager
def _words(times: str) -> Iterator[None]:
    """Convert errors of torch into one that says what cannot be differentiated, or that there is not enough memory."""
    try:
        yield
    except (NotImplementedError, RuntimeError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in text or "not enough memory" in text:
            raise ComputeError("curvature: out of memory; give a smaller batch or a smaller basis") from error
        raise UsageError(f"model: it or its loss cannot be differentiated {times}: {text}") from error
