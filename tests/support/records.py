"""Records of made-up networks."""

from __future__ import annotations

from typing import Any

from tmrepro.records import Minimum


def a_minimum(**fields: Any) -> Minimum:
    """Return a TM after 30 epochs. `fields` replace its default values."""
    default: dict[str, Any] = {
        "model": "dnn", "category": "TM", "reason": "", "labels": "hard", "epsilon": 0.05, "epochs": 30,
        "best_epoch": 30, "stopped": "gm", "train_loss_last": 0.01, "train_loss_previous": 0.01,
        "train_loss_at_minimum": 0.01, "validation_loss": 0.5, "relabelled_loss": 0.01, "train_accuracy": 1.0,
        "validation_accuracy": 0.8, "relabelled_accuracy": 1.0, "gradient_norm": 0.1, "theta_norm": 3.0,
        "parameters": 404378, "seed": 0, "seeds_collapsed": (), "lm_first_epoch": 20, "gm_first_epoch": 30,
        "validation_first_epoch": None, "lm_first_seconds": 2.0, "gm_first_seconds": 3.0,
        "validation_first_seconds": None, "training_seconds": 3.0,
    }  # fmt: skip
    return Minimum(**default | fields)
