"""The code of a custom model: what its factory loads, found by building the network and letting it work once in either mode."""

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
    """The user's code behind a custom model, and the distributions that this code imports.

    Raises:
        UsageError: the network cannot be built or is refused, or its code is not what the files hold (`code_of`).
    """

    def use() -> Iterator[nn.Module]:
        model = build_model(spec, signature=signature, seed=0)  # which runs it in eval mode
        with torch.random.fork_rng(devices=[]), torch.no_grad(), suppress(Exception):  # training says what fails there
            model.train()(sample_inputs(signature))
        return model.modules()

    return code_of(spec.factory, use=use)


def code_changes(spec: CustomModel, recorded: CodeRecord, *, signature: Signature) -> CodeChanges:
    """How the code of a custom model differs from what a run has `recorded` of it.

    Raises:
        UsageError: as `code_of_model`, unless a changed file explains it.
    """
    return changes_since(recorded, factory=spec.factory, find=lambda: code_of_model(spec, signature=signature))
