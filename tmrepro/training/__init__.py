"""From a new network to theta*, and Algorithm 1 of the paper.

loop.py         the training loop; draws.py: its order of examples; optimizers.py, stopping.py: its rules
layout.py       the memory format of a training
checkpoint.py   checkpoints; a training continued from one is bitwise identical
minimum.py      Algorithm 1: the labels of X~, and the category of theta*
"""

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
