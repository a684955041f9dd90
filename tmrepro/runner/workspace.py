"""The input of a task of a run: the spec, the data on a device, and a folder with files of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tmrepro.data import Dataset
from tmrepro.numerics.determinism import Determinism
from tmrepro.spec import Spec
from tmrepro.training import Examples


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """The input of a task. `run` is the run folder, or a folder with the files of the run that the task needs.

    `evaluator` is the name of a forced evaluator. `prepared` keeps what the tasks of one surface share.
    """

    spec: Spec
    run: Path
    device: torch.device
    determinism: Determinism
    dataset: Dataset
    examples: Examples
    evaluator: str | None = None
    prepared: dict[Any, Any] = field(default_factory=dict)


Needs = Mapping[str, str]
"""Files of the run that a task reads: relative path -> SHA-256."""
