"""The page: complete, self-contained, and harmless whatever the names in it are."""

from __future__ import annotations

import base64
import dataclasses
import re
from html.parser import HTMLParser
from io import BytesIO
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from tests.support.records import a_minimum
from tmrepro.errors import DamagedError
from tmrepro.records import Minimum
from tmrepro.reporting.captions import Caption
from tmrepro.reporting.figures.embedded import KEPT_BYTES
from tmrepro.reporting.masthead import PAPER, masthead
from tmrepro.reporting.report import PAGE_BYTES, ReportContext, figure_links, number, percent, render_report, seconds

HOSTILE = "<script>alert('x')</script>\"' onload=\"evil()\" {{ 7 * 7 }} &amp; <img src=http://example.org/x.png>"


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())


def tiny_png() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (3, 2), "teal").save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def minimum() -> Minimum:
    return a_minimum(
        epochs=34,
        train_loss_at_minimum=0.01234,
        validation_loss=0.4321,
        relabelled_loss=0.009876,
        train_accuracy=0.99512,
        validation_accuracy=0.91504,
        training_seconds=8.75,
    )


@pytest.fixture
def context(minimum: Minimum) -> ReportContext:
    return ReportContext(
        title="Quickstart",
        spec_text="version: 1\nname: quickstart\n",
        spec_hash="ab" * 32,
        minima={
            "dnn": minimum,
            "cnn": dataclasses.replace(
                minimum, model="cnn", category="none", stopped="max_epochs", gm_first_epoch=None
            ),
            "resnet50": dataclasses.replace(
                minimum,
                model="resnet50",
                category="collapsed",
                relabelled_loss=None,
                gradient_norm=None,
                seeds_collapsed=(7,),
            ),
        },
        statistics={
            "paper": {
                "dnn": {"own_invention": 3.5, "loss_max": 17.25, "loss_at_minimum": 0.0125, "point_asymmetry": None},
                "cnn": {"loss_at_minimum": 0.5, "loss_max": 2.0, "point_asymmetry": None, "own_invention": 1.5},
            }
        },
        figures={"paper": tiny_png()},
        provenance={"platform": {"cores": 2, "cuda": None}, "stages": [{"name": "training"}, {"name": "surface"}]},
        warnings=["cnn: max_epochs reached"],
        commands={"Run it again:": "tmrepro run spec.yaml --out again"},
        captions={
            "paper": Caption("The surface around each network.", "Loss surface paper. dnn: from 0.0125 to 17.25.")
        },
        links={"paper": {"PDF": "figures/paper.pdf", "full-size picture (PNG)": "figures/paper.png"}},
    )


def test_page_shows_the_numbers_of_every_network(context):
    text = Page(render_report(context)).text
    assert "3 networks: 1 TM, 1 in no category, 1 collapsed." in text
    assert "dnn TM 0.01234 0.4321 0.009876 34 8.8 s 99.51 % 91.50 %" in text
    assert "not a minimum (collapsed) 0.01234 0.4321 – 34" in text
    assert "cnn: max_epochs reached" in text


def test_statistics_stand_in_the_order_of_the_catalogue_with_their_units(context):
    text = Page(render_report(context)).text
    assert re.search(r"loss_at_minimum in nats .*? 0\.0125 0\.5 loss_max in nats .*? 17\.25 2 point_asymmetry", text)
    assert re.search(r"centred grids – – own_invention 3\.5 1\.5", text)


def test_page_explains_categories_and_the_false_minimum(context):
    text = Page(render_report(context)).text
    for words in ("LM, local minimum", "GM, global minimum", "TM, true minimum", "A false TM", "must be a GM first"):
        assert words in text


def test_page_says_how_to_check(context):
    text = Page(render_report(context)).text
    for words in ("sha256sum -c manifest-sha256.txt", "tmrepro verify RUN", "tmrepro run spec.yaml --out again"):
        assert words in text
    assert "platform.cores 2" in text
    assert "stages[1].name surface" in text
    assert context.spec_hash in text


def test_figures_are_inside_the_page(context):
    (image,) = [attributes for tag, attributes in Page(render_report(context)).tags if tag == "img"]
    source = image["src"]
    assert source is not None
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == tiny_png()


def noise(width: int, height: int) -> bytes:
    """A picture that no encoder makes small."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def images_of(html: str) -> list[dict[str, str | None]]:
    return [attributes for tag, attributes in Page(html).tags if tag == "img"]


def test_page_has_at_most_its_size_whatever_its_figures_have(context):
    figures = {name: noise(1000 + number, 700) for number, name in enumerate("abc")}
    assert sum(map(len, figures.values())) > 4 * PAGE_BYTES
    html = render_report(dataclasses.replace(context, figures=figures))
    assert len(html.encode()) <= PAGE_BYTES
    assert len(images_of(html)) == 3


def test_same_picture_is_embedded_once_and_both_names_are_said(context):
    png = noise(100, 80)
    assert len(png) > KEPT_BYTES
    both = {"paper": png, "paper.shared": png}
    (image,) = images_of(render_report(dataclasses.replace(context, figures=both)))
    assert image["src"].startswith("data:image/webp;base64,")
    assert "paper, paper.shared" in Page(render_report(dataclasses.replace(context, figures=both))).text


def test_figure_that_is_no_picture_is_damage(context):
    with pytest.raises(DamagedError, match="cannot be read as a PNG"):
        render_report(dataclasses.replace(context, figures={"paper": b"GIF89a"}))


def test_figures_are_said_in_words_and_lead_to_their_files(context):
    page = Page(render_report(context))
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert image["alt"] == "Loss surface paper. dnn: from 0.0125 to 17.25."
    assert (image["width"], image["height"]) == ("3", "2")
    addresses = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert addresses.count("figures/paper.png") == 2  # the picture, and the words below it
    assert "figures/paper.pdf" in addresses
    assert "paper . The surface around each network. PDF , full-size picture (PNG)" in page.text


def test_links_lead_from_the_page_to_the_files_whatever_they_are_called(tmp_path):
    run, page = tmp_path / "runs" / "a b", tmp_path / "pages" / "page.html"
    (run / "figures").mkdir(parents=True)
    page.parent.mkdir()
    for name in ("paper.png", "paper.pdf", "javascript:x?#%.png", "notes.txt"):
        (run / "figures" / name).write_bytes(b"")
    links = figure_links(run, page=page)
    assert links["paper"] == {
        "PDF": "../runs/a%20b/figures/paper.pdf", "full-size picture (PNG)": "../runs/a%20b/figures/paper.png",
    }  # fmt: skip
    assert set(links) == {"paper", "javascript:x?#%"}
    assert figure_links(run, page=run / "report.html")["paper"]["PDF"] == "figures/paper.pdf"
    (address,) = links["javascript:x?#%"].values()
    assert (page.parent / unquote(address)).resolve() == run.resolve() / "figures" / "javascript:x?#%.png"
    assert ":" not in address


def test_data_date_machine_and_paper_stand_at_the_top(context):
    provenance = {
        "data": {"name": "digits", "source": "handwritten", "train": 200, "validation": 60, "classes": ["0", "1"]},
        "started": "2026-11-29T23:42:48+01:00",
        "seconds": 75.2,
        "platform": {"processor": "A CPU", "cores_visible": 2, "device": "cuda: a GPU", "python": "3.11.7"},
        "code": {"version": "0.1.0", "commit": "b6a2981f59cb35fd3018-dirty"},
    }
    html = render_report(dataclasses.replace(context, provenance=provenance))
    top = Page(html[: html.index("<nav")]).text
    for words in (
        "Data digits (handwritten) Images 200 for training, 60 held out, 2 classes",
        "Date 2026-11-29 22:42 UTC, took 0:01:15 Machine A CPU, 2 cores, computed on cuda: a GPU",
        "tmrepro 0.1.0 (b6a2981f59cb-dirty), Python 3.11.7",
        "Paper R. Wang and R. Thawonmas",
    ):
        assert words in top


@pytest.mark.parametrize(
    "nonsense", [None, 7, [], "x", {"name": []}, {"train": True, "classes": 3}, float("nan"), 10**400]
)
def test_strange_provenance_is_left_out(nonsense):
    keys = ("data", "started", "seconds", "platform", "code", "packages")
    found = masthead({**dict.fromkeys(keys, nonsense), "started": "2026-11-29T23:42:48+00:00"})
    assert found == {"Date": "2026-11-29 23:42 UTC" + (", took 7 s" if nonsense == 7 else ""), "Paper": PAPER}
    assert "Date" not in masthead({"started": nonsense})


def test_origins_of_several_runs_are_said_once_each():
    runs = [{"data": {"name": "digits"}, "started": f"2026-11-2{day}T00:00:00+00:00"} for day in (1, 2)]
    found = masthead(*runs)
    assert (found["Data"], found["Date"]) == ("digits", "2026-11-21 00:00 UTC; 2026-11-22 00:00 UTC")


def test_plane_that_goes_below_theta_is_said_under_its_minimum(context):
    def words(depth: float) -> str:
        values = {"loss_at_minimum": 0.0125, "depth_below_minimum": depth}
        return Page(render_report(dataclasses.replace(context, statistics={"paper": {"dnn": values}}))).text

    assert "dnn TM paper: lowest point of this plane is 0.017 below θ*" in words(0.017)
    assert "lowest point of this plane" not in words(1e-9)


def test_page_refers_to_nothing_outside_itself(context):
    html = render_report(context)
    page = Page(html)
    references = [
        value or ""
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "action", "data", "poster", "background"}
    ]
    assert references
    sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert set(references) - set(sources) - set(context.links["paper"].values()) == {
        reference for reference in references if reference.startswith("#")
    }
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert "url(" not in html
    assert "@import" not in html
    targets = {attributes.get("id") for _, attributes in page.tags}
    assert {reference[1:] for reference in references if reference.startswith("#")} <= targets


def test_whatever_is_shown_is_escaped(context, minimum):
    hostile = ReportContext(
        title=HOSTILE,
        spec_text=HOSTILE,
        spec_hash=HOSTILE,
        minima={HOSTILE: dataclasses.replace(minimum, reason=HOSTILE)},
        statistics={HOSTILE: {HOSTILE: {HOSTILE: 1.0, "loss_max": 2.0}}},
        figures={HOSTILE: tiny_png()},
        provenance={HOSTILE: {"list": [HOSTILE, {"deep": HOSTILE}]}},
        warnings=[HOSTILE],
        commands={HOSTILE: HOSTILE},
        captions={HOSTILE: Caption(HOSTILE, HOSTILE)},
        links={HOSTILE: {HOSTILE: HOSTILE}},
    )
    page, plain = Page(render_report(hostile)), Page(render_report(context))
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in plain.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert sum(tag == "img" for tag, _ in page.tags) == 1
    assert page.text.count(" ".join(HOSTILE.split())) >= 14
    assert "49" not in page.text.split("Provenance")[-1]


def test_page_of_an_empty_run_is_whole(context):
    empty = dataclasses.replace(
        context, minima={}, statistics={}, figures={}, provenance={}, warnings=(), commands={}, captions={}
    )
    text = Page(render_report(empty)).text
    for words in (
        "No network was trained.",
        "This run has no figures.",
        "This run has no surfaces.",
        "Nothing is recorded.",
    ):
        assert words in text


def test_same_context_gives_the_same_page(context):
    assert render_report(context) == render_report(context)


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "–"), (0, "0"), (23528522, "23\u202f528\u202f522"), (0.0, "0"), (0.012345, "0.01235"), (12345.6, "12346"),
     (1.5e-7, "1.500e-07"), (2e9, "2.000e+09"), (float("nan"), "nan"), (float("inf"), "inf")],
)  # fmt: skip
def test_numbers_are_short(value, words):
    assert number(value) == words


def test_times_and_shares_are_written_as_people_do():
    assert [seconds(value) for value in (None, 8.75, 119.94, 3725.2)] == ["–", "8.8 s", "119.9 s", "1:02:05"]
    assert [percent(value) for value in (None, 0.5, 1.0)] == ["–", "50.00 %", "100.00 %"]
