"""Defaults that depend on something, overrides, replicates."""

import pytest

from tmrepro.spec import AdamOptimizer, SgdOptimizer, expand_models, expand_surfaces, parse_spec

SMALLEST = "version: 1\nname: tiny\ndata: {name: digits}\n"


def test_the_smallest_spec_has_the_papers_three_networks_and_one_surface():
    spec = parse_spec(SMALLEST)
    assert [(model.name, model.kind, model.init) for model in spec.models] == [
        ("dnn", "dnn", "he"),
        ("cnn", "cnn", "he"),
        ("resnet50", "resnet50", "he"),
    ]
    (surface,) = spec.surfaces
    assert (surface.name, surface.models, surface.grid.K, surface.chunk) == (
        "paper",
        ("dnn", "cnn", "resnet50"),
        51,
        16,
    )
    assert surface.samples is None


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        ("name: cifar10", (50000, 10000)),
        ("name: digits", (1024, 256)),
        ("name: digits, train: 1500", (1500, 256)),
        ("name: digits, train: null, validation: 100", (1024, 100)),
        ("name: images", (None, None)),
        ("name: images, validation: 7", (None, 7)),
    ],
)
def test_numbers_of_images_follow_from_the_set(data, counts):
    spec = parse_spec(f"version: 1\nname: tiny\ndata: {{{data}}}\n")
    assert (spec.data.train, spec.data.validation) == counts
    assert spec.data.size == 32


def test_a_models_training_is_merged_over_the_section_and_its_optimizer_replaced_whole():
    spec = parse_spec(
        SMALLEST
        + """\
training:
  optimizer: {name: adam, lr: 0.5, eps: 1e-3}
  batch_size: 100
  stop: {at: lm, epsilon: 0.25}
models:
  - {name: plain, kind: dnn}
  - {name: own, kind: cnn, training: {optimizer: {name: sgd, momentum: 0.5}, stop: {patience: 3}, seed: 7}}
  - {name: nameless, kind: cnn, training: {optimizer: {lr: 2}}}
  - {name: mine, kind: custom, factory: "package.module:function"}
"""
    )
    plain, own, nameless, mine = spec.models
    assert plain.training == mine.training == spec.training
    assert mine.init == "torch"
    assert own.training.optimizer == SgdOptimizer(name="sgd", lr=0.01, momentum=0.5)
    assert own.training.stop.model_dump() == {"at": "lm", "epsilon": 0.25, "patience": 3}
    assert (own.training.batch_size, own.training.seed) == (100, 7)
    assert nameless.training.optimizer == AdamOptimizer(lr=2.0)  # eps is Adam's own default again, not 1e-3


def test_a_chunk_is_no_larger_than_the_grid():
    spec = parse_spec(
        SMALLEST + "surfaces: [{name: a, grid: {K: 5}}, {name: b, grid: {K: 40}, chunk: 99}, {name: c, chunk: 3}]"
    )
    assert [surface.chunk for surface in spec.surfaces] == [5, 40, 3]


def test_replicates_of_models_are_numbered_and_train_with_the_next_seeds():
    spec = parse_spec(
        SMALLEST
        + "replicates: {training: 3}\ntraining: {seed: 5}\n"
        + "models: [{name: a, kind: dnn}, {name: b, kind: cnn, training: {seed: 9}}]\n"
    )
    assert [(model.name, model.base, model.replicate, model.seed) for model in expand_models(spec)] == [
        ("a", "a", 0, 5),
        ("a.r1", "a", 1, 6),
        ("a.r2", "a", 2, 7),
        ("b", "b", 0, 9),
        ("b.r1", "b", 1, 10),
        ("b.r2", "b", 2, 11),
    ]
    assert expand_models(spec)[4].spec is spec.models[1]


def test_replicates_of_surfaces_add_a_thousand_to_both_seeds_and_cover_every_replicate_of_their_models():
    spec = parse_spec(
        SMALLEST
        + "replicates: {training: 2, directions: 3}\n"
        + "surfaces: [{name: s, models: [cnn, dnn], directions: {seeds: {delta: 4, eta: 9}}}, {name: t}]\n"
    )
    drawn = expand_surfaces(spec)
    assert [(surface.name, surface.base, surface.replicate, surface.seeds) for surface in drawn] == [
        ("s", "s", 0, (4, 9)),
        ("s.d1", "s", 1, (1004, 1009)),
        ("s.d2", "s", 2, (2004, 2009)),
        ("t", "t", 0, (1, 2)),
        ("t.d1", "t", 1, (1001, 1002)),
        ("t.d2", "t", 2, (2001, 2002)),
    ]
    assert drawn[1].models == ("cnn", "cnn.r1", "dnn", "dnn.r1")
    assert drawn[3].models == ("dnn", "dnn.r1", "cnn", "cnn.r1", "resnet50", "resnet50.r1")


def test_raising_a_count_only_adds():
    few, many = (parse_spec(f"{SMALLEST}replicates: {{training: {n}, directions: {n}}}") for n in (1, 2))
    assert set(expand_models(few)) <= set(expand_models(many))
    seeds = {(surface.name, surface.seeds) for surface in expand_surfaces(many)}
    assert {(surface.name, surface.seeds) for surface in expand_surfaces(few)} <= seeds
