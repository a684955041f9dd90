"""Mistakes below the spec: a run made by wrong code claims an honest spec, and the right code is asked what it thinks of it.

Each fault is made where a developer could have made it. The table of docs/explanation/evidence.md says which level finds it
first, and whether a run with other seeds would have shown it too, when nothing but the bands of honest replicates is known.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

import tmrepro
from tmrepro.api import build_reference
from tmrepro.spec import load_spec
from tmrepro.spec.seeds import with_seeds
from tmrepro.verification.higher_levels import against_reference
from tmrepro.verification.reference import Reference

ROOT = Path(__file__).parents[2]
NETWORKS = ROOT / "tests" / "runner" / "networks"
BEGIN, END = "<!-- ten mistakes: tests/verification/test_faults.py -->\n", "<!-- end of ten mistakes -->\n"

# Batch norm, and a grid that goes far enough for its statistics to matter; a last batch that is shorter; an epsilon at which
# some images are still misclassified, else relabelling would change nothing.
SPEC = """
version: 1
name: faults
data: {name: digits, train: 90, validation: 40, size: 8}
models:
  - {name: norm, kind: custom, factory: "tiny_networks:with_batch_norm", arguments: {width: 6}}
training: {batch_size: 16, max_epochs: 200, warmup_steps: 4, stop: {at: gm, epsilon: 0.4}}
surfaces:
  - {name: paper, directions: {normalization: filter}, grid: {K: 7, origin: center, step: 2.0}, chunk: 4}
compute: {threads: 1}
"""
REPLICATES = 19  # of the reference, with the first seeds
HONEST, FAULTY = 20, 100  # the first replicates that the reference does not know
TRIALS = 20

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Fault:
    """A mistake, the level that finds it first, and whether the bands do: in 19 of 20 seeds, in hardly any, or in between."""

    name: str
    mistake: str
    make: Patch
    level: Literal["integrity", "statistics", "audit", "rerun"]
    in_bands: Literal["yes", "no", "sometimes"]


def evaluator_that(change: Callable[[Any], None]) -> Patch:
    """An evaluator that is changed once it is set up."""

    def make(patch: pytest.MonkeyPatch) -> None:
        from tmrepro.surface import PlainEvaluator

        real = PlainEvaluator.__init__

        def wrong(self: Any, problem: Any) -> None:
            real(self, problem)
            change(self)

        patch.setattr(PlainEvaluator, "__init__", wrong)

    return make


def swap_axes(evaluator: Any) -> None:
    evaluator._delta, evaluator._eta = evaluator._eta, evaluator._delta


def without_relabelling(patch: pytest.MonkeyPatch) -> None:
    from tmrepro.runner import models
    from tmrepro.training import minimum

    real = minimum.find_minimum

    def wrong(trained: Any, *, examples: Any, **rest: Any) -> Any:
        patch.setattr(minimum, "relabel", lambda _model, _inputs, *, labels: examples.labels)  # noqa: ARG005
        return real(trained, examples=examples, **rest)

    patch.setattr(models, "find_minimum", wrong)


def a_step_further(patch: pytest.MonkeyPatch) -> None:
    from tmrepro.runner import surfaces

    real = surfaces.Chunk
    patch.setattr(surfaces, "Chunk", lambda index, a, b: real(index, a + 2.0, b))


def normalised_as_a_whole(patch: pytest.MonkeyPatch) -> None:
    from tmrepro.directions import gaussian as directions

    real = directions.normalize
    patch.setattr(directions, "normalize", lambda stream, **rest: real(stream, **{**rest, "normalization": "l2"}))


def a_tenth_of_the_rate(patch: pytest.MonkeyPatch) -> None:
    from tmrepro.training import loop

    real = loop.set_learning_rate
    patch.setattr(loop, "set_learning_rate", lambda optimizer, lr: real(optimizer, lr / 10))


def theta_in_float16(patch: pytest.MonkeyPatch) -> None:
    from tmrepro.surface import PlainEvaluator

    real = PlainEvaluator._move

    def wrong(self: Any, b: float) -> None:
        real(self, b)
        with torch.no_grad():
            for value in self._model.parameters():
                value.copy_(value.half())

    patch.setattr(PlainEvaluator, "_move", wrong)


def without_the_last_batch(patch: pytest.MonkeyPatch) -> None:
    from tmrepro.training import loop

    real = loop.epoch_order
    patch.setattr(loop, "epoch_order", lambda n, **rest: real(n, **rest)[: n // 16 * 16])


def the_network_as_built(patch: pytest.MonkeyPatch) -> None:
    from tmrepro.runner import trainings

    real = trainings.train

    def wrong(spec: Any, *, build: Callable[[int], Any], **rest: Any) -> Any:
        trained = real(spec, build=build, **rest)
        return replace(trained, model=build(trained.seed).eval())

    patch.setattr(trainings, "train", wrong)


def draw_nothing(patch: pytest.MonkeyPatch) -> None:
    """Two thirds of the time of a run this small; bands do not look at figures."""
    from tmrepro.runner import drawings

    patch.setattr(drawings, "drawings_of", lambda _run, **_: iter(()))


FAULTS = [
    Fault(
        "sign",
        "the first direction is subtracted, not added",
        evaluator_that(lambda evaluator: evaluator._delta.neg_()),
        "audit",
        "no",
    ),
    Fault("axes", "the axes are swapped", evaluator_that(swap_axes), "audit", "no"),
    Fault(
        "train mode",
        "batch norm is in train mode while the surface is evaluated",
        evaluator_that(lambda evaluator: evaluator._model.train()),
        "audit",
        "yes",
    ),
    Fault("labels", "nothing is relabelled: X~ keeps the given labels", without_relabelling, "audit", "yes"),
    Fault("step", "the grid begins at its second point (off by one)", a_step_further, "audit", "yes"),
    Fault(
        "normalisation",
        "directions are normalised as a whole, not filter by filter",
        normalised_as_a_whole,
        "audit",
        "yes",
    ),
    Fault("rate", "the learning rate is a tenth of the spec's", a_tenth_of_the_rate, "rerun", "yes"),
    Fault("float16", "theta is rounded to float16 at each point", theta_in_float16, "audit", "no"),
    Fault("last batch", "the last, shorter batch of each epoch is dropped", without_the_last_batch, "rerun", "no"),
    Fault("untrained", "the network is stored as it was built, untrained", the_network_as_built, "audit", "yes"),
]


def table() -> str:
    """What docs/explanation/evidence.md says of the faults."""
    rows = [
        ("mistake in the code", "first level that finds it", "found by another seed, against the bands"),
        ("---", "---", "---"),
        *((fault.mistake, f"`{fault.level}`", fault.in_bands) for fault in FAULTS),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


@pytest.fixture(scope="module", autouse=True)
def _plain_evaluator() -> Iterator[None]:
    """The mistakes are made in the plain evaluator, so that is the one that runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tmrepro.surface.evaluators._BY_RULE", ())
        yield


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Holds faults.yaml and `reference`, with the bands of honest replicates."""
    folder = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(NETWORKS)
        (folder / "faults.yaml").write_text(SPEC, encoding="utf-8")
        to, runs = folder / "reference", folder / "runs"
        with pytest.MonkeyPatch.context() as undrawn:
            draw_nothing(undrawn)
            build_reference(folder / "faults.yaml", to=to, runs=runs, replicates=REPLICATES)
        yield folder


@pytest.fixture
def run_replicate(honest: Path, tmp_path: Path) -> Callable[..., Path]:
    """A run with the seeds of a replicate that the reference does not know, made under a fault or honestly."""

    def run(number: int, fault: Fault | None = None, *, figures: bool = True) -> Path:
        spec = with_seeds(load_spec(honest / "faults.yaml"), replicate=number)
        with pytest.MonkeyPatch.context() as patch:
            if fault is not None:
                fault.make(patch)
            if not figures:
                draw_nothing(patch)
            return tmrepro.run(spec, out=tmp_path / str(number)).run

    return run


@pytest.fixture
def outside_bands(honest: Path) -> Callable[[Path], list[str]]:
    """What in a run is outside the bands of the reference, which are all that `--replicate` can judge by."""

    def find(run: Path) -> list[str]:
        reference = Reference(honest / "reference")
        checks, _ = against_reference(tmrepro.open_run(run), reference, level="statistics", replicate=True)
        return [f"{check.subject}: {check.detail}" for check in checks if not check.passed]

    return find


def first_level(run: Path) -> str | None:
    """The cheapest level that finds a difference in a run; the rerun is done only where nothing else does."""
    for wanted in ("audit", "rerun"):
        verdict = tmrepro.verify(run, level=wanted, seed=0, trust_code=True)
        found = {check.level for check in verdict.checks if not check.passed}
        assert verdict.exit_code == (1 if found else 0)
        for level in ("integrity", "statistics", "audit", "rerun"):
            if level in found:
                return level
    return None


@pytest.mark.slow
def test_an_honest_run_passes_at_every_level(
    run_replicate: Callable[..., Path], outside_bands: Callable[[Path], list[str]]
) -> None:
    run = run_replicate(FAULTY)
    assert first_level(run) is None
    assert outside_bands(run) == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_found_by_the_level_that_the_table_says(
    fault: Fault, run_replicate: Callable[..., Path], outside_bands: Callable[[Path], list[str]]
) -> None:
    run = run_replicate(FAULTY, fault)
    assert first_level(run) == fault.level
    if fault.in_bands != "sometimes":
        assert bool(outside_bands(run)) == (fault.in_bands == "yes")


def test_the_documentation_has_the_table() -> None:
    assert len(FAULTS) == 10
    text = (ROOT / "docs" / "explanation" / "evidence.md").read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0] == table()


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_how_often_another_seed_shows_a_fault(
    fault: Fault, run_replicate: Callable[..., Path], outside_bands: Callable[[Path], list[str]]
) -> None:
    found = sum(bool(outside_bands(run_replicate(FAULTY + trial, fault, figures=False))) for trial in range(TRIALS))
    sys.stdout.write(f"{fault.name}: outside the bands with {found} of {TRIALS} other seeds\n")
    assert fault.in_bands == ("yes" if found >= TRIALS - 1 else "no" if found <= 1 else "sometimes")


@pytest.mark.soak
def test_honest_replicates_lie_in_the_bands_as_a_whole(
    honest: Path, run_replicate: Callable[..., Path], outside_bands: Callable[[Path], list[str]]
) -> None:
    outside = [
        found for trial in range(TRIALS) if (found := outside_bands(run_replicate(HONEST + trial, figures=False)))
    ]
    comparisons = Reference(honest / "reference").bands.comparisons
    sys.stdout.write(
        f"{TRIALS - len(outside)} of {TRIALS} honest replicates inside all {comparisons} bands of {REPLICATES}: {outside}\n"
    )
    assert len(outside) <= 1
