"""The plain evaluator with its model compiled by torch: for level `fast`, because it is not bit-reproducible."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import torch

from tmrepro.surface.plain import PlainEvaluator
from tmrepro.surface.problem import Problem


class CompiledEvaluator(PlainEvaluator):
    """Any network. What torch.compile does not support runs uncompiled."""

    name = "compiled"

    @staticmethod
    def why_unsupported(problem: Problem) -> str | None:
        """See `EvaluatorKind.why_unsupported`."""
        headers = Path(sysconfig.get_path("include")) / "Python.h"
        if problem.inputs.device.type == "cpu" and not (
            shutil.which(os.environ.get("CXX", "c++")) and headers.is_file()
        ):
            return "torch compiles for a CPU with a C++ compiler and Python's headers, and one is missing"
        return None

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        compiled: Any = torch.compile(self._model)
        self._model = compiled
