"""The files of a run folder in one table: which files a run has, a reference keeps, or differ between equal runs.

    spec.yaml  statistics.json  provenance.json  report.html  ro-crate-metadata.json  claims.json  manifest-sha256.txt
    models/NAME/        theta.safetensors  labels.npy  history.csv  minimum.json; optional: trajectory.csv,
                        trajectory/EPOCH.safetensors, directions-SURFACE.safetensors, curvature.json, curvature.safetensors
    figures/*.png, *.pdf
    surfaces.zarr/      see surfaces.py

A reference has bands.json as well. Paths are relative to the folder, with '/'.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

SPEC, STATISTICS, PROVENANCE = "spec.yaml", "statistics.json", "provenance.json"
REPORT, CLAIMS, CRATE, MANIFEST = "report.html", "claims.json", "ro-crate-metadata.json", "manifest-sha256.txt"
STORE = "surfaces.zarr"
BANDS = "bands.json"
THETA, LABELS, HISTORY, MINIMUM = "theta.safetensors", "labels.npy", "history.csv", "minimum.json"
TRAJECTORY, CURVATURE, VECTORS = "trajectory.csv", "curvature.json", "curvature.safetensors"

_BINARY, _CSV, _JSON = "application/octet-stream", "text/csv", "application/json"


@dataclass(frozen=True)
class RunFile:
    """A kind of file: its path as a pattern, its content, its media type.

    `always`: every finished run has it (if it belongs to a network: for every network). `of_theta`: networks whose training
    diverged have no theta* and no such file. `in_reference`: a reference keeps it. `timed`: it contains times of day, so it
    differs between equal runs (history.csv and minimum.json contain durations beside their results). `closing`: it belongs
    to no stage, and is written whenever a run is closed.
    """

    pattern: str
    meaning: str
    media_type: str
    always: bool = True
    of_theta: bool = False
    in_reference: bool = False
    timed: bool = False
    closing: bool = False

    def matches(self, path: str) -> bool:
        """Return whether `path` is one of these files."""
        return fnmatchcase(path, self.pattern)


def model_file(model: str, name: str) -> str:
    """Return the path of a file of a network."""
    return f"models/{model}/{name}"


# The first pattern that matches a path counts. '*' matches '/' too.
RUN_FILES: tuple[RunFile, ...] = (
    RunFile(SPEC, "the resolved spec", "application/yaml", in_reference=True, closing=True),
    RunFile(STATISTICS, "statistics of every surface", _JSON, in_reference=True, closing=True),
    RunFile(PROVENANCE, "what ran where, and how long", _JSON, in_reference=True, timed=True, closing=True),
    RunFile(REPORT, "figures, tables, spec and provenance on one page", "text/html", timed=True, closing=True),
    RunFile(
        CLAIMS, "the claims of the paper, judged over the replicates", _JSON, always=False, timed=True, closing=True
    ),
    RunFile(CRATE, "the run as an RO-Crate", "application/ld+json", timed=True, closing=True),
    RunFile(MANIFEST, "SHA-256 of every other file", "text/plain", timed=True, closing=True),
    RunFile(model_file("*", THETA), "theta*: parameters and buffers of the trained model", _BINARY, of_theta=True),
    RunFile(
        model_file("*", LABELS),
        "the labels y~ that the model gives the training part, in data order",
        _BINARY,
        of_theta=True,
    ),
    RunFile(model_file("*", HISTORY), "losses and accuracies per epoch of training", _CSV, in_reference=True),
    RunFile(model_file("*", MINIMUM), "what the trained point is, and the numbers behind it", _JSON, in_reference=True),
    RunFile(
        model_file("*", TRAJECTORY),
        "the path of training, seen from theta* and from the planes of the surfaces",
        _CSV,
        always=False,
        in_reference=True,
    ),
    RunFile(model_file("*", "trajectory/*"), "parameters of the network at a point of its path", _BINARY, always=False),
    RunFile(
        model_file("*", "directions-*"), "the two directions of a surface that no seed gives", _BINARY, always=False
    ),
    RunFile(
        model_file("*", CURVATURE),
        "eigenvalues and trace of the Hessian at theta*",
        _JSON,
        always=False,
        in_reference=True,
    ),
    RunFile(model_file("*", VECTORS), "eigenvectors of the Hessian at theta*", _BINARY, always=False),
    RunFile("figures/*.png", "figure", "image/png", always=False, in_reference=True),
    RunFile("figures/*.pdf", "figure", "application/pdf", always=False),
    RunFile(f"{STORE}/zarr.json", "metadata of all surfaces", _JSON, in_reference=True, closing=True),
    RunFile(f"{STORE}/*", "the loss surfaces, zarr v3", "application/vnd.zarr", always=False, in_reference=True),
)

TIMED = frozenset(kind.pattern for kind in RUN_FILES if kind.timed)
CLOSING = frozenset(kind.pattern for kind in RUN_FILES if kind.closing)


def run_file(path: str) -> RunFile | None:
    """Return the kind of file at `path`; None if a run has no such file."""
    return next((kind for kind in RUN_FILES if kind.matches(path)), None)


def required_files(*, reference: bool) -> tuple[frozenset[str], tuple[RunFile, ...]]:
    """Return the files at the top of every finished run (or reference), and those of every network."""
    kinds = [kind for kind in RUN_FILES if kind.always and (kind.in_reference or not reference)]
    top = {kind.pattern for kind in kinds if "*" not in kind.pattern} | {MANIFEST}
    return frozenset(top | ({BANDS} if reference else set())), tuple(kind for kind in kinds if "*" in kind.pattern)
