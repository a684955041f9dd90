"""Batch norm's statistics before theta* is taken: a cumulative average over batches in data order."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from tests.training.small import blobs, build, short
from tmrepro.spec import SgdOptimizer
from tmrepro.training import train
from tmrepro.training.loop import reestimate_batch_norm


def test_statistics_are_the_mean_over_batches_the_last_partial_one_counting_the_same() -> None:
    """By hand: per channel the mean, and the unbiased variance, of each of the batches of 8, 8, 8, 6; then their mean."""
    inputs = blobs(30).inputs
    model = nn.Sequential(nn.BatchNorm2d(3, momentum=0.3))
    model(inputs[:5])  # running statistics that must not matter
    reestimate_batch_norm(model, inputs, batch_size=8)
    batches = [inputs.double().numpy()[begin : begin + 8] for begin in range(0, 30, 8)]
    assert [len(batch) for batch in batches] == [8, 8, 8, 6]
    means = np.mean([batch.mean((0, 2, 3)) for batch in batches], axis=0)
    variances = np.mean([batch.var((0, 2, 3), ddof=1) for batch in batches], axis=0)
    np.testing.assert_allclose(model[0].running_mean, means, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model[0].running_var, variances, rtol=1e-5)
    assert int(model[0].num_batches_tracked) == 4
    assert model[0].momentum == 0.3
    assert not model.training


def test_statistics_are_the_bits_of_update_bn() -> None:
    inputs, model = blobs(30).inputs, build("normed")(1)
    expected = copy.deepcopy(model)
    with torch.no_grad():
        update_bn([inputs[begin : begin + 7] for begin in range(0, 30, 7)], expected)
    reestimate_batch_norm(model, inputs, batch_size=7)
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name


def test_theta_star_has_reestimated_statistics_and_is_in_eval_mode() -> None:
    examples = blobs()
    trained = train(short(), build=build("normed"), examples=examples, seed=0)
    assert not any(module.training for module in trained.model.modules())
    again = copy.deepcopy(trained.model)
    reestimate_batch_norm(again, examples.inputs, batch_size=8)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in trained.model.state_dict().items())


def test_running_averages_are_kept_where_the_spec_says_so() -> None:
    """One full batch whose weights stand still: the running mean is momentum times the batch's, from a start of 0."""
    examples = blobs(20)
    spec = short(optimizer=SgdOptimizer(name="sgd", lr=1e-30), batch_size=20, max_epochs=1, reestimate_batch_norm=False)
    model = train(spec, build=build("normed"), examples=examples, seed=0).model
    assert not any(module.training for module in model.modules())
    kept = model[1].running_mean
    asked = spec.model_copy(update={"reestimate_batch_norm": True})
    anew = train(asked, build=build("normed"), examples=examples, seed=0).model[1].running_mean
    torch.testing.assert_close(kept, 0.1 * anew, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("global_seed", [1, 2])
def test_dropout_before_batch_norm_draws_the_same_each_time(global_seed: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(3))
    expected = copy.deepcopy(model)
    torch.manual_seed(99)
    reestimate_batch_norm(expected, blobs().inputs, batch_size=8)
    torch.manual_seed(global_seed)
    before = torch.get_rng_state()
    reestimate_batch_norm(model, blobs().inputs, batch_size=8)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(model[1].running_mean, expected[1].running_mean)


def test_a_network_without_batch_norm_is_left_as_it_is() -> None:
    model = build("dnn")(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    reestimate_batch_norm(model, blobs().inputs, batch_size=8)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.training
