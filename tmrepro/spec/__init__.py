"""The spec room: a YAML file in, a frozen resolved `Spec` out, or an error that lists all that is wrong, line by line.

A spec says what is computed, never how: device, workers and folders are not in it. It is hashed in its resolved form,
every default written out, so two files that mean the same have the same hash. No torch and no numpy here: `tmrepro spec
check` answers at once.
"""

from __future__ import annotations

from tmrepro.spec.canonical import SpecDifference, canonical_dict, dump_spec, first_difference, spec_hash
from tmrepro.spec.data import AnyDataSpec, ArraysSpec, CustomDataSpec, DataSpec
from tmrepro.spec.explain import Explanation, explain, format_explanations
from tmrepro.spec.fields import Location
from tmrepro.spec.model import ComputeSpec, FiguresSpec, MinimumSpec, ReplicatesSpec, Spec
from tmrepro.spec.networks import (
    BatchNormSpec,
    CnnModel,
    CustomModel,
    DnnModel,
    ModelSpec,
    Resnet50Model,
    parameter_count,
)
from tmrepro.spec.reader import blame, load_spec, parse_spec
from tmrepro.spec.resolve import DrawnSurface, TrainedModel, expand_models, expand_surfaces, surfaces_around
from tmrepro.spec.schema import dump_schema, spec_schema
from tmrepro.spec.surfaces import DirectionsSpec, GridSpec, SeedsSpec, SurfaceSpec
from tmrepro.spec.training import (
    LOSS_UNITS,
    AdamOptimizer,
    AdamwOptimizer,
    AveragingSpec,
    OptimizerSpec,
    SgdOptimizer,
    StopSpec,
    TrainingSpec,
    TrajectorySpec,
)

__all__ = [
    "LOSS_UNITS",
    "AdamOptimizer",
    "AdamwOptimizer",
    "AnyDataSpec",
    "ArraysSpec",
    "AveragingSpec",
    "BatchNormSpec",
    "CnnModel",
    "ComputeSpec",
    "CustomDataSpec",
    "CustomModel",
    "DataSpec",
    "DirectionsSpec",
    "DnnModel",
    "DrawnSurface",
    "Explanation",
    "FiguresSpec",
    "GridSpec",
    "Location",
    "MinimumSpec",
    "ModelSpec",
    "OptimizerSpec",
    "ReplicatesSpec",
    "Resnet50Model",
    "SeedsSpec",
    "SgdOptimizer",
    "Spec",
    "SpecDifference",
    "StopSpec",
    "SurfaceSpec",
    "TrainedModel",
    "TrainingSpec",
    "TrajectorySpec",
    "blame",
    "canonical_dict",
    "dump_schema",
    "dump_spec",
    "expand_models",
    "expand_surfaces",
    "explain",
    "first_difference",
    "format_explanations",
    "load_spec",
    "parameter_count",
    "parse_spec",
    "spec_hash",
    "spec_schema",
    "surfaces_around",
]
