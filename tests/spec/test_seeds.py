"""Replicates: the same spec with other seeds, and nothing else."""

from __future__ import annotations

import pytest

from tmrepro.errors import UsageError
from tmrepro.spec import (
    Spec,
    dump_spec,
    expand_models,
    expand_surfaces,
    first_difference,
    load_spec,
    parse_spec,
    spec_hash,
)
from tmrepro.spec.fields import LARGEST_INTEGER
from tmrepro.spec.seeds import first_difference_beyond_seeds, with_seeds
from tmrepro.spec.shipped import shipped_folder

TEXT = """
version: 1
name: some
data: {name: digits, seed: 4}
models:
  - {name: dnn, kind: dnn, training: {seed: 50}}
  - {name: cnn, kind: cnn}
training: {seed: 7}
replicates: {training: 3, directions: 2}
surfaces:
  - {name: paper}
  - {name: other, directions: {seeds: {delta: 30, eta: 5}}}
"""


def spec_of(**changes: str) -> Spec:
    text = TEXT
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    return parse_spec(text)


def changed(old: str, new: str) -> Spec:
    return spec_of(change=(old, new))


def test_replicate_zero_is_the_spec_itself() -> None:
    spec = spec_of()
    assert spec_hash(with_seeds(spec, replicate=0)) == spec_hash(spec)


@pytest.mark.parametrize("replicate", [1, 2])
def test_a_replicate_trains_and_draws_as_the_replicate_of_that_number_does(replicate: int) -> None:
    """NAME of replicate r is NAME.r{r} of the spec, SURFACE is SURFACE.d{r}: the same seeds in two places."""
    spec, other = spec_of(), with_seeds(spec_of(), replicate=replicate)
    seeds = {model.name: model.seed for model in expand_models(spec)}
    assert [model.seed for model in expand_models(other) if model.replicate == 0] == [
        seeds[f"dnn.r{replicate}"],
        seeds[f"cnn.r{replicate}"],
    ]
    drawn = {surface.name: surface.seeds for surface in expand_surfaces(other) if surface.replicate == 0}
    assert drawn == {
        "paper": (1 + 1000 * replicate, 2 + 1000 * replicate),
        "other": (30 + 1000 * replicate, 5 + 1000 * replicate),
    }


def test_a_replicate_is_a_spec_like_any_other() -> None:
    other = with_seeds(spec_of(), replicate=3)
    assert spec_hash(parse_spec(dump_spec(other))) == spec_hash(other)
    assert other.data.seed == 4
    assert first_difference(spec_of(), other) is not None


def test_a_seed_too_large_is_wrong_usage() -> None:
    spec = changed("{seed: 7}", f"{{seed: {LARGEST_INTEGER}}}")
    with_seeds(spec, replicate=0)
    with pytest.raises(UsageError, match="lower the spec's seeds"):
        with_seeds(spec, replicate=1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{seed: 7}", "{seed: 8}"),
        ("{seed: 50}", "{seed: 0}"),
        ("delta: 30, eta: 5", "delta: 5, eta: 30"),
        ("{name: paper}", "{name: paper, directions: {seeds: {delta: 9, eta: 8}}}"),
        ("name: some", "name: another"),
    ],
)
def test_seeds_and_the_name_make_a_replicate(old: str, new: str) -> None:
    assert first_difference(spec_of(), changed(old, new)) is not None
    assert first_difference_beyond_seeds(spec_of(), changed(old, new)) is None


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("seed: 4", "seed: 5", "data.seed"),
        ("{seed: 7}", "{seed: 8, batch_size: 9}", "models[0].training.batch_size"),
        ("{name: paper}", "{name: paper, grid: {K: 9}}", "surfaces[0].grid.K"),
        ("{name: cnn, kind: cnn}", "{name: cnn, kind: cnn, stride: 1}", "models[1].stride"),
        ("training: 3", "training: 4", "replicates.training"),
    ],
)
def test_whatever_else_differs_is_named(old: str, new: str, field: str) -> None:
    found = first_difference_beyond_seeds(spec_of(), changed(old, new))
    assert found is not None
    assert found.field == field


def test_every_shipped_spec_is_its_own_replicate() -> None:
    for path in (shipped_folder() / "spec").glob("*.yaml"):
        spec = load_spec(path)
        assert first_difference_beyond_seeds(with_seeds(spec, replicate=2), spec) is None
