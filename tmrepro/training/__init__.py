"""From a fresh network to theta*: the loop, its stopping rules, collapse, and checkpoints that continue to the same bits."""

from __future__ import annotations

from tmrepro.training.checkpoint import CheckpointError
from tmrepro.training.layout import MemoryFormat
from tmrepro.training.loop import Examples, State, Trained, path_epochs, train
from tmrepro.training.stopping import Conditions, conditions

__all__ = [
    "CheckpointError",
    "Conditions",
    "Examples",
    "MemoryFormat",
    "State",
    "Trained",
    "conditions",
    "path_epochs",
    "train",
]
