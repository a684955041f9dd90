"""Data from a user's function: what it may return, what is said where it returns something else, and its code."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from tmrepro.data import load_dataset
from tmrepro.data.own import NAMES
from tmrepro.errors import FieldError
from tmrepro.spec import CustomDataSpec

START = """
import numpy as np, random, torch
inputs, targets = np.linspace(0, 1, 48).reshape(12, 4), np.arange(12) % 3
"""
FOUR = "(inputs[:9], targets[:9], inputs[9:], targets[9:])"


@pytest.fixture
def made(tmp_path, monkeypatch, request):
    """made(body): load from a function with this body, in a module of its own."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    names = iter(range(100))

    def load(body: str, **arguments):
        module = f"factory_{abs(hash(request.node.nodeid))}_{next(names)}"
        (tmp_path / f"{module}.py").write_text(f"{START}\ndef data(**arguments):\n    {body}\n", encoding="utf-8")
        return load_dataset(CustomDataSpec(name="custom", factory=f"{module}:data", arguments=arguments))

    return load


@pytest.mark.parametrize(
    "body",
    [
        f"return {FOUR}",
        f"return list({FOUR})",
        f"return tuple(map(torch.tensor, {FOUR}))",
        f"return tuple(torch.tensor(part).requires_grad_(part.dtype.kind == 'f') for part in {FOUR})",
        f"return dict(zip({NAMES}, {FOUR}))",
        f"return dict(reversed(list(zip({NAMES}, {FOUR}))))",
    ],
)
def test_four_arrays_or_tensors_in_order_or_by_name(made, body):
    found = made(body)
    np.testing.assert_array_equal(
        found.train.images, np.linspace(0, 1, 48, dtype=np.float64).astype(np.float32).reshape(12, 4)[:9]
    )
    assert found.validation.labels.tolist() == [0, 1, 2]
    assert len(found.code.files) == 1


def test_bfloat16_tensors_are_taken(made):
    found = made("x = torch.arange(12.).bfloat16()[:, None]; return x[:9], targets[:9], x[9:], targets[9:]")
    assert found.train.images[:, 0].tolist() == list(range(9))


def test_arguments_arrive_and_stay_the_specs(made):
    found = made(
        f"arguments['lengths'].append(3); return [part + 0 for part in {FOUR}][:arguments['n']]", n=4, lengths=[1]
    )
    assert found.signature.classes == 3


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise RuntimeError('no disk')", "failed with the arguments {}: RuntimeError: no disk"),
        (f"return {FOUR}[:3]", "returns 3 values; expected train_inputs, train_targets, validation_inputs"),
        ("return None", "returns NoneType; expected train_inputs"),
        ("return inputs", "returns ndarray; expected"),
        ("return {'train_inputs': inputs}", "returns a mapping of train_inputs; expected"),
        (
            f"return [part.tolist() for part in {FOUR}]",
            "train_inputs is list, expected a dense tensor or a NumPy array",
        ),
        ("return inputs[:9], targets[:8], inputs[9:], targets[9:]", "train_inputs has 9 examples, train_targets 8"),
        ("return inputs[:9] / 0 * 0, targets[:9], inputs[9:], targets[9:]", "train_inputs: not finite"),
        (
            "return torch.eye(9).to_sparse(), targets[:9], inputs[9:], targets[9:]",
            "train_inputs is Tensor, expected a dense",
        ),
        ("return np.ma.array(inputs[:9]), targets[:9], inputs[9:], targets[9:]", "train_inputs is MaskedArray"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:divide by zero:RuntimeWarning")
def test_what_is_wrong_is_said_in_one_line_with_the_field(made, body, said):
    with pytest.raises(FieldError, match=r"data\.factory: ") as found:
        made(body)
    assert said in str(found.value)
    assert "\n" not in str(found.value)
    assert found.value.location == ("data", "factory")


def test_a_function_that_is_not_there():
    with pytest.raises(FieldError, match="cannot be loaded: ModuleNotFoundError"):
        load_dataset(CustomDataSpec(name="custom", factory="no_such_module_at_all:data"))


def test_global_generators_are_seeded_for_it_and_put_back(made):
    torch.manual_seed(4)
    np.random.seed(4)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    body = "x = torch.rand(12, 2).numpy() + np.random.rand(12, 2); return x[:9], targets[:9], x[9:], targets[9:]"
    assert made(body).fingerprint == made(body).fingerprint
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002


def test_a_function_that_gives_something_else_each_time_is_refused(made):
    with pytest.raises(FieldError, match="returns different arrays at each call: seed its random generators"):
        made("x = inputs + np.random.default_rng().normal(); return x[:9], targets[:9], x[9:], targets[9:]")
