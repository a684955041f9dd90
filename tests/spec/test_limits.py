"""Every limit that a reader of foreign files has, on both sides: what is just allowed is read, one more is refused.

A case is named MODULE.CONSTANT (of tmrepro), or what it bounds where no constant does. It is a function of a folder and of 0 or
1, how much over the limit it goes; it raises, or gives False, where it is refused. Limits of gigabytes are made small for the
test, which then tries whether they are kept; `test_the_large_limits_are_what_they_are` says that they are what they should be.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import json
import re
import struct
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from tmrepro.comparison.contents import read_figure
from tmrepro.data import arrays
from tmrepro.data.picture import read_picture
from tmrepro.errors import TmreproError
from tmrepro.landscape.points import _axis
from tmrepro.records import Direction, Epoch, History, Mark, SurfaceFacts, TrajectoryPoint
from tmrepro.reporting.figures import compare_png
from tmrepro.runner import checkpoints, context
from tmrepro.spec import limits, parse_spec
from tmrepro.store import chunks, documents, kept_surfaces, lock, manifest, tensors, trajectories, zarr_files
from tmrepro.store.atomic import read_bytes
from tmrepro.store.curvature import read_curvature
from tmrepro.store.signatures import recorded_signature
from tmrepro.store.stages import StageRecord
from tmrepro.store.zarr_metadata import attributes_of, read_attributes, read_error, read_layout
from tmrepro.training.checkpoint import FORMAT
from tmrepro.verification import figures, level_integrity, reference
from tmrepro.verification.bands import Bands

Case = Callable[[Path, int, pytest.MonkeyPatch], Any]


def array(rows: int, columns: int, chunk: int) -> dict[str, Any]:
    return {"shape": [rows, columns], "chunk_grid": {"configuration": {"chunk_shape": [chunk, chunk]}}}


def png(width: int, height: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (width, height)).save(buffer, format="PNG")
    return buffer.getvalue()


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def padded_json(folder: Path, key: str, limit: int) -> Any:
    path = folder / "surfaces.zarr" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"{}".ljust(limit))
    return zarr_files.read_metadata(folder, key)


def tensor_file(folder: Path, over: int) -> Any:
    content = 1000 + limits.WEIGHTS_HEADER_BYTES + over
    data = safetensors.numpy.save({"x": np.zeros(content - 72, dtype=np.uint8)})
    (folder / "x").write_bytes(data)
    return tensors.load_tensors(folder / "x", limit_bytes=len(data) - over - limits.WEIGHTS_HEADER_BYTES)


def tensor_header(folder: Path, over: int) -> Any:
    length = limits.WEIGHTS_HEADER_BYTES + over
    (folder / "x").write_bytes(length.to_bytes(8, "little") + b"{}".ljust(length))
    return tensors.count_numbers(folder / "x") == 0 and tensors.load_tensors(folder / "x") == {}


def labels(folder: Path, over: int, patch: pytest.MonkeyPatch) -> Any:
    tensors.save_labels(folder / "x.npy", np.arange(5), work=folder / "work")
    patch.setattr(tensors, "LABELS_LIMIT_BYTES", (folder / "x.npy").stat().st_size - over)
    return tensors.load_labels(folder / "x.npy")


def history(folder: Path, over: int, patch: pytest.MonkeyPatch) -> Any:
    documents.save_history(folder / "x.csv", History((Epoch(1, *[0.5] * 6),)), work=folder / "work")
    patch.setattr(documents, "HISTORY_LIMIT_BYTES", (folder / "x.csv").stat().st_size - over)
    return documents.load_history(folder / "x.csv")


def path_of_training(folder: Path, over: int, patch: pytest.MonkeyPatch) -> Any:
    point = TrajectoryPoint(0, 0.5, 0.5, 0.5, None, None)
    trajectories.save_trajectory(folder, "m", [point], work=folder / "work")
    patch.setattr(trajectories, "LIMIT_BYTES", (folder / "models/m/trajectory.csv").stat().st_size - over)
    return trajectories.load_trajectory(folder, "m", surfaces=[])


def marks(*, count: int = 1, name: str = "m") -> Any:
    direction = Direction(1, "a", 1.0)
    facts = SurfaceFacts(direction, direction, 0.0, 1.0, 1, "original", marks=(Mark(name, 0.0, 1.0),) * count)
    return read_attributes(attributes_of(facts, home=(0, 0), step=1.0), K=3, name="x")


def not_ascii(_: Path, over: int, patch: pytest.MonkeyPatch) -> Any:
    patch.setattr(documents, "JSON_LIMIT_BYTES", 4096)
    emoji = "\N{GRINNING FACE}"  # four bytes each, beside the header of the text, which differs between Pythons
    characters = (4096 + 1024 - (sys.getsizeof(emoji) - 4)) // 4 + over
    return documents.parse_json(('"' + emoji * (characters - 2) + '"').encode(), name="x")


def many_values(_: Path, over: int, patch: pytest.MonkeyPatch) -> Any:
    patch.setattr(documents, "JSON_LIMIT_VALUES", 100)
    return documents.parse_json(b"[" + b"0," * (99 + over) + b"0]", name="x")


def kept_chunk(folder: Path, over: int) -> Any:
    shape = (16, 16)
    limit = chunks.limit_bytes(shape)
    noise = np.random.default_rng(0).standard_normal(shape)
    assert len(chunks.encode(noise, shape=shape)) < limit
    (folder / "surfaces.zarr").mkdir()
    (folder / "surfaces.zarr" / "c").write_bytes(b"x" * (limit + over))
    return zarr_files.read(folder, "c", limit_bytes=limit)


def listed(folder: Path, lines: list[str]) -> list[manifest.IntegrityFinding]:
    (folder / "run").mkdir()
    (folder / "run" / manifest.MANIFEST).write_text("".join(lines), encoding="utf-8")
    return manifest.check_manifest(folder / "run")


def manifest_lines(folder: Path, over: int, patch: pytest.MonkeyPatch) -> bool:
    patch.setattr(manifest, "MANIFEST_LIMIT_LINES", 3)
    found = listed(folder, [f"{'0' * 64}  {number}\n" for number in range(3 + over)])
    return not any("not read any further" in finding.message for finding in found)


def manifest_line(folder: Path, over: int, _: pytest.MonkeyPatch) -> bool:
    path = "x" * (manifest.MANIFEST_LIMIT_LINE_BYTES - 67 + over)
    return {finding.problem for finding in listed(folder, [f"{'0' * 64}  {path}\n"])} == {"missing"}


def malformed(folder: Path, over: int, _: pytest.MonkeyPatch) -> bool:
    found = listed(folder, ["?\n"] * (manifest.MALFORMED_LIMIT + over))
    return not any("not read any further" in finding.message for finding in found)


def hashed(folder: Path, over: int, patch: pytest.MonkeyPatch) -> Any:
    patch.setattr(manifest, "FILE_BYTES", 10)
    sparse(folder / "x", 10 + over)
    return manifest.file_hashes(folder, ["x"])


def reused(folder: Path, over: int, patch: pytest.MonkeyPatch) -> Any:
    (folder / "f").mkdir()
    sparse(folder / "f" / "x", 10 + over)
    files = manifest.file_hashes(folder, ["f/x"])
    record = StageRecord("f", "key", {}, files, {"folder": "f"}, 1.0, "")
    patch.setattr(context, "FILE_BYTES", 10)
    here = object.__new__(context.Context)
    object.__setattr__(here, "run", folder / "run")
    return context._copy(here, folder, record, folder="g")


def checkpoint(folder: Path, over: int, patch: pytest.MonkeyPatch) -> bool:
    epoch = dict.fromkeys(Epoch.__dataclass_fields__, 1.0) | {"epoch": 1}
    progress = {"format": FORMAT, "attempt": 0, "seeds_collapsed": [], "history": [epoch], "best_epoch": 1,
                "rejected_best": 0, "seconds": 1.0}  # fmt: skip
    data = safetensors.numpy.save({"x": np.zeros(1)}, metadata={"progress": json.dumps(progress)})
    (folder / "x").write_bytes(hashlib.sha256(data).digest() + data)
    patch.setattr(checkpoints, "WEIGHTS_BYTES", len(data) + 32 - over)
    one = object.__new__(checkpoints.Checkpoint)
    one._path = folder / "x"
    return one.load() is not None


def kept_file(folder: Path, over: int, patch: pytest.MonkeyPatch) -> Any:
    run = folder / "run"
    run.mkdir()
    (run / "statistics.json").write_bytes(b"x" * (10 + over))
    manifest.write_manifest(run, work=folder / "work")
    patch.setattr(reference, "KEPT_FILE_LIMIT_BYTES", 10)
    return reference.replace_reference(run, to=folder / "to", bands=Bands(1, 0.95, 0.0, 0, {}, {}, {})) is None


def figure_compared(folder: Path, over: int, _: pytest.MonkeyPatch) -> bool:
    sparse(folder / "x.png", limits.FIGURE_BYTES + over)
    return read_figure(folder, "x.png") is not None


def pdf_stream(_: Path, over: int, patch: pytest.MonkeyPatch) -> bool:
    patch.setattr(figures, "FIGURE_BYTES", 1000)
    content = b"x" * (1000 + over)
    return figures._unpacked(zlib.compress(content)) == content


def figure_bytes(_: Path, over: int, __: pytest.MonkeyPatch) -> Any:
    picture = png(2, 2).ljust(limits.FIGURE_BYTES + over, b"\0")
    return compare_png(picture, picture).identical


def figure_pixels(_: Path, over: int, patch: pytest.MonkeyPatch) -> Any:
    patch.setattr("tmrepro.reporting.figures.pixels.PICTURE_PIXELS", 12)
    picture = png(12 + over, 1)
    return compare_png(picture, picture).identical


def own_arrays(folder: Path, *, members: int = 0, example: int = 4) -> Any:
    targets, others = np.arange(2.0), {f"other{number}": np.zeros(1) for number in range(members - 4)}
    inputs = np.ones((2, example))
    np.savez_compressed(
        folder / "own.npz",
        train_inputs=inputs, train_targets=targets, validation_inputs=inputs, validation_targets=targets, **others,
    )  # fmt: skip
    return arrays.load(folder / "own.npz")


def own_example(folder: Path, over: int, patch: pytest.MonkeyPatch) -> Any:
    patch.setattr("tmrepro.data.own.EXAMPLE_NUMBERS", 4)
    return own_arrays(folder, example=4 + over)


def own_bytes(folder: Path, over: int, patch: pytest.MonkeyPatch) -> Any:
    own_arrays(folder, example=1000)
    with zipfile.ZipFile(folder / "own.npz") as archive:
        size = sum(info.file_size for info in archive.infolist())
    patch.setattr(arrays, "DATA_BYTES", size - over)
    return own_arrays(folder, example=1000)


def own_signature(_: Path, over: int, patch: pytest.MonkeyPatch) -> Any:
    patch.setattr("tmrepro.store.signatures.EXAMPLE_NUMBERS", 12)
    signature = {"shape": [3, 4 + over], "dtype": "float32", "least": 0, "largest": 0, "classes": 2, "numbers": []}
    spec = parse_spec("version: 1\nname: own\ndata: {name: arrays, file: own.npz}\n")
    return recorded_signature({"data": {"signature": signature}}, spec)


def own_expansion(folder: Path, over: int, patch: pytest.MonkeyPatch) -> Any:
    own_arrays(folder, example=1000)
    with zipfile.ZipFile(folder / "own.npz") as archive:
        sizes = [(info.file_size, info.compress_size) for info in archive.infolist()]
    times = -(-sum(whole for whole, _ in sizes) // sum(packed for _, packed in sizes))
    patch.setattr(arrays, "EXPANSION_FREE_BYTES", 0)
    patch.setattr(arrays, "EXPANSION_MAX", times - over)
    return arrays.load(folder / "own.npz")


def picture(constant: str) -> Case:
    def case(folder: Path, over: int, patch: pytest.MonkeyPatch) -> Any:
        (folder / "x.png").write_bytes(png(12 + over, 1))
        allowed = 12 if constant == "PICTURE_PIXELS" else (folder / "x.png").stat().st_size - over
        patch.setattr(f"tmrepro.data.picture.{constant}", allowed)
        return read_picture(folder / "x.png", size=4)

    return case


def nested(levels: int) -> Any:
    return documents.parse_json(b"[" * levels + b"]" * levels, name="x")


def measured_error(*, points: int = 1, images: int = 1, note: str = "x") -> bool:
    attributes = {
        "error_over_bound": 1.5,
        "error_points": [[0, 0]] * points,
        "error_images": images,
        "error_note": note,
    }
    return read_error(attributes, shape=(2, 2), name="zarr.json") is not None


def curvature(folder: Path, *, padded: int = 0, **changes: Any) -> None:
    """Read a curvature.json in which everything is 0, but for `changes`."""
    document = {
        "model": "dnn", "parameters": 1000, "images": 1, "labels": "relabelled", "precision": "float32",
        "theta_sha256": "0" * 64, "labels_sha256": "0" * 64, "seed": 0, "eigenvalues": [0.0], "residuals": [0.0],
        "converged": [True], "tolerance": 0.1, "scale": 0.0, "trace": 0.0, "trace_error": 0.0, "trace_samples": [0.0, 0.0],
        "mean_eigenvalue": 0.0, "density": None, "density_probes": 0, "basis": 1, "batch": 1, "most_products": 1, "products": 1,
        "slices": {},
    }  # fmt: skip
    path = folder / "models/dnn/curvature.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document | changes).ljust(padded))
    read_curvature(folder, "dnn")


CASES: dict[str, Case] = {
    "spec.limits.LARGEST_K": lambda _, over, __: read_layout(array(4096 + over, 4096 + over, 512), name="x"),
    "spec.limits.LARGEST_K of a kept surface": lambda _, over, __: read_layout(
        array(4096 + over, 3, 512), name="x", square=False
    ),
    "spec.limits.LARGEST_K of own axes": lambda _, over, __: _axis(np.arange(4096 + over), "a"),
    "spec.limits.MOST_CHUNKS": lambda _, over, __: read_layout(array(4096, 4096, 16 - over), name="x"),
    "spec.limits.MOST_CHUNKS of a kept surface": lambda _, over, __: read_layout(
        array(256 + over, 256, 1), name="x", square=False
    ),
    "spec.limits.MOST_CHUNKS that are kept": lambda _, over, __: (
        kept_surfaces.refuse_many_chunks(256, 256 + over, 1) is None
    ),
    "spec.limits.WEIGHTS_BYTES": lambda folder, over, _: tensor_file(folder, over),
    "spec.limits.WEIGHTS_BYTES of a checkpoint": checkpoint,
    "spec.limits.WEIGHTS_HEADER_BYTES": lambda folder, over, _: tensor_header(folder, over),
    "spec.limits.FILE_BYTES": hashed,
    "spec.limits.FILE_BYTES of what is reused": reused,
    "spec.limits.PICTURE_PIXELS": picture("PICTURE_PIXELS"),
    "spec.limits.PICTURE_PIXELS of a figure": figure_pixels,
    "spec.limits.FIGURE_BYTES": figure_bytes,
    "spec.limits.FIGURE_BYTES of a figure compared": figure_compared,
    "spec.limits.FIGURE_BYTES of a stream": pdf_stream,
    "spec.limits.EXAMPLE_NUMBERS": own_example,
    "spec.limits.EXAMPLE_NUMBERS of a run's signature": own_signature,
    "spec.limits.DATA_BYTES": own_bytes,
    "data.arrays.MEMBERS_MAX": lambda folder, over, _: own_arrays(folder, members=arrays.MEMBERS_MAX + over),
    "data.arrays.EXPANSION_MAX": own_expansion,
    "data.picture.BYTES_MAX": picture("BYTES_MAX"),
    "store.tensors.LABELS_LIMIT_BYTES": labels,
    "store.documents.JSON_LIMIT_BYTES": lambda folder, over, _: documents.read_json(
        Path(folder / "x") if (folder / "x").write_bytes(b"1".ljust(50 + over)) else folder, limit_bytes=50
    ),
    "store.documents.JSON_LIMIT_BYTES of a text that is not ASCII": not_ascii,
    "store.documents.JSON_LIMIT_DEPTH": lambda _, over, __: nested(64 + over),
    "store.documents.JSON_LIMIT_VALUES": many_values,
    "whole numbers of JSON": lambda _, over, __: documents.parse_json(str(2**63 - 1 + over).encode(), name="x"),
    "negative numbers of JSON": lambda _, over, __: documents.parse_json(str(-(2**63) - over).encode(), name="x"),
    "store.documents.HISTORY_LIMIT_BYTES": history,
    "store.zarr_files.METADATA_LIMIT_BYTES": lambda folder, over, _: (
        padded_json(folder, "s/zarr.json", 2**20 + over) == {}
    ),
    "store.zarr_files.CONSOLIDATED_LIMIT_BYTES": lambda folder, over, _: (
        padded_json(folder, "zarr.json", 2**26 + over) == {}
    ),
    "a chunk file": lambda folder, over, _: kept_chunk(folder, over),
    "store.zarr_metadata.ERROR_POINTS_LIMIT": lambda _, over, __: measured_error(points=64 + over),
    "store.zarr_metadata.IMAGES_LIMIT": lambda _, over, __: measured_error(images=2**31 + over),
    "store.zarr_metadata.NOTE_LIMIT": lambda _, over, __: measured_error(note="x" * (1000 + over)),
    "store.zarr_metadata.MARKS_LIMIT": lambda _, over, __: marks(count=16 + over),
    "store.zarr_metadata.NAME_LIMIT": lambda _, over, __: marks(name="x" * (100 + over)),
    "store.trajectories.LIMIT_BYTES": path_of_training,
    "store.curvature.LIMIT_BYTES": lambda folder, over, _: curvature(folder, padded=2**22 + over),
    "store.curvature.LIMIT_TOP": lambda folder, over, _: curvature(
        folder, **dict.fromkeys(("eigenvalues", "residuals"), [0.0] * (128 + over)), converged=[True] * (128 + over)
    ),
    "store.curvature.LIMIT_SAMPLES": lambda folder, over, _: curvature(folder, trace_samples=[0.0] * (10_000 + over)),
    "store.curvature.LIMIT_GRID": lambda folder, over, _: curvature(
        folder,
        density={
            "grid": [float(i) for i in range(1001 + over)],
            "values": [1 / (1001 + over)] * (1001 + over),
            "width": 1.0,
            "probes": 1,
        },
    ),
    "store.curvature.LIMIT_SLICES": lambda folder, over, _: curvature(
        folder,
        slices={
            f"s{i}": {"predicted": 0.0, "a": None, "b": None, "difference": "central", "step": 1.0}
            for i in range(2**14 + over)
        },
    ),
    "store.curvature.LIMIT_COUNT": lambda folder, over, _: curvature(folder, products=2**40 + over),
    "store.manifest.MANIFEST_LIMIT_LINES": manifest_lines,
    "store.manifest.MANIFEST_LIMIT_LINE_BYTES": manifest_line,
    "store.manifest.MALFORMED_LIMIT": malformed,
    "the pid of a lock": lambda folder, over, _: (
        lock._pid(folder / "x" if (folder / "x").write_bytes(b"1" * (32 + over)) else folder) != "unknown"
    ),
    "verification.reference.KEPT_FILE_LIMIT_BYTES": kept_file,
    "verification.level_integrity.MOST_FINDINGS": lambda _, over, __: (
        len(level_integrity.first_findings([level_integrity._damaged("x", "")] * (1000 + over))) == 1000
    ),
    "any file": lambda folder, over, _: read_bytes(sparse(folder / "x", 9 + over), limit_bytes=9),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_just_allowed_is_read_and_one_more_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "1").mkdir()
    assert CASES[name](tmp_path / "0", 0, monkeypatch) is not False
    try:
        refused = CASES[name](tmp_path / "1", 1, monkeypatch) is False
    except TmreproError:
        refused = True
    assert refused


def test_a_surface_of_too_many_chunks_is_refused_at_once() -> None:
    """16.7 million tuples, once."""
    for square in (True, False):
        with pytest.raises(TmreproError, match="at most 65536 square chunks"):
            read_layout(array(4096, 4096, 1), name="zarr.json", square=square)


def test_the_large_limits_are_what_they_are(tmp_path: Path) -> None:
    assert inspect.signature(documents.read_json).parameters["limit_bytes"].default == documents.JSON_LIMIT_BYTES
    assert inspect.signature(tensors.load_tensors).parameters["limit_bytes"].default == limits.WEIGHTS_BYTES == 2**34
    assert limits.FILE_BYTES == limits.WEIGHTS_BYTES + limits.WEIGHTS_HEADER_BYTES
    with pytest.raises(TmreproError, match="expected at most"):
        manifest.file_hashes(tmp_path, [sparse(tmp_path / "x", limits.FILE_BYTES + 1).name])
    header = struct.pack(">II5B", 2, limits.PICTURE_PIXELS // 2 + 1, 8, 2, 0, 0, 0)
    part = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + part + struct.pack(">I", zlib.crc32(part))
    bomb += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    (tmp_path / "bomb.png").write_bytes(bomb)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TmreproError, match=f"pixels; expected at most {limits.PICTURE_PIXELS}"):
            read_picture(tmp_path / "bomb.png", size=4)
        with pytest.raises(TmreproError, match=f"pixels; expected at most {limits.PICTURE_PIXELS}"):
            compare_png(png(1, 1), bomb)


def test_every_limit_has_its_case() -> None:
    """A constant that is named as limits are, in a room that reads what others wrote."""
    package = Path(limits.__file__).parents[1]
    rooms = [
        "spec/limits.py",
        *("store/*.py", "data/*.py", "reporting/figures/pixels.py", "verification/*.py", "runner/*.py"),
    ]
    named = re.compile(r"(.*LIMIT.*|.*_MAX|MOST_.*|LARGEST_.*)")
    found = set()
    for path in (path for pattern in rooms for path in package.glob(pattern)):
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name):
                is_limit = path.name == "limits.py" or named.fullmatch(target.id)
                found |= {f"{module}.{target.id}"} if is_limit and target.id.isupper() else set()
    # Of numbers, not of what is read.
    others = {
        "store.transport.LIMIT_BYTES",
        "verification.scales.LARGEST_EXPONENT",
        "data.digits._VALUE_MAX",
        "data.scaling.PIXEL_MAX",
    }
    assert found - others == {name.split(" ")[0] for name in CASES if "." in name}
    for name in found:
        module, _, constant = name.rpartition(".")
        assert hasattr(importlib.import_module(f"tmrepro.{module}"), constant)
