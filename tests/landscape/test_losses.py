"""Every loss against torch's own mean over the whole data set, and against a loop over points in float64."""

from __future__ import annotations

import copy
import inspect
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import tmrepro
from tests.landscape.loops import A, B, assert_right, generator, loop, pair_of
from tmrepro.errors import UsageError

loss_surface = inspect.unwrap(tmrepro.loss_surface)  # as callers have it, without the tests' type checker

N, FEATURES, CLASSES, TOKENS = 150, 5, 4, 3  # two batches of unequal size
X = torch.randn(N, FEATURES, generator=generator(1))
LABELS = torch.randint(CLASSES, (N,), generator=generator(2))
SOME_IGNORED = torch.where(torch.arange(N) % 3 == 0, -100, LABELS)
OF_TOKENS = torch.randint(CLASSES, (N, TOKENS), generator=generator(3))
PADDED = torch.where(torch.arange(TOKENS) < (torch.arange(N)[:, None] % TOKENS) + 1, OF_TOKENS, -100)
NUMBERS = torch.randn(N, CLASSES, generator=generator(4))
SHARES = NUMBERS.softmax(1)
WEIGHTS = torch.tensor([0.5, 2.0, 0.0, 1.5])


def mlp(outputs: int = CLASSES, last: nn.Module | None = None) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return nn.Sequential(
            nn.Linear(FEATURES, 6), nn.Tanh(), nn.Linear(6, outputs), *([] if last is None else [last])
        )


def of_tokens() -> nn.Module:
    return mlp(CLASSES * TOKENS, nn.Unflatten(1, (CLASSES, TOKENS)))


def on_device(model: nn.Module, loss: nn.Module, targets: Tensor) -> Tensor:
    wanted = targets.double() if targets.is_floating_point() else targets
    value: Tensor = copy.deepcopy(loss).double()(model(X.double()), wanted)
    return value


TORCHS = [
    (mlp, nn.CrossEntropyLoss(), LABELS),
    (mlp, nn.CrossEntropyLoss(), SOME_IGNORED),
    (mlp, nn.CrossEntropyLoss(weight=WEIGHTS), LABELS),
    (mlp, nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.2), SOME_IGNORED),
    (mlp, nn.CrossEntropyLoss(ignore_index=1), LABELS),
    (mlp, nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.1), SHARES),
    (mlp, nn.CrossEntropyLoss(reduction="sum"), LABELS),
    (of_tokens, nn.CrossEntropyLoss(), OF_TOKENS),
    (of_tokens, nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.1), PADDED),
    (of_tokens, nn.CrossEntropyLoss(), torch.rand(N, CLASSES, TOKENS, generator=generator(5)).softmax(1)),
    (partial(mlp, CLASSES, nn.LogSoftmax(1)), nn.NLLLoss(weight=WEIGHTS), SOME_IGNORED),
    (mlp, nn.MSELoss(), NUMBERS),
    (mlp, nn.MSELoss(reduction="sum"), NUMBERS),
    (of_tokens, nn.L1Loss(), torch.randn(N, CLASSES, TOKENS, generator=generator(6))),
    (mlp, nn.SmoothL1Loss(beta=0.3), NUMBERS),
    (mlp, nn.HuberLoss(delta=0.4), NUMBERS),
    (mlp, nn.BCEWithLogitsLoss(pos_weight=WEIGHTS), (NUMBERS > 0).float()),
    (mlp, nn.BCEWithLogitsLoss(weight=WEIGHTS), (NUMBERS > 0).float()),
    (partial(mlp, CLASSES, nn.Sigmoid()), nn.BCELoss(), (NUMBERS > 0).float()),
    (partial(mlp, CLASSES, nn.LogSoftmax(1)), nn.KLDivLoss(reduction="batchmean"), SHARES),
    (partial(mlp, CLASSES, nn.LogSoftmax(1)), nn.KLDivLoss(reduction="sum"), SHARES),
    (mlp, nn.PoissonNLLLoss(), NUMBERS.abs().round()),
    (mlp, nn.SoftMarginLoss(), NUMBERS.sign()),
    (mlp, nn.HingeEmbeddingLoss(), NUMBERS.sign()),
    (mlp, nn.MultiMarginLoss(weight=WEIGHTS), LABELS),
    (mlp, nn.MultiLabelSoftMarginLoss(weight=WEIGHTS), (NUMBERS > 0).float()),
]


@pytest.mark.parametrize(
    ("make", "loss", "targets"),
    TORCHS,
    ids=[f"{index}-{type(loss).__name__}" for index, (_, loss, _) in enumerate(TORCHS)],
)
def test_a_module_of_torchs_is_its_value_for_all_data_as_one_batch(make, loss, targets):
    model = make()
    expected = loop(model, lambda moved: on_device(moved, loss, targets))
    assert_right(loss_surface(model, loss, X, targets, pair_of(model), (A, B)), expected)


@pytest.mark.parametrize("loss", [nn.MSELoss(reduction="none"), nn.CrossEntropyLoss(weight=WEIGHTS, reduction="none")])
def test_without_a_reduction_it_is_the_mean_of_all_values(loss):
    model, targets = mlp(), LABELS if isinstance(loss, nn.CrossEntropyLoss) else NUMBERS
    expected = loop(model, lambda moved: on_device(moved, loss, targets).mean())
    assert_right(loss_surface(model, loss, X, targets, pair_of(model), (A, B)), expected)


@pytest.mark.parametrize(
    ("name", "loss", "targets"),
    [
        ("cross_entropy", nn.CrossEntropyLoss(), LABELS),
        ("cross_entropy", nn.CrossEntropyLoss(), SOME_IGNORED),
        ("mse", nn.MSELoss(), NUMBERS),
        ("mae", nn.L1Loss(), NUMBERS),
        ("bce_with_logits", nn.BCEWithLogitsLoss(), NUMBERS > 0),
    ],
)
def test_a_name_is_torchs_loss_as_it_comes(name, loss, targets):
    model = mlp()
    wanted = targets.float() if targets.dtype == torch.bool else targets
    expected = loop(model, lambda moved: on_device(moved, loss, wanted))
    assert_right(loss_surface(model, name, X, targets, pair_of(model), (A, B)), expected)


def test_the_standard_first_example_of_regression():
    """Targets [n, 1], torch's loss without a reduction, and the same by name and as a function."""
    model, wanted = mlp(1), X[:, :1].sin()
    expected = loop(model, lambda moved: (moved(X.double()) - wanted.double()).square().mean())
    for loss in ("mse", nn.MSELoss(reduction="none"), nn.MSELoss(), partial(functional.mse_loss, reduction="none")):
        found = loss_surface(model, loss, X, wanted, pair_of(model), (A, B))
        assert_right(found, expected)
        assert "accuracy" not in found
    assert found.loss.attrs["units"]


def test_the_loss_says_what_it_is():
    for loss, targets, words in (
        ("cross_entropy", LABELS, "mean cross entropy"),
        ("cross_entropy", SHARES, "mean Kullback-Leibler divergence"),
        (nn.CrossEntropyLoss(), SHARES, "mean cross entropy"),
        (nn.L1Loss(reduction="sum"), NUMBERS, "total absolute error"),
        (lambda outputs, wanted: (outputs - wanted).square(), NUMBERS, "mean loss"),
    ):
        found = loss_surface(mlp(), loss, X, targets, grid=2)
        assert found.loss.attrs["long_name"] == words
        assert all(set(variable.attrs) == {"long_name", "units"} for variable in found.variables.values())


@pytest.mark.parametrize("evaluator", [None, "plain"])
def test_cross_entropy_of_torchs_is_as_fast_as_by_name(evaluator):
    model = mlp()
    found = loss_surface(model, nn.CrossEntropyLoss(), X, LABELS, grid=5, evaluator=evaluator)
    named = loss_surface(model, "cross_entropy", X, LABELS, grid=5, evaluator=evaluator)
    assert found.identical(named)


def test_a_function_may_give_several_losses_per_input():
    model, targets = of_tokens(), OF_TOKENS

    def of_each(outputs: Tensor, wanted: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, wanted, reduction="none")

    expected = loop(model, lambda moved: functional.cross_entropy(moved(X.double()), targets))
    assert_right(loss_surface(model, of_each, X, targets, pair_of(model), (A, B)), expected)


def total_of_tokens(outputs: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    return functional.cross_entropy(outputs, wanted, reduction="sum"), (wanted != -100).sum()


@pytest.mark.parametrize("batch", [None, "all"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_total_with_its_count_is_no_mean_of_batches_means(batch, precision):
    model = of_tokens()
    expected = loop(model, lambda moved: functional.cross_entropy(moved(X.double()), PADDED))
    found = loss_surface(model, total_of_tokens, X, PADDED, pair_of(model), (A, B), batch=batch, precision=precision)
    assert_right(found, expected)
    with torch.no_grad():
        halves = [float(functional.cross_entropy(model(X[part]), PADDED[part])) for part in (slice(128), slice(128, N))]
    assert abs(np.mean(halves) - expected[1, 0]) > 1e-3


def test_a_mean_in_place_of_a_total_is_found_where_both_are_zero_at_theta():
    model = mlp()
    with torch.no_grad():
        own = model(X)
    with pytest.raises(UsageError, match="not their mean"):
        loss_surface(model, lambda o, t: (functional.mse_loss(o, t), o.numel()), X, own, grid=2)


def test_one_number_for_all_is_right_where_all_inputs_are_one_batch():
    model = mlp()
    expected = loop(model, lambda moved: functional.mse_loss(moved(X.double()), NUMBERS.double()))
    found = loss_surface(model, functional.mse_loss, X, NUMBERS, pair_of(model), (A, B), batch="all")
    assert_right(found, expected)


def test_accuracy_is_given_for_labels_that_all_count():
    model = mlp()
    for loss, targets, given in (
        (nn.CrossEntropyLoss(weight=WEIGHTS), LABELS, True),
        (nn.CrossEntropyLoss(label_smoothing=0.1), LABELS, True),
        (nn.CrossEntropyLoss(), SOME_IGNORED, False),
        (nn.CrossEntropyLoss(ignore_index=1), LABELS, False),
        (nn.MSELoss(), NUMBERS, False),
    ):
        found = loss_surface(model, loss, X, targets, grid=2)
        assert ("accuracy" in found) == given
    with torch.no_grad():
        right = float((model(X).argmax(1) == LABELS).double().mean())
    weighted = loss_surface(model, nn.CrossEntropyLoss(weight=WEIGHTS), X, LABELS, grid=2)
    assert float(weighted.accuracy[0, 0]) == pytest.approx(right, abs=1e-12)


def test_curvature_and_the_path_of_training_take_the_same_losses(tmp_path):
    """Against second differences of torch's own loss along the first eigenvector."""
    model, loss = mlp(), nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.1)
    for own, targets, mean in (
        (loss, SOME_IGNORED, lambda moved: on_device(moved, loss, SOME_IGNORED)),
        (nn.MSELoss(), NUMBERS, lambda moved: on_device(moved, nn.MSELoss(), NUMBERS)),
    ):
        found = tmrepro.hessian_directions(model, own, X, targets, precision="float64")
        losses = []
        for step in (-1e-4, 0.0, 1e-4):
            moved = copy.deepcopy(model).double()
            vector = torch.from_numpy(found.delta).double()
            parts = torch.split(vector, [value.numel() for value in moved.parameters()])
            with torch.no_grad():
                for value, part in zip(moved.parameters(), parts, strict=True):
                    value += step * part.view(value.shape)
                losses.append(float(mean(moved)))
        bend = (losses[0] - 2 * losses[1] + losses[2]) / 1e-8
        assert bend == pytest.approx(float(found.eigenvalues[0]), rel=1e-3)
        path = tmrepro.Trajectory(model, tmp_path / type(own).__name__)
        path.record()
        assert float(path.dataset(own, X, targets).loss[0]) == pytest.approx(losses[1], rel=1e-6)
    path = tmrepro.Trajectory(of_tokens(), tmp_path / "tokens")
    path.record()
    with torch.no_grad():
        expected = float(functional.cross_entropy(of_tokens()(X), PADDED))
    assert float(path.dataset(total_of_tokens, X, PADDED).loss[0]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            {"loss": functional.mse_loss},
            "a single number for a batch of 128, which is not enough",
        ),
        ({"loss": "mse", "targets": NUMBERS[:, :1]}, r"expected the shape of the outputs, \[n, 4\], got \[n, 1\]$"),
        ({"loss": "mse", "targets": NUMBERS[:, :, None]}, r"got \[n, 4, 1\]; targets.reshape\(-1, 4\) has this shape"),
        ({"loss": "mse", "targets": NUMBERS * torch.nan}, "targets: has values that are not finite"),
        ({"loss": lambda o, t: (o[:, :1] - t[:, 0]) ** 2}, r"compares every output with every target.*\[128, 128\]"),
        (
            {"loss": nn.CrossEntropyLoss(), "targets": LABELS[:, None]},
            r"\[n\] for outputs \[n, 4\].*squeeze\(-1\) has this shape",
        ),
        ({"loss": nn.CrossEntropyLoss(weight=WEIGHTS[:3]), "targets": LABELS}, "weights of 3 classes, the model has 4"),
        ({"loss": nn.CrossEntropyLoss(), "targets": LABELS * 0 - 100}, "all of them are ignored"),
        ({"loss": nn.CrossEntropyLoss(), "targets": LABELS - 5}, "0 to 3; found label -"),
        ({"loss": nn.NLLLoss()}, "expected labels, whole numbers, got float32"),
        ({"loss": nn.BCEWithLogitsLoss(weight=torch.ones(N, 1))}, "has one number per input of a batch"),
        ({"loss": nn.MultiMarginLoss(), "targets": LABELS + (torch.arange(N) == N - 1) * 9}, "loss: fails on outputs"),
        ({"loss": nn.BCELoss(), "model": mlp(CLASSES, nn.Sigmoid())}, "loss: fails on outputs.*between 0 and 1"),
        ({"loss": nn.KLDivLoss()}, "KLDivLoss.*choose 'batchmean'"),
        ({"loss": nn.MSELoss}, "loss: expected one of cross_entropy, mse"),
        ({"loss": lambda o, t: ((o - t).square().mean(), o.numel() / 4)}, r"not their mean: \(mean \* count, count\)"),
        ({"loss": lambda o, t: ((o - t).square().sum(), (o > 0).sum())}, "it must not depend on the outputs"),
        ({"loss": lambda o, t: ((o - t).square().sum(), 7)}, "as the number of terms of a batch, whose inputs have"),
        ({"loss": lambda o, t: ((o - t).square().sum(), 0 * len(o))}, "gives 0 as the number of terms for all targets"),
        ({"loss": lambda o, t: (o - t).square().flatten()}, r"one loss per input \[128, ...\], got shape \[512\]"),
        ({"loss": lambda o, t: (o - t).square().sum(1) - o.mean()}, "depends on the other inputs of the batch"),
    ],
)
def test_what_gives_no_mean_is_refused_by_what_is_wrong(asked, words):
    given = {"model": mlp(), "loss": "mse", "inputs": X, "targets": NUMBERS, "grid": 2} | asked
    with pytest.raises(UsageError, match=words):
        loss_surface(**given)
