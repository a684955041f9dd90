"""The spec: reads a YAML file and returns a frozen, resolved `Spec`, or raises an error with every finding and its line.

A spec defines what is computed, not how: it has no device, workers or folders. Its hash is that of its resolved form,
with every default. So two files with the same meaning have the same hash. This package imports neither torch nor numpy, so
that `tmrepro spec check` is fast.

model.py      the whole spec; data.py, networks.py, training.py, losses.py, surfaces.py, factories.py: its sections
fields.py     types of fields, and the source of each value
reader.py     reads a file; document.py, scalars.py: YAML with positions; checks.py, messages.py: every error and its line
resolve.py    all trainings and surfaces of a spec; seeds.py: replicates
canonical.py  the resolved form, its hash, and the first difference between two specs
explain.py    `tmrepro spec explain`; schema.py: the JSON Schema; json_text.py: how JSON is written
limits.py     limits that several rooms share
shipped.py    shipped specs and references; user_paths.py: paths as users write them
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
