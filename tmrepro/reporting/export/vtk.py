"""A folder of VTK XML files for ParaView: a .vts for each surface, a .vtp for its paths and marks, a .vtm to open all.

The height of a surface is half the width of its plane, so that it is visible at once. The height shows the loss on the scale of
the spec's figures. The arrays have the stored numbers: loss, accuracy and log10_loss. Points whose loss is not finite are
hidden (vtkGhostType). On a log scale, so are points whose loss has no logarithm.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from jaxtyping import Float64

from tmrepro.records import Surface
from tmrepro.store.finished import Finished

HIDDEN_POINT = 2  # vtkDataSetAttributes::HIDDENPOINT
WIDE = 100  # `auto` is log if the largest loss is more than this many times the least; as in figures/scale.py
RISE = 0.5  # height of the highest point, as a share of the plane's width

_TYPES = {"float64": "Float64", "int64": "Int64", "uint8": "UInt8"}


def write_vtk(run: Finished, folder: Path) -> None:
    """Write the files into the new folder `folder`."""
    folder.mkdir()
    blocks: list[tuple[str, str]] = []
    for surface, model in run.surfaces:
        values, facts, _, _ = run.surface(surface, model)
        heights = _heights(values, asked=run.spec.figures.scale)
        stem = f"{surface}/{model}"
        (folder / surface).mkdir(exist_ok=True)
        _save(_grid(values, heights), folder / f"{stem}.vts")
        blocks.append((f"{surface} {model}", f"{stem}.vts"))
        path = [(point.places[surface].a, point.places[surface].b) for point in run.trajectory(model)]
        places = [(a, b) for a, b in path if a is not None and b is not None]
        lines = {f"{stem}.path.vtp": places, f"{stem}.marks.vtp": [(mark.a, mark.b) for mark in facts.marks]}
        for name, points in lines.items():
            if points:
                _save(_points(points, values, heights, joined=name.endswith(".path.vtp")), folder / name)
                blocks.append((name.removesuffix(".vtp").replace("/", " "), name))
    _save(_collection(blocks), folder / f"{run.spec.name}.vtm")


@dataclass(frozen=True)
class _Heights:
    """z [Ka, Kb] of every point, nan if it has none; `scale` is linear or log."""

    z: Float64[np.ndarray, "Ka Kb"]
    scale: str


def _heights(surface: Surface, *, asked: str) -> _Heights:
    loss = np.where(np.isfinite(surface.loss), surface.loss, np.nan)
    logs = _log10(loss)
    finite = loss[np.isfinite(loss)]
    wide = bool(finite.size) and finite.min() > 0 and finite.max() > WIDE * finite.min()
    scale = "log" if asked == "log" or (asked == "auto" and wide) else "linear"
    shown = logs if scale == "log" else loss
    drawn = shown[np.isfinite(shown)]
    span = float(np.ptp(drawn)) if drawn.size else 0.0
    rise = RISE * max(np.ptp(surface.a), np.ptp(surface.b))
    z = (shown - drawn.min()) / span * rise if span > 0 else np.where(np.isfinite(shown), 0.0, np.nan)
    return _Heights(z, scale)


def _log10(loss: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(loss > 0, np.log10(loss), np.nan)


def _grid(surface: Surface, heights: _Heights) -> ET.Element:
    rows, columns = surface.loss.shape
    root = _file("StructuredGrid")
    extent = f"0 {rows - 1} 0 {columns - 1} 0 0"
    grid = ET.SubElement(root, "StructuredGrid", WholeExtent=extent)
    _fields(grid, {"z_is_log": np.array([heights.scale == "log"], dtype=np.uint8)})
    piece = ET.SubElement(grid, "Piece", Extent=extent)
    hidden = np.isnan(heights.z)
    data = ET.SubElement(piece, "PointData", Scalars="loss")
    arrays = {"loss": surface.loss, "accuracy": surface.accuracy, "log10_loss": _log10(surface.loss)}
    for name, values in arrays.items():
        _array(data, name, _in_order(values))
    if hidden.any():
        _array(data, "vtkGhostType", _in_order(np.where(hidden, HIDDEN_POINT, 0).astype(np.uint8)))
    a, b = np.meshgrid(surface.a, surface.b, indexing="ij")
    points = np.stack([_in_order(part) for part in (a, b, np.where(hidden, 0.0, heights.z))], axis=1)
    _array(ET.SubElement(piece, "Points"), "Points", points)
    return root


def _points(places: Sequence[tuple[float, float]], surface: Surface, heights: _Heights, *, joined: bool) -> ET.Element:
    """Return a line through points, or points alone, at the height of the surface; at its foot if they are outside."""
    from scipy.interpolate import RegularGridInterpolator

    z = RegularGridInterpolator((surface.a, surface.b), heights.z, bounds_error=False)(np.array(places))
    points = np.column_stack([np.array(places), np.where(np.isfinite(z), z, 0.0)])
    count = len(points)
    root = _file("PolyData")
    cells = {"NumberOfLines": "1"} if joined else {"NumberOfVerts": str(count)}
    piece = ET.SubElement(ET.SubElement(root, "PolyData"), "Piece", {"NumberOfPoints": str(count), **cells})
    _array(ET.SubElement(piece, "Points"), "Points", points)
    shape = ET.SubElement(piece, "Lines" if joined else "Verts")
    _array(shape, "connectivity", np.arange(count, dtype=np.int64))
    _array(shape, "offsets", np.array([count], dtype=np.int64) if joined else np.arange(1, count + 1, dtype=np.int64))
    return root


def _collection(blocks: Sequence[tuple[str, str]]) -> ET.Element:
    root = _file("vtkMultiBlockDataSet", version="1.0")
    inside = ET.SubElement(root, "vtkMultiBlockDataSet")
    for index, (name, file) in enumerate(blocks):
        ET.SubElement(inside, "DataSet", index=str(index), name=name, file=file)
    return root


def _file(kind: str, version: str = "1.0") -> ET.Element:
    return ET.Element("VTKFile", type=kind, version=version, byte_order="LittleEndian", header_type="UInt64")


def _fields(parent: ET.Element, values: dict[str, np.ndarray]) -> None:
    data = ET.SubElement(parent, "FieldData")
    for name, value in values.items():
        _array(data, name, value, NumberOfTuples=str(len(value)))


def _array(parent: ET.Element, name: str, values: np.ndarray, **more: str) -> None:
    """Add the numbers as in memory, in base64, preceded by their length in bytes."""
    shape = {"NumberOfComponents": str(values.shape[1])} if values.ndim == 2 else {}
    kind = _TYPES[values.dtype.name]
    about = {"type": kind, "Name": name, "format": "binary", **shape, **more}
    array = ET.SubElement(parent, "DataArray", about)
    content = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
    array.text = base64.b64encode(len(content).to_bytes(8, "little") + content).decode("ascii")


def _in_order(values: np.ndarray) -> np.ndarray:
    """Return points in VTK's order, a first."""
    return values.ravel(order="F")


def _save(root: ET.Element, path: Path) -> None:
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
