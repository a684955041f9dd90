"""What a notebook's cell shows of runs and verdicts: small, escaped, and never an error."""

from __future__ import annotations

import re
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

import tmrepro
from tmrepro.reporting.cells import FIGURE_PIXELS, MOST_ROWS, figure, table
from tmrepro.runner.execute import RunResult
from tmrepro.spec.shipped import shipped_reference
from tmrepro.verification.verdict import Check, Remarks, Verdict

HOSTILE = "<script>alert('x')</script><img src=x onerror=\"y\">&amp;"
QUICKSTART = shipped_reference("quickstart")


class Tags(HTMLParser):
    """All tags with their attributes, and the text of the cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.said.append(data)


def test_names_and_details_are_text():
    check = Check("audit", HOSTILE, "damaged", HOSTILE)
    verdict = Verdict(HOSTILE, "audit", HOSTILE, (check,), Remarks((HOSTILE,), (HOSTILE,)))
    result = RunResult(
        Path(HOSTILE), already_complete=False, minima={}, statistics={HOSTILE: {HOSTILE: {}}}, notes=(HOSTILE,)
    )
    for shown in (verdict._repr_html_(), result._repr_html_()):
        tags = Tags(shown)
        assert set(tags.tags) <= {"div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td"}
        assert tags.attributes == {"style"}
        assert any(HOSTILE in said for said in tags.said)


def test_what_failed_comes_first_and_remarks_are_there():
    fine = [Check("statistics", f"file {number}", "identical", "the same") for number in range(40)]
    bad = Check("audit", "surfaces.zarr/one/dnn", "different", "16 of 25 points: further off")
    verdict = Verdict("runs/x", "audit", None, (*fine, bad), Remarks(("a note",), ("a warning",)))
    shown = verdict._repr_html_()
    said = Tags(shown).said
    assert said[0] == verdict.headline
    assert said.index("surfaces.zarr/one/dnn") < said.index("file 0")
    assert shown.count("<tr>") == MOST_ROWS + 1
    assert f"{41 - MOST_ROWS} more rows" in said
    assert {"WARNING: a warning", "note: a note"} <= set(said)


def test_a_run_shows_its_networks_surfaces_and_a_small_figure():
    view = tmrepro.open_run(QUICKSTART)
    shown = view._repr_html_()
    said = Tags(shown).said
    for name in ("dnn", "cnn", "resnet50"):
        assert name in said
        assert view.minimum(name).category in said
    first = next(iter(view.statistics))
    assert f"{view.statistics[first]['dnn']['loss_max']:.4g}" in said
    (embedded,) = re.findall('src="data:image/png;base64,([^"]+)"', shown)
    picture = Image.open(BytesIO(b64decode(embedded)))
    assert picture.width == FIGURE_PIXELS[0]
    assert picture.height <= FIGURE_PIXELS[1]
    with Image.open(QUICKSTART / f"figures/{first}.png") as whole:
        assert picture.height == pytest.approx(whole.height * picture.width / whole.width, abs=1)
    assert len(shown) < 500_000


def test_a_damaged_run_is_shown_as_far_as_it_can_be(tmp_path):
    for name in ("spec.yaml", "statistics.json"):
        (tmp_path / name).write_bytes((QUICKSTART / name).read_bytes())
    said = Tags(tmrepro.open_run(tmp_path)._repr_html_()).said
    assert any(line.startswith("not all of it can be shown: models/dnn/minimum.json") for line in said)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(50), None])
def test_a_figure_that_cannot_be_read_is_left_out(tmp_path, content):
    (tmp_path / "figures").mkdir()
    if content is not None:
        (tmp_path / "figures/one.png").write_bytes(content)
    assert figure(tmp_path, "figures/one.png") == ""


def test_a_figure_that_leads_out_of_the_run_is_left_out(tmp_path):
    (tmp_path / "run/figures").mkdir(parents=True)
    (tmp_path / "run/figures/one.png").symlink_to(QUICKSTART / "figures/paper.png")
    assert (tmp_path / "run/figures/one.png").exists()
    assert figure(tmp_path / "run", "figures/one.png") == ""
    assert figure(tmp_path / "run", "../figures/one.png") == ""


def test_words_are_on_the_left_and_numbers_on_the_right():
    shown = table(("name", "value"), [("a", "1")], text=1)
    assert '<td style="text-align: left">a</td><td style="text-align: right">1</td>' in shown
