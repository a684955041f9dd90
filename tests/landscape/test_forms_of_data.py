"""Data as torch's users have them, and outputs of several parts, against a loop over points in float64."""

from __future__ import annotations

import inspect
from collections import OrderedDict, UserDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import tmrepro
from tests.landscape.loops import A, B, assert_right, generator, loop, pair_of
from tmrepro.errors import UsageError

loss_surface = inspect.unwrap(tmrepro.loss_surface)  # as callers have it, without the tests' type checker
loss_line = inspect.unwrap(tmrepro.loss_line)

N, WORDS, LENGTH, CLASSES = 150, 11, 6, 3
TOKENS = torch.randint(1, WORDS, (N, LENGTH), generator=generator(1))
MASK = (torch.arange(LENGTH) <= torch.arange(N)[:, None] % LENGTH).long()
EXTRA = torch.randn(N, 2, generator=generator(2))
LABELS = torch.randint(CLASSES, (N,), generator=generator(3))


@dataclass
class Answer:
    """As the outputs of a Hugging Face model: a loss where labels are given, and logits."""

    loss: Tensor | None
    logits: Tensor
    hidden_states: tuple[Tensor, ...] = ()


class Classifier(nn.Module):
    """Takes what a tokenizer gives, by name; a float input beside it; embeddings tied to the readout of a second head."""

    def __init__(self, kind: type = Answer) -> None:
        super().__init__()
        self.kind = kind
        self.table = nn.Embedding(WORDS, 8)
        self.norm = nn.LayerNorm(8)
        self.drop = nn.Dropout(0.5)
        self.beside = nn.Linear(2, 8)
        self.head = nn.Linear(8, CLASSES)
        self.words = nn.Linear(8, WORDS, bias=False)
        self.words.weight = self.table.weight

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, extra: Tensor | None = None, labels: Tensor | None = None
    ) -> Any:
        weight = attention_mask[..., None].to(self.table.weight.dtype)
        h = (self.table(input_ids) * weight).sum(1) / weight.sum(1)
        if extra is not None:
            h = h + self.beside(extra)
        h = self.drop(torch.tanh(self.norm(h)))
        logits = self.head(h)
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        if self.kind is Answer:
            return Answer(loss, logits, (h, self.words(h)))
        if self.kind is tuple:
            return (logits, h)
        return self.kind(logits=logits, hidden=h)


def classifier(kind: type = Answer) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return Classifier(kind)


def expected(extra: Tensor | None = EXTRA, **grid: Any) -> np.ndarray:
    wide = None if extra is None else extra.double()
    return loop(classifier(), lambda moved: functional.cross_entropy(moved(TOKENS, MASK, wide).logits, LABELS), **grid)


NAMED = {"input_ids": TOKENS, "attention_mask": MASK, "extra": EXTRA}


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [
        (NAMED, LABELS),
        (NAMED | {"labels": LABELS}, "labels"),
        (NAMED | {"labels": LABELS}, LABELS),  # the model gets them too
        (UserDict(NAMED), LABELS.numpy()),
        ((TOKENS, MASK, EXTRA), LABELS),
        ([TOKENS.numpy(), MASK, EXTRA.double()], LABELS),
        (DataLoader(TensorDataset(TOKENS, MASK, EXTRA, LABELS), batch_size=40), None),
        (DataLoader(TensorDataset(TOKENS, MASK, EXTRA, LABELS), batch_size=64, shuffle=True), None),
        (DataLoader(TensorDataset(TOKENS, MASK, EXTRA), batch_size=40), LABELS),
        (
            [
                ({name: value[part] for name, value in NAMED.items()}, LABELS[part])
                for part in (slice(99), slice(99, N))
            ],
            None,
        ),
    ],
)
def test_a_model_of_several_arguments(inputs, targets):
    model = classifier()
    found = loss_surface(model, "cross_entropy", inputs, targets, pair_of(model), (A, B), output="logits")
    assert_right(found, expected())
    with torch.no_grad():
        right = float((model.eval()(TOKENS, MASK, EXTRA).logits.argmax(1) == LABELS).double().mean())
    assert float(found.accuracy[1, 0]) == pytest.approx(right, abs=1e-12)


def dict_batches() -> Iterator[dict[str, Tensor]]:
    for begin in range(0, N, 32):
        whole = NAMED | {"labels": LABELS}
        yield {name: value[begin : begin + 32] for name, value in whole.items()}


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_generator_of_dicts_as_trainers_have_it(precision):
    model = classifier()
    asked = {"output": "logits", "precision": precision}
    found = loss_surface(model, "cross_entropy", dict_batches(), "labels", pair_of(model), (A, B), **asked)
    assert_right(found, expected())
    line = loss_line(model, "cross_entropy", dict_batches(), "labels", pair_of(model)[1], B, **asked)
    np.testing.assert_allclose(line.loss, found.loss[1], rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "output"),
    [
        (Answer, "logits"),
        (Answer, lambda found: found.logits),
        (dict, "logits"),
        (OrderedDict, "logits"),
        (tuple, 0),
        (tuple, -2),
        (tuple, lambda found: found[0]),
    ],
)
def test_the_part_of_the_output_that_is_meant(kind, output):
    model = classifier(kind)
    asked = {"inputs": (TOKENS, MASK), "targets": LABELS, "directions": pair_of(model), "grid": (A, B)}
    assert_right(loss_surface(model, "cross_entropy", output=output, **asked), expected(None))


class Pair(nn.Module):
    """Two outputs of one float tensor, behind layers that fast evaluators know."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 8), nn.ReLU())
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return h, self.head(h)


def test_a_chosen_output_of_one_tensor_is_still_evaluated_fast():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = Pair()
    x = torch.randn(N, 20, generator=generator(8))
    a, b = np.linspace(-0.1, 0.1, 7), np.linspace(-0.1, 0.1, 5)
    found = loss_surface(model, "cross_entropy", x, LABELS, pair_of(model), (a, b), output=1)
    assert found.attrs["evaluator"] == "tracked", found.attrs["evaluator_reason"]
    assert_right(found, loop(model, lambda moved: functional.cross_entropy(moved(x.double())[1], LABELS), a, b))


def test_directions_by_name_are_those_of_the_callers_own_model():
    model = classifier()
    delta, eta = pair_of(model)
    names = [name for name, _ in model.named_parameters()]
    assert "words.weight" not in names  # tied: counted once
    sizes = [value.numel() for value in model.parameters()]
    parts = torch.split(torch.from_numpy(delta), sizes)
    named = {name: part.view(value.shape) for name, part, value in zip(names, parts, model.parameters(), strict=True)}
    asked = {"inputs": NAMED, "targets": LABELS, "grid": (A, B), "output": "logits"}
    assert_right(loss_surface(model, "cross_entropy", directions=(named, eta), **asked), expected())


def test_tied_weights_move_together():
    """The readout by the embedding's own weights."""
    model, wanted = classifier(), TOKENS[:, 0]
    found = loss_surface(
        model, "cross_entropy", (TOKENS, MASK), wanted, pair_of(model), (A, B), output=lambda f: f.hidden_states[1]
    )
    readout = loop(model, lambda moved: functional.cross_entropy(moved(TOKENS, MASK).hidden_states[1], wanted))
    assert_right(found, readout)
    theta = torch.cat([value.detach().double().flatten() for value in model.parameters()])
    assert found.attrs["theta_norm"] == pytest.approx(float(theta.norm()))


def test_curvature_and_paths_take_them_too(tmp_path):
    model = classifier()
    asked = {"inputs": NAMED, "targets": LABELS, "output": "logits"}
    found = tmrepro.curvature_of(model, "cross_entropy", top=1, probes=2, density_probes=0, **asked)
    moved = {"loss": []}
    for step in (-1e-3, 0.0, 1e-3):
        line = loss_line(model, "cross_entropy", direction=found.vectors[0], grid=[step], precision="float64", **asked)
        moved["loss"].append(float(line.loss[0]))
    before, here, after = moved["loss"]
    assert (before - 2 * here + after) / 1e-6 == pytest.approx(float(found.eigenvalues[0]), rel=1e-3)
    path = tmrepro.Trajectory(model, tmp_path)
    path.record()
    assert float(path.dataset("cross_entropy", **asked).loss[0]) == pytest.approx(here, rel=1e-6)


def test_a_kept_surface_knows_its_arguments(tmp_path):
    model = classifier()
    asked = {"loss": "cross_entropy", "targets": LABELS, "output": "logits", "grid": 2, "out": tmp_path}
    first = loss_surface(model, inputs=NAMED, **asked)
    assert first.identical(loss_surface(model, inputs=NAMED, **asked))
    with pytest.raises(UsageError, match="changed: inputs"):
        loss_surface(model, inputs=NAMED | {"extra": 2 * EXTRA}, **asked)


def test_data_model_and_generators_stay_as_they_are():
    model, own = classifier().train(), generator(9)
    loader = DataLoader(TensorDataset(TOKENS, MASK, LABELS), batch_size=30, shuffle=True, generator=own)

    def seen() -> list[bytes]:
        values = [TOKENS, MASK, EXTRA, LABELS, own.get_state(), torch.get_rng_state(), *model.state_dict().values()]
        return [value.numpy().tobytes() for value in values]

    before = seen()
    loss_surface(model, "cross_entropy", loader, grid=2, output="logits")
    loss_surface(model, "cross_entropy", NAMED, LABELS, grid=2, output="logits")
    assert seen() == before
    assert model.training
    assert all(part.training for part in model.modules())


class Spoiling(nn.Module):
    """Changes its arguments in place: the data must not change with them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, CLASSES)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.fc(x.mul_(2) + y.add_(1))


def test_arguments_that_a_forward_changes_are_fresh_each_time():
    model, x = Spoiling(), EXTRA.clone()
    mean = loop(model, lambda moved: functional.cross_entropy(moved(EXTRA.double(), EXTRA.double()), LABELS))
    assert_right(loss_surface(model, "cross_entropy", (x, x), LABELS, pair_of(model), (A, B)), mean)
    assert torch.equal(x, EXTRA)


def batches(*shapes: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
    return [(torch.ones(shape), torch.zeros(shape[0], dtype=torch.int64)) for shape in shapes]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            {"inputs": NAMED | {"extra": EXTRA[:9]}},
            "inputs: 'extra': has 9 along the first axis, inputs: 'input_ids' has 150",
        ),
        ({"inputs": (TOKENS, MASK[:9])}, "inputs: tensor 1: has 9 along the first axis, inputs: tensor 0 has 150"),
        ({"inputs": NAMED | {"extra": None}}, "inputs: 'extra': expected a tensor or an array, got nothing"),
        ({"inputs": {1: TOKENS}}, "expected names of arguments as keys, got 1"),
        ({"inputs": {}}, "inputs: holds no tensors"),
        (
            {"inputs": NAMED | {"mask": MASK}},
            "fails on inputs of shape input_ids .128, 6., int64; .*unexpected keyword",
        ),
        ({"inputs": []}, "inputs: gives no batches"),
        ({"inputs": DataLoader(TensorDataset(TOKENS[:0], LABELS[:0]))}, "inputs: gives no batches"),
        ({"inputs": TensorDataset(TOKENS, LABELS)}, "a Dataset gives single items; pass torch.utils.data.DataLoader"),
        (
            {"inputs": DataLoader(TensorDataset(TOKENS, MASK), shuffle=True)},
            "the loader shuffles, so separate targets",
        ),
        (
            {"inputs": DataLoader(TensorDataset(TOKENS, LABELS), batch_size=64, drop_last=True), "targets": None},
            "the loader drops 22 inputs; use drop_last=False",
        ),
        (
            {"inputs": DataLoader(TensorDataset(TOKENS), sampler=WeightedRandomSampler([1.0] * N, N)), "targets": None},
            "draws with replacement",
        ),
        (
            {"inputs": batches((3, 2), (3, 4)), "targets": None},
            r"shapes \[n, 2\] and \[n, 4\] cannot be joined; pad them",
        ),
        ({"inputs": [NAMED | {"labels": LABELS}], "targets": None}, "name the key of a batch that holds them"),
        ({"inputs": [NAMED], "targets": "label"}, "targets: the inputs have no 'label'"),
        (
            {"inputs": (TOKENS, MASK), "targets": "labels"},
            "'labels' is the key of the targets, but the inputs are not a dict",
        ),
        ({"inputs": [(TOKENS,)], "targets": None}, r"batch 0: expected \(inputs, targets\) or a dict, got a tuple"),
        (
            {"inputs": [(TOKENS, LABELS), (NAMED, LABELS)], "targets": None},
            "batch 1 has other arguments than the first",
        ),
        ({"inputs": "tokens"}, "or a DataLoader, got a str"),
        ({"output": "logit"}, "an Answer with loss, logits, hidden_states, no 'logit'; did you mean 'logits'"),
        ({"output": 3}, "an Answer with loss, logits, hidden_states, nothing at index 3"),
        ({"output": True}, "output: expected a key, an index or a function, got True"),
        ({"output": lambda found: found["logits"]}, "output: fails on an Answer: TypeError"),
        ({"output": "hidden_states"}, "returns a tuple, expected a tensor of outputs: the model gives a tuple of 2"),
        ({"output": None}, "gives an Answer with loss, logits, hidden_states; choose one with output="),
    ],
)
def test_what_does_not_fit_together_is_told_in_words(asked, words):
    given = {"loss": "cross_entropy", "inputs": NAMED, "targets": LABELS, "output": "logits", "grid": 2} | asked
    with pytest.raises(UsageError, match=words):
        loss_surface(classifier(), **given)
