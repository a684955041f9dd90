"""spec/remedies: X~ of a finished run as the data of a new one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

import tmrepro

REMEDIES = Path(__file__).parents[2] / "spec" / "remedies"

SPEC = """version: 1
name: {name}
data: {{name: {data}}}
models: [{{name: dnn, kind: dnn, widths: [16, 10]}}]
training: {{max_epochs: 2, batch_size: 32}}
surfaces: [{{name: paper, grid: {{K: 2}}}}]
"""
DIGITS = "digits, train: 96, validation: 60, size: 8"


@pytest.fixture(autouse=True)
def _no_bytecode(monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def run(text: str, folder: Path, name: str):
    (folder / f"{name}.yaml").write_text(text)
    return tmrepro.run(folder / f"{name}.yaml", out=folder / name)


def test_data_are_the_runs_pictures_with_its_own_labels(tmp_path):
    first = run(SPEC.format(name="first", data=DIGITS), tmp_path, "first")
    found = importlib.util.spec_from_file_location("relabelled", REMEDIES / "relabelled.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    inputs, labels, held_out, their_labels = module.relabelled(str(first.run), "dnn")
    view = tmrepro.open_run(first.run)
    assert torch.equal(inputs, view.inputs())
    model = view.model("dnn")
    with torch.no_grad():
        assert torch.equal(labels, model(inputs).argmax(1))
        right = (model(held_out).argmax(1) == their_labels).double().mean()
    assert float(right) == first.minima["dnn"].validation_accuracy


def test_a_run_on_them_has_the_new_labels(tmp_path):
    first = run(SPEC.format(name="first", data=DIGITS), tmp_path, "first")
    (tmp_path / "relabelled.py").write_text((REMEDIES / "relabelled.py").read_text())
    data = f'custom, factory: "relabelled:relabelled", arguments: {{run: "{first.run}", model: dnn}}'
    second = run(SPEC.format(name="second", data=data), tmp_path, "second")
    again = tmrepro.open_run(second.run, trust_code=True)
    assert torch.equal(again.original_labels(), tmrepro.open_run(first.run).labels("dnn"))
