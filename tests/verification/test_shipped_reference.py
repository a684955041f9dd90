"""The committed reference of the quickstart: whole, of the shipped spec, and consistent with itself."""

from __future__ import annotations

from pathlib import Path

from tmrepro.records import Surface
from tmrepro.spec import load_spec, spec_hash
from tmrepro.spec.shipped import find_spec, reference_folder
from tmrepro.statistics import surface_statistics
from tmrepro.store.documents import read_json
from tmrepro.store.manifest import check_manifest
from tmrepro.store.minima import read_minimum
from tmrepro.store.surfaces import list_surfaces, read_surface

SMALL_BYTES = 20 * 2**20


def test_is_what_its_manifest_says_and_small() -> None:
    folder = reference_folder("quickstart")
    assert check_manifest(folder) == []
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < SMALL_BYTES
    assert not list(folder.rglob("*.safetensors"))


def test_is_of_the_shipped_spec() -> None:
    shipped = load_spec(find_spec("spec/quickstart.yaml"))
    assert spec_hash(load_spec(reference_folder("quickstart") / "spec.yaml")) == spec_hash(shipped)


def test_all_three_networks_reached_a_gm_or_tm() -> None:
    for model in ("dnn", "cnn", "resnet50"):
        assert read_minimum(reference_folder("quickstart"), model).category in {"GM", "TM"}


def test_its_statistics_follow_from_its_surfaces() -> None:
    folder = reference_folder("quickstart")
    stored = read_json(folder / "statistics.json", name="statistics.json")
    pairs = list_surfaces(folder)
    assert len(pairs) == 6
    for surface, model in pairs:
        values, facts, home, step = read_surface(folder, surface, model)
        assert isinstance(values, Surface)
        assert facts.error is not None
        error = facts.error.over_bound
        assert surface_statistics(values, home=home, step=step, error_over_bound=error) == stored[surface][model]


def test_names_no_path_of_the_machine_it_was_made_on() -> None:
    home = str(Path.home())
    for path in reference_folder("quickstart").rglob("*.json"):
        text = path.read_text()
        assert home not in text
        assert str(Path.cwd()) not in text
