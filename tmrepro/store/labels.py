"""Names and units of the variables of a surface: the attributes long_name and units, which xarray shows on axes."""

from __future__ import annotations

import xarray as xr

_UNIT_NORM = 1e-3  # an axis shows distances if the norm of its direction differs from 1 by at most this


def labelled(found: xr.Dataset, *, words: str = "mean loss", unit: str = "nats") -> xr.Dataset:
    """Return `found`, a surface [a, b] or line [a], with labels on all variables. `words` and `unit` describe the loss."""
    found["loss"].attrs |= {"long_name": words, "units": unit}
    if "accuracy" in found:
        found["accuracy"].attrs |= {"long_name": "accuracy", "units": "1"}
    along = {"a": "delta", "b": "eta"} if "b" in found.dims else {"a": "direction"}
    for axis, direction in along.items():
        found[axis].attrs |= {"long_name": _axis(axis, direction, found.attrs.get(f"{direction}_norm")), "units": "1"}
    return found


def _axis(axis: str, direction: str, norm: float | None) -> str:
    if norm is not None and abs(norm - 1) <= _UNIT_NORM:
        return f"{axis}, distance along {direction}"
    return f"{axis}, multiples of {direction}" + ("" if norm is None else f" (norm {norm:.4g})")


def labelled_path(found: xr.Dataset, *, words: str = "mean loss", unit: str = "nats") -> xr.Dataset:
    """Return `found`, the path of a training, with labels on its variables. `words` and `unit` describe the loss."""
    names = {
        "epoch": ("epoch", "1"),
        "loss": (words, unit),
        "gradient_norm": ("norm of the gradient", f"{unit} per unit of distance"),
        "distance": ("distance to theta*", "1"),
        "cosine": ("cosine of the step and the direction to theta*", "1"),
        "pca_1": ("first principal component", "1"),
        "pca_2": ("second principal component", "1"),
    }
    for name in found.variables:
        plane, _, end = str(name).rpartition("_")
        along = {"a": f"a in plane {plane}", "b": f"b in plane {plane}", "distance": f"distance from plane {plane}"}
        long_name, units = names.get(str(name), (along.get(end, str(name)), "1"))
        found[name].attrs |= {"long_name": long_name, "units": units}
    return found
