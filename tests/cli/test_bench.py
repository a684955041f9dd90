"""`tmrepro bench` measures what it says; how fast anything is, no test says."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from tmrepro.api.benchmark import count_operations, run_benchmark
from tmrepro.errors import UsageError
from tmrepro.networks.networks import residual_network
from tmrepro.numerics.determinism import FOREIGN


def test_operations_are_those_of_the_products() -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 16, 7))
    assert count_operations(model, torch.zeros(4, 3, 4, 4)) == 4 * 2 * (16 * 5 * 27 + 80 * 7)


def test_resnet50_on_small_images_is_as_large_as_counted_by_hand() -> None:
    """83.9 million products an image: 2.4 of the stem, then 13.6, 20.9, 29.9 and 16.5 of the stages, 0.02 of the head."""
    operations = count_operations(residual_network(10, momentum=0.1, eps=1e-5).eval(), torch.zeros(1, 3, 32, 32))
    assert operations == pytest.approx(2 * 83.4e6, rel=0.01)


def test_the_command_tells_every_evaluator_that_fits() -> None:
    environment = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
    asked = ["bench", "--model", "dnn", "--model", "cnn", "--images", "20", "--grid", "2", "--repeats", "2", "--json"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from tmrepro.cli import main; main()", *asked],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    found = json.loads(done.stdout)
    assert [model["model"] for model in found["models"]] == ["dnn", "cnn"]
    assert (found["level"], found["images"], found["rounds"]) == ("portable", 20, 2)
    assert found["peak_operations"] > 1e8
    for model in found["models"]:
        plain, *others = model["timings"]
        assert (plain["evaluator"], plain["ratio"], plain["difference"]) == ("plain", [1, 1, 1], 0)
        assert all(timing["difference"] <= 2 for timing in others)  # either side may be one bound off the definition
        assert {timing["evaluator"] for timing in others}.isdisjoint(model["unfit"])
        for timing in model["timings"]:
            median, least, largest = timing["point_seconds"]
            assert 0 < least <= median <= largest
            assert timing["peak_share"] == pytest.approx(model["point_operations"] / median / found["peak_operations"])
    assert "the network has no batch norm" in found["models"][0]["unfit"]["folded"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"models": ["vgg"]}, "there is no network 'vgg'"),
        ({"images": 5000}, "at most 1697, of the digits .got 5000"),
        ({"K": 1}, "K must be at least 2"),
        ({"rounds": 0}, "rounds at least 1"),
    ],
)
def test_what_cannot_be_measured_is_told(asked: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run_benchmark(**asked)
