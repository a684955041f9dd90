"""Numbers as targets: the loss against torch's, Algorithm 1 with outputs, collapse to a constant, and what is stored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tmrepro.errors import DamagedError
from tmrepro.numerics.inference import accuracies, evaluate, image_losses, mean_squared_error, targets_of
from tmrepro.records import Epoch, History
from tmrepro.spec import AdamOptimizer, StopSpec, TrainingSpec
from tmrepro.store.documents import load_history, save_history
from tmrepro.store.minima import read_minimum, save_minimum
from tmrepro.store.tensors import check_labels, load_labels, save_labels
from tmrepro.training import Examples, train
from tmrepro.training.loop import is_collapsed
from tmrepro.training.minimum import find_minimum, relabel

SPEC = TrainingSpec(
    loss="mse", batch_size=10, warmup_steps=2, max_epochs=40, reseeds=0, stop=StopSpec(at="gm", epsilon=0.05),
    optimizer=AdamOptimizer(lr=0.03),
)  # fmt: skip


@pytest.fixture
def examples() -> Examples:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(50, 3, generator=generator) * 2 - 1
    targets = torch.stack([inputs.sum(1), inputs[:, 0] * inputs[:, 1]], dim=1)
    return Examples(inputs[:40], targets[:40], inputs[40:], targets[40:], 0)


def build(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2))


@pytest.mark.parametrize("shape", [(7, 1), (7, 3), (7, 2, 4)])
def test_losses_are_torchs_of_each_input(shape):
    generator = torch.Generator().manual_seed(1)
    given, wanted = torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)
    found = image_losses(given, targets_of(wanted, loss="mse", clip=None))
    expected = functional.mse_loss(given.double(), wanted.double(), reduction="none").flatten(1).mean(1)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


def test_outputs_of_another_shape_are_no_broadcast():
    with pytest.raises(ValueError, match=r"outputs of shape \[4\], values of \[4, 1\]"):
        mean_squared_error(torch.zeros(4), torch.zeros(4, 1))


def test_no_output_is_right():
    targets = targets_of(torch.zeros(4, 2), loss="mse", clip=None)
    assert np.isnan(accuracies(np.ones((2, 3)), targets, images=4)).all()
    assert evaluate(nn.Linear(3, 2), torch.zeros(4, 3), targets=targets).accuracy is None


def test_training_reaches_a_gm_whose_relabelled_loss_is_zero(examples, tmp_path):
    trained = train(SPEC, build=build, examples=examples, seed=3)
    assert trained.stopped == "gm"
    assert all(epoch.train_accuracy is None and epoch.validation_accuracy is None for epoch in trained.history.epochs)
    found = find_minimum(trained, name="m", spec=SPEC, labels="hard", examples=examples)
    minimum = found.minimum
    assert (minimum.category, minimum.labels, minimum.relabelled_loss, minimum.gradient_norm) == ("TM", "outputs", 0, 0)
    assert (minimum.train_accuracy, minimum.validation_accuracy, minimum.relabelled_accuracy) == (None, None, None)
    with torch.no_grad():
        given = trained.model(examples.inputs)
    np.testing.assert_array_equal(found.labels, given.numpy())
    expected = functional.mse_loss(given.double(), examples.labels.double())
    assert minimum.train_loss_at_minimum == pytest.approx(float(expected), rel=1e-12)
    save_minimum(tmp_path, minimum, work=tmp_path)
    assert read_minimum(tmp_path, "m") == minimum


def test_t_is_the_loss_as_training_meets_it(examples):
    spec = SPEC.model_copy(update={"max_epochs": 1, "batch_size": 40, "warmup_steps": 0})
    trained = train(spec, build=build, examples=examples, seed=3)
    with torch.no_grad():
        first = functional.mse_loss(build(3)(examples.inputs), examples.labels)
    assert trained.history.epochs[0].train_loss == pytest.approx(float(first), rel=1e-5)  # float32 sums


class Constant(nn.Module):
    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(value)

    def forward(self, inputs):
        return self.value.expand(len(inputs), -1)


def test_collapse_is_one_output_or_the_loss_of_the_best_constant(examples):
    assert is_collapsed(Constant(torch.tensor([5.0, 5.0])), examples, spec=SPEC)
    nearly = Constant(examples.labels.mean(0))
    moved = nn.Sequential(nn.Linear(3, 2), nearly)
    assert is_collapsed(moved, examples, spec=SPEC)
    barely = _shifted(nearly)
    assert not bool((barely(examples.inputs) == barely(examples.inputs)[0]).all())
    assert is_collapsed(barely, examples, spec=SPEC)
    assert not is_collapsed(build(0), examples, spec=SPEC)


def _shifted(constant: nn.Module) -> nn.Module:
    class Nearly(nn.Module):
        def forward(self, inputs):
            return constant(inputs) + 1e-4 * inputs[:, :2]

    return Nearly()


def test_a_constant_is_right_where_the_targets_are_one(examples):
    level = Examples(examples.inputs, torch.ones(40, 2), examples.validation_inputs, torch.ones(10, 2), 0)
    assert not is_collapsed(Constant(torch.ones(2)), level, spec=SPEC)


def test_relabelling_keeps_the_outputs_of_any_shape():
    network = nn.Sequential(nn.Linear(3, 6), nn.Unflatten(1, (2, 3)))
    assert relabel(network, torch.zeros(5, 3), labels="outputs").shape == (5, 2, 3)


@pytest.mark.parametrize("shape", [(5, 1), (5, 2, 3), (5, 1, 1, 2)])
def test_outputs_as_labels_are_stored_and_checked(tmp_path, shape):
    labels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    save_labels(tmp_path / "labels.npy", labels, work=tmp_path)
    found = load_labels(tmp_path / "labels.npy")
    np.testing.assert_array_equal(found, labels)
    check_labels(found, images=5, outputs=shape[1:], name="labels.npy")
    with pytest.raises(DamagedError, match="expected labels of 5 images"):
        check_labels(found, images=5, outputs=(*shape[1:], 1), name="labels.npy")


def test_a_history_without_accuracies_comes_back(tmp_path):
    history = History((Epoch(1, 0.5, None, 0.25, None, 0.1, 2.0), Epoch(2, 0.5, None, 0.25, None, 0.1, 3.0)))
    save_history(tmp_path / "history.csv", history, work=tmp_path)
    assert load_history(tmp_path / "history.csv") == history


@pytest.mark.parametrize(
    "row", ["1,,0.5,0.25,0.5,0.1,2.0", "1,0.5,,0.25,0.5,0.1,2.0", "1,0.5,,0.25,,0.1,", "1,0.5, ,0.25, ,0.1,2.0"]
)
def test_other_gaps_in_a_history_are_damage(tmp_path, row):
    columns = "epoch,train_loss,train_accuracy,validation_loss,validation_accuracy,lr,seconds"
    (tmp_path / "history.csv").write_text(f"{columns}\n{row}\n", encoding="utf-8")
    with pytest.raises(DamagedError):
        load_history(tmp_path / "history.csv")
