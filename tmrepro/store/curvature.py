"""models/NAME/curvature.json and curvature.safetensors: the curvature of the loss at theta*, from `tmrepro curvature`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float32
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tmrepro.errors import DamagedError
from tmrepro.spec import Spec, expand_models, expand_surfaces
from tmrepro.store.atomic import safe_path, shown
from tmrepro.store.documents import read_json, write_json
from tmrepro.store.run_files import CURVATURE, VECTORS
from tmrepro.store.tensors import count_numbers, load_tensors, save_tensors

SPECTRUM = "spectrum"
LIMIT_BYTES = 2**22
LIMIT_TOP = 128
LIMIT_SAMPLES = 10_000
LIMIT_GRID = 1001
LIMIT_SLICES = 2**14
LIMIT_COUNT = 2**40
MASS = 1e-3  # largest distance of a density's integral from 1
LARGEST = 1e100  # largest absolute value of any number, so that its square is finite
EXACT = 1e-9  # relative tolerance for numbers that follow from other numbers in the file

_Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
_Length = Annotated[float, Field(ge=0, le=LARGEST)]
_Count = Annotated[int, Field(ge=1, le=LIMIT_COUNT)]
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Name = Annotated[str, Field(min_length=1, max_length=80)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DensityDocument(_Strict):
    """The spectral density: `values` at the evenly spaced points of `grid`, with an integral of 1."""

    grid: tuple[_Number, ...] = Field(min_length=2, max_length=LIMIT_GRID)
    values: tuple[_Length, ...] = Field(min_length=2, max_length=LIMIT_GRID)
    width: Annotated[float, Field(gt=0, le=LARGEST)]
    probes: _Count

    @model_validator(mode="after")
    def _whole(self) -> DensityDocument:
        grid = np.array(self.grid)
        if len(self.values) != len(grid) or not np.all(grid[1:] > grid[:-1]):
            raise ValueError("expected as many values as points of an ascending grid")
        mass = math.fsum(self.values) * (grid[-1] - grid[0]) / (len(grid) - 1)
        if not abs(mass - 1) <= MASS:
            raise ValueError(f"expected a density whose integral is 1, found {mass:.6g}")
        return self


class SliceDocument(_Strict):
    """A surface's second differences at theta* along a and b, and the prediction tr(H)/N for its unit directions.

    `difference`: central, or one-sided if theta* is in a corner. None if a point is missing or not finite.
    """

    predicted: _Number
    a: _Number | None
    b: _Number | None
    difference: Literal["central", "one-sided"]
    step: Annotated[float, Field(gt=0, le=LARGEST)]


class CurvatureDocument(_Strict):
    """The content of curvature.json. `trace_samples` are the values of the probes; `trace` is their mean.

    `theta_sha256` and `labels_sha256` are the hashes of the files that it was computed from.
    """

    model: _Name
    parameters: _Count
    images: _Count
    labels: Literal["relabelled"]
    precision: Literal["float32", "float64"]
    theta_sha256: _Digest
    labels_sha256: _Digest
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    eigenvalues: tuple[_Number, ...] = Field(min_length=1, max_length=LIMIT_TOP)
    residuals: tuple[_Length, ...] = Field(min_length=1, max_length=LIMIT_TOP)
    converged: tuple[bool, ...] = Field(min_length=1, max_length=LIMIT_TOP)
    tolerance: Annotated[float, Field(gt=0, lt=1)]
    scale: _Length
    trace: _Number
    trace_error: _Length
    trace_samples: tuple[_Number, ...] = Field(min_length=2, max_length=LIMIT_SAMPLES)
    mean_eigenvalue: _Number
    density: DensityDocument | None
    density_probes: Annotated[int, Field(ge=0, le=LIMIT_SAMPLES)]
    basis: _Count
    batch: _Count
    most_products: _Count
    products: _Count
    slices: dict[_Name, SliceDocument] = Field(max_length=LIMIT_SLICES)

    @model_validator(mode="after")
    def _agrees(self) -> CurvatureDocument:
        top = len(self.eigenvalues)
        if len(self.residuals) != top or len(self.converged) != top or top > self.parameters:
            raise ValueError("expected as many residuals and converged as eigenvalues, and no more than parameters")
        if any(later > earlier for earlier, later in zip(self.eigenvalues, self.eigenvalues[1:], strict=False)):
            raise ValueError("expected eigenvalues from the largest down")
        small = [residual <= self.tolerance * self.scale for residual in self.residuals]
        if any(said and not held for said, held in zip(self.converged, small, strict=True)):
            raise ValueError("an eigenpair is recorded as converged, but its residual exceeds the tolerance")
        mean, error = mean_and_error(self.trace_samples)
        for name, found, expected in (
            ("trace", self.trace, mean),
            ("trace_error", self.trace_error, error),
            ("mean_eigenvalue", self.mean_eigenvalue, mean / self.parameters),
            *(
                (f"slices: {surface}: predicted", slice_.predicted, mean / self.parameters)
                for surface, slice_ in self.slices.items()
            ),
        ):
            if not abs(found - expected) <= EXACT * (abs(expected) + error):
                raise ValueError(
                    f"{name}: expected {expected:.12g}, as computed from the samples of the trace, found {found:.12g}"
                )
        return self


def spectrum_stem(spec: Spec) -> str:
    """Return the name of the figure. It differs from the names of surfaces."""
    return SPECTRUM if SPECTRUM not in {drawn.name for drawn in expand_surfaces(spec)} else f"{SPECTRUM}.curvature"


def curvature_files(spec: Spec) -> set[str]:
    """Return all files that curvature may add to a run of `spec`."""
    files = {f"models/{model.name}/{file}" for model in expand_models(spec) for file in (CURVATURE, VECTORS)}
    return files | {f"figures/{spectrum_stem(spec)}.{kind}" for kind in ("png", "pdf")}


def mean_and_error(samples: tuple[float, ...]) -> tuple[float, float]:
    """Return the mean of at least two numbers, and its standard error."""
    n = len(samples)
    mean = math.fsum(samples) / n
    return mean, math.sqrt(math.fsum((sample - mean) ** 2 for sample in samples) / (n - 1) / n)


def save_curvature(
    run: Path, document: CurvatureDocument, vectors: Float32[np.ndarray, "top n"], *, work: Path
) -> None:
    """Write both files, the vectors first."""
    folder = run / "models" / document.model
    save_tensors(folder / VECTORS, {"vectors": vectors}, work=work)
    write_json(folder / CURVATURE, document.model_dump(mode="json"), work=work)


def read_curvature(run: Path, model: str) -> CurvatureDocument:
    """Read the curvature.json of `model`.

    Raises:
        DamagedError: the file is missing or invalid, or has the curvature of another model.
    """
    relative = f"models/{model}/{CURVATURE}"
    document = read_json(safe_path(run, relative), limit_bytes=LIMIT_BYTES, name=relative)
    try:
        found = CurvatureDocument.model_validate_json(json.dumps(document), strict=True)
    except (ValidationError, OverflowError) as error:
        if isinstance(error, OverflowError):
            raise DamagedError(f"{relative}: numbers that are too large") from error
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DamagedError(shown(f"{relative}: {where}: {first['msg']}".replace(": : ", ": "))) from error
    if found.model != model:
        raise DamagedError(f"{relative}: expected the curvature of {model}, found that of {shown(found.model)!r}")
    return found


def check_vectors(run: Path, document: CurvatureDocument) -> None:
    """Raise DamagedError unless the file has the right count of numbers for the eigenvectors. Only the header is read.

    Raises:
        DamagedError: the count is different, or the file is missing.
    """
    relative = f"models/{document.model}/{VECTORS}"
    expected = len(document.eigenvalues) * document.parameters
    found = count_numbers(safe_path(run, relative), name=relative)
    if found != expected:
        raise DamagedError(f"{relative}: expected {expected} numbers, found {found}")


def read_vectors(run: Path, document: CurvatureDocument) -> Float32[np.ndarray, "top n"]:
    """Return the eigenvectors of a curvature.

    Raises:
        DamagedError: they are missing, of another shape, or not finite.
    """
    relative = f"models/{document.model}/{VECTORS}"
    shape = (len(document.eigenvalues), document.parameters)
    found = load_tensors(safe_path(run, relative), limit_bytes=4 * math.prod(shape), name=relative)
    vectors = found.get("vectors")
    if set(found) != {"vectors"} or vectors is None or vectors.dtype != np.float32 or vectors.shape != shape:
        raise DamagedError(f"{relative}: expected float32 vectors {list(shape)} and nothing else")
    if not np.all(np.isfinite(vectors)) or not np.all(np.any(vectors, axis=1)):
        raise DamagedError(f"{relative}: expected finite vectors that are not zero")
    return vectors
