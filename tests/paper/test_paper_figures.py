"""The figures of the paper follow from the stored numbers, pixel by pixel; a changed number, colour or font is seen."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tmrepro
from tmrepro.reporting.figures import compare_png, render
from tmrepro.store.surfaces import open_surface, read_surface

PAPER = Path(__file__).parents[2] / "paper"
REFERENCES = sorted(path.name for path in (PAPER / "reference").iterdir())


@pytest.fixture(scope="module")
def figure1():
    spec = importlib.util.spec_from_file_location("figure1", PAPER / "figure1.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", REFERENCES)
def test_statistics_and_figures_of_a_reference_follow_from_its_surfaces(name):
    """In a separate process, because this one checks types at run time. With 144 surfaces that takes minutes."""
    command = [sys.executable, "-m", "tmrepro", "verify", PAPER / "reference" / name, "--level", "statistics", "--json"]
    verdict = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert verdict["grade"] == "identical"
    drawn = {check["subject"] for check in verdict["checks"] if check["subject"].endswith(".png")}
    assert drawn == {f"figures/{path.name}" for path in (PAPER / "reference" / name / "figures").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["figure1.png", "figure1-log.png"])
def test_figure_1_is_drawn_again_from_the_stored_surfaces(figure1, name):
    again = render(figure1.draw(figure1.SCALES[name]), "png")
    assert compare_png((PAPER / name).read_bytes(), again).identical


@pytest.fixture
def changed_number(figure1, tmp_path):
    """The corner farthest from theta* of one network, higher by a tenth."""
    folder = shutil.copytree(figure1.REFERENCE, tmp_path / "reference")
    surface, *_ = read_surface(folder, "paper", "dnn")
    loss = surface.loss[48:, 48:].copy()
    loss[-1, -1] *= 1.1
    open_surface(folder, "paper", "dnn").write((3, 3), loss, surface.accuracy[48:, 48:])
    return {"reference": folder}


@pytest.fixture
def changed_colour(monkeypatch):
    monkeypatch.setattr("tmrepro.reporting.figures.contours.COLORMAP", "cividis")
    return {}


@pytest.fixture
def changed_font(monkeypatch):
    monkeypatch.setitem(tmrepro.reporting.figures.style._SETTINGS, "font.family", ["DejaVu Serif"])
    return {}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Glyph")  # another font may lack one
@pytest.mark.parametrize("change", ["changed_number", "changed_colour", "changed_font"])
def test_a_change_is_seen(figure1, change, request):
    changed = render(figure1.draw("linear", **request.getfixturevalue(change)), "png")
    assert not compare_png((PAPER / "figure1.png").read_bytes(), changed).identical
