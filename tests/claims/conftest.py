"""Folders that hold what a reference holds of its values, made up: whoever judges claims reads nothing else of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.records import a_minimum
from tmrepro.records import Epoch, History, Minimum
from tmrepro.spec import dump_spec, expand_models, expand_surfaces, parse_spec
from tmrepro.statistics import STATISTICS
from tmrepro.store.documents import save_history, write_json
from tmrepro.store.manifest import write_manifest
from tmrepro.store.minima import save_minimum

SPEC = """
version: 1
name: invented
data: {{name: digits, train: 60, validation: 20, size: 8}}
models:
  - {{name: dnn, kind: dnn, widths: [8, 10]}}
  - {{name: cnn, kind: cnn, channels: [4, 10]}}
  - {{name: resnet50, kind: dnn, widths: [9, 10]}}
training: {{batch_size: 20, max_epochs: 40, seed: {seed}}}
replicates: {{training: {training}, directions: {directions}}}
surfaces:
  - {{name: paper, grid: {{K: 5}}}}
  - {{name: filter, directions: {{normalization: filter}}, grid: {{K: 5, origin: center}}}}
"""
FIELDS = {field.name for field in dataclasses.fields(Minimum)}

# (base, training seed, direction pair) -> statistic or field of minimum.json -> value
Values = Callable[[str, int, int], dict[str, Any]]


@pytest.fixture
def invent(tmp_path: Path) -> Callable[..., Path]:
    """A folder with the values that `values` gives; what it leaves out is the same for all networks and seeds."""

    def make(
        values: Values, *, training: int = 6, directions: int = 1, seed: int = 0, name: str = "made", spec: str = SPEC
    ) -> Path:
        folder, work = tmp_path / name, tmp_path / f".{name}"
        work.mkdir()
        parsed = parse_spec(spec.format(seed=seed, training=training, directions=directions))
        (folder / "models").mkdir(parents=True)
        (folder / "spec.yaml").write_text(dump_spec(parsed), encoding="utf-8")
        for model in expand_models(parsed):
            given = values(model.base, model.seed, 0)
            fields = {key: value for key, value in given.items() if key in FIELDS}
            stopped = "diverged" if fields.get("category") == "diverged" else "gm"
            minimum = a_minimum(
                **{"model": model.name, "seed": model.seed, "parameters": 9, "stopped": stopped} | fields
            )
            save_minimum(folder, minimum, work=work)
            losses = [1.0 / epoch for epoch in range(1, 31)]
            losses[19] = given.get("train_loss_at_lm", losses[19])
            epochs = (Epoch(n, loss, 0.5, loss, 0.5, 0.01, n / 10) for n, loss in enumerate(losses, start=1))
            save_history(folder / "models" / model.name / "history.csv", History(tuple(epochs)), work=work)
        models = {model.name: model for model in expand_models(parsed)}
        statistics: dict[str, dict[str, Any]] = {}
        for drawn in expand_surfaces(parsed):
            for model in drawn.models:
                given = values(models[model].base, models[model].seed, drawn.replicate)
                if given.get("category") in {"collapsed", "diverged"}:
                    continue
                found = {info.name: given.get(info.name, 1.0) for info in STATISTICS}
                statistics.setdefault(drawn.name, {})[model] = found
        write_json(folder / "statistics.json", statistics, work=work)
        data = {"name": "digits", "fingerprint": "00", "train": 60, "validation": 20}
        write_json(folder / "provenance.json", {"data": data}, work=work)
        write_manifest(folder, work=work)
        return folder

    return make


@pytest.fixture
def spec_text() -> str:
    return SPEC
