"""A folder of CSV tables, with a columns.csv that describes every column and every statistic.

Numbers are in their shortest exact form. An undefined number is an empty field; losses may be nan, inf or -inf.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

from tmrepro.records import Epoch
from tmrepro.statistics import MINIMUM_NUMBERS, STATISTICS
from tmrepro.store.finished import Finished
from tmrepro.store.minima import minimum_document

Value = float | int | str | None

_KEYS = {"network": ("name of the network", ""), "surface": ("name of the surface", "")}
_POINT = {
    "i": ("place along a, from 0", ""),
    "j": ("place along b, from 0", ""),
    "a": ("coordinate along delta", "1"),
    "b": ("coordinate along eta", "1"),
}
_EPOCH = {
    "epoch": ("epoch of training", "1"),
    "train_loss": ("mean training loss of the epoch", "LOSS"),
    "train_accuracy": ("training accuracy of the epoch", "1"),
    "validation_loss": ("held-out loss after the epoch", "LOSS"),
    "validation_accuracy": ("held-out accuracy after the epoch", "1"),
    "lr": ("learning rate", "1"),
    "seconds": ("time since training began", "s"),
}
_PATH = {
    "epoch": ("epoch of the point; 0 before the first update", "1"),
    "loss": ("loss on the relabelled data", "LOSS"),
    "distance": ("distance to theta*", "1"),
    "gradient_norm": ("norm of the gradient", "LOSS per unit of distance"),
    "cosine": ("of the angle between the step to here and the direction to theta*", "1"),
    "pca_1": ("first principal component, from theta*", "1"),
    "pca_2": ("second principal component, from theta*", "1"),
}
_PLACE = {
    "epoch": ("epoch of the point", "1"),
    "a": ("coordinate in the plane of the surface", "1"),
    "b": ("coordinate in the plane of the surface", "1"),
    "distance": ("distance from the plane", "1"),
}


def write_tables(run: Finished, folder: Path) -> None:
    """Write the tables into the new folder `folder`."""
    folder.mkdir()
    meanings: list[tuple[str, str, str, str]] = []

    def write(name: str, columns: dict[str, tuple[str, str]], rows: Iterable[Iterable[Value]], *, of: str = "") -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([_written(value) for value in row] for row in rows)
        told = [
            (of or name, column, words, unit.replace("LOSS", run.unit)) for column, (words, unit) in columns.items()
        ]
        meanings.extend(line for line in told if line not in meanings)

    for surface, model in run.surfaces:
        columns = _POINT | {"loss": ("mean loss", "LOSS"), "accuracy": ("accuracy", "1")}
        write(
            f"surfaces/{surface}/{model}.csv", columns, _points(run, surface, model), of="surfaces/SURFACE/NETWORK.csv"
        )
    write("statistics.csv", _KEYS | {"statistic": ("its name", ""), "value": ("see columns.csv", "")}, _statistics(run))
    write("networks.csv", _minimum_columns(run), _minima(run))
    write("history.csv", {"network": _KEYS["network"], **_EPOCH}, _histories(run))
    write("trajectories.csv", {"network": _KEYS["network"], **_PATH}, _paths(run))
    write("places.csv", _KEYS | _PLACE, _places(run))
    marks = _KEYS | {"mark": ("network whose theta* it is", ""), "a": _POINT["a"], "b": _POINT["b"]}
    write("marks.csv", marks, _marks(run))
    meanings += [
        ("statistics.csv", info.name, info.description, info.unit.replace("nats", run.unit)) for info in STATISTICS
    ]
    about = {"table": ("", ""), "name": ("", ""), "meaning": ("", ""), "unit": ("", "")}
    write("columns.csv", about, list(meanings))


def _points(run: Finished, surface: str, model: str) -> Iterator[tuple[Value, ...]]:
    values = run.surface(surface, model)[0]
    a, b = values.a.tolist(), values.b.tolist()
    for i, x in enumerate(a):
        losses, accuracies = values.loss[i].tolist(), values.accuracy[i].tolist()
        for j, (y, loss, accuracy) in enumerate(zip(b, losses, accuracies, strict=True)):
            yield i, j, x, y, loss, accuracy


def _statistics(run: Finished) -> Iterator[tuple[Value, ...]]:
    for surface, models in run.statistics.items():
        for model, values in models.items():
            yield from ((model, surface, name, value) for name, value in values.items())


def _minimum_columns(run: Finished) -> dict[str, tuple[str, str]]:
    known = {info.name: (info.description, info.unit.replace("nats", "LOSS")) for info in MINIMUM_NUMBERS}
    document = minimum_document(next(iter(run.minima.values())))
    names = [name for name, value in document.items() if not isinstance(value, dict) and name != "model"]
    return {"network": _KEYS["network"]} | {name: known.get(name, ("see minimum.json", "")) for name in names}


def _minima(run: Finished) -> Iterator[tuple[Value, ...]]:
    columns = [name for name in _minimum_columns(run) if name != "network"]
    for model, minimum in run.minima.items():
        document = minimum_document(minimum)
        cells = (document[name] for name in columns)
        yield (model, *(" ".join(map(str, cell)) if isinstance(cell, list | tuple) else cell for cell in cells))


def _histories(run: Finished) -> Iterator[tuple[Value, ...]]:
    for model in run.models:
        for epoch in run.history(model).epochs:
            yield (model, *(getattr(epoch, field.name) for field in fields(Epoch)))


def _paths(run: Finished) -> Iterator[tuple[Value, ...]]:
    for model in run.models:
        for point in run.trajectory(model):
            numbers = (point.loss, point.distance, point.gradient_norm, point.cosine)
            yield (model, point.epoch, *numbers, *(point.components or (None, None)))


def _places(run: Finished) -> Iterator[tuple[Value, ...]]:
    for model in run.models:
        for point in run.trajectory(model):
            for surface, place in point.places.items():
                yield model, surface, point.epoch, place.a, place.b, place.distance


def _marks(run: Finished) -> Iterator[tuple[Value, ...]]:
    for surface, model in run.surfaces:
        yield from ((model, surface, mark.name, mark.a, mark.b) for mark in run.surface(surface, model)[1].marks)


def _written(value: Value) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(value)
