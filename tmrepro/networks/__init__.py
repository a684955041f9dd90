"""From a model's section of the spec to a torch module that returns logits (softmax belongs to the loss)."""

from __future__ import annotations

from tmrepro.networks.code import code_changes, code_of_model
from tmrepro.networks.registry import build_model, sample_inputs

__all__ = ["build_model", "code_changes", "code_of_model", "sample_inputs"]
