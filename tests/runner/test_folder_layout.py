"""The run folder, as outside scripts read it: names, columns, keys, dimensions, attributes."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import warnings
from datetime import datetime

import jsonschema
import numpy as np
import pytest
import safetensors.numpy
import xarray as xr
import zarr

from tmrepro.spec import load_spec, spec_hash
from tmrepro.statistics import STATISTICS, statistics_schema
from tmrepro.store.minima import minimum_schema

MODELS = ("dnn", "cnn", "norm")


def test_folder_holds_exactly_the_designed_files(finished):
    found = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    expected = {"spec.yaml", "provenance.json", "ro-crate-metadata.json", "statistics.json", "report.html"}
    expected |= {"manifest-sha256.txt", "surfaces.zarr/zarr.json", "surfaces.zarr/one/zarr.json"}
    for model in MODELS:
        expected |= {
            f"models/{model}/{name}" for name in ("theta.safetensors", "labels.npy", "history.csv", "minimum.json")
        }
        group = f"surfaces.zarr/one/{model}"
        expected |= {f"{group}/zarr.json", f"{group}/a/c/0", f"{group}/b/c/0"}
        expected |= {f"{group}/{array}/zarr.json" for array in ("a", "b", "loss", "accuracy")}
        expected |= {f"{group}/{array}/c/{i}/{j}" for array in ("loss", "accuracy") for i in range(3) for j in range(3)}
    for figure in ("one", "one.shared", "training.curves"):
        expected |= {f"figures/{figure}.png", f"figures/{figure}.pdf"}
    assert found == expected
    assert not (finished / ".work").exists()


def test_sha256sum_accepts_the_manifest_which_covers_every_other_file(finished):
    checked = subprocess.run(
        ["sha256sum", "--strict", "-c", "manifest-sha256.txt"], cwd=finished, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
    files = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    assert {line.removesuffix(": OK") for line in checked.stdout.splitlines()} == files - {"manifest-sha256.txt"}


def test_history_has_a_row_per_epoch_in_the_designed_columns(finished):
    for model in MODELS:
        with (finished / "models" / model / "history.csv").open(newline="") as file:
            header, *rows = csv.reader(file)
        assert header == [
            "epoch",
            "train_loss",
            "train_accuracy",
            "validation_loss",
            "validation_accuracy",
            "lr",
            "seconds",
        ]
        assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
        assert json.loads((finished / "models" / model / "minimum.json").read_text())["epochs"] == len(rows)


def test_documents_agree_with_their_schemas(finished):
    for model in MODELS:
        document = json.loads((finished / "models" / model / "minimum.json").read_text())
        jsonschema.validate(document, minimum_schema())
        assert document["model"] == model
        assert document["category"] in {"none", "collapsed", "LM", "GM", "TM"}
    statistics = json.loads((finished / "statistics.json").read_text())
    jsonschema.validate(statistics, statistics_schema())
    assert {surface: set(models) for surface, models in statistics.items()} == {"one": set(MODELS)}
    assert set(statistics["one"]["dnn"]) == {info.name for info in STATISTICS}


def test_theta_and_labels_can_be_read_without_us(finished):
    theta = safetensors.numpy.load_file(finished / "models/norm/theta.safetensors")
    assert theta["0.weight"].shape == (5, 3, 3, 3)
    assert {"1.running_mean", "1.running_var"} <= set(theta)
    labels = np.load(finished / "models/norm/labels.npy", allow_pickle=False)
    assert labels.dtype == np.int64
    assert labels.shape == (60,)
    assert set(labels.tolist()) <= set(range(10))


def test_xarray_opens_a_surface_without_a_warning(finished):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = xr.open_zarr(finished / "surfaces.zarr", group="one/cnn")
        loss = dataset["loss"].to_numpy()
    assert set(dataset.variables) == {"loss", "accuracy", "a", "b"}
    assert dataset["loss"].dims == dataset["accuracy"].dims == ("a", "b")
    assert {name: variable.dtype for name, variable in dataset.variables.items()} == dict.fromkeys(
        ("loss", "accuracy", "a", "b"), np.dtype("float64")
    )
    assert np.array_equal(dataset["a"], 0.5 * np.arange(5))
    assert loss.shape == (5, 5)
    assert np.isfinite(loss).all()


def test_surface_says_what_its_axes_mean(finished):
    attributes = dict(zarr.open_group(finished / "surfaces.zarr/one/dnn", mode="r").attrs)
    of_the_axes = {"delta", "eta", "cosine", "theta_norm", "images", "labels", "home", "step"}
    assert set(attributes) == of_the_axes | {"error_over_bound", "error_points", "error_images"}
    assert (attributes["home"], attributes["step"], attributes["images"]) == ([0, 0], 0.5, 60)
    assert (attributes["delta"]["seed"], attributes["eta"]["seed"]) == (1, 2)
    assert attributes["delta"]["norm"] == pytest.approx(1, abs=1e-6)  # one rounding of 2,000 numbers to float32
    theta = safetensors.numpy.load_file(finished / "models/dnn/theta.safetensors")
    norm = np.sqrt(sum(float((value.astype(np.float64) ** 2).sum()) for value in theta.values()))
    assert attributes["theta_norm"] == pytest.approx(norm, rel=1e-12)


def test_arrays_have_the_designed_codecs_and_fill_value(finished):
    for array in ("loss", "accuracy", "a", "b"):
        document = json.loads((finished / f"surfaces.zarr/one/dnn/{array}/zarr.json").read_text())
        assert document["zarr_format"] == 3
        assert document["fill_value"] == "NaN"
        assert [codec["name"] for codec in document["codecs"]] == ["bytes", "zstd", "crc32c"]
        assert document["codecs"][1]["configuration"]["checksum"] is True


def test_provenance_says_what_ran_where(finished):
    provenance = json.loads((finished / "provenance.json").read_text())
    assert set(provenance) == {
        "spec_hash",
        "data",
        "code",
        "packages",
        "platform",
        "started",
        "ended",
        "seconds",
        "timings",
        "parameters",
        "stages",
    }
    assert provenance["spec_hash"] == spec_hash(load_spec(finished / "spec.yaml"))
    assert provenance["data"]["train"] == 60
    assert len(provenance["data"]["fingerprint"]) == 64
    assert provenance["platform"]["determinism"]["reached"] == "portable"
    assert datetime.fromisoformat(provenance["started"]) <= datetime.fromisoformat(provenance["ended"])
    assert set(provenance["timings"]) == set(provenance["stages"])
    assert provenance["stages"]["surface/one/dnn"]["facts"]["evaluator"]
    # safetensors keeps no order: without this list nobody could draw the directions again.
    assert provenance["parameters"]["dnn"] == [
        ["1.weight", [8, 192]],
        ["1.bias", [8]],
        ["3.weight", [10, 8]],
        ["3.bias", [10]],
    ]


def test_crate_lists_the_files_of_the_run(finished):
    entities = {
        entity["@id"]: entity for entity in json.loads((finished / "ro-crate-metadata.json").read_text())["@graph"]
    }
    for path in ("spec.yaml", "statistics.json", "provenance.json", "models/cnn/theta.safetensors", "surfaces.zarr/"):
        assert path in entities
    assert all(
        (finished / path).exists() for path in entities if "/" in path and not path.startswith(("http", "#", "."))
    )


def test_resolved_spec_resolves_to_itself(finished, spec):
    assert spec_hash(load_spec(finished / "spec.yaml")) == spec_hash(load_spec(spec))
    assert "epsilon: 0.05" in (finished / "spec.yaml").read_text()  # a default, written out


def test_page_is_whole_and_loads_nothing(finished):
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert all(f">{model}<" in page for model in MODELS)
    assert page.count("data:image/webp;base64,") == 3
    assert len(page.encode()) < 1_500_000
    addresses = {address for address in re.findall(r'href="([^"]*)"', page) if not address.startswith("#")}
    assert addresses == {f"figures/{path.name}" for path in (finished / "figures").iterdir()}
    assert 'src="http' not in page
