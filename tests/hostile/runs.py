"""A finished run folder, made hostile in ways drawn from a seed, and a command that meets it.

Most cases are forged as a careful attacker would: the manifest and the recorded stages are made to agree with what was
changed, so that the bytes get past the first check and reach whoever has to make sense of them.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from attacks_on_contents import (
    chunk_changed,
    curvature_changed,
    history_changed,
    labels_changed,
    spec_changed,
    weights_changed,
    zarr_changed,
)
from attacks_on_files import (
    bytes_changed,
    code_in_disguise,
    huge_file,
    json_changed,
    removed,
    replaced,
    strange_names,
    swapped,
)
from attacks_on_records import manifest, stages_changed, work_changed
from case import RunCase

from tmrepro.runner.view import open_run
from tmrepro.verification.bands import Replicate, measure_bands

COMMANDS: list[tuple[str, float]] = [
    ("integrity", 18), ("statistics", 2), ("audit", 3), ("rerun", 0.3), ("stats", 20), ("figures", 2), ("report", 3),
    ("view", 30), ("run", 6), ("continue", 5), ("reuse", 5), ("reference", 4), ("diff", 3),
    ("curvature", 3),
]  # fmt: skip
ATTACKS: list[tuple[Callable[[RunCase], None], float]] = [
    (bytes_changed, 10), (huge_file, 1), (code_in_disguise, 4), (replaced, 10), (strange_names, 4), (removed, 3),
    (swapped, 3), (json_changed, 16), (zarr_changed, 10), (chunk_changed, 12), (weights_changed, 7), (labels_changed, 6),
    (history_changed, 5), (spec_changed, 6), (manifest, 6), (stages_changed, 8), (work_changed, 5),
    (curvature_changed, 6),
]  # fmt: skip


def build(home: Path, *, seed: int, template: Path) -> RunCase:
    """The case of a seed, written below `home`."""
    random_ = random.Random(f"run {seed}")  # noqa: S311 - to be drawn again
    case = RunCase(home, random_, template)
    shutil.copytree(template, case.run)
    _write_outside(case)
    command = random_.choices([name for name, _ in COMMANDS], [weight for _, weight in COMMANDS])[0]
    if command == "continue":
        _unfinish(case)
    if command == "reference":
        _make_reference(case)
    for _ in range(random_.choice((1, 1, 1, 2, 3))):
        attack = random_.choices([name for name, _ in ATTACKS], [weight for _, weight in ATTACKS])[0]
        case.about.append(attack.__name__)
        attack(case)
    if random_.random() < 0.75 or command == "reference":
        case.about.append("forged")
        forge(case)
    case.argv = _argv(command, case)
    return case


def _argv(command: str, case: RunCase) -> list[str]:
    run, spec = str(case.run), str(case.home / "tiny.yaml")
    out = str(case.home / "cwd" / "out")
    match command:
        case "integrity" | "statistics" | "audit" | "rerun":
            extra = case.random.choice([[], ["--json"], ["--junit", "verdict.xml"], ["--html", "verdict.html"]])
            return ["verify", run, "--level", command, *extra]
        case "stats":
            return ["stats", run, *case.random.choice([[], ["--json"]])]
        case "curvature":
            return ["curvature", run, *case.random.choice([["--probes", "2"], ["--json"], ["--samples", "5"]])]
        case "figures" | "report":
            return [command, run]
        case "view":
            return ["view", run]
        case "run" | "continue":
            return ["run", spec, "--out", run, *case.random.choice([[], ["--quiet"]])]
        case "reuse":
            return ["run", spec, "--out", out, "--reuse", run]
        case "reference":
            return ["verify", str(case.template), "--level", "statistics", "--reference", run]
        case "diff":
            return ["diff", *case.random.choice([[run, str(case.template)], [str(case.template), run]])]
    raise AssertionError(command)


def _write_outside(case: RunCase) -> None:
    """What a link could lead to: files that somebody cares about, by the names that a run would write or remove."""
    names = ("secret.txt", "spec.yaml", "tmp/keep.tmp", "stages/training+dnn.json", "checkpoints/dnn.safetensors",
             "dnn/theta.safetensors", "dnn/labels.npy", "dnn/history.csv", "s.png", "c/0/0", "lock", "zarr.json")  # fmt: skip
    for name in names:
        path = case.outside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"keep " + name.encode())
    (case.home / "cwd").mkdir()
    shutil.copy(case.template.parent / "tiny.yaml", case.home / "tiny.yaml")


def _unfinish(case: RunCase) -> None:
    """As a killed process leaves it: stage records in .work, no manifest."""
    document = json.loads((case.run / "provenance.json").read_text())
    stages = case.run / ".work" / "stages"
    stages.mkdir(parents=True)
    (case.run / ".work" / "tmp").mkdir()
    (case.run / ".work" / "checkpoints").mkdir()
    (case.run / ".work" / "started.json").write_text('"2020-01-01T00:00:00+00:00"\n')
    for name, stage in document["stages"].items():
        if case.random.random() < 0.7:
            (stages / f"{name.replace('/', '+')}.json").write_text(json.dumps(stage))
    for name in ("manifest-sha256.txt", "ro-crate-metadata.json", "provenance.json", "report.html"):
        (case.run / name).unlink()


def _make_reference(case: RunCase) -> None:
    """As `reference build` leaves it: no weights, and bands measured on two replicates, here of one run and a tenth more."""
    view = open_run(case.template)
    minima = {name: view.minimum(name) for name in view.models}
    more = {
        surface: {
            model: {name: value and value * 1.1 for name, value in values.items()} for model, values in models.items()
        }
        for surface, models in view.statistics.items()
    }
    replicates = [Replicate(view.statistics, minima), Replicate(more, minima)]
    bands = measure_bands(replicates, points={"s": 5, "p": 2}, images=(20, 10))
    for path in case.files():
        if path.endswith((".pdf", ".safetensors", ".npy", "report.html", "ro-crate-metadata.json")):
            (case.run / path).unlink()
    (case.run / "bands.json").write_text(json.dumps(bands.document()))
    if case.random.random() < 0.4:
        json_changed(case, "bands.json")


def forge(case: RunCase) -> None:
    """Make the recorded hashes of all stages, and then the manifest, agree with the files."""
    hashes = {}
    for path in case.files():
        if (case.run / path).stat().st_size <= 2**28:
            with (case.run / path).open("rb") as file:
                hashes[path] = hashlib.file_digest(file, "sha256").hexdigest()
    for path in [case.run / name for name in hashes if name == "provenance.json" or name.startswith(".work/stages/")]:
        try:
            document = json.loads(path.read_text())
            stages = document["stages"].values() if path.name == "provenance.json" else [document]
            for stage in stages:
                stage["files"] = {name: hashes.get(name, digest) for name, digest in stage["files"].items()}
            path.write_text(json.dumps(document))
            hashes[str(path.relative_to(case.run))] = hashlib.sha256(path.read_bytes()).hexdigest()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    manifest = case.run / "manifest-sha256.txt"
    try:
        lines = [f"{digest}  {path}\n" for path, digest in hashes.items() if not path.startswith((".work", "manifest"))]
        # An attack on the manifest itself stays.
        if "manifest-sha256.txt" in hashes and "manifest" not in case.about:
            manifest.write_text("".join(lines), errors="surrogateescape")
    except OSError:
        return
