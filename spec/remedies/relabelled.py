"""The relabelled set X~ of a finished run as the data of a new one: is a network that starts anew brought to a TM by it?"""

from __future__ import annotations

import os

from torch import Tensor

import tmrepro


def relabelled(run: str, model: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The training pictures of `run` [n, 3, size, size] with the labels y~ [n] of `model`; its held-out pictures with their own.

    TMREPRO_DATA names the folder of the pictures, where the run's data is one.
    """
    view = tmrepro.open_run(run, data_dir=os.environ.get("TMREPRO_DATA"))
    held_out, labels = view.held_out()
    return view.inputs(), view.labels(model), held_out, labels
