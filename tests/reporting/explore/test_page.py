"""The page of `tmrepro view` as a file: what it holds, and that nothing of a run is ever markup or code in it."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.support.runs import edit_json, seal
from tmrepro.errors import DamagedError, UsageError
from tmrepro.reporting.explore import page_data, render_view, write_view
from tmrepro.reporting.explore.page import PLOTLY, PLOTLY_LICENSE, json_block, own_script, script_hash
from tmrepro.spec.shipped import shipped_reference
from tmrepro.store.finished import read_finished
from tmrepro.store.manifest import check_manifest

QUICKSTART = shipped_reference("quickstart")
TOOL = Path(__file__).parents[3] / "tools" / "vendor_plotly.py"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028{{ 7 * 7 }}"


class Page(HTMLParser):
    """Elements with their attributes, and the text of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def html() -> str:
    return render_view(read_finished(QUICKSTART))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_its_policy_names_its_two_scripts_and_nothing_that_it_could_load(page: Page) -> None:
    (policy,) = [found["content"] for _, found in page.tags if found.get("http-equiv") == "Content-Security-Policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    data, plotly, own = page.scripts
    assert directives == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "script-src": f"'{script_hash(plotly)}' '{script_hash(own)}'",
    }
    assert plotly == PLOTLY.read_text(encoding="utf-8")
    assert own == own_script()
    assert json.loads(data) == json.loads(json.dumps(page_data(read_finished(QUICKSTART))))


def test_nothing_in_it_has_an_address_or_a_handler(page: Page) -> None:
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        assert not {"src", "srcset", "action", "data", "poster"} & set(attributes), tag
        assert (attributes.get("href") or "#").startswith("#"), tag


def test_every_number_is_the_stores(small_run: Path) -> None:
    run = read_finished(small_run)
    found = json.loads(json.dumps(page_data(run)))
    assert [(grid["surface"], grid["network"]) for grid in found["grids"]] == list(run.surfaces)
    for grid in found["grids"]:
        values, facts, home, _ = run.surface(grid["surface"], grid["network"])
        for name in ("loss", "accuracy", "a", "b"):
            np.testing.assert_array_equal(np.array(grid[name]), getattr(values, name), strict=True)
        assert tuple(grid["home"]) == home
        assert grid["marks"] == [[mark.name, mark.a, mark.b] for mark in facts.marks]
        places = [point.places[grid["surface"]] for point in run.trajectory(grid["network"])]
        assert [row[1:] for row in grid["path"]] == [[place.a, place.b, place.distance] for place in places]


def test_losses_that_are_not_finite_are_texts(odd_reference: Path) -> None:
    grids = {(grid["surface"], grid["network"]): grid for grid in page_data(read_finished(odd_reference))["grids"]}
    assert grids["filter", "cnn"]["loss"][0][1] == "nan"
    assert grids["filter", "cnn"]["loss"][2][0] == "inf"


@pytest.mark.parametrize("most", [100, 250, 726, 10_000])
def test_a_large_grid_is_thinned_out_around_theta(most: int) -> None:
    run = read_finished(QUICKSTART)
    found = page_data(run, most_points=most)
    points = [point for grid in found["grids"] for row in grid["loss"] for point in row]
    assert len(points) <= most
    for grid in found["grids"]:
        values, _, home, _ = run.surface(grid["surface"], grid["network"])
        i, j = grid["home"]
        assert (grid["a"][i], grid["b"][j]) == (values.a[home[0]], values.b[home[1]])
        assert grid["loss"][i][j] == values.loss[home]
        stored = {(a, b): values.loss[n, m] for n, a in enumerate(values.a) for m, b in enumerate(values.b)}
        assert all(grid["loss"][n][m] == stored[a, b] for n, a in enumerate(grid["a"]) for m, b in enumerate(grid["b"]))


def test_what_a_run_says_is_never_markup(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(QUICKSTART, tmp_path / "hostile"))
    for name, change in {
        "models/dnn/minimum.json": {"reason": HOSTILE, "category": "none"},
        "provenance.json": {"data": {"name": HOSTILE, "train": 1}},
    }.items():
        edit_json(folder / name, lambda document, change=change: document | change)
    seal(folder)
    html = render_view(read_finished(folder))
    page = Page(html)
    assert len(page.scripts) == 3
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "alert(2)&gt;" in html
    assert json.loads(page.scripts[0])["networks"][0]["reason"] == HOSTILE


def test_json_cannot_leave_its_block() -> None:
    text = json_block({"x": HOSTILE, "<!--": "<script", "&": "]]>"})
    assert not re.search(r"[<>&\u2028]", text)
    assert json.loads(text) == {"x": HOSTILE, "<!--": "<script", "&": "]]>"}


def test_plotly_is_what_npm_has_and_its_licence_is_on_the_page(html: str) -> None:
    assert "Permission is hereby granted" in PLOTLY_LICENSE.read_text(encoding="utf-8")
    assert "Permission is hereby granted" in html
    if not TOOL.is_file():
        pytest.skip("needs a checkout")
    subprocess.run([sys.executable, TOOL, "--check"], check=True)
    spec = importlib.util.spec_from_file_location("vendor_plotly", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    with pytest.raises(SystemExit, match="expected SHA-256"):
        tool.check(b"another", tool.FILES["package/LICENSE"][1], "plotly-LICENSE.txt")


def test_it_is_written_where_it_may_be_without_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tmrepro.reporting.explore import write_view; "
        f"write_view(Path({str(QUICKSTART)!r}), to=Path({str(tmp_path / 'new' / 'page.html')!r})); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (tmp_path / "new" / "page.html").is_file()
    with pytest.raises(UsageError, match="must match its manifest"):
        write_view(QUICKSTART, to=QUICKSTART / "page.html")
    with pytest.raises(UsageError, match="is a folder"):
        write_view(QUICKSTART, to=tmp_path)
    with pytest.raises(DamagedError, match="not a run or a reference"):
        write_view(tmp_path, to=tmp_path / "page.html")
    assert check_manifest(QUICKSTART) == []
