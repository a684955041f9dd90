"""`tmrepro ls` and `tmrepro compare`, on the shipped references and on folders made of them."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import run_tmrepro
from tests.support.runs import forge_json
from tmrepro.comparison import (
    compare_folders,
    comparison_csv,
    comparison_page,
    list_folder,
    listing_csv,
    listing_page,
)
from tmrepro.errors import ArtefactError, DamagedError, UsageError
from tmrepro.spec.shipped import shipped_reference

QUICKSTART = shipped_reference("quickstart")
PAPER = shipped_reference("paper-gpu")


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """The quickstart with another learning rate in its spec, another name, and one statistic changed."""
    folder = Path(shutil.copytree(QUICKSTART, tmp_path / "runs" / "deep" / "changed"))
    text = (folder / "spec.yaml").read_text(encoding="utf-8").replace("lr: 0.01", "lr: 0.02")
    (folder / "spec.yaml").write_text(text.replace("name: quickstart", "name: other"), encoding="utf-8")
    forge_json(folder, "statistics.json", lambda document: document["paper"]["dnn"].update(loss_max=0.1 + 0.2))
    return folder


def test_a_listing_names_every_run_below_and_what_state_it_is_in(changed: Path) -> None:
    runs = changed.parents[1]
    shutil.copytree(QUICKSTART, runs / "unfinished")
    (runs / "unfinished" / ".work").mkdir()
    shutil.rmtree(runs / "unfinished" / "models" / "cnn")
    shutil.copytree(QUICKSTART, runs / "damaged")
    (runs / "damaged" / "spec.yaml").write_text("version: [", encoding="utf-8")
    (runs / "loop").symlink_to(runs)
    (runs / "no-run").mkdir()
    found = {entry.folder: entry for entry in list_folder(runs).entries}
    assert list(found) == ["damaged", "deep/changed", "unfinished"]
    assert found["deep/changed"].state == "finished"
    assert found["deep/changed"].kind == "reference"
    assert found["deep/changed"].name == "other"
    assert found["deep/changed"].networks == {"dnn": "TM", "cnn": "TM", "resnet50": "TM"}
    assert found["unfinished"].state == "unfinished"
    assert found["unfinished"].networks == {"dnn": "TM", "cnn": None, "resnet50": "TM"}
    assert found["damaged"].state == "damaged"
    assert "spec.yaml" in found["damaged"].trouble


def test_a_listing_is_the_same_in_every_form(changed: Path) -> None:
    listing = list_folder(changed.parents[1])
    rows = list(csv.DictReader(io.StringIO(listing_csv(listing))))
    assert [(row["folder"], row["state"], row["networks"]) for row in rows] == [
        ("deep/changed", "finished", "dnn TM, cnn TM, resnet50 TM")
    ]
    assert json.loads(json.dumps(listing.document()))["runs"][0]["surfaces"] == ["paper", "filter"]
    page = listing_page(listing)
    assert "deep/changed" in page
    assert "<script" not in page


def test_a_folder_that_is_a_run_itself_is_listed() -> None:
    assert [entry.folder for entry in list_folder(QUICKSTART).entries] == ["."]


def test_a_comparison_has_what_differs_and_all_statistics(changed: Path) -> None:
    found = compare_folders([QUICKSTART, changed])
    assert {row.place[0]: row.values for row in found.spec} == {
        "name": ("quickstart", "other"),
        "training.optimizer.lr": ("0.01", "0.02"),  # once, not for each network
    }
    differing = [row for row in found.statistics if row.differs]
    assert [(row.place, row.values[1]) for row in differing] == [(("paper", "dnn", "loss_max"), 0.1 + 0.2)]
    stored = json.loads((QUICKSTART / "statistics.json").read_text(encoding="utf-8"))
    assert {row.place: row.values[0] for row in found.statistics} == {
        (surface, model, name): value
        for surface, models in stored.items()
        for model, values in models.items()
        for name, value in values.items()
    }
    categories = [row for row in found.networks if row.place[1] == "category"]
    assert [row.values for row in categories] == [("TM", "TM")] * 3


def test_a_surface_that_only_some_runs_have_is_one_row_and_its_fields_are_compared_among_those() -> None:
    found = compare_folders([QUICKSTART, PAPER, PAPER])
    rows = {row.place[0]: row.values for row in found.spec}
    assert rows["surfaces[relative]"] == (None, "there", "there")
    assert not any(place.startswith("surfaces[relative].") for place in rows)
    assert rows["surfaces[paper].grid.K"] == ("11", "51", "51")


def test_a_comparison_is_the_same_in_every_form(changed: Path) -> None:
    found = compare_folders([QUICKSTART, changed])
    rows = list(csv.reader(io.StringIO(comparison_csv(found))))
    assert rows[0] == ["table", "place", str(QUICKSTART), str(changed)]
    cells = {(row[0], row[1]): row[2:] for row in rows[1:]}
    assert cells["spec", "training.optimizer.lr"] == ["0.01", "0.02"]
    assert float(cells["statistic", "paper/dnn/loss_max"][1]) == 0.1 + 0.2
    assert cells["statistic", "paper/dnn/point_asymmetry"] == ["", ""]
    assert cells["network", "dnn/category"] == ["TM", "TM"]
    page = comparison_page(found)
    assert str(changed) in page
    assert "<script" not in page
    document = json.loads(found.text())
    assert document["statistics"][0].keys() == {"surface", "network", "statistic", "values"}


def test_names_are_harmless_in_pages_and_spreadsheets(tmp_path: Path) -> None:
    folders = [tmp_path / "=cmd()<b>", tmp_path / "plain"]
    for folder in folders:
        shutil.copytree(QUICKSTART, folder)
    found = list_folder(tmp_path)
    assert "'=cmd()<b>" in listing_csv(found)
    assert "=cmd()&lt;b&gt;" in listing_page(found)


@pytest.mark.parametrize(
    ("folders", "error", "words"),
    [
        ([QUICKSTART], UsageError, "at least 2 runs"),
        ([QUICKSTART, Path("nowhere")], DamagedError, "not a run or a reference"),
    ],
)
def test_what_cannot_be_compared_is_refused(folders, error, words) -> None:
    with pytest.raises(error, match=words):
        compare_folders(folders)


def test_a_damaged_run_is_not_compared(changed: Path) -> None:
    (changed / "statistics.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DamagedError, match=r"statistics.json: SHA-256 differs"):
        compare_folders([QUICKSTART, changed])


def test_a_folder_that_is_not_there_is_no_listing() -> None:
    with pytest.raises(ArtefactError, match="found nothing"):
        list_folder(Path("nowhere"))


def test_commands_print_tables_and_refuse_two_forms(changed: Path, tmp_path: Path) -> None:
    listed = run_tmrepro("ls", changed.parents[1], "--html", tmp_path / "runs.html")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "deep/changed" in listed.stdout
    assert (tmp_path / "runs.html").is_file()
    compared = run_tmrepro("compare", QUICKSTART, changed)
    assert (compared.returncode, compared.stderr) == (0, "")
    assert "training.optimizer.lr" in compared.stdout
    assert "132 statistics" in compared.stdout
    both = run_tmrepro("compare", QUICKSTART, changed, "--json", "--csv")
    assert both.returncode == 2
    assert "choose one" in both.stderr
    inside = run_tmrepro("compare", QUICKSTART, changed, "--html", changed / "page.html")
    assert inside.returncode == 2
    assert not (changed / "page.html").exists()


def test_neither_loads_torch() -> None:
    program = (
        "import sys; from pathlib import Path; from tmrepro.comparison import *; import tmrepro.cli.several\n"
        f"comparison_page(compare_folders([Path({str(QUICKSTART)!r})] * 2)); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
