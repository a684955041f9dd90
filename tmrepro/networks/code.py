"""The code of a custom model: what its factory loads, found by building the network and running it once in each mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import torch
from torch import nn

from tmrepro.networks.registry import build_model, sample_inputs
from tmrepro.records import Signature
from tmrepro.spec import CustomModel
from tmrepro.usercode import CodeChanges, CodeRecord, changes_since, code_of


def code_of_model(spec: CustomModel, *, signature: Signature) -> CodeRecord:
    """Return the record of a custom model's code: the user's files, and the distributions that they import.

    Raises:
        UsageError: the network cannot be built or is refused, or its code differs from the files (`code_of`).
    """

    def use() -> Iterator[nn.Module]:
        model = build_model(spec, signature=signature, seed=0)  # this runs it in eval mode
        with torch.random.fork_rng(devices=[]), torch.no_grad(), suppress(Exception):  # training reports what fails
            model.train()(sample_inputs(signature))
        return model.modules()

    return code_of(spec.factory, use=use)


def code_changes(spec: CustomModel, recorded: CodeRecord, *, signature: Signature) -> CodeChanges:
    """Return how the code of a custom model differs from the code that a run `recorded`.

    Raises:
        UsageError: as `code_of_model`, unless a changed file explains it.
    """
    return changes_since(recorded, factory=spec.factory, find=lambda: code_of_model(spec, signature=signature))
