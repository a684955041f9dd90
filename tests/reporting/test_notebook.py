"""docs/tutorial/notebook.ipynb runs as it stands, cell by cell, in an interpreter that has torch before anything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tmrepro.numerics.determinism import FOREIGN

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs/tutorial/notebook.ipynb"
pytestmark = pytest.mark.skipif(not (ROOT / "Dockerfile").exists(), reason="needs a checkout")

# What a kernel does with a cell: the value of a last expression is shown.
KERNEL = """
import ast, json, sys
import torch
names = {"__name__": "__main__"}
shown = {}
for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"]:
    if cell["cell_type"] != "code":
        continue
    tree = ast.parse("".join(cell["source"]))
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, cell["id"], "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), cell["id"], "eval"), names)
        shown[cell["id"]] = value._repr_html_() if hasattr(value, "_repr_html_") else repr(value)
print(json.dumps(shown))
"""


def cells() -> list[dict]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_it_is_stored_without_outputs():
    code = [cell for cell in cells() if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in cells()}) == len(cells())


@pytest.mark.slow
def test_every_cell_runs_after_torch_was_loaded(tmp_path):
    plain = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
    done = subprocess.run(
        [sys.executable, "-c", KERNEL, str(NOTEBOOK)],
        cwd=tmp_path,
        env=plain | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout.splitlines()[-1])
    assert "<td" in shown["run"]
    assert "data:image/png;base64," in shown["open"]
    assert "xarray" in shown["surface"]
    assert shown["model"] == "tensor(1.)"
    assert "verified: runs/tiny, level audit" in shown["verify"]
    assert shown["passed"] == "True"
    assert (tmp_path / "runs/tiny/manifest-sha256.txt").exists()
