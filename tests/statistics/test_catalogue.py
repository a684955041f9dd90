"""The list of statistics, the schema of statistics.json, and what holds of the room as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields

import jsonschema
import numpy as np
import pytest

from tests.statistics.arrays import statistics_of
from tmrepro.records import Minimum
from tmrepro.statistics import (
    COMPARED_NUMBERS,
    MINIMUM_NUMBERS,
    RANGES,
    STATISTICS,
    StatisticInfo,
    statistics_schema,
)

NAMES = [
    "loss_at_minimum",
    "depth_below_minimum",
    "loss_min",
    "loss_max",
    "loss_mean",
    "loss_median",
    "non_finite",
    "slope_at_minimum",
    "sharpness_0.1",
    "sharpness_0.25",
    "sharpness_0.5",
    "low_loss_fraction_0.1",
    "low_loss_fraction_0.5",
    "low_loss_fraction_1.0",
    "half_rise_radius",
    "roughness",
    "local_minima",
    "total_persistence",
    "axis_asymmetry",
    "point_asymmetry",
    "convex_fraction",
    "error_over_bound",
]


def test_every_statistic_is_listed_in_the_order_in_which_it_is_computed():
    assert [info.name for info in STATISTICS] == NAMES
    assert list(statistics_of([[0, 1], [2, 3]])) == NAMES
    assert [info.name for info in STATISTICS if info.integer] == ["non_finite", "local_minima"]
    assert all(info.description for info in STATISTICS)


def test_every_number_of_a_minimum_is_listed_so_that_none_is_without_a_range():
    words = {"model", "category", "reason", "labels", "stopped", "seeds_collapsed", "depth_below_minimum"}
    numbers = {field.name for field in fields(Minimum)} - words
    assert {info.name for info in MINIMUM_NUMBERS} == numbers
    assert len(RANGES) == len(STATISTICS) + len(MINIMUM_NUMBERS)
    assert set(COMPARED_NUMBERS) <= numbers


def test_a_statistic_without_a_range_cannot_be_made():
    with pytest.raises(TypeError, match="range"):
        StatisticInfo("new", "what somebody forgot to say the range of", "nats")


@pytest.fixture(scope="module")
def validator():
    schema = statistics_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_schema_accepts_what_is_computed(validator):
    bowl = statistics_of([[2, 1, 2], [1, 0, 1], [2, 1, 2.5]], home=(1, 1))
    nothing = statistics_of(np.full((2, 2), np.nan))
    validator.validate({"paper": {"dnn": bowl, "dnn.r1": nothing}, "paper.d1": {}})
    validator.validate({})


@pytest.mark.parametrize(
    "damage",
    [
        lambda values: values.pop("roughness"),
        lambda values: values.update(extra=1.0),
        lambda values: values.update(local_minima=1.5),
        lambda values: values.update(loss_mean="0.5"),
        lambda values: values.update(loss_mean=True),
    ],
    ids=["missing", "unknown", "not a count", "text", "truth value"],
)
def test_schema_refuses_what_is_no_set_of_statistics(validator, damage):
    values = statistics_of([[0, 1], [2, 3]])
    damage(values)
    assert not validator.is_valid({"paper": {"dnn": values}})


def test_statistics_load_no_torch():
    code = "import sys, tmrepro.statistics; sys.exit('torch' in sys.modules or 'gudhi' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bits_do_not_depend_on_the_vector_instructions_of_the_cpu():
    code = """if True:
        import numpy as np
        from tmrepro.records import Surface
        from tmrepro.statistics import surface_statistics
        axis = np.arange(4.0)
        for loss in np.random.default_rng(0).exponential(size=(50, 4, 4)):  # small: a large mean hides a last bit
            surface = Surface(loss=loss, accuracy=np.zeros_like(loss), a=axis, b=axis)
            print(surface_statistics(surface, home=(0, 0), step=1.0))
    """
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])  # beyond what NumPy was built for
    outputs = {
        subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env=os.environ | {"NPY_DISABLE_CPU_FEATURES": disabled},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for disabled in ("", " ".join(found))
    }
    assert len(outputs) == 1
