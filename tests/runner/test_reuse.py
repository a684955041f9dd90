"""--reuse takes over what still holds, after looking at its bytes, and says why or why not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tmrepro
from tests.runner.specs import TINY_SPEC
from tests.support.recorder import Recorder
from tests.support.runs import untimed
from tests.support.specs import write_spec
from tmrepro.errors import DamagedError, UsageError

TRAININGS = {"training/dnn", "training/cnn", "training/norm"}
MINIMA = {"minimum/dnn", "minimum/cnn", "minimum/norm"}
PLANES = {"planes/dnn", "planes/cnn", "planes/norm"}


class EnoughError(Exception):
    """Ends a run from within: what comes after is not what a test asks about."""


@pytest.fixture
def reuse(tmp_path):
    """Runs a spec up to its figures, which cost the most and depend on nothing but what was seen by then."""

    class UpToTheFigures(Recorder):
        def stage(self, name, action, reason):
            super().stage(name, action, reason)
            if name == "figures":
                raise EnoughError

    def run(spec: Path, donor: Path, out: Path | None = None):
        recorder = UpToTheFigures()
        with pytest.raises(EnoughError):
            tmrepro.run(spec, out=out or tmp_path / "run", reuse=donor, reporter=recorder)
        return recorder

    return run


def test_another_grid_does_not_retrain(reuse, finished, tmp_path):
    seen = reuse(write_spec(tmp_path, TINY_SPEC, ("K: 5", "K: 3")), finished)
    assert seen.names("reused") == TRAININGS | MINIMA
    assert seen.names("runs") == {"surface/one/dnn", "surface/one/cnn", "surface/one/norm", "figures"} | PLANES
    assert seen.epochs == []
    assert seen.stages["training/cnn"] == (
        "reused",
        f"same inputs as training/cnn in {finished}, bytes checked",
    )
    assert "surface.grid.K: 3 here, 5 there" in seen.stages["surface/one/cnn"][1]
    theta = "models/norm/theta.safetensors"
    assert (tmp_path / "run" / theta).read_bytes() == (finished / theta).read_bytes()


@pytest.mark.slow
def test_another_scale_of_the_figures_does_not_re_evaluate(finished, tmp_path):
    changed = write_spec(tmp_path, TINY_SPEC, ("compute:", "figures: {scale: log}\ncompute:"))
    recorder = Recorder()
    run = tmrepro.run(changed, out=tmp_path / "run", reuse=finished, reporter=recorder).run
    assert recorder.names("runs") == {"figures"}
    assert recorder.chunks == []
    assert "figures.scale: log here, auto there" in recorder.stages["figures"][1]
    ours, theirs = untimed(run), untimed(finished)
    differing = {path for path in ours | theirs if ours.get(path) != theirs.get(path)}
    assert differing == {
        "spec.yaml",
        "figures/one.png",
        "figures/one.pdf",
        "figures/one.shared.png",
        "figures/one.shared.pdf",
    }


def test_relabelling_otherwise_does_not_retrain(reuse, finished, tmp_path):
    seen = reuse(write_spec(tmp_path, TINY_SPEC, ("surfaces:", "minimum: {labels: soft}\nsurfaces:")), finished)
    assert seen.names("reused") == TRAININGS
    assert seen.names("runs") >= MINIMA
    assert "labels: soft here, hard there" in seen.stages["minimum/cnn"][1]


def test_renamed_spec_model_and_surface_are_recognized(reuse, finished, tmp_path):
    seen = reuse(
        write_spec(
            tmp_path, TINY_SPEC, ("name: tiny", "name: other"), ("name: cnn", "name: conv"), ("name: one", "name: only")
        ),
        finished,
    )
    assert {"training/conv", "surface/only/dnn"} <= seen.names("reused")
    assert "same inputs as training/cnn" in seen.stages["training/conv"][1]
    # The title of the figure has the name of the spec in it.
    assert "figures" in seen.names("runs")
    assert (tmp_path / "run/surfaces.zarr/only/dnn/loss/c/2/2").exists()


def test_all_of_an_unchanged_spec_is_taken_over(finished, spec, tmp_path):
    recorder = Recorder()
    run = tmrepro.run(spec, out=tmp_path / "run", reuse=finished, reporter=recorder).run
    assert recorder.names("reused") == set(recorder.stages)
    assert untimed(run) == untimed(finished)


@pytest.mark.parametrize("position", [-3, 700])
def test_damaged_donor_is_not_trusted(reuse, finished, spec, tmp_path, position):
    donor = Path(shutil.copytree(finished, tmp_path / "donor"))
    theta = donor / "models/norm/theta.safetensors"
    data = bytearray(theta.read_bytes())
    data[position] ^= 4
    theta.write_bytes(bytes(data))
    (donor / "surfaces.zarr/one/cnn/loss/c/0/0").unlink()
    seen = reuse(spec, donor)
    assert seen.names("runs") | seen.names("continues") == {"training/norm", "surface/one/cnn"} | {
        "figures"
    } & seen.names("runs")
    assert any("training/norm is not reused" in told and "theta.safetensors" in told for told in seen.notes)
    assert f"the one in {donor} is damaged" in seen.stages["training/norm"][1]
    theta = "models/norm/theta.safetensors"
    assert (tmp_path / "run" / theta).read_bytes() == (finished / theta).read_bytes()


def test_forged_chunk_of_a_donor_is_not_copied_where_it_would_be_taken_for_whole(reuse, finished, spec, tmp_path):
    donor = Path(shutil.copytree(finished, tmp_path / "donor"))
    # Whole in itself, of another place.
    shutil.copy(donor / "surfaces.zarr/one/dnn/loss/c/0/0", donor / "surfaces.zarr/one/dnn/loss/c/1/1")
    reuse(spec, donor)
    chunk = "surfaces.zarr/one/dnn/loss/c/1/1"
    assert (tmp_path / "run" / chunk).read_bytes() == (finished / chunk).read_bytes()


def test_unfinished_run_can_be_taken_over_from(reuse, spec, tmp_path, start):
    donor = tmp_path / "donor"
    assert start("run", spec, "--out", donor, blow=(r"_replace .*/one/dnn/loss/c/1/0", 1, 9)).wait() == -9
    seen = reuse(spec, donor)
    assert seen.names("reused") == TRAININGS | MINIMA
    assert f"the one in {donor} is incomplete" in seen.stages["surface/one/dnn"][1]


def test_folder_that_is_no_run_is_refused_before_anything_is_made(spec, tmp_path):
    (tmp_path / "empty").mkdir()
    for donor in ("empty", "missing"):
        with pytest.raises(DamagedError, match=f"--reuse .*{donor}: no run with stages to reuse"):
            tmrepro.run(spec, out=tmp_path / "run", reuse=tmp_path / donor)
    assert not (tmp_path / "run").exists()


def test_run_is_not_its_own_donor(spec, tmp_path):
    with pytest.raises(UsageError, match="is the run folder itself"):
        tmrepro.run(spec, out=tmp_path / "run", reuse=tmp_path / "x" / ".." / "run")
