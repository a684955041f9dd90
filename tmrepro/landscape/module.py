"""The caller's network: what it must be, and the copy of it on which everything is computed."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from tmrepro.errors import UsageError


def unwrapped(model: object) -> nn.Module:
    """The module itself, where torch.compile wrapped it.

    Raises:
        UsageError: it is none.
    """
    module = getattr(model, "_orig_mod", model)
    if not isinstance(module, nn.Module):
        raise UsageError(f"model: expected a torch.nn.Module, got {kind_of(model)}")
    return module


def own_model(module: nn.Module) -> nn.Module:
    """A copy of `module` in eval mode, holding theta*, so that nothing that happens can reach the caller's.

    Raises:
        UsageError: it has no parameters, others than float32 ones, or cannot be copied as it is.
    """
    named = dict(module.named_parameters())
    if not named:
        raise UsageError("model: has no parameters, so its loss has no landscape")
    for name, value in named.items():
        _check_parameter(name, value)
    if len({value.device for value in named.values()}) > 1:
        raise UsageError("model: its parameters are on several devices, expected one")
    try:
        return copy.deepcopy(module).eval()
    except Exception as error:
        raise UsageError(
            f"model: cannot be copied, so as to leave yours alone ({type(error).__name__}: {error}){_remedy(module)}"
        ) from error


def _check_parameter(name: str, value: Tensor) -> None:
    if isinstance(value, nn.parameter.UninitializedParameter):
        raise UsageError(f"model: parameter {name!r} has no shape yet; run the model on some inputs first")
    if value.is_meta:
        raise UsageError(
            f"model: parameter {name!r} is on the meta device, which holds no values; load the weights first"
        )
    if value.is_complex():
        raise UsageError(
            f"model: parameter {name!r} is {dtype_of(value)}; theta is a vector of real numbers: keep real and imaginary parts "
            "as float32 parameters, and torch.view_as_complex in forward"
        )
    if value.layout is not torch.strided:
        raise UsageError(
            f"model: parameter {name!r} is {str(value.layout).removeprefix('torch.')}, expected a dense one"
        )
    if value.dtype != torch.float32:
        raise UsageError(f"model: parameter {name!r} is {dtype_of(value)}, expected float32: give model.float()")
    if any(stride == 0 and size > 1 for stride, size in zip(value.stride(), value.shape, strict=True)):
        raise UsageError(
            f"model: parameter {name!r} is an expanded tensor, whose numbers share memory; give a clone of it"
        )
    if not bool(torch.isfinite(value.detach()).all()):
        raise UsageError(
            f"model: parameter {name!r} has values that are not finite, so there is no point to draw around"
        )


def _remedy(module: nn.Module) -> str:
    """What to do about the networks that are known not to be copied."""
    hooks = [type(hook).__name__ for part in module.modules() for hook in part._forward_pre_hooks.values()]  # noqa: SLF001
    for name, instead in (("WeightNorm", "weight_norm"), ("SpectralNorm", "spectral_norm")):
        if name in hooks:
            return f"; use torch.nn.utils.parametrizations.{instead} in place of torch.nn.utils.{instead}"
    return "; a tensor computed from parameters must not be kept as an attribute: compute it in forward, or keep a detach() of it"


def dtype_of(tensor: Tensor) -> str:
    """The dtype as torch's users write it."""
    return str(tensor.dtype).removeprefix("torch.")


def kind_of(value: object) -> str:
    """What a value is, in words."""
    return "nothing" if value is None else f"a {type(value).__name__}"
