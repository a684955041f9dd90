"""The losses of `loss_surface`: torch's, by name or as modules, and the caller's functions.

torch's losses are means over a batch. Here each loss is what torch defines for the whole data set as one batch, as a sum of
one term per input. A class-weighted mean is divided by the sum of all weights. If there is an ignore_index, the mean is
divided by the number of the other targets.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from tmrepro.errors import UsageError
from tmrepro.landscape.module import dtype_of
from tmrepro.numerics.inference import Targets

CROSS_ENTROPY: Final = "cross_entropy"
LossName = Literal["cross_entropy", "mse", "mae", "bce_with_logits"]
Loss = Callable[[Tensor, Tensor], Any] | LossName
"""A name, a loss module of torch, or a function (outputs, targets) -> losses [n, ...] or (total, count)."""

IGNORED = -100  # torch's default ignore_index
LARGEST_DISTRIBUTION_ERROR = 1e-3  # of the sum of float16 probabilities

_NAMED: dict[str, type[nn.Module]] = {
    "cross_entropy": nn.CrossEntropyLoss,
    "mse": nn.MSELoss,
    "mae": nn.L1Loss,
    "bce_with_logits": nn.BCEWithLogitsLoss,
}
_OF_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss)
# Losses whose mean is the mean of the values with reduction="none".
_OF_EQUALS = (
    nn.MSELoss,
    nn.L1Loss,
    nn.SmoothL1Loss,
    nn.HuberLoss,
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.KLDivLoss,
    nn.PoissonNLLLoss,
    nn.SoftMarginLoss,
    nn.HingeEmbeddingLoss,
)
_OF_MARGINS = (nn.MultiMarginLoss, nn.MultiLabelMarginLoss, nn.MultiLabelSoftMarginLoss)
_KNOWN = {*_OF_CLASSES, *_OF_EQUALS, *_OF_MARGINS}


@dataclass(frozen=True)
class Kind:
    """The name of a loss on axes, and its unit: "mean cross entropy", "nats"."""

    words: str
    unit: str


_OWN = Kind("loss", "loss unit")
_DIVERGENCE = Kind("Kullback-Leibler divergence", "nats")
_KINDS: dict[type, Kind] = {
    nn.CrossEntropyLoss: Kind("cross entropy", "nats"),
    nn.NLLLoss: Kind("negative log likelihood", "nats"),
    nn.MSELoss: Kind("squared error", "(target unit)^2"),
    nn.L1Loss: Kind("absolute error", "target unit"),
    nn.BCELoss: Kind("binary cross entropy", "nats"),
    nn.BCEWithLogitsLoss: Kind("binary cross entropy", "nats"),
    nn.KLDivLoss: _DIVERGENCE,
}


class TorchLoss(nn.Module):
    """A loss module of torch as one float64 number per input [n], whose mean over the data set is torch's definition.

    `loss` has reduction="none". The values of an input are summed and multiplied by `factor`.
    """

    def __init__(self, loss: nn.Module, *, factor: float, has_labels: bool) -> None:
        super().__init__()
        self.loss, self.factor, self.has_labels = loss, factor, has_labels

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return losses [n]."""
        found: Tensor = self.loss(outputs.double(), targets if self.has_labels else targets.double())
        return found.flatten(1).sum(1) * self.factor if found.ndim > 1 else found * self.factor


def kind_of_loss(module: nn.Module | None, targets: Targets) -> Kind:
    """Return name and unit of a surface's losses, for labels. `module` is torch's; None for a function of the caller."""
    known = _KINDS.get(type(module), _OWN)
    if targets.loss is None and targets.soft:
        known = _DIVERGENCE
    return Kind(f"{'total' if getattr(module, 'reduction', '') == 'sum' else 'mean'} {known.words}", known.unit)


def torchs_own(loss: object) -> nn.Module | None:
    """Return the loss module of torch that `loss` names or is; None for a function of the caller.

    Raises:
        UsageError: `loss` is not one of these.
    """
    if isinstance(loss, str) and loss in _NAMED:
        return _NAMED[loss]()
    if isinstance(loss, nn.Module) and type(loss) in _KNOWN:
        return loss
    if not callable(loss) or isinstance(loss, type):
        raise UsageError(
            f"loss: expected one of {', '.join(_NAMED)}, a loss module of torch, or a function (outputs, targets) -> losses "
            f"[n, ...] or (total, count), got {loss!r}"
        )
    return None


def torch_targets(loss: object, module: nn.Module, outputs: Tensor, targets: Tensor) -> Targets:
    """Return all `targets` [n, ...] with a loss of torch. `outputs` [first, ...] are the network's for the first of them.

    Raises:
        UsageError: the loss does not accept these targets. The message gives the shapes.
    """
    if isinstance(module, _OF_CLASSES) and not targets.is_floating_point():
        labels = _labels(module, outputs, targets)
        ignored = labels == module.ignore_index
        if isinstance(module, nn.CrossEntropyLoss) and _is_plain(module, outputs, ignored):
            return Targets(labels)
        return Targets(labels, loss=_scaled(module, outputs, labels, terms=_weights(module, labels[~ignored])))
    if isinstance(module, nn.NLLLoss):
        raise UsageError(f"targets: expected labels, whole numbers, got {dtype_of(targets)}")
    if isinstance(module, nn.CrossEntropyLoss):
        if loss == CROSS_ENTROPY:
            return Targets(_distributions(outputs, targets))
        _require_shape(outputs, targets)
        classes = outputs.shape[1]
        return Targets(targets, loss=_scaled(module, outputs, targets, terms=targets.numel() / classes))
    if isinstance(module, _OF_EQUALS):
        _require_shape(outputs, targets)
        _require_weights_of_outputs(module, outputs)
        if isinstance(module, nn.KLDivLoss) and module.reduction == "mean":
            raise UsageError("loss: torch will change the meaning of KLDivLoss(reduction='mean'); choose 'batchmean'")
        terms = len(targets) if module.reduction == "batchmean" else targets.numel()
        return Targets(targets, loss=_scaled(module, outputs, targets, terms=float(terms)))
    return Targets(targets, loss=_scaled(module, outputs, targets, terms=float(len(targets))))


def _scaled(module: nn.Module, outputs: Tensor, targets: Tensor, *, terms: float) -> TorchLoss:
    """Return `module` with its sum divided by `terms`, which is the sum of all weights for a mean."""
    n = len(targets)
    each: Any = copy.deepcopy(module).to(outputs.device).double()
    match module.reduction:
        case "sum":
            terms = 1.0
        case "none":
            terms = n * outputs[0].numel() / (outputs.shape[1] if isinstance(module, _OF_CLASSES) else 1)
            terms = n if isinstance(module, _OF_MARGINS) else terms
    if not terms > 0:
        raise UsageError("targets: all of them are ignored, or their weights sum to 0, so there is no mean loss")
    each.reduction = "none"
    return TorchLoss(each, factor=n / terms, has_labels=not targets.is_floating_point() and _takes_labels(module))


def _takes_labels(module: nn.Module) -> bool:
    return isinstance(module, (*_OF_CLASSES, nn.MultiMarginLoss, nn.MultiLabelMarginLoss))


def _is_plain(module: nn.CrossEntropyLoss, outputs: Tensor, ignored: Tensor) -> bool:
    """Return whether it is the cross entropy of the evaluators: of outputs [n, classes], unweighted, a mean over all inputs."""
    unweighted = module.weight is None and module.label_smoothing == 0 and module.reduction != "sum"
    return unweighted and outputs.ndim == 2 and not bool(ignored.any())


def _labels(module: Any, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return labels as int64 [n, ...], each a class or ignored."""
    if outputs.ndim < 2:
        raise UsageError(f"model: cross entropy takes outputs [n, classes, ...], got shape {list(outputs.shape)}")
    wanted = [len(targets), *outputs.shape[2:]]
    if list(targets.shape) != wanted or targets.dtype == torch.bool:
        raise UsageError(
            f"targets: expected labels {_shape(wanted)} for outputs {_shape(outputs.shape)}, got shape {list(targets.shape)}, "
            f"{dtype_of(targets)}{_squeezed(targets, wanted)}"
        )
    labels, classes = targets.long(), outputs.shape[1]
    if (weight := module.weight) is not None and weight.shape != (classes,):
        raise UsageError(f"loss: has weights of {len(weight)} classes, the model has {classes} classes")
    wrong = labels[(labels != module.ignore_index) & ((labels < 0) | (labels >= classes))]
    if len(wrong):
        raise UsageError(f"targets: the model has {classes} classes, 0 to {classes - 1}; found label {int(wrong[0])}")
    return labels


def _squeezed(targets: Tensor, wanted: list[int]) -> str:
    fits = targets.ndim == len(wanted) + 1 and targets.shape[-1] == 1
    return "; targets.squeeze(-1) has this shape" if fits and targets.dtype != torch.bool else ""


def _weights(module: Any, labels: Tensor) -> float:
    """Return torch's divisor: the sum of the weights of the labels that are not ignored."""
    if module.weight is None:
        return float(labels.numel())
    return float(module.weight.to(labels.device).double()[labels].sum())


def _distributions(outputs: Tensor, targets: Tensor) -> Tensor:
    classes = outputs.shape[1] if outputs.ndim > 1 else 1
    if outputs.ndim != 2 or targets.ndim != 2 or targets.shape[1] != classes:
        raise UsageError(
            f"targets: expected whole numbers [n] (classes) or distributions [n, {classes}], got shape {list(targets.shape)}, "
            f"{dtype_of(targets)}"
        )
    values = targets.float()
    off = float((values.double().sum(1) - 1).abs().max())
    if not (bool((values >= 0).all()) and off <= LARGEST_DISTRIBUTION_ERROR):
        raise UsageError("targets: expected distributions, whose numbers are at least 0 and sum to 1")
    return values


def _require_shape(outputs: Tensor, targets: Tensor) -> None:
    """Raise UsageError unless an input's target has the shape of its output, because torch would broadcast one to the other."""
    own, wanted = targets.shape[1:], outputs.shape[1:]
    if own == wanted:
        return
    fits = ""
    if own.numel() == wanted.numel():
        fits = f"; targets.reshape({', '.join(map(str, [-1, *wanted]))}) has this shape"
    raise UsageError(
        f"targets: expected the shape of the outputs, {_shape(outputs.shape)}, got {_shape(targets.shape)}{fits}"
    )


def _require_weights_of_outputs(module: Any, outputs: Tensor) -> None:
    """Raise UsageError if a loss has weights by position in a batch."""
    for name in ("weight", "pos_weight"):
        value = getattr(module, name, None)
        if value is not None and value.numel() > 1 and value.ndim >= outputs.ndim and value.shape[0] > 1:
            raise UsageError(
                f"loss: its {name} {list(value.shape)} has one number per input of a batch; expected one per number of an "
                f"output, {list(outputs.shape[1:])}"
            )


def _shape(sizes: Any) -> str:
    return f"[{', '.join(['n', *map(str, list(sizes)[1:])])}]"
