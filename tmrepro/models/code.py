"""The code of a custom model: what its factory loads, found by building the network and letting it work once in either mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import nn

from tmrepro.errors import UsageError
from tmrepro.models.registry import build_model
from tmrepro.spec import CustomModel
from tmrepro.usercode import CodeRecord, code_as_read, code_of, file_changes, version_changes


def code_of_model(spec: CustomModel, *, classes: int, size: int) -> CodeRecord:
    """The user's code behind a custom model, and the distributions that this code imports.

    Raises:
        UsageError: the network cannot be built or is refused, or its code is not what the files hold (`code_of`).
    """

    def use() -> Iterator[nn.Module]:
        model = build_model(spec, classes=classes, size=size, seed=0)  # which runs it in eval mode
        with torch.random.fork_rng(devices=[]), torch.no_grad(), suppress(Exception):  # training says what fails there
            model.train()(torch.linspace(-1, 1, 2 * 3 * size * size).reshape(2, 3, size, size))
        return model.modules()

    return code_of(spec.factory, use=use)


@dataclass(frozen=True)
class CodeChanges:
    """How the code at hand differs from a record: files, and (name, words) of distributions; in words."""

    files: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]


def code_changes(spec: CustomModel, recorded: CodeRecord, *, classes: int, size: int) -> CodeChanges:
    """How the code of a custom model differs from what a run has `recorded` of it.

    Raises:
        UsageError: as `code_of_model`, unless a changed file explains it.
    """
    names = ("here", "in the run")
    try:
        here = code_of_model(spec, classes=classes, size=size)
    except UsageError:
        read = code_as_read(spec.factory)
        common = {name: digest for name, digest in read.files.items() if name in recorded.files}
        known = {name: digest for name, digest in recorded.files.items() if name in common}
        files = tuple(file_changes(CodeRecord(common, {}), CodeRecord(known, {}), names=names))
        if not files:
            raise
        return CodeChanges(files, ())
    versions = tuple(version_changes(here, recorded, names=names))
    return CodeChanges(tuple(file_changes(here, recorded, names=names)), versions)
