"""The page of a verdict: self-contained, harmless, and showing what was held against what."""

from __future__ import annotations

import base64
import dataclasses
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.verification.page.reading import html_of, page_of, parse
from tmrepro.cli.main import app
from tmrepro.errors import StorageError
from tmrepro.reporting.figures import difference_png
from tmrepro.reporting.report import figure_links
from tmrepro.verification import Check, Verdict
from tmrepro.verification.bands import Band
from tmrepro.verification.page import digits, exact, render_page, write_page
from tmrepro.verification.verdict import FigureComparison, NumberComparison, Remarks, Sides

HOSTILE = "<script>alert('x')</script>\"' onload=\"evil()\" {{ 7 * 7 }} &amp; <img src=http://example.org/x.png>"
KINDS = ("identical", "equal", "consistent", "different", "damaged", "alone", "integrity", "other spec")


def png(colour: str, size: tuple[int, int] = (5, 3)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, format="PNG")
    return buffer.getvalue()


def images(root):
    """What stands in the page: heading and name of each picture, and its bytes."""
    found = []
    for image in root.find("img"):
        heading, name, words = image.attributes["alt"].split(": ", 2)
        assert words
        data = re.sub("^data:image/(png|webp);base64,", "", image.attributes["src"])
        found.append((f"{heading}: {name}", base64.b64decode(data)))
    return found


def is_copy(data: bytes, png: bytes) -> bool:
    """Whether a page may show `data` for `png`: at full size no channel of a pixel is more than 4 of 255 off."""
    copy, figure = (np.asarray(Image.open(BytesIO(one)).convert("RGB")).astype(int) for one in (data, png))
    return copy.shape == figure.shape and abs(copy - figure).max() <= 4


@pytest.mark.parametrize("kind", KINDS)
def test_page_refers_to_nothing_outside_itself(verdicts, kind):
    root, text = page_of(verdicts[kind]), html_of(verdicts[kind])
    everything = [element for tag in set(re.findall(r"<([a-z0-9]+)", text)) for element in root.find(tag)]
    references = [
        value
        for element in everything
        for name, value in element.attributes.items()
        if name in {"src", "href", "srcset", "action", "data", "poster", "background", "xlink:href"}
    ]
    assert references
    assert all(
        reference.startswith(("#", "data:image/png;base64,", "data:image/webp;base64,")) for reference in references
    )
    tags = {element.tag for element in everything}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form", "foreignobject", "use"}
    assert "url(" not in text
    assert "@import" not in text
    targets = {element.attributes.get("id") for element in everything}
    assert {reference[1:] for reference in references if reference.startswith("#")} <= targets
    (policy,) = root.find("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy.attributes["content"].startswith("default-src 'none'; img-src data:;")


def test_reference_result_and_difference_stand_side_by_side(verdicts, made):
    different = verdicts["different"]
    shown = dict(images(page_of(different)))
    run = made / "runs" / "0" / "figures" / "middle.png"
    reference = made / "runs" / "1" / "figures" / "middle.png"
    assert is_copy(shown["This run: figures/middle.png"], run.read_bytes())
    assert is_copy(shown["Reference: figures/middle.png"], reference.read_bytes())
    assert is_copy(shown["Difference: figures/middle.png"], difference_png(reference.read_bytes(), run.read_bytes()))


def test_every_figure_of_every_comparison_is_shown(verdicts, made):
    names = {f"figures/{path.name}" for path in (made / "runs" / "0" / "figures").glob("*.png")}
    for kind, first in (("identical", "Reference"), ("consistent", "Reference"), ("alone", "Recomputed")):
        shown = images(page_of(verdicts[kind]))
        captions = [caption for caption, _ in shown]
        expected = (
            {f"{which}: {name}" for name in names for which in (first, "This run", "Difference")}
            if kind == "consistent"
            else {f"{first} and this run, the same picture: {name}" for name in names}
        )
        assert set(captions) == expected, kind
        assert len(captions) == len(expected), kind
        assert len({data for _, data in shown}) == len(shown), kind


def test_what_failed_comes_first_and_what_passed_is_folded():
    checks = [
        Check("statistics", "a", "identical", "d", "reference", (held(model="good", grade="identical"),)),
        Check("statistics", "b", "different", "d", "reference", (held(model="bad", grade="different"),)),
        Check("integrity", "c", "damaged", "d"),
    ]
    root = page_of(verdict_of(*checks))
    rows = [row for table in root.find("table", of="checks") for row in table.find("tbody")[0].find("tr")]
    assert [row.find("th")[0].text for row in rows] == ["c", "b", "a"]
    folded = {code.text for part in root.find("details") for table in part.find("table", of="checks")
              for code in table.find("code")}  # fmt: skip
    assert folded == {"a"}
    assert "1 passed: 1 identical" in root.text
    assert [table.attributes["data-model"] for table in root.find("table", of="numbers")] == ["bad", "good"]
    inside = [table for part in root.find("details") for table in part.find("table", of="numbers")]
    assert [table.attributes["data-model"] for table in inside] == ["good"]


def test_plane_that_goes_below_theta_is_said():
    numbers = tuple(
        held(name=name, value=value, band=None)
        for name, value in (("loss_at_minimum", 0.5), ("depth_below_minimum", 0.017))
    )
    text = page_of(verdict_of(Check("statistics", "s", "identical", "d", "itself", numbers))).text
    assert "2 numbers, identical; lowest point of this plane is 0.017 below θ*" in text


def test_origin_of_the_run_stands_at_the_top_unless_it_is_damaged(verdicts):
    words = page_of(verdicts["equal"]).find("dl", of="origin")[0].text
    assert "digits (handwritten digits of scikit-learn)" in words
    assert "40 for training, 20 held out, 10 classes" in words
    assert "R. Wang and R. Thawonmas" in words
    assert page_of(verdicts["damaged"]).find("dl", of="origin") == []


def test_verdict_stands_in_one_line_at_the_top(verdicts):
    for verdict in verdicts.values():
        root = page_of(verdict)
        assert [line.text for line in root.find("p", of="headline")] == [verdict.headline]
        assert root.find("title")[0].text == verdict.headline
        failed = {check.subject for check in verdict.checks if not check.passed}
        box = root.find("div", of="failed")
        assert {code.text for part in box for code in part.find("code")} == failed


def test_damaged_folder_is_not_quoted_on_its_origin(verdicts):
    text = page_of(verdicts["damaged"]).text
    assert "cannot be believed" in text
    assert "<b>not of a run<img>.txt" in text


def test_what_differs_in_provenance_comes_first_and_is_marked(verdicts):
    tables = page_of(verdicts["equal"]).find("table", of="provenance")
    rows = [row for table in tables for row in table.find("tbody")[0].find("tr")]
    assert rows[0].attributes == {"class": "differs"}
    assert rows[0].find("th")[0].text == "packages.torch"
    assert rows[0].find("td")[1].text == "1.0"
    assert [row for row in rows[1:] if row.attributes] == []


def held(**changes):
    number = NumberComparison(
        "middle", "dnn", "loss_max", 2.0, 4.0, "consistent", Band(5, 1.0, 0.5, 1.0, 7.0, "linear")
    )
    return dataclasses.replace(number, **changes)


def verdict_of(*checks: Check, **changes) -> Verdict:
    return Verdict("runs/x", "statistics", "x", checks, **changes)


def test_band_is_drawn_with_mean_reference_and_value():
    root = page_of(verdict_of(Check("statistics", "s", "consistent", "d", "reference", (held(),))))
    (svg,) = [svg for svg in root.find("svg") if "band" in svg.attributes.get("class", "")]
    (reach,) = svg.find("rect", of="reach")
    low, width = (float(reach.attributes[name]) for name in ("x", "width"))
    (mean,), (wanted,), (ran,) = (svg.find(tag, of=kind) for tag, kind in
                                  (("line", "mean"), ("path", "wanted"), ("circle", "ran")))  # fmt: skip
    unit = width / 6
    assert float(ran.attributes["cx"]) == pytest.approx(low + unit, abs=0.02)
    assert float(re.match(r"M([\d.]+)", wanted.attributes["d"])[1]) == pytest.approx(low + 3 * unit, abs=0.02)
    # The mean of a linear band is what the reference says it is, here off the middle.
    assert float(mean.attributes["x1"]) == pytest.approx(low, abs=0.02)
    assert "loss_max: 2 on a band from 1 to 7" in svg.attributes["aria-label"]
    # Where a number isn't, no mark is.
    root = page_of(verdict_of(Check("statistics", "s", "consistent", "d", "reference", (held(value=None),))))
    (svg,) = [svg for svg in root.find("svg") if "band" in svg.attributes.get("class", "")]
    assert svg.find("circle") == []
    assert len(svg.find("path", of="wanted")) == 1


def test_number_beyond_the_line_is_an_arrow():
    root = page_of(verdict_of(Check("statistics", "s", "different", "d", "reference", (held(value=1e6),))))
    (svg,) = [svg for svg in root.find("svg") if "band" in svg.attributes.get("class", "")]
    assert svg.find("circle") == []
    assert len(svg.find("path", of="ran")) == 1


def test_numbers_have_enough_digits_to_part_what_is_equal():
    close = held(value=1.0, expected=1.0 + 1e-6, band=None, grade="equal")
    root = page_of(verdict_of(Check("statistics", "s", "equal", "d", "reference", (close,))))
    (table,) = root.find("table", of="numbers")
    cells = table.find("tbody")[0].find("td")
    assert [cell.text for cell in cells[:2]] == ["1", "1.000001"]
    assert "-1e-06 (-0.00%)" in cells[2].text
    assert cells[1].find("data")[0].attributes["value"] == "1.000001"
    assert "in nats" in table.text
    assert [digits(value) for value in (None, 3, 1234567, 0.1 + 0.2, 1e-9)] == ["–", "3", "1234567", "0.3", "1e-09"]
    assert [exact(value) for value in (None, 3, 0.1 + 0.2)] == ["", "3", "0.30000000000000004"]


def test_agreement_with_itself_steps_back_where_there_is_more_to_see():
    figure = FigureComparison("figures/a.png", expected=png("teal"), found=png("teal"))
    other = dataclasses.replace(figure, against="reference", expected=png("red"))
    itself = Check("statistics", "a", "identical", "same", "itself", (held(band=None),), figure)
    reference = Check("statistics", "b", "different", "other", "reference", (held(),), other)
    both, alone = page_of(verdict_of(itself, reference)), page_of(verdict_of(itself))
    assert [alt.split(":")[0] for alt, _ in images(both)] == ["Reference", "This run", "Difference"]
    assert [alt.split(":")[0] for alt, _ in images(alone)] == ["Recomputed and this run, the same picture"]
    words = "The stored figures are those drawn from the run's own files"
    assert (words in both.text, words in alone.text) == (True, False)
    # A run that contradicts itself does not step back.
    wrong = dataclasses.replace(itself, grade="different")
    assert page_of(verdict_of(wrong, reference)).find("details") == []


def test_what_is_no_picture_is_not_shown():
    for expected, found in ((b"GIF89a", b"GIF89a"), (png("red"), b"no"), (None, png("red"))):
        figure = FigureComparison("figures/a.png", expected=expected, found=found, against="reference")
        root = page_of(verdict_of(Check("statistics", "a", "damaged", "d", "reference", (), figure)))
        assert [data for _, data in images(root)] == [
            data for data in (expected, found) if data and data[:4] == b"\x89PNG"
        ]
        assert root.text.count("no picture") == 3 - len(images(root))


def test_pictures_of_two_sizes_are_compared():
    figure = FigureComparison("figures/a.png", expected=png("red"), found=png("red", (6, 3)), against="reference")
    root = page_of(verdict_of(Check("statistics", "a", "different", "another size", "reference", (), figure)))
    assert len(images(root)) == 3
    assert "the pictures have two sizes" in root.text


def test_whatever_is_shown_is_escaped(verdicts):
    figure = FigureComparison(HOSTILE, expected=png("red"), found=png("blue"), against="reference")
    number = held(surface=HOSTILE, model=HOSTILE, name=HOSTILE)
    check = Check("statistics", HOSTILE, "different", HOSTILE, "reference", (number, held(surface=None)), figure)
    remarks = Remarks(
        notes=(HOSTILE,),
        warnings=(HOSTILE,),
        figures=(figure,),
        sides=Sides({HOSTILE: {HOSTILE: [HOSTILE]}}, {HOSTILE: HOSTILE}, "reference"),
    )
    hostile = Verdict(HOSTILE, "statistics", HOSTILE, (check,), remarks)
    root = page_of(hostile)
    seen = {tag for verdict in verdicts.values() for tag in re.findall(r"<([a-z0-9]+)", html_of(verdict))}
    found = set(re.findall(r"<([a-zA-Z0-9]+)", html_of(hostile)))
    assert found <= seen
    assert not any(name.startswith("on") for tag in found for element in root.find(tag) for name in element.attributes)
    assert len(root.find("img")) == 6
    assert root.text.count(" ".join(HOSTILE.split())) >= 16
    assert "49" not in root.find("main")[0].text.replace("{{ 7 * 7 }}", "")


def test_empty_verdict_is_whole():
    text = page_of(Verdict("runs/x", "integrity", None, ())).text
    for words in (
        "Nothing was checked.",
        "No figures were compared.",
        "No numbers were compared.",
        "nobody looked at it",
    ):
        assert words in text


def test_same_verdict_gives_the_same_page(verdicts):
    assert render_page(verdicts["different"]) == html_of(verdicts["different"])


def test_page_goes_to_a_file_and_says_when_it_cannot(verdicts, tmp_path):
    write_page(verdicts["equal"], tmp_path / "new" / "verdict.html")
    written = (tmp_path / "new" / "verdict.html").read_text(encoding="utf-8")
    links = figure_links(Path(verdicts["equal"].subject), page=tmp_path / "new" / "verdict.html")
    assert written == render_page(verdicts["equal"], links=links)
    assert all((tmp_path / "new" / address).is_file() for files in links.values() for address in files.values())
    assert f'href="{links["middle"]["PDF"]}"' in written
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be written"):
        write_page(verdicts["equal"], tmp_path / "file" / "verdict.html")


def test_command_writes_the_page_and_never_into_the_run(made, tmp_path):
    run, page = made / "runs" / "0", tmp_path / "verdict.html"
    asked = ["verify", str(run), "--level", "integrity", "--html"]
    assert CliRunner().invoke(app, [*asked, str(page)]).exit_code == 0
    assert parse(page.read_text(encoding="utf-8")).find("p", of="headline")[0].text.startswith("verified: ")
    refused = CliRunner().invoke(app, [*asked, str(run / "verdict.html")])
    assert "--html" in str(refused.exception)
    assert not (run / "verdict.html").exists()
