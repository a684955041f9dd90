"""Level `integrity`: checks that all files are unchanged, and that no file was added.

A manifest that was forged along with a file is consistent. So there are three checks: of the manifest, of the checksums
inside the surfaces, and of the list of files that a run of this spec has. This module does not import torch, so it is fast.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

from tmrepro.errors import ArtefactError
from tmrepro.records import FAILED, Category
from tmrepro.spec import Spec, expand_models, expand_surfaces, spec_hash, surfaces_around
from tmrepro.store.curvature import check_vectors, curvature_files, read_curvature
from tmrepro.store.directions import directions_file
from tmrepro.store.documents import read_json
from tmrepro.store.litter import find_litter, removal_command
from tmrepro.store.manifest import IntegrityFinding, check_manifest, file_hashes
from tmrepro.store.minima import read_minimum
from tmrepro.store.run_files import (
    BANDS,
    CLAIMS,
    CURVATURE,
    LABELS,
    MANIFEST,
    PROVENANCE,
    SPEC,
    STORE,
    THETA,
    TRAJECTORY,
    VECTORS,
    model_file,
    required_files,
)
from tmrepro.store.specs import read_spec, written_hash
from tmrepro.store.stages import finished_stages
from tmrepro.store.surfaces import chunk_slices, read_surface
from tmrepro.store.trajectories import kept_state, load_trajectory
from tmrepro.verification.band import read_bands
from tmrepro.verification.grades import Grade
from tmrepro.verification.verdict import Check, Remarks

MOST_FINDINGS = 1000


def check_integrity(run: Path, *, reference: bool = False) -> list[Check]:
    """Check the manifest, the spec and its hash, the list of files, and every checksum inside the surfaces.

    `run` may be a `reference`: it has other files, and bands, and its files must match the hashes that the run recorded.
    Each finding names its file. A folder that fails here is not checked further, because its content cannot be trusted.
    """
    if not any(os.path.lexists(run / name) for name in (SPEC, MANIFEST)):
        return [_damaged(str(run), "no run found; create one with 'tmrepro run SPEC --out RUN'")]
    findings = check_manifest(run)
    found = [finding_check(finding) for finding in findings]
    if any(check.grade == "damaged" for check in found):
        return first_findings(found)
    other = "no others except litter" if found else "no other"
    checks = [Check("integrity", MANIFEST, "identical", f"all files are present and unchanged, and {other}"), *found]
    try:
        spec = read_spec(run)
    except ArtefactError as error:
        return [*checks, _damaged(SPEC, str(error))]
    litter = {finding.path for finding in findings}
    checks += [_check_hash(run, spec), *_check_files(run, spec, reference=reference, litter=litter)]
    if reference and not any(check.grade == "damaged" for check in checks):
        checks += [_check_bands(run), *_check_recorded(run)]
    if not any(check.grade == "damaged" for check in checks):
        checks += [_check_surfaces(run, spec), *_check_curvature(run, spec, reference=reference)]
    return checks


def finding_check(finding: IntegrityFinding, *, folder: str = "") -> Check:
    """Return a finding as a check. `folder` precedes its path."""
    grade: Grade = "litter" if finding.problem == "litter" else "damaged"
    return Check("integrity", f"{folder}{finding.path}", grade, finding.message)


def litter_remarks(run: Path, checks: Sequence[Check]) -> Remarks:
    """Return how to remove the litter that `checks` found; empty if there is none."""
    paths = [check.subject for check in checks if check.grade == "litter"]
    return Remarks(notes=(f"to remove the litter: {removal_command(str(run), paths)}",)) if paths else Remarks()


def first_findings(findings: list[Check]) -> list[Check]:
    """Return a limited number of findings. A manifest of a million wrong lines would take hours to show."""
    more = len(findings) - MOST_FINDINGS
    kept = findings[:MOST_FINDINGS]
    return [*kept, _damaged(MANIFEST, f"{more} more findings like these are not listed")] if more > 0 else kept


def _check_hash(run: Path, spec: Spec) -> Check:
    try:
        provenance = read_json(run / PROVENANCE, name=PROVENANCE)
    except ArtefactError as error:
        return _damaged(PROVENANCE, str(error))
    found, recorded = spec_hash(spec), provenance.get("spec_hash") if isinstance(provenance, dict) else None
    if found != recorded and written_hash(run) != recorded:
        return _damaged(SPEC, f"its hash is {found[:16]}, but provenance.json has {str(recorded)[:16]}")
    return Check("integrity", SPEC, "identical", f"hash {str(recorded)[:16]}, as recorded")


def _check_files(run: Path, spec: Spec, *, reference: bool, litter: AbstractSet[str]) -> list[Check]:
    """Check that the folder has exactly the files of a finished run of `spec`. The manifest does not matter here."""
    top, of_model = required_files(reference=reference)
    what = "reference" if reference else "run"
    failed = failed_replicates(run, spec)
    expected = {*top}
    for model in expand_models(spec):
        kinds = [kind for kind in of_model if not (kind.of_theta and failed.get(model.name) == "diverged")]
        expected.update(kind.pattern.replace("*", model.name) for kind in kinds)
    expected.update(_surface_files(spec, without=failed))
    expected.update(_path_files(run, spec, without=failed, reference=reference))
    found = {path.relative_to(run).as_posix() for path in run.rglob("*") if not path.is_dir()}
    # Level `statistics` redraws the figures, so it checks which ones must exist.
    found = {path for path in found if not path.startswith("figures/") and not _is_one_of(path, litter)}
    # Curvature is optional. A reference has no weights, and no vectors of their size.
    found -= {path for path in curvature_files(spec) if not (reference and path.endswith(VECTORS))}
    if not reference:
        found.discard(CLAIMS)  # older runs have none, nor have runs without the networks that the claims compare
    missing = [_damaged(path, f"missing: a {what} of this spec must have it") for path in sorted(expected - found)]
    return first_findings(
        missing
        + [
            _damaged(path, f"unexpected: a {what} of this spec does not have this file")
            for path in sorted(found - expected)
        ]
    )


def _check_bands(run: Path) -> Check:
    try:
        bands = read_bands(read_json(run / BANDS, name=BANDS), name=BANDS)
    except ArtefactError as error:
        return _damaged(BANDS, str(error))
    if not bands.measured:
        return Check("integrity", BANDS, "identical", "no bands, because there was only one run")
    idle = len(bands.judging_nothing())
    said = f"{bands.comparisons} bands of {bands.n} replicates, within the ranges of their numbers"
    return Check("integrity", BANDS, "identical", f"{said}; {idle} are too wide to find an error")


def _check_recorded(run: Path) -> list[Check]:
    """Check that the files of a reference match the hashes that provenance.json recorded for the run's stages."""
    try:
        stages = finished_stages(run)
    except ArtefactError as error:
        return [_damaged(PROVENANCE, str(error))]
    findings, files = [], 0
    for stage in stages:
        for relative, digest in stage.files.items():
            if os.path.lexists(run / relative):
                files += 1
                if file_hashes(run, [relative])[relative] != digest:
                    findings.append(_damaged(relative, f"differs from the hash that stage {stage.name} recorded"))
    said = f"{files} files match the hashes that {len(stages)} stages recorded"
    return first_findings(findings) or [Check("integrity", PROVENANCE, "identical", said)]


def _is_one_of(path: str, litter: AbstractSet[str]) -> bool:
    found = find_litter(path) if litter else None
    return found is not None and found.path in litter


def failed_replicates(run: Path, spec: Spec) -> dict[str, Category]:
    """Return the replicates that collapsed or diverged according to minimum.json. A run is finished without their surfaces.

    The first training of each network must have its surfaces.
    """
    found: dict[str, Category] = {}
    for model in expand_models(spec):
        if model.replicate:
            with contextlib.suppress(ArtefactError):  # other checks report what is wrong with the file
                found[model.name] = read_minimum(run, model.name).category
    return {name: category for name, category in found.items() if category in FAILED}


def _surface_files(spec: Spec, *, without: Container[str]) -> Iterator[str]:
    yield f"{STORE}/zarr.json"
    for drawn in expand_surfaces(spec):
        yield f"{STORE}/{drawn.name}/zarr.json"
        chunks = [f"c/{i}/{j}" for (i, j), _, _ in chunk_slices(drawn.spec.grid.K, drawn.spec.chunk)]
        for model in (name for name in drawn.models if name not in without):
            group = f"{STORE}/{drawn.name}/{model}"
            yield f"{group}/zarr.json"
            for array in ("loss", "accuracy", "a", "b"):
                yield f"{group}/{array}/zarr.json"
                parts = chunks if array in {"loss", "accuracy"} else ["c/0"]
                yield from (f"{group}/{array}/{part}" for part in parts)


def _path_files(run: Path, spec: Spec, *, without: Container[str], reference: bool) -> Iterator[str]:
    """Yield paths of training and stored directions of every network with a surface. A reference has no weights."""
    for model in expand_models(spec):
        around, wanted = surfaces_around(spec, model.name), model.spec.training.trajectory
        if model.name in without:
            continue
        if wanted is not None:
            yield model_file(model.name, TRAJECTORY)
        if reference:
            continue
        stored = {drawn.name for drawn in expand_surfaces(spec) if drawn.spec.directions.kind != "random"}
        yield from (directions_file(surface, model.name) for surface in around if surface in stored)
        if wanted is not None and wanted.weights:
            with suppress(ArtefactError):  # other checks report what is wrong with the file
                yield from (
                    kept_state(model.name, point.epoch) for point in load_trajectory(run, model.name, surfaces=around)
                )


def _check_surfaces(run: Path, spec: Spec) -> Check:
    failed = failed_replicates(run, spec)
    pairs = [(drawn.name, model) for drawn in expand_surfaces(spec) for model in drawn.models if model not in failed]
    for surface, model in pairs:
        try:
            read_surface(run, surface, model)
        except ArtefactError as error:
            return _damaged(f"{STORE}/{surface}/{model}", str(error))
    return Check("integrity", STORE, "identical", f"checksums of {len(pairs)} surfaces are valid")


def _check_curvature(run: Path, spec: Spec, *, reference: bool) -> list[Check]:
    """Check that every curvature.json is valid, has its vectors, and was computed from the run's weights and labels."""
    checks = []
    for model in expand_models(spec):
        folder = f"models/{model.name}"
        subject, vectors = f"{folder}/{CURVATURE}", f"{folder}/{VECTORS}"
        if not os.path.lexists(run / subject):
            if os.path.lexists(run / vectors):
                checks.append(_damaged(vectors, f"{subject} is missing, which describes this file"))
            continue
        try:
            document = read_curvature(run, model.name)
            if not reference:
                check_vectors(run, document)
            recorded = {path: digest for stage in finished_stages(run) for path, digest in stage.files.items()}
        except ArtefactError as error:
            checks.append(_damaged(subject, str(error)))
            continue
        for name, digest in ((THETA, document.theta_sha256), (LABELS, document.labels_sha256)):
            if recorded.get(f"{folder}/{name}") != digest:
                checks.append(_damaged(subject, f"computed from another {name} than that of this run"))
        if not checks or checks[-1].subject != subject:
            said = f"{len(document.eigenvalues)} eigenpairs and a trace of {document.parameters} parameters"
            checks.append(Check("integrity", subject, "identical", said))
    return checks


def _damaged(subject: str, detail: str) -> Check:
    return Check("integrity", subject, "damaged", detail.removeprefix(f"{subject}: "))
