"""Captions say what is to be seen, with the numbers of the surfaces."""

from __future__ import annotations

import pytest

from tmrepro.reporting.captions import below_theta, figure_captions, figure_in_words
from tmrepro.spec import parse_spec

SPEC = """
version: 1
name: two
data: {name: digits}
surfaces:
  - {name: paper, grid: {K: 5}}
  - {name: given, grid: {K: 7}, labels: original}
"""
VALUES = {
    "loss_at_minimum": 0.5,
    "loss_min": 0.483,
    "loss_max": 12.0,
    "depth_below_minimum": 0.017,
    "half_rise_radius": 3.25,
}
FLAT = {"loss_at_minimum": 0.5, "loss_min": 0.5, "loss_max": 20.0, "depth_below_minimum": 0.0, "half_rise_radius": None}


def captions(statistics):
    directions = {"paper": "l2-normalised directions", "given": "towards somewhere"}
    return figure_captions(parse_spec(SPEC), minima={}, statistics=statistics, directions=directions)


def test_every_figure_has_one_with_its_grid_labels_and_directions():
    found = captions({})
    kinds = {f"{surface}{kind}" for surface in ("paper", "given") for kind in ("", ".shared", ".replicates")}
    assert set(found) == kinds | {"training.curves"}
    assert (
        "the network's own answers at θ* (X̃), at 5 × 5 points around θ*: l2-normalised directions."
        in found["paper"].text
    )
    assert "the given labels (X), at 7 × 7 points around θ*: towards somewhere." in found["given"].text


def test_numbers_of_the_first_replicates_are_in_the_words_for_who_cannot_see():
    found = captions({
        "paper": {"dnn": VALUES, "cnn": FLAT, "dnn.r1": {**VALUES, "loss_max": 30.0}},
        "paper.d1": {"dnn": {**FLAT, "depth_below_minimum": 0.25}},
    })  # fmt: skip
    words = found["paper"].alternative
    assert (
        "dnn: loss 0.5 nats at θ*, from 0.483 to 12 on the grid, half of the rise to the edge within 3.25 of θ*."
        in words
    )
    assert "cnn: loss 0.5 nats at θ*, from 0.5 to 20 on the grid." in words
    assert "dnn.r1" not in words
    assert "dnn: 3 maps, their largest losses from 12 to 30 nats." in found["paper.replicates"].alternative
    for name in ("paper", "paper.shared"):
        assert found[name].text.endswith(" dnn: lowest point of this plane is 0.017 below θ*.")
    assert "paper.d1, dnn: lowest point of this plane is 0.25 below θ*." in found["paper.replicates"].text


@pytest.mark.parametrize(
    "values", [{}, FLAT, VALUES | {"depth_below_minimum": None}, VALUES | {"depth_below_minimum": 1e-6}]
)
def test_plane_that_goes_no_lower_or_by_rounding_is_not_said_to(values):
    assert below_theta(values) is None


def test_surface_without_a_finite_loss_is_said_to_be_that():
    nothing = dict.fromkeys(VALUES)
    assert "dnn: no finite loss." in captions({"paper": {"dnn": nothing}})["paper"].alternative


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("figures/paper.png", "loss surface paper, a row for each network"),
        ("figures/paper.shared.png", "loss surface paper with all networks on one scale"),
        ("figures/paper.replicates.png", "contour maps of all replicates of paper"),
        ("figures/training.curves.png", "training curves"),
        ("figures/{}.png", "loss surface {}, a row"),
    ],
)
def test_name_of_a_figure_tells_what_it_shows(name, words):
    assert figure_in_words(name).startswith(words)
