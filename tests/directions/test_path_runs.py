"""Paths in runs: interrupted, taken over, without weights, too short; and no bit of anything else depends on them."""

from __future__ import annotations

from pathlib import Path

import pytest

import tmrepro
from tests.support.recorder import Recorder
from tests.support.specs import write_spec
from tmrepro.errors import ComputeError
from tmrepro.store.manifest import file_hashes


def durable(run: Path) -> dict[str, str]:
    """The files of the path and of the directions, by their hashes."""
    paths = [path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()]
    return file_hashes(run, [path for path in paths if "trajectory" in path or "directions-" in path])


class Interrupting(Recorder):
    """Interrupts at an epoch of a network, or in a stage."""

    def __init__(self, model: str, at: int | None, stage: str | None = None) -> None:
        super().__init__()
        self.model, self.at, self.in_stage = model, at, stage

    def epoch(self, model, epoch, *, seed, max_epochs):  # noqa: ARG002
        if model == self.model and epoch.epoch == self.at:
            raise KeyboardInterrupt

    def stage(self, name, action, reason):
        super().stage(name, action, reason)
        if name == self.in_stage:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "interruption",
    [("dnn", 1, None), ("dnn", 5, None), ("one", 6, None), ("", None, "trajectory/dnn"), ("", None, "surface/raw/dnn")],
    ids=str,
)
def test_interrupted_and_continued_it_is_the_same(whole_run, spec_text, tmp_path, monkeypatch, interruption):
    monkeypatch.setenv("TMREPRO_CHECKPOINT_SECONDS", "0")
    spec = write_spec(tmp_path, spec_text)
    with pytest.raises(KeyboardInterrupt):
        tmrepro.run(spec, out=tmp_path / "run", reporter=Interrupting(*interruption))
    recorder = Recorder()
    tmrepro.run(spec, out=tmp_path / "run", reporter=recorder)
    assert durable(tmp_path / "run") == durable(whole_run)
    assert not [note for note in recorder.notes if "trained again" in note]


def test_taken_over_without_its_points_it_is_trained_again_to_the_same_path(whole_run, spec_text, tmp_path):
    spec = write_spec(tmp_path, spec_text, ("K: 3, step: 0.5", "K: 4, step: 0.5"))
    recorder = Recorder()
    tmrepro.run(spec, out=tmp_path / "run", reuse=whole_run, reporter=recorder)
    assert recorder.stages["training/dnn"][0] == recorder.stages["trajectory/dnn"][0] == "reused"  # a plane has no K
    assert durable(tmp_path / "run") == durable(whole_run)


def test_another_plane_needs_the_points_again(whole_run, spec_text, tmp_path):
    spec = write_spec(
        tmp_path,
        spec_text,
        ("{name: random, models: [dnn],", "{name: random, models: [dnn], directions: {seeds: {delta: 7}},"),
    )
    recorder = Recorder()
    tmrepro.run(spec, out=tmp_path / "run", reuse=whole_run, reporter=recorder)
    assert recorder.stages["training/dnn"][0] == "reused"
    assert [note for note in recorder.notes if note.startswith("dnn is trained again for its path")]
    fresh = tmrepro.run(spec, out=tmp_path / "fresh").run
    assert durable(tmp_path / "run") == durable(fresh)


def test_weights_are_kept_only_where_they_are_wanted(whole_run, spec_text, tmp_path):
    spec = write_spec(tmp_path, spec_text, (", weights: true", ""))
    run = tmrepro.run(spec, out=tmp_path / "run").run
    assert not (run / "models/dnn/trajectory").exists()
    expected = {path: digest for path, digest in durable(whole_run).items() if "trajectory/" not in path}
    assert durable(run) == expected
    assert not (run / ".work").exists()


def test_a_path_changes_nothing_else(whole_run, spec_text, tmp_path):
    text = spec_text.replace(", trajectory: {every: 2, weights: true}", "").replace(", trajectory: null", "")
    lines = [line for line in text.splitlines() if "pca" not in line]
    spec = write_spec(tmp_path, "\n".join(lines))
    run = tmrepro.run(spec, out=tmp_path / "run").run
    paths = [path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()]
    own = [path for path in paths if path.startswith(("surfaces.zarr/", "models/")) and not path.endswith(".csv")]
    kept = [path for path in own if path != "surfaces.zarr/zarr.json" and not path.endswith("minimum.json")]
    assert len(kept) > 40
    assert file_hashes(run, kept) == file_hashes(whole_run, kept)


def test_a_path_of_two_points_has_no_components_and_no_plane(spec_text, tmp_path):
    lines = [
        line for line in spec_text.splitlines() if not any(word in line for word in ("hessian", "raw", "straight"))
    ]
    spec = write_spec(tmp_path, "\n".join(lines), ("max_epochs: 7", "max_epochs: 1"))
    with pytest.raises(ComputeError, match=r"spans no plane.*at least three"):
        tmrepro.run(spec, out=tmp_path / "run")
    rows = (tmp_path / "run/models/dnn/trajectory.csv").read_text(encoding="ascii").splitlines()
    assert len(rows) == 3
    assert rows[1].split(",")[5:7] == ["", ""]
    # What could be computed is there, and says what is missing.
    assert "spans no plane" in (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert (tmp_path / "run/figures/random.png").exists()
