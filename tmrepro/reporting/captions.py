"""Captions and alternative texts of the figures of a run.

The names are those of `runner/drawings.py`: SURFACE, SURFACE.shared, SURFACE.replicates and training.curves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tmrepro.records import Minimum, loss_bound
from tmrepro.reporting.figures.scale import loss_label
from tmrepro.spec import LOSS_UNITS, Spec

Values = Mapping[str, float | int | None]  # statistic -> value
StatisticsTree = Mapping[str, Mapping[str, Values]]  # surface -> model -> statistic -> value

_LABELS = {"relabelled": "the network's own answers at θ* (X̃)", "original": "the given labels (X)"}
_ROWS = "In each row contour lines on the left, the surface on the right; a star marks θ*."
_KINDS = {
    ".shared": "loss surface {} with all networks on one scale, a row for each: contour lines left, the surface right",
    ".replicates": "contour maps of all replicates of {}: a column for each training seed, a row for each network and directions",
    "": "loss surface {}, a row for each network: contour lines left, the surface right",
}


@dataclass(frozen=True)
class Caption:
    """`text` is below a figure. `alternative` describes the picture with its numbers, for readers who do not see it."""

    text: str
    alternative: str


def figure_captions(
    spec: Spec, *, minima: Mapping[str, Minimum], statistics: StatisticsTree, directions: Mapping[str, str]
) -> dict[str, Caption]:
    """Return the captions of all figures that a run of the resolved `spec` may have, by their names.

    Args:
        spec: the resolved spec.
        minima: by network.
        statistics: of the surfaces, replicates included.
        directions: by surface of the spec, a description of its directions.
    """
    unit = LOSS_UNITS[spec.models[0].training.loss]
    found = {"training.curves": _curves(minima, unit)}
    for surface in spec.surfaces:
        name, K = surface.name, surface.grid.K
        everything = {
            (drawn, model): values
            for drawn, models in statistics.items()
            if drawn.partition(".")[0] == name
            for model, values in models.items()
        }
        first = {model: values for (drawn, model), values in everything.items() if "." not in drawn + model}
        numbers = " ".join(f"{model}: {_in_numbers(values, unit)}." for model, values in first.items())
        planes = _planes(first)
        found[name] = Caption(
            f"Loss against {_LABELS[surface.labels]}, at {K} × {K} points around θ*: {directions[name]}. {_ROWS}{planes}",
            f"Loss surface {name}. {numbers}",
        )
        found[f"{name}.shared"] = Caption(
            f"The surfaces of {name} again, all networks on one colour scale and one height.{planes}",
            f"Loss surfaces {name} on one scale. {numbers}",
        )
        found[f"{name}.replicates"] = Caption(
            f"All replicates of {name}: a column for each training seed, a row for each network and pair of directions. "
            "The maps of one network share a colour scale."
            + _planes({f"{drawn}, {model}": values for (drawn, model), values in everything.items()}),
            f"Contour maps of the replicates of {name}. {_over_replicates(everything, unit)}",
        )
    return found


def figure_in_words(name: str) -> str:
    """Return a description of a figure from its file name, such as figures/paper.shared.png."""
    stem = name.rpartition("/")[2].removesuffix(".png")
    if stem == "training.curves":
        return "training curves: losses on the left, accuracies on the right, a row for each network"
    if stem in {"spectrum", "spectrum.curvature"}:
        return "spectra of the Hessian at θ*, a row for each network"
    kind = next(kind for kind in _KINDS if stem.endswith(kind))
    return _KINDS[kind].replace("{}", stem.removesuffix(kind))


def below_theta(values: Values) -> str | None:
    """Return how far a plane goes below its "minimum"; None if it does not, or if the difference may be rounding."""
    depth, home = values.get("depth_below_minimum"), values.get("loss_at_minimum")
    if depth is None or home is None or depth <= loss_bound(home):
        return None
    return f"lowest point of this plane is {loss_label(depth)} below θ*"


def _planes(surfaces: Mapping[str, Values]) -> str:
    lines = {name: below_theta(values) for name, values in surfaces.items()}
    return "".join(f" {name}: {line}." for name, line in lines.items() if line)


def _in_numbers(values: Values, unit: str) -> str:
    home, low, high = (values.get(name) for name in ("loss_at_minimum", "loss_min", "loss_max"))
    if low is None or high is None:
        return "no finite loss"
    words = ["no finite loss at θ*" if home is None else f"loss {loss_label(home)} {unit} at θ*"]
    words.append(f"from {loss_label(low)} to {loss_label(high)} on the grid")
    radius = values.get("half_rise_radius")
    if radius is not None:
        words.append(f"half of the rise to the edge within {loss_label(radius)} of θ*")
    return ", ".join(words)


def _over_replicates(surfaces: Mapping[tuple[str, str], Values], unit: str) -> str:
    """Return the largest losses of the maps, over the replicates of each network."""
    largest: dict[str, list[float]] = {}
    for (_, model), values in surfaces.items():
        high = values.get("loss_max")
        largest.setdefault(model.partition(".")[0], []).extend([] if high is None else [high])
    return " ".join(
        f"{model}: {len(found)} maps, their largest losses from {loss_label(min(found))} to {loss_label(max(found))} {unit}."
        for model, found in largest.items()
        if found
    )


def _curves(minima: Mapping[str, Minimum], unit: str) -> Caption:
    text = (
        "Losses on the left, accuracies on the right, by epoch. Solid lines: training part; dashed: held out; dotted: ε. "
        "Marks: the first LM and GM, and the epoch that θ* is from."
    )
    first = {name: minimum for name, minimum in minima.items() if "." not in name}
    return Caption(
        text, " ".join(["Training curves.", *(_course(name, minimum, unit) for name, minimum in first.items())])
    )


def _course(name: str, minimum: Minimum, unit: str) -> str:
    words = [f"{name}: {minimum.epochs} epochs"]
    if minimum.train_loss_last is not None:
        words.append(f"training loss {loss_label(minimum.train_loss_last)} {unit} in the last")
    if minimum.validation_accuracy is not None:
        words.append(f"held-out accuracy {100 * minimum.validation_accuracy:.1f} % at θ*")
    return ", ".join(words) + "."
