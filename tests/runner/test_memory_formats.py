"""The order in memory that a training goes by is recorded, and in the stage's key where a rule decides it."""

from __future__ import annotations

import pytest

import tmrepro
from tests.support.recorder import Recorder
from tests.support.specs import write_spec
from tmrepro.store.stages import StageBook

SPEC = """
version: 1
name: formats
data: {name: digits, train: 128, validation: 8, size: 32}
models:
  - {name: last, kind: cnn, channels: [4, 10], training: {batch_size: 128}}
  - {name: usual, kind: cnn, channels: [4, 10], training: {batch_size: 64}}
  - {name: dense, kind: dnn, widths: [4, 10], training: {batch_size: 128}}
training: {warmup_steps: 0, max_epochs: 1, reseeds: 0, stop: {at: never}}
surfaces:
  - {name: one, grid: {K: 2}, samples: 8}
compute: {threads: 1}
"""


class TrainedError(Exception):
    """Ends a run from within: nothing after training is asked about."""


def test_the_memory_format_is_recorded_and_the_rule_is_in_the_key(tmp_path):
    class UpToTheSurfaces(Recorder):
        def stage(self, name, action, reason):
            super().stage(name, action, reason)
            if name.startswith("surface/"):
                raise TrainedError

    with pytest.raises(TrainedError):
        tmrepro.run(write_spec(tmp_path, SPEC), out=tmp_path / "run", reporter=UpToTheSurfaces())
    book = StageBook(tmp_path / "run")
    last, usual, dense = (book.get(f"training/{name}") for name in ("last", "usual", "dense"))
    assert last.facts["memory_format"] == "channels_last"
    assert usual.facts["memory_format"] == dense.facts["memory_format"] == "contiguous"
    assert "memory_format" in last.inputs
    assert "memory_format" not in usual.inputs
