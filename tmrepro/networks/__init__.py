"""From a model's section of the spec to a torch module that returns logits (softmax belongs to the loss).

networks.py         the DNN, the CNN and the ResNet50 of the paper
initialization.py   their initial weights
registry.py         builds a network, also from a user's factory; code.py: the code of that factory
parameters.py       all parameters as one vector
"""

from __future__ import annotations

from tmrepro.networks.code import code_changes, code_of_model
from tmrepro.networks.registry import build_model, sample_inputs

__all__ = ["build_model", "code_changes", "code_of_model", "sample_inputs"]
