"""The caller's network: checks it, and makes the copy for the computation."""

from __future__ import annotations

import copy
from typing import get_args

import torch
from torch import Tensor, nn

from tmrepro.errors import UsageError
from tmrepro.surface import Precision

HALVES = frozenset({torch.float16, torch.bfloat16})  # float32 represents each of their numbers


def unwrapped(model: object) -> nn.Module:
    """Return the module itself if torch.compile wrapped it.

    Raises:
        UsageError: `model` is not a module.
    """
    module = getattr(model, "_orig_mod", model)
    if not isinstance(module, nn.Module):
        raise UsageError(f"model: expected a torch.nn.Module, got {kind_of(model)}")
    return module


def own_model(module: nn.Module) -> nn.Module:
    """Return a copy of `module` at theta*, in eval mode, so that the caller's module is not changed.

    It is in float64 if a parameter is, otherwise in float32, which represents every float16 and bfloat16 number.

    Raises:
        UsageError: the module has no parameters, has parameters that are not real floating point numbers, or cannot be copied.
    """
    named = dict(module.named_parameters())
    if not named:
        raise UsageError("model: has no parameters, so its loss has no landscape")
    for name, value in named.items():
        _check_parameter(name, value)
    if len({value.device for value in named.values()}) > 1:
        where = ", ".join(sorted(map(str, {value.device for value in named.values()})))
        raise UsageError(f"model: its parameters are on several devices ({where}), expected one: give model.to(DEVICE)")
    for name, buffer in module.named_buffers():
        if isinstance(buffer, nn.parameter.UninitializedBuffer):
            raise UsageError(f"model: buffer {name!r} has no shape yet; run the model on some inputs first")
    try:
        return lifted(copy.deepcopy(module).eval())
    except Exception as error:
        raise UsageError(f"model: cannot be copied ({type(error).__name__}: {error}){_remedy(module)}") from error


def lifted(module: nn.Module) -> nn.Module:
    """Convert `module` in place to the precision that represents all of its parameters: see `own_model`. Return it."""
    kinds = {value.dtype for value in module.parameters()}
    if torch.float64 in kinds:
        return module.double()
    return module.float() if kinds & HALVES else module


def precision_of(model: nn.Module, asked: object) -> Precision:
    """Return the precision for `model`, a copy made by `own_model`. `asked` = None selects that of its parameters.

    Raises:
        UsageError: there is no such precision, or it would round parameters in float64.
    """
    is_wide = any(value.dtype == torch.float64 for value in model.parameters())
    if asked is None:
        return "float64" if is_wide else "float32"
    for precision in get_args(Precision):
        if asked == precision:
            if is_wide and precision != "float64":
                raise UsageError(
                    f"precision: the model has parameters in float64, which {precision} would round; leave precision out, or "
                    "give model.float()"
                )
            found: Precision = precision
            return found
    raise UsageError(f"precision: choose one of {', '.join(get_args(Precision))} (got {asked!r})")


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
    if value.dtype not in {torch.float32, torch.float64, *HALVES}:
        raise UsageError(
            f"model: parameter {name!r} is {dtype_of(value)}, expected float64, float32, float16 or bfloat16: give model.float()"
        )
    if any(stride == 0 and size > 1 for stride, size in zip(value.stride(), value.shape, strict=True)):
        raise UsageError(
            f"model: parameter {name!r} is an expanded tensor, whose numbers share memory; give a clone of it"
        )
    if not bool(torch.isfinite(value.detach()).all()):
        raise UsageError(f"model: parameter {name!r} has values that are not finite, so there is no theta*")


def _remedy(module: nn.Module) -> str:
    """Return advice for networks that cannot be copied."""
    hooks = [type(hook).__name__ for part in module.modules() for hook in part._forward_pre_hooks.values()]  # noqa: SLF001
    for name, instead in (("WeightNorm", "weight_norm"), ("SpectralNorm", "spectral_norm")):
        if name in hooks:
            return f"; use torch.nn.utils.parametrizations.{instead} in place of torch.nn.utils.{instead}"
    return "; a tensor computed from parameters must not be kept as an attribute: compute it in forward, or keep a detach() of it"


def dtype_of(tensor: Tensor) -> str:
    """Return the dtype as users of torch write it."""
    return str(tensor.dtype).removeprefix("torch.")


def kind_of(value: object) -> str:
    """Describe the type of a value."""
    name = type(value).__name__
    return "nothing" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
