"""From a model's section of the spec to a torch module that returns logits (softmax belongs to the loss)."""

from __future__ import annotations

from tmrepro.models.registry import build_model, load_factory

__all__ = ["build_model", "load_factory"]
