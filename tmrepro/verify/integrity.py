"""Level `integrity`: are these the bytes that were written, all of them, and nothing else?"""

from __future__ import annotations

from pathlib import Path

from tmrepro.errors import ArtefactError, UsageError
from tmrepro.spec import load_spec, spec_hash
from tmrepro.store.documents import read_json
from tmrepro.store.manifest import MANIFEST, check_manifest
from tmrepro.store.surfaces import list_surfaces, read_surface
from tmrepro.verify.verdict import Check


def check_integrity(run: Path) -> list[Check]:
    """The manifest, every checksum inside the surfaces, and the spec's hash. Each finding names its file.

    A folder that fails here is not looked at any further: what it says cannot be believed.
    """
    findings = [Check("integrity", finding.path, "damaged", finding.message) for finding in check_manifest(run)]
    if findings:
        return findings
    checks = [Check("integrity", MANIFEST, "identical", "every file is there, whole, and no other")]
    try:
        pairs = list_surfaces(run)
        for surface, model in pairs:
            read_surface(run, surface, model)
        checks.append(Check("integrity", "surfaces.zarr", "identical", f"checksums of {len(pairs)} surfaces hold"))
    except ArtefactError as error:
        checks.append(Check("integrity", "surfaces.zarr", "damaged", str(error)))
    checks.append(_check_spec(run))
    return checks


def _check_spec(run: Path) -> Check:
    try:
        found = spec_hash(load_spec(run / "spec.yaml"))
        provenance = read_json(run / "provenance.json", name="provenance.json")
        recorded = provenance.get("spec_hash") if isinstance(provenance, dict) else None
    except (ArtefactError, UsageError) as error:
        return Check("integrity", "spec.yaml", "damaged", str(error))
    if found != recorded:
        return Check(
            "integrity", "spec.yaml", "damaged", f"its hash is {found[:16]}, provenance.json says {str(recorded)[:16]}"
        )
    return Check("integrity", "spec.yaml", "identical", f"hash {found[:16]} is the recorded one")
