"""What `verify` and `diff` say of paths and stored directions that were changed, with everything resealed that would tell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

import tmrepro
from tests.support.recorder import Recorder
from tests.support.runs import seal
from tmrepro.comparison.runs import compare_runs
from tmrepro.errors import DamagedError
from tmrepro.store.trajectories import load_trajectory
from tmrepro.verification.level_audit import check_audit
from tmrepro.verification.platforms import Platforms

CSV = "models/dnn/trajectory.csv"


def table(run: Path) -> list[list[str]]:
    return [line.split(",") for line in (run / CSV).read_text(encoding="ascii").splitlines()]


def write(run: Path, rows: list[list[str]]) -> None:
    (run / CSV).write_text("\n".join(",".join(row) for row in rows) + "\n", encoding="ascii")


def failures(run: Path, level: str = "audit") -> dict[str, tuple[str, str]]:
    """What does not pass: of the audit alone, or of a level."""
    if level == "audit":
        device, platforms = torch.device("cpu"), Platforms(())
        view = tmrepro.open_run(run)
        checks, _ = check_audit(view, share=0.01, seed=0, device=device, platforms=platforms, reporter=Recorder())
    else:
        checks = list(tmrepro.verify(run, level=level).checks)
    return {check.subject: (check.grade, check.detail) for check in checks if not check.passed}


def test_an_honest_run_is_identical(whole_run):
    verdict = tmrepro.verify(whole_run, level="audit")
    assert verdict.exit_code == 0
    told = {check.subject: check.detail for check in verdict.checks if check.level == "audit"}
    assert told[CSV] == f"the weights along the path give all of its {len(table(whole_run)) - 1} rows"
    assert told["models/dnn/directions-pca.safetensors"] == "the weights along the path give both components"
    assert told["models/dnn/directions-raw.safetensors"] == "theta* of the three networks give both directions"
    assert "eigenvalues are" in told["models/dnn/directions-hessian.safetensors"]


@pytest.mark.parametrize(
    "column",
    ["loss", "distance", "gradient_norm", "cosine", "pca_1", "pca_2", "random.a", "pca.b", "straight.distance"],
)
def test_a_changed_number_is_found(run, column):
    rows = table(run)
    place = rows[0].index(column)
    rows[3][place] = repr(float(rows[3][place]) * 1.01 + 0.001)
    write(run, rows)
    seal(run, records=True)
    found = failures(run)
    assert found[CSV][0] == "different"


@pytest.mark.parametrize("change", ["a row less", "another epoch", "distance", "theta* moved", "loss of theta*"])
def test_without_the_weights_what_theta_star_tells_is_checked(whole_run, spec_text, tmp_path, change):
    (tmp_path / "spec.yaml").write_text(spec_text.replace(", weights: true", ""), encoding="utf-8")
    run = tmrepro.run(tmp_path / "spec.yaml", out=tmp_path / "run", reuse=whole_run, reporter=Recorder()).run
    assert not failures(run)
    rows = table(run)
    best = str(tmrepro.open_run(run).minimum("dnn").best_epoch)
    home = next(index for index, row in enumerate(rows) if row[0] == best)
    columns = {name: index for index, name in enumerate(rows[0])}
    match change:
        case "a row less":
            del rows[2]
        case "another epoch":
            rows[2][0] = "3"
        case "distance":
            rows[2][columns["distance"]] = repr(float(rows[2][columns["distance"]]) * 1.001)
        case "theta* moved":
            rows[home][columns["random.a"]] = "0.01"
        case "loss of theta*":
            rows[home][columns["loss"]] = repr(float(rows[home][columns["loss"]]) * 1.001)
    write(run, rows)
    seal(run, records=True)
    assert failures(run)[CSV][0] == "different"


@pytest.mark.parametrize("surface", ["pca", "hessian", "raw"])
def test_forged_directions_are_found(run, surface):
    path = run / f"models/dnn/directions-{surface}.safetensors"
    vectors = safetensors.numpy.load_file(path)
    turned = vectors["delta"] + np.float32(0.05) * np.roll(vectors["delta"], 7)
    vectors["delta"] = (turned / np.linalg.norm(turned) * np.linalg.norm(vectors["delta"])).astype(np.float32)
    safetensors.numpy.save_file(vectors, path)
    seal(run, records=True)
    found = failures(run)
    assert found[f"models/dnn/directions-{surface}.safetensors"][0] == "different"
    assert found[f"surfaces.zarr/{surface}/dnn"][0] == "different"


@pytest.mark.parametrize(
    "relative", [CSV, "models/dnn/directions-pca.safetensors", "models/dnn/trajectory/2.safetensors"]
)
def test_a_missing_file_is_named(run, relative):
    (run / relative).unlink()
    seal(run, records=True)
    assert failures(run, "integrity")[relative][0] == "damaged"


def test_a_file_too_many_is_named(run):
    (run / "models/dnn/trajectory/3.safetensors").write_bytes(b"x")
    seal(run, records=True)
    assert failures(run, "integrity")["models/dnn/trajectory/3.safetensors"][0] == "damaged"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"epoch,loss\n0,1\n",
        "other columns",
        "header alone",
        "nan",
        "inf",
        "1_0",
        "+1.0",
        "1e999",
        "a field less",
        "a field more",
        "epochs fall",
        "no distance",
        "one component",
    ],
    ids=str,
)
def test_a_file_that_is_no_path_is_damaged(run, content):
    rows = table(run)
    surfaces = [name.removesuffix(".a") for name in rows[0] if name.endswith(".a")]
    match content:
        case bytes():
            (run / CSV).write_bytes(content)
        case "other columns":
            write(run, [[*rows[0][:-1], "x"], *rows[1:]])
        case "header alone":
            write(run, rows[:1])
        case "a field less":
            write(run, [*rows[:2], rows[2][:-1]])
        case "a field more":
            write(run, [*rows[:2], [*rows[2], "1.0"]])
        case "epochs fall":
            write(run, [rows[0], rows[2], rows[1]])
        case "no distance":
            write(run, [*rows[:2], [*rows[2][:2], "", *rows[2][3:]]])
        case "one component":
            write(run, [*rows[:2], [*rows[2][:5], "", *rows[2][6:]]])
        case text:
            write(run, [*rows[:2], [rows[2][0], text, *rows[2][2:]]])
    with pytest.raises(DamagedError, match=CSV):
        load_trajectory(run, "dnn", surfaces=surfaces)


@pytest.mark.parametrize("change", ["missing", "shape", "dtype", "name", "nan"])
def test_directions_that_are_none_are_damaged(run, change):
    path = run / "models/dnn/directions-raw.safetensors"
    vectors = safetensors.numpy.load_file(path)
    match change:
        case "missing":
            del vectors["eta"]
        case "shape":
            vectors["eta"] = vectors["eta"][:-1].copy()
        case "dtype":
            vectors["eta"] = vectors["eta"].astype(np.float64)
        case "name":
            vectors["zeta"] = vectors.pop("eta")
        case "nan":
            vectors["eta"][0] = np.nan
    safetensors.numpy.save_file(vectors, path)
    seal(run, records=True)
    assert failures(run)["models/dnn/directions-raw.safetensors"][0] == "damaged"


def test_diff_names_the_row_in_which_two_paths_part(whole_run, run):
    rows = table(run)
    rows[2][1] = repr(float(rows[2][1]) + 1)
    write(run, rows)
    seal(run, records=True)
    first = compare_runs(whole_run, run).first
    assert first is not None
    assert (first.stage, first.difference.what) == ("trajectory/dnn", f"trajectory.csv, epoch {rows[2][0]}, loss")


def test_diff_names_directions_that_differ(whole_run, run):
    path = run / "models/dnn/directions-pca.safetensors"
    vectors = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file(vectors | {"eta": -vectors["eta"]}, path)
    seal(run, records=True)
    first = compare_runs(whole_run, run).first
    assert first is not None
    assert first.difference.what == "models/dnn/directions-pca.safetensors"


def test_a_rerun_gives_the_same_path(whole_run):
    verdict = tmrepro.verify(whole_run, level="rerun")
    assert verdict.exit_code == 0
    graded = [
        (check.subject, check.grade) for check in verdict.checks if check.subject == CSV and check.level == "rerun"
    ]
    assert graded == [(CSV, "identical")]


def test_a_reference_keeps_the_path_and_no_weights(whole_run, tmp_path):
    from tmrepro.api import build_reference

    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/0").symlink_to(whole_run)
    build_reference(whole_run / "spec.yaml", to=tmp_path / "reference", runs=tmp_path / "runs")
    assert (tmp_path / "reference" / CSV).read_bytes() == (whole_run / CSV).read_bytes()
    assert not list((tmp_path / "reference").rglob("*.safetensors"))
    assert tmrepro.verify(tmp_path / "reference").exit_code == 0
    verdict = tmrepro.verify(whole_run, level="statistics", reference=tmp_path / "reference")
    assert verdict.exit_code == 0
    assert (CSV, "identical") in [(check.subject, check.grade) for check in verdict.checks]


def test_the_page_names_the_shares_of_variance(whole_run):
    stages = json.loads((whole_run / "provenance.json").read_text(encoding="utf-8"))["stages"]
    first = stages["trajectory/dnn"]["facts"]["explained"][0]
    assert f"{first:.1%}" in (whole_run / "report.html").read_text(encoding="utf-8")
